#!/bin/bash
# Other systems. On a bare ARM machine the reader of packed files and the kernels are built, linked and, where there is
# qemu-aarch64-static, run. For Windows and macOS everything is compiled as far as it goes without their linkers (`cargo check`):
# nobody has run it there.
#
#   scripts/targets.sh [PART...]       # bare windows macos; all unless named
#
# Needs rustup, which adds the targets. ocelli-pack's TLS has C and assembly: for Windows it needs Debian's
# gcc-mingw-w64-x86-64, for macOS zig (cargo-zigbuild and ziglang from PyPI, in an environment of their own).
set -euo pipefail
cd "$(dirname "$0")/.."
parts=("$@")
((${#parts[@]})) || parts=(bare windows macos)

bare() {
    local target=aarch64-unknown-none code=0 program
    rustup -q target add $target
    cargo build --locked --target $target -p ocelli-kernels -p ocelli --lib --no-default-features
    CARGO_TARGET_DIR=target/bare cargo build --locked --target $target --manifest-path tests/bare/Cargo.toml
    program=target/bare/$target/debug/ocelli-bare
    if ! command -v qemu-aarch64-static >/dev/null; then
        echo "bare: built; no qemu-aarch64-static to run it"
        return
    fi
    qemu-aarch64-static "$program" || code=$?
    [ $code = 0 ] || { echo "bare: exit code $code, see tests/bare/src/main.rs" >&2; exit 1; }
    echo "bare: built and run"
}

windows() {
    rustup -q target add x86_64-pc-windows-gnu
    cargo check --locked --target x86_64-pc-windows-gnu -p ocelli-cli -p ocelli-tools -p ocelli-c
    echo "windows: checked"
}

macos() {
    local tools=$PWD/target/release-tools/venv
    rustup -q target add aarch64-apple-darwin
    [ -x "$tools/bin/python" ] || python3 -m venv "$tools"
    "$tools/bin/pip" install -q "ziglang>=0.14" "cargo-zigbuild>=0.20"
    PATH=$tools/bin:$PATH cargo-zigbuild check --locked --target aarch64-apple-darwin -p ocelli-cli -p ocelli-tools -p ocelli-c
    echo "macos: checked"
}

for part in "${parts[@]}"; do
    case $part in
    bare | windows | macos) "$part" ;;
    *)
        echo "no part $part: bare windows macos" >&2
        exit 2
        ;;
    esac
done
