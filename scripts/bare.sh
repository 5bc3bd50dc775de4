#!/bin/bash
# A bare ARM machine: the reader of packed files and the kernels are built, linked without std or allocator and, where there is
# qemu-aarch64-static, run. Needs rustup, which adds the target.
#
#   scripts/bare.sh
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-none
rustup -q target add $target
cargo build --locked --target $target -p ocelli-kernels -p ocelli --lib --no-default-features
CARGO_TARGET_DIR=target/bare cargo build --locked --target $target --manifest-path tests/bare/Cargo.toml
program=target/bare/$target/debug/ocelli-bare
if ! command -v qemu-aarch64-static >/dev/null; then
    echo "built; no qemu-aarch64-static to run it"
    exit
fi
code=0
qemu-aarch64-static "$program" || code=$?
[ $code = 0 ] || { echo "exit code $code, see tests/bare/src/main.rs" >&2; exit 1; }
echo "built and run"
