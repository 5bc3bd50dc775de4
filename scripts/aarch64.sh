#!/bin/bash
# Builds for 64-bit ARM and runs the result under QEMU, on a machine of another kind.
#
#   scripts/aarch64.sh test -p ocelli-kernels
#   OCELLI_QEMU_CPU=cortex-a53 scripts/aarch64.sh test -p ocelli-kernels
#
# The arguments go to cargo. OCELLI_QEMU_CPU names the emulated core: cortex-a53 (Pi 3), cortex-a72 (Pi 4),
# cortex-a76 (Pi 5), max (everything; the default). The compiler is Debian's, which has an AArch64 standard library,
# so its output goes to a target directory of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(rustc-web cargo-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  install="dpkg --add-architecture arm64 && apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  if ((EUID)); then
    echo "As root, run: $install" >&2
    exit 1
  fi
  bash -c "$install" >&2
fi

target=AARCH64_UNKNOWN_LINUX_GNU
export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/aarch64}
export CARGO_TARGET_${target}_LINKER=aarch64-linux-gnu-gcc
# `-L /`: with libc6:arm64 installed, /usr/aarch64-linux-gnu would mix two builds of libc, and threads would hang.
export CARGO_TARGET_${target}_RUNNER="qemu-aarch64-static -L / -cpu ${OCELLI_QEMU_CPU:-max}"

command=${1:?"usage: scripts/aarch64.sh CARGO_COMMAND [ARGS...]"}
exec /usr/bin/cargo "$command" --target aarch64-unknown-linux-gnu "${@:2}"
