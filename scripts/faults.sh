#!/usr/bin/env bash
# What happens to files when something fails: faults.sh [KILLS], by default 20 kills of each command. Linux only.
#
# `ocelli-pack convert` and `ocelli labels` replace a file that is there already, while
#   * they are killed at random moments, their writes slowed down so that most kills meet a half-written file;
#   * one call after the other fails: each write (no space, I/O error), each fsync, rename, the mapping of a model;
#   * the disk is really full (a small tmpfs, where this may be mounted) or the file may not grow (ulimit).
# Afterwards the old file must be there to the bit, or the whole new one; an error must end with exit code 1 or 2, a
# message, and without a temporary file.
set -euo pipefail
cd "$(dirname "$0")/.."
kills=${1:-20}
[ "$(uname)" = Linux ] || { echo "not Linux: nothing was tried"; exit 0; }

cargo build --workspace --locked --quiet --bin ocelli --bin ocelli-pack
bin=${CARGO_TARGET_DIR:-target}/debug
work=$(mktemp -d)
trap 'umount "$work/full" 2>/dev/null || true; rm -rf "$work"' EXIT
cc -O1 -Wall -Werror -shared -fPIC -o "$work/shim.so" tests/faults/shim.c -ldl
fixture=tests/fixtures/clip-hf

# The two commands, and what they write undisturbed.
convert() { "${run[@]}" "$bin/ocelli-pack" convert $fixture --vision-only --precision fp32 -o "$1"; }
labels() { "${run[@]}" "$bin/ocelli" labels --model "$work/model.ocelli" --labels "a cat,a dog" -o "$1"; }
run=(env)
"$bin/ocelli-pack" convert $fixture --precision fp32 -o "$work/model.ocelli" >/dev/null 2>&1
for command in convert labels; do $command "$work/$command.good" >/dev/null 2>&1; done
echo "what was here before" >"$work/old"

fail() { echo "FAULT: $*"; cat "$work/err" 2>/dev/null || true; exit 1; }
temporary() { find "$1" -maxdepth 1 -name '.ocelli-*.tmp' | wc -l; }
# writes PID FOLDER: whether the process has a file of the folder open, which may have no name yet (O_TMPFILE).
writes() { [ -n "$(find "/proc/$1/fd" -lname "$2/*" 2>/dev/null)" ]; }
# whole COMMAND FILE: the old file or the whole new one.
whole() { cmp -s "$2" "$work/old" || cmp -s "$2" "$work/$1.good"; }

# killed COMMAND PIECE: kills at random moments of a slow run.
killed() {
    local command=$1 writing=0 i pid
    mkdir -p "$work/kill"
    local slow=(env LD_PRELOAD="$work/shim.so" FAULT_PIECE="$2" FAULT_PAUSE=4000)
    run=("${slow[@]}")
    local start=$(date +%s%N)
    $command "$work/kill/out" >/dev/null 2>&1
    local whole_run=$((($(date +%s%N) - start) / 1000))
    # `exec` gives the program the number that $! names.
    run=(exec "${slow[@]}")
    for ((i = 0; i < kills; i++)); do
        cp "$work/old" "$work/kill/out"
        $command "$work/kill/out" >/dev/null 2>&1 &
        pid=$!
        sleep "$(printf '0.%06d' $(((RANDOM * 32768 + RANDOM) % whole_run % 1000000)))"
        if writes $pid "$work/kill"; then writing=$((writing + 1)); fi
        kill -KILL $pid 2>/dev/null || true
        wait $pid 2>/dev/null || true
        whole "$command" "$work/kill/out" || fail "$command killed: the file is neither old nor new"
        rm -f "$work/kill"/.ocelli-*.tmp
    done
    run=(env)
    echo "$command: $kills kills, $writing of them while a file was being written: nothing lost"
    [ "$kills" -lt 20 ] || [ "$writing" -gt 0 ] || fail "no kill met a write: this proved nothing"
}

# broken COMMAND CALL ERRNO: each use of the call fails once.
broken() {
    local command=$1 call=$2 errno=$3 n=0 code
    mkdir -p "$work/broken"
    while :; do
        n=$((n + 1))
        cp "$work/old" "$work/broken/out"
        run=(env LD_PRELOAD="$work/shim.so" FAULT_CALL="$call" FAULT_ERRNO="$errno" FAULT_AT=$n)
        code=0
        $command "$work/broken/out" >/dev/null 2>"$work/err" || code=$?
        run=(env)
        whole "$command" "$work/broken/out" || fail "$command, $call $n fails with $errno: the file is neither old nor new"
        [ "$(temporary "$work/broken")" = 0 ] || fail "$command, $call $n fails with $errno: a temporary file is left"
        [ $code -ne 0 ] || break
        [ $code -le 2 ] && [ -s "$work/err" ] || fail "$command, $call $n fails with $errno: exit code $code"
        # A refused rename stays refused.
        [ "$call" != rename ] || break
    done
    cmp -s "$work/broken/out" "$work/$command.good" || [ "$call" = rename ] || fail "$command does not recover"
    echo "$command: $call fails with errno $errno, $((n - 1 + (code != 0))) times: reported, nothing lost"
}

# full COMMAND FOLDER PREFIX...: there is no room.
full() {
    local command=$1 folder=$2 code=0
    run=("${@:3}")
    $command "$folder/out" >/dev/null 2>"$work/err" || code=$?
    run=(env)
    cmp -s "$folder/out" "$work/old" || fail "$command without room: the old file is gone"
    [ $code -ne 0 ] || fail "$command without room: no error"
    echo "$command without room: exit code $code, $(tail -n 1 "$work/err" | cut -c 1-100)"
}

killed convert 16384
killed labels 8
for command in convert labels; do
    for errno in 28 5; do broken $command write $errno; done
    broken $command fsync 5
    broken $command rename 13
done
broken labels mmap 12

mkdir "$work/full" "$work/limit"
cp "$work/old" "$work/limit/out"
full convert "$work/limit" bash -c 'ulimit -f 64; exec "$@"' limited
if mount -t tmpfs -o size=256k none "$work/full" 2>/dev/null; then
    cp "$work/old" "$work/full/out"
    full convert "$work/full" env
    [ "$(temporary "$work/full")" = 0 ] || fail "a temporary file is left on the full disk"
    umount "$work/full"
else
    echo "no tmpfs may be mounted here: a full disk was tried by failing writes only"
fi
