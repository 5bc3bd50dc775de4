#!/bin/bash
# Runs under Miri, which sees every access outside an allocation and every broken rule of aliasing: the kernels' views,
# packing, scalar kernels and refusals; the library's bank reader, buffers and scores (without what maps a file).
#
#   scripts/miri.sh [kernels | library]          both, if none is named
#
# Needs a nightly toolchain with Miri: rustup toolchain install nightly --component miri,rust-src
set -euo pipefail
cd "$(dirname "$0")/.."

# A backtrace for every call that a test sees refused would take minutes.
export RUST_BACKTRACE=0
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/miri}
miri() { cargo +nightly miri test --locked "$@"; }

kernels() {
  miri -p ocelli-kernels --lib -- matrix pack prefetch refusals tests::gemm
}
library() {
  miri -p ocelli --lib --no-default-features --features std -- runtime::plan format:: score:: --skip an_owned_bank
}

case "${1:-}" in
  "") kernels; library ;;
  kernels | library) "$1" ;;
  *) echo "usage: scripts/miri.sh [kernels | library]" >&2; exit 2 ;;
esac
