#!/bin/bash
# Installs what scripts/release.sh built, where nothing of ocelli was: the wheel in an empty virtual environment, the Debian
# packages in a fresh Debian (debootstrap), the static program in an empty root; uses it, compares the embeddings with each
# other's bit by bit, and removes it.
#
#   sudo [ARCH=aarch64] scripts/package-tests.sh [PART...]       # scratch wheel musl debian; all unless named
#
# Needs Debian as root, with debootstrap, and Debian's archive and PyPI. Packages of another ARCH run under QEMU's user
# emulation (qemu-user-static), their wheel with the Python of a Debian of that kind. Debian has no Python with musl for the wheel
# that Alpine uses: MUSL_PYTHON names one, without it that part is skipped. CPython's sources make one, on Debian with
# musl-tools: CC=WRAPPER ./configure --build=x86_64-linux-musl --with-ensurepip=no --prefix=DIR && make install, WRAPPER being
# musl-gcc that prints nothing for --print-multiarch and is not given the folders of /usr (-I, -L).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
parts=("$@")
((${#parts[@]})) || parts=(scratch wheel musl debian)
dist=$root/dist
arch=${ARCH:-$(uname -m)}
case $arch in
x86_64) deb_arch=amd64 ;;
aarch64) deb_arch=arm64 ;;
*) echo "ARCH=$arch: x86_64 or aarch64" >&2; exit 2 ;;
esac
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
model=$root/models/demo.ocelli
photo=$root/examples/ship.jpg
[ -d "$dist" ] || { echo "no dist: run scripts/release.sh first" >&2; exit 1; }
((EUID == 0)) || { echo "must be root: it makes file system roots and enters them" >&2; exit 1; }

# The kernel hands programs of another kind to the emulator, also within a root that has none.
if [ "$arch" != "$(uname -m)" ]; then
    formats=/proc/sys/fs/binfmt_misc
    mountpoint -q "$formats" || mount -t binfmt_misc binfmt_misc "$formats"
    [ -e "$formats/qemu-$arch" ] || cat "/usr/lib/binfmt.d/qemu-$arch.conf" >"$formats/register"
fi

work=$(mktemp -d)
chroot_made=
clean() {
    if [ -n "$chroot_made" ] && mountpoint -q "$chroot_made/proc"; then umount "$chroot_made/proc"; fi
    rm -rf "$work"
}
trap clean EXIT
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
tar -C "$work" -xzf "$dist/ocelli-$version-$arch-linux.tar.gz"
static=$work/ocelli-$version-$arch-linux/ocelli
"$static" embed --quiet --json "$photo" --text "a ship" >"$work/right" 2>&1
# Without the name of the picture, which differs from place to place.
same() { diff <(sed 's/"input":"[^"]*"//' "$1") <(sed 's/"input":"[^"]*"//' "$work/right") >/dev/null; }

# As in the Docker image: no file but the program, the model and the photo, at their places there.
scratch() {
    ! ldd "$static" 2>/dev/null | grep -q '=>' || fail "the program is not static"
    install -D "$dist/docker-$arch/ocelli" "$work/empty/usr/bin/ocelli"
    install -D "$dist/docker-$arch/demo.ocelli" "$work/empty/usr/share/ocelli/demo.ocelli"
    cp "$photo" "$work/empty"
    chroot "$work/empty" /usr/bin/ocelli embed --quiet --json /ship.jpg --text "a ship" >"$work/found"
    same "$work/found" || fail "other embeddings in an empty root"
    chroot "$work/empty" /usr/bin/ocelli classify /ship.jpg | sed -n 2p | grep -q 'ship$' || fail "no ship in an empty root"
    echo "scratch: passed"
}

# use_package MODEL PHOTO RIGHT: with the Python in python[], the embeddings and the label that the program found.
use_package() {
    "${python[@]}" - "$@" <<'PYTHON'
import json, sys
import numpy, ocelli
model = ocelli.Model.open(sys.argv[1])
found = [model.encode_image(sys.argv[2]), model.encode_text("a ship")]
for line, embedding in zip(open(sys.argv[3]), found, strict=True):
    assert numpy.float32(json.loads(line)["embedding"]).tobytes() == embedding.tobytes(), "other embeddings"
assert model.classify(sys.argv[2])[0].label == "ship"
PYTHON
}

wheel() {
    local python=(python3) wheel=("$dist"/ocelli-"$version"-*manylinux*_"$arch".whl) to=/
    [ ${#wheel[@]} = 1 ] || fail "wheels: ${wheel[*]}"
    if [ "$arch" = "$(uname -m)" ]; then
        python3 -m venv "$work/venv"
        python=("$work/venv/bin/python")
        "${python[@]}" -m pip install -q "${wheel[@]}"
    else
        to=$root/target/package/python-$deb_arch
        debian_in "$to" python3-numpy,python3-pip
        rm -rf "$to/tmp/site"
        cp "${wheel[@]}" "$model" "$photo" "$work/right" "$to/tmp"
        chroot "$to" sh -c 'python3 -m pip install -q --no-deps --no-index --target /tmp/site /tmp/ocelli-*.whl'
        python=(chroot "$to" env PYTHONPATH=/tmp/site python3)
    fi
    local given=("$model" "$photo" "$work/right")
    [ "$to" = / ] || given=("/tmp/${model##*/}" "/tmp/${photo##*/}" /tmp/right)
    use_package "${given[@]}" || fail "the wheel"
    if [ "$to" = / ]; then
        "${python[@]}" -m pip uninstall -qy ocelli
        ! "${python[@]}" -c "import ocelli" 2>/dev/null || fail "the wheel leaves something"
    else
        umount "$to/proc"
    fi
    echo "wheel: passed"
}

musl() {
    local python=("${MUSL_PYTHON:-}") wheel=("$dist"/ocelli-"$version"-*musllinux*_"$arch".whl) to=$work/musl
    [ -n "$python" ] || { echo "musl: skipped, MUSL_PYTHON names no Python"; return; }
    [ ${#wheel[@]} = 1 ] || fail "wheels: ${wheel[*]}"
    python3 -m venv "$work/pip"
    # Newer wheels of numpy have relocations that musl before 1.2.4, which Debian 12 has, does not know.
    "$work/pip/bin/python" -m pip install -q --target "$to" --only-binary :all: --platform "musllinux_1_2_$arch" --platform "musllinux_1_1_$arch" \
        --python-version "$("${python[@]}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" "${wheel[@]}" "numpy<2.2"
    PYTHONPATH=$to use_package "$model" "$photo" "$work/right" || fail "the wheel for musl"
    echo "musl: passed"
}

# debian_in FOLDER PACKAGES: a fresh Debian with these packages; its /proc is mounted.
debian_in() {
    chroot_made=$1
    if [ ! -e "$1/.done" ]; then
        rm -rf "$1"
        debootstrap --variant=minbase --arch="$deb_arch" --include="$2" "${SUITE:-bookworm}" "$1" >"$work/debootstrap" ||
            { tail "$work/debootstrap"; fail "debootstrap"; }
        touch "$1/.done"
    fi
    mountpoint -q "$1/proc" || mount -t proc proc "$1/proc"
}

debian() {
    local to=$root/target/package/debian-$deb_arch name before
    debian_in "$to" gcc,libc6-dev,pkg-config
    for name in ocelli libocelli-dev; do chroot "$to" dpkg --purge "$name" >/dev/null 2>&1 || true; done
    before=$(list "$to")
    cp "$dist"/ocelli_*_"$deb_arch".deb "$dist"/libocelli-dev_*_"$deb_arch".deb "$photo" "$model" "$to/tmp"

    chroot "$to" sh -c 'dpkg -i /tmp/ocelli_*.deb' >/dev/null || fail "dpkg -i ocelli"
    chroot "$to" ocelli embed --quiet --json /tmp/ship.jpg --text "a ship" >"$work/found"
    same "$work/found" || fail "other embeddings from the package"
    chroot "$to" ocelli-pack inspect /tmp/demo.ocelli >/dev/null || fail "ocelli-pack of the package"
    for name in usr/share/man/man1/{ocelli,ocelli-classify,ocelli-serve,ocelli-pack}.1.gz lib/systemd/system/ocelli-serve.service \
        usr/share/bash-completion/completions/ocelli usr/share/doc/ocelli/copyright usr/share/ocelli/demo.ocelli; do
        [ -s "$to/$name" ] || fail "the package has no $name"
    done
    chroot "$to" bash -n /usr/share/bash-completion/completions/ocelli || fail "the completions"
    grep -q '^ExecStart=/usr/bin/ocelli serve' "$to/lib/systemd/system/ocelli-serve.service" || fail "the service's program"
    chroot "$to" dpkg --verify ocelli || fail "dpkg --verify"

    chroot "$to" sh -c 'dpkg -i /tmp/libocelli-dev_*.deb' >/dev/null || fail "dpkg -i libocelli-dev"
    chroot "$to" sh -c 'ldconfig && cd /usr/share/doc/libocelli-dev/examples &&
        gcc -Wall -Werror classify.c -locelli -o /tmp/classify && /tmp/classify /tmp/demo.ocelli /tmp/ship.jpg &&
        gcc -Wall -Werror camera.c $(pkg-config --cflags --libs ocelli) -o /tmp/camera' >"$work/classified" ||
        fail "gcc -locelli in the fresh Debian"
    head -n 1 "$work/classified" | grep -q 'ship$' || fail "no ship through the C interface"

    chroot "$to" dpkg --purge ocelli libocelli-dev >/dev/null || fail "dpkg --purge"
    rm -f "$to"/tmp/*
    chroot "$to" ldconfig
    diff <(echo "$before") <(list "$to") || fail "the packages leave something"
    umount "$to/proc"
    echo "debian: passed"
}

# Every file of a root but what changes by itself.
list() { find "$1" -xdev -path "$1/proc" -prune -o ! -path '*/var/lib/dpkg/*' ! -path '*/var/cache/*' ! -path '*/var/log/*' ! -path '*/tmp/*' -print | sort; }

for part in "${parts[@]}"; do
    case $part in
    scratch | wheel | musl | debian) "$part" ;;
    *)
        echo "no part $part: scratch wheel musl debian" >&2
        exit 2
        ;;
    esac
done
