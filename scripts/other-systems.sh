#!/bin/bash
# Checks that the library, the programs and the C interface compile for systems where nothing of ocelli is ever run: macOS on
# Apple's processors and 64-bit Windows. They are not linked.
#
#   scripts/other-systems.sh [macos] [windows]
#
# Needs rustup (it adds the targets); for Windows mingw (Debian's gcc-mingw-w64-x86-64), for macOS Python with PyPI (zig as
# the C compiler of SQLite, and cargo-zigbuild, in an environment of their own).
set -euo pipefail
cd "$(dirname "$0")/.."
systems=("$@")
((${#systems[@]})) || systems=(macos windows)
what=(--workspace --exclude ocelli-python --exclude ocelli-fuzz --locked)

for system in "${systems[@]}"; do
    case $system in
    macos)
        tools=$PWD/target/release-tools/venv
        [ -x "$tools/bin/python" ] || python3 -m venv "$tools"
        "$tools/bin/pip" install -q "ziglang>=0.14" "cargo-zigbuild>=0.20"
        rustup -q target add aarch64-apple-darwin
        PATH=$tools/bin:$PATH cargo-zigbuild check "${what[@]}" --target aarch64-apple-darwin
        ;;
    windows)
        rustup -q target add x86_64-pc-windows-gnu
        cargo check "${what[@]}" --target x86_64-pc-windows-gnu
        ;;
    *)
        echo "no system $system: macos windows" >&2
        exit 2
        ;;
    esac
    echo "$system: compiles"
done
