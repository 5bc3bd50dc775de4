#!/usr/bin/env bash
# The hand-over of jobs to threads (src/runtime/handover.rs) in the orders that the threads' steps can take, and with
# every value that the memory model lets a load see, by loom. LONG=1 tries more of them.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/loom
cargo test -p ocelli --lib --no-default-features --features std --release --locked -- runtime::handover "$@"
