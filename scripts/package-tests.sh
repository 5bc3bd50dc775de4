#!/bin/bash
# Installs what scripts/release.sh built, where nothing of ocelli was: the wheel in an empty virtual environment, the Debian
# packages in a fresh Debian (debootstrap), the static program in an empty root; uses it, compares the embeddings with each
# other's bit by bit, and removes it.
#
#   sudo scripts/package-tests.sh [PART...]       # scratch wheel debian; all unless named
#
# Needs Debian as root, with debootstrap, and Debian's archive and PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
parts=("$@")
((${#parts[@]})) || parts=(scratch wheel debian)
dist=$root/dist
arch=$(uname -m)
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
model=$root/models/demo.ocelli
photo=$root/examples/ship.jpg
[ -d "$dist" ] || { echo "no dist: run scripts/release.sh first" >&2; exit 1; }
((EUID == 0)) || { echo "must be root: it makes file system roots and enters them" >&2; exit 1; }

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

# As in the Docker image: no file but the program, the model beside it and the photo.
scratch() {
    ! ldd "$static" 2>/dev/null | grep -q '=>' || fail "the program is not static"
    mkdir "$work/empty"
    cp "$dist/docker-$arch"/{ocelli,demo.ocelli} "$photo" "$work/empty"
    chroot "$work/empty" /ocelli embed --quiet --json /ship.jpg --text "a ship" >"$work/found"
    same "$work/found" || fail "other embeddings in an empty root"
    chroot "$work/empty" /ocelli classify /ship.jpg | sed -n 2p | grep -q 'ship$' || fail "no ship in an empty root"
    echo "scratch: passed"
}

wheel() {
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install -q "$dist"/ocelli-"$version"-*"$arch".whl
    "$work/venv/bin/python" - "$model" "$photo" "$work/right" <<'PYTHON' || fail "the wheel"
import json, sys
import numpy, ocelli
model = ocelli.Model.open(sys.argv[1])
found = [model.encode_image(sys.argv[2]), model.encode_text("a ship")]
for line, embedding in zip(open(sys.argv[3]), found, strict=True):
    assert numpy.float32(json.loads(line)["embedding"]).tobytes() == embedding.tobytes(), "other embeddings"
assert model.classify(sys.argv[2])[0].label == "ship"
PYTHON
    "$work/venv/bin/pip" uninstall -qy ocelli
    ! "$work/venv/bin/python" -c "import ocelli" 2>/dev/null || fail "the wheel leaves something"
    echo "wheel: passed"
}

debian() {
    local to=$root/target/package/debian name before
    chroot_made=$to
    if [ ! -e "$to/.done" ]; then
        rm -rf "$to"
        debootstrap --variant=minbase --include=gcc,libc6-dev,pkg-config "${SUITE:-bookworm}" "$to" >"$work/debootstrap" ||
            { tail "$work/debootstrap"; fail "debootstrap"; }
        touch "$to/.done"
    fi
    mountpoint -q "$to/proc" || mount -t proc proc "$to/proc"
    for name in ocelli libocelli-dev; do chroot "$to" dpkg --purge "$name" >/dev/null 2>&1 || true; done
    before=$(list "$to")
    local deb_arch
    deb_arch=$(dpkg --print-architecture)
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
    scratch | wheel | debian) "$part" ;;
    *)
        echo "no part $part: scratch wheel debian" >&2
        exit 2
        ;;
    esac
done
