#!/usr/bin/env bash
# What happens to an index when something fails: index-faults.sh [PHOTOS [KILLS]], by default 2000 small pictures and 50
# kills. Linux, with Python 3.
#
# `ocelli index` makes one index in one go. Others are made of the same pictures while
#   * the program is killed (SIGKILL) at random moments, again and again;
#   * the disk is full (a small tmpfs, where this may be mounted);
#   * the folder of the pictures goes away in the middle, and comes back;
#   * files are written to while they are read.
# After each, the rows that count must have their checksums, and after a last run that is left alone the index must hold
# the same files, pictures and embeddings as the first, to the bit, in whatever order.
set -euo pipefail
cd "$(dirname "$0")/.."
photos=${1:-2000} kills=${2:-50}
[ "$(uname)" = Linux ] || { echo "not Linux: nothing was tried"; exit 0; }

[ -n "${OCELLI:-}" ] || cargo build --workspace --locked --quiet --bin ocelli
ocelli=${OCELLI:-${CARGO_TARGET_DIR:-target}/debug/ocelli}
work=$(mktemp -d)
# A small model, so that what is measured is the index.
export OCELLI_MODEL=$PWD/tests/fixtures/cifar10/cifar10.ocelli
trap 'umount "$work/full" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() { echo "FAULT: $*"; tail -n 3 "$work/err" 2>/dev/null || true; exit 1; }

# Pictures of soft waves, 64 x 48, as BMP, in folders of 500; every 97th is a copy, every 101st is none.
python3 - "$work/photos" "$photos" <<'PY'
import math, os, random, struct, sys
root, count = sys.argv[1], int(sys.argv[2])
for i in range(count):
    random.seed(i - 1 if i % 97 == 1 else i)
    f = [random.uniform(0.02, 0.4) for _ in range(6)]
    rows = b"".join(bytes(int(127 + 120 * math.sin(f[c] * x + f[3 + c] * y + i)) & 255 for x in range(64) for c in range(3))
                    for y in range(48)) if i % 97 != 1 else rows
    data = b"no picture %d" % i if i % 101 == 100 else (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54 + len(rows), 0, 54, 40, 64, 48, 1, 24, 0, len(rows), 0, 0, 0, 0) + rows)
    os.makedirs(f"{root}/{i // 500}", exist_ok=True)
    path = f"{root}/{i // 500}/{i:06}.bmp"
    open(path, "wb").write(data)
    os.utime(path, (1_700_000_000 + i, 1_700_000_000 + i))
PY

# run INDEX ARGS...: one update; sets code.
run() { code=0; "$ocelli" index "$work/photos" --index "$1" --batch 4 "${@:2}" >/dev/null 2>"$work/err" || code=$?; }
# whole INDEX: all rows that count have their checksums.
whole() {
    "$ocelli" index "$work/photos" --index "$1" --verify --json >"$work/out" 2>"$work/err" || true
    grep -q ' rows read, 0 damaged' "$work/err" || fail "$1: rows are damaged"
}
# contents INDEX: a line for each file: path, hash, size of the picture, embedding.
contents() {
    rm -rf "$work/npy"
    "$ocelli" export --index "$1" --npy "$work/npy" 2>"$work/err" || fail "$1 cannot be exported"
    python3 - "$work/npy" <<'PY' | sort
import json, sys
raw = open(sys.argv[1] + "/vectors.npy", "rb").read()[128:]
lines = [json.loads(line) for line in open(sys.argv[1] + "/pictures.jsonl")]
row = len(raw) // len(lines)
for i, p in enumerate(lines):
    for path in [p["path"]] + p.get("copies", []):
        print(path, p["hash"], p["bytes"], p["width"], p["height"], p["taken"], raw[i * row:(i + 1) * row].hex())
PY
}
# same INDEX WHAT: it holds what the first one holds.
same() {
    contents "$1" >"$work/found"
    cmp -s "$work/found" "$work/expected" || fail "$2: the index is not the one that was made in one go"
    echo "$2: $(wc -l <"$work/found") files, the same to the bit"
}

start=$(date +%s%N)
run "$work/whole"
took=$((($(date +%s%N) - start) / 1000000))
[ $code -le 1 ] || fail "the first index"
contents "$work/whole" >"$work/expected"
echo "in one go: $(wc -l <"$work/expected") of $photos files, $took ms"

# Most kills meet a run that has something to do, and a few commits lie between them.
committed=0 before=0
for ((i = 0; i < kills; i++)); do
    "$ocelli" index "$work/photos" --index "$work/killed" --batch 4 >/dev/null 2>&1 &
    pid=$!
    sleep "$(awk -v r=$RANDOM -v most=$((took * 4 / kills + 400)) 'BEGIN { printf "%.3f", r / 32768 * most / 1000 }')"
    kill -KILL $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    rows=$(stat -c %s "$work/killed/vectors-0.i8" 2>/dev/null || echo 0)
    [ "$rows" = "$before" ] || committed=$((committed + 1))
    before=$rows
done
echo "killed $kills times, $committed of them after something new was written"
[ "$kills" -lt 20 ] || [ $committed -gt 0 ] || fail "no kill met a write: this proved nothing"
whole "$work/killed"
same "$work/killed" "killed"

mkdir "$work/full"
if mount -t tmpfs -o size=400k none "$work/full" 2>/dev/null; then
    run "$work/full/index"
    [ $code = 1 ] || fail "full disk: exit code $code"
    echo "full disk: exit code 1, $(tail -n 1 "$work/err" | cut -c 1-120)"
    mount -o remount,size=400m "$work/full"
    whole "$work/full/index"
    same "$work/full/index" "full disk"
    umount "$work/full"
else
    echo "no tmpfs may be mounted here: a full disk was not tried"
fi

for ((i = 0; i < 5; i++)); do
    "$ocelli" index "$work/photos" --index "$work/away" --batch 4 >/dev/null 2>&1 &
    pid=$!
    sleep "$(awk -v r=$RANDOM -v most=$took 'BEGIN { printf "%.3f", r / 32768 * most / 1000 }')"
    mv "$work/photos" "$work/elsewhere"
    wait $pid || true
    mkdir "$work/photos"
    run "$work/away"
    rmdir "$work/photos"
    mv "$work/elsewhere" "$work/photos"
done
whole "$work/away"
same "$work/away" "folder away"

# Files grow, shrink and are written again under the reader's hands; in the end all are as they were.
cp -rp "$work/photos" "$work/kept"
writer() {
    while :; do
        for file in "$work/photos"/0/00000[0-9].bmp "$work/photos"/0/00010[0-9].bmp; do
            head -c $((RANDOM % 6000)) "$work/kept/0/000007.bmp" >"$file" || true
            cat "$work/kept/0/000011.bmp" >>"$file" || true
        done
    done
}
writer & writer=$!
for ((i = 0; i < 5; i++)); do run "$work/changing"; done
kill $writer && wait $writer 2>/dev/null || true
cp -rp "$work/kept/." "$work/photos/"
run "$work/changing"
whole "$work/changing"
same "$work/changing" "files changing"
