#!/bin/bash
# Installs the C interface: header, shared and static library, pkg-config file.
#
#   cargo build --release -p ocelli-c && bindings/c/install.sh [PREFIX]       # /usr/local unless given
#
# DESTDIR is put before every path, for packages. LIBDIR is PREFIX/lib unless set. TARGET_DIR has the libraries; it is
# target/release unless set.
set -euo pipefail
prefix=${1:-/usr/local}
[[ $prefix = /* ]] || { echo "PREFIX must be an absolute path, not $prefix" >&2; exit 2; }
libdir=${LIBDIR:-$prefix/lib}
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
built=${TARGET_DIR:-$root/target/release}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
abi=$(sed -n 's/^#define OCELLI_ABI_VERSION //p' "$here/ocelli.h")
[ -e "$built/libocelli_c.so" ] || { echo "no $built/libocelli_c.so: cargo build --release -p ocelli-c" >&2; exit 1; }

to=${DESTDIR:-}
install -d "$to$prefix/include" "$to$libdir/pkgconfig"
install -m 644 "$here/ocelli.h" "$to$prefix/include/ocelli.h"
install -m 644 "$built/libocelli_c.so" "$to$libdir/libocelli.so.$abi.$version"
ln -sf "libocelli.so.$abi.$version" "$to$libdir/libocelli.so.$abi"
ln -sf "libocelli.so.$abi" "$to$libdir/libocelli.so"
if [ -e "$built/libocelli_c.a" ]; then
    install -m 644 "$built/libocelli_c.a" "$to$libdir/libocelli.a"
fi
sed "s|@PREFIX@|$prefix|; s|@LIBDIR@|$libdir|; s|@VERSION@|$version|" "$here/ocelli.pc.in" \
    >"$to$libdir/pkgconfig/ocelli.pc"
chmod 644 "$to$libdir/pkgconfig/ocelli.pc"
