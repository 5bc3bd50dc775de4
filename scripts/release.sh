#!/bin/bash
# Builds what people install, into dist/: static programs, the C library, Debian packages, Python wheels, a folder for
# `docker build`, a list of what is in the programs (CycloneDX), and checksums.
#
#   [ARCH=aarch64] scripts/release.sh [PART...]     # programs library wheels debs docker sbom sums; all unless named
#
# ARCH is x86_64 or aarch64, by default that of this machine; what was built for another one runs here under QEMU's user
# emulation (qemu-user-static), for its manual pages and completions. Needs rustup (it adds the targets), Python with PyPI
# (zig as C compiler and linker, so that libraries and wheels run with old C libraries too; cargo-zigbuild, maturin: in an
# environment of their own), and for debs Debian and `cargo install cargo-deb --locked`. Takes ten minutes on two cores;
# what Cargo has built already is not built again.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
arch=${ARCH:-$(uname -m)}
parts=("$@")
((${#parts[@]})) || parts=(programs library wheels debs docker sbom sums)
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
dist=$root/dist
stage=$root/target/package
mkdir -p "$dist"
export CARGO_PROFILE_RELEASE_STRIP=symbols

tools=$root/target/release-tools/venv
[ -x "$tools/bin/python" ] || python3 -m venv "$tools"
"$tools/bin/pip" install -q "ziglang>=0.14" "cargo-zigbuild>=0.20" "maturin>=1.9,<2"
export PATH=$tools/bin:$PATH

size() { printf '%9d bytes  %s\n' "$(stat -c %s "$1")" "${1#"$root/"}"; }
static=$root/target/$arch-unknown-linux-musl/release
shared=$root/target/$arch-unknown-linux-gnu/release
# Libraries and wheels run with this version of the C library (Debian 11, Raspberry Pi OS of 2021) and newer ones.
glibc=2.31
case $arch in
x86_64) deb_arch=amd64 ;;
aarch64) deb_arch=arm64 ;;
*) echo "ARCH=$arch: x86_64 or aarch64" >&2; exit 2 ;;
esac
run=()
[ "$arch" = "$(uname -m)" ] || run=("qemu-$arch-static")

programs() {
    rustup -q target add "$arch-unknown-linux-musl"
    cargo-zigbuild zigbuild --release --locked --target "$arch-unknown-linux-musl" -p ocelli-cli -p ocelli-tools --bins
    local out=$stage/ocelli-$version-$arch-linux
    rm -rf "$out"
    mkdir -p "$out"
    cp "$static"/{ocelli,ocelli-pack} models/demo.ocelli LICENSE-* README.md CHANGELOG.md "$out"
    size "$static/ocelli"
    size "$static/ocelli-pack"
    tar -C "$stage" --sort=name --owner=0 --group=0 -czf "$dist/ocelli-$version-$arch-linux.tar.gz" "${out##*/}"
}

# The shared and static library behind the C interface.
library() {
    rustup -q target add "$arch-unknown-linux-gnu"
    cargo-zigbuild zigbuild --release --locked --target "$arch-unknown-linux-gnu.$glibc" -p ocelli-c
    size "$shared/libocelli_c.so"
}

# For every CPython from 3.10: with glibc, and with musl (Alpine).
wheels() {
    rustup -q target add "$arch-unknown-linux-gnu" "$arch-unknown-linux-musl"
    rm -f "$dist"/ocelli-"$version"-*"$arch".whl
    local build=(maturin build --zig --release --locked --manifest-path bindings/python/Cargo.toml --out "$dist")
    CARGO_TARGET_DIR=target/python "${build[@]}" --target "$arch-unknown-linux-gnu" --compatibility "manylinux_${glibc/./_}"
    # An extension module is loaded by an interpreter that has its C library already.
    RUSTFLAGS="-C target-feature=-crt-static" CARGO_TARGET_DIR=target/python-musl \
        "${build[@]}" --target "$arch-unknown-linux-musl" --compatibility musllinux_1_2
    local wheel
    for wheel in "$dist"/ocelli-"$version"-*"$arch".whl; do size "$wheel"; done
}

# What goes onto a Debian system, at its place.
stage_programs() {
    local to=$stage/stage unit name
    rm -rf "$to"
    install -d "$to"/{usr/bin,lib/systemd/system} \
        "$to"/usr/share/{man/man1,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d,doc/ocelli}
    install -m 755 "$static"/{ocelli,ocelli-pack} "$to/usr/bin"
    install -D -m 644 models/demo.ocelli "$to/usr/share/ocelli/demo.ocelli"
    for unit in packaging/*.service; do
        sed 's|/usr/local/bin/ocelli|/usr/bin/ocelli|; /^# .*\/usr\/local\/bin/d' "$unit" >"$to/lib/systemd/system/${unit##*/}"
    done
    for name in ocelli ocelli-pack; do
        "${run[@]}" "$static/$name" man "$to/usr/share/man/man1" >/dev/null 2>&1
        "${run[@]}" "$static/$name" completions bash >"$to/usr/share/bash-completion/completions/$name"
        "${run[@]}" "$static/$name" completions zsh >"$to/usr/share/zsh/vendor-completions/_$name"
        "${run[@]}" "$static/$name" completions fish >"$to/usr/share/fish/vendor_completions.d/$name.fish"
    done
    gzip -9n "$to"/usr/share/man/man1/*
    cp README.md docs/serve.md "$to/usr/share/doc/ocelli"
    gzip -9nc CHANGELOG.md >"$to/usr/share/doc/ocelli/changelog.gz"
}

# libocelli-dev: cargo-deb packs programs; this is a library with links beside it.
library_deb() {
    local to=$stage/stage-c libdir=/usr/lib/$arch-linux-gnu libc
    rm -rf "$to"
    DESTDIR=$to LIBDIR=$libdir TARGET_DIR=$shared bindings/c/install.sh /usr
    install -d "$to"/usr/share/doc/libocelli-dev/examples "$to/DEBIAN"
    install -m 644 LICENSE-MIT "$to/usr/share/doc/libocelli-dev/copyright"
    install -m 644 docs/c.md "$to/usr/share/doc/libocelli-dev"
    install -m 644 bindings/c/examples/* "$to/usr/share/doc/libocelli-dev/examples"
    # The newest version of the C library that a symbol asks for.
    libc=$(readelf -W --version-info "$to$libdir/libocelli.so" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    cat >"$to/DEBIAN/control" <<CONTROL
Package: libocelli-dev
Version: $version-1
Architecture: $deb_arch
Section: libdevel
Priority: optional
Maintainer: The ocelli developers <ocelli@localhost>
Installed-Size: $(du -sk "$to/usr" | cut -f1)
Depends: libc6 (>= ${libc#GLIBC_}), libgcc-s1
Description: C interface of ocelli: header, shared and static library
 Images and texts to embeddings, images to labels, with CLIP and Vision
 Transformers on Raspberry Pi and other small CPUs.
CONTROL
    printf 'activate-noawait ldconfig\n' >"$to/DEBIAN/triggers"
    dpkg-deb --root-owner-group -Zxz --build "$to" "$dist/libocelli-dev_$version-1_$deb_arch.deb" >/dev/null
}

debs() {
    rm -f "$dist"/*_"$deb_arch".deb
    stage_programs
    cargo deb -q --locked --no-build --no-strip -p ocelli-cli --target "$arch-unknown-linux-musl" -o "$dist/"
    library_deb
    local deb
    for deb in "$dist"/*_"$deb_arch".deb; do size "$deb"; done
}

docker() {
    rm -rf "$dist/docker-$arch"
    install -D -m 755 "$static/ocelli" "$dist/docker-$arch/ocelli"
    cp packaging/Dockerfile models/demo.ocelli "$dist/docker-$arch"
}

sbom() {
    scripts/sbom.py "$arch-unknown-linux-musl" ocelli-cli ocelli-tools >"$dist/ocelli-$version-$arch-linux.cdx.json"
}

sums() {
    (cd "$dist" && find . -maxdepth 1 -type f ! -name SHA256SUMS -printf '%P\n' | sort | xargs sha256sum >SHA256SUMS)
    cat "$dist/SHA256SUMS"
}

for part in "${parts[@]}"; do
    case $part in
    programs | library | wheels | debs | docker | sbom | sums) "$part" ;;
    *)
        echo "no part $part: programs library wheels debs docker sbom sums" >&2
        exit 2
        ;;
    esac
done
