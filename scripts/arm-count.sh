#!/bin/bash
# Counts what the AArch64 kernels cost, in instructions per multiply-accumulate (MAC), and of the search in an index per row of
# 512 codes, and fails where a limit of scripts/arm-limits.txt is exceeded. No board is needed and nothing is timed.
#
#   ARM_COUNT=FOLDER scripts/arm-count.sh [--encoder]
#
# FOLDER holds the counter: `arm-count.sh -cpu CPU -region [-macs N] [-mca CPUS] PROGRAM ARGS...`, and `setup.sh`, which
# installs what it needs. With --encoder (a minute more) the whole int8 image tower of CLIP ViT-B/16 too, normalised
# pixels to embedding: it is counted with two blocks and with three; the difference is one block, of which the tower
# has ten more. Cycles and milliseconds are predictions of llvm-mca (every load hits L1, no branch is mispredicted),
# not measurements.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${ARM_COUNT:?names the folder of the counter}"
case "$*" in
  "" | --encoder) ;;
  *) echo "usage: ARM_COUNT=FOLDER scripts/arm-count.sh [--encoder]" >&2; exit 2 ;;
esac

for tool in qemu-aarch64 llvm-mca-22 aarch64-linux-gnu-objdump python3; do
  command -v $tool >/dev/null || { bash "$ARM_COUNT/setup.sh" >&2; break; }
done
# Every function on a page of its own: the emulator cuts a loop that lies on two pages in two, whose halves llvm-mca then
# takes for loops, and predicts 17 % more cycles for the tower where that happens to a micro-kernel.
RUSTFLAGS="-C llvm-args=-align-all-functions=12" scripts/aarch64.sh build --release --locked -p ocelli-arm-count
programs=${CARGO_TARGET_DIR:-target/aarch64}/aarch64-unknown-linux-gnu/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# limit TIER CPU: the line of the limits that names both.
limit() {
  awk -v tier="$1" -v cpu="$2" '$1 == tier && $2 == cpu { print $3 }' scripts/arm-limits.txt
}

# judge WHAT TIER CPU VALUE [UNIT]
judge() {
  local most verdict
  most=$(limit "$2" "$3")
  verdict=$(awk -v value="$4" -v most="$most" 'BEGIN {
    if (!(value > 0 && most > 0)) print "NOTHING COUNTED"
    else print (value <= most) ? "ok" : "EXCEEDED"
  }')
  printf '%-12s %-11s %-14s %s %s, limit %s: %s\n' "$2" "$3" "$1" "$4" "${5:-instructions/MAC}" "$most" "$verdict"
  [ "$verdict" = ok ] || failed=1
}

# count CPU ARGS...: the counter's report; it fails if the program did.
count() {
  bash "$ARM_COUNT/arm-count.sh" -cpu "$1" -region -top 0 "${@:2}" 2>"$work/said"
}

while read -r tier cpu _; do
  for shape in "768 768" "2304 768" "3072 768" "768 3072"; do
    read -r n k <<<"$shape"
    value=$(count "$cpu" -macs $((197 * n * k)) "$programs/gemm_region" "$tier" 197 "$n" "$k" |
      sed -n 's/^nominal.*: \([0-9.]*\) instr.*/\1/p')
    judge "197x${n}x$k" "$tier" "$cpu" "$value"
  done
done < <(grep -vE '^(#|encoder|cycles|scan)' scripts/arm-limits.txt)

# The difference of two numbers of rows: what a scan does once is left out.
while read -r tier cpu _; do
  [[ $tier =~ ^scan([12])-(.*)$ ]]
  queries=${BASH_REMATCH[1]} isa=${BASH_REMATCH[2]}
  for rows in 1024 3072; do
    count "$cpu" "$programs/scan_region" "$isa" $rows 512 "$queries" | sed -n 's/^TOTAL \([0-9]*\) .*/\1/p'
  done >"$work/counts"
  value=$(awk 'NR == 1 { first = $1 } NR == 2 { print ($1 - first) / 2048 }' "$work/counts")
  judge "scan of 512, $queries" "$tier" "$cpu" "$value" instructions/row
done < <(grep '^scan' scripts/arm-limits.txt)

[ "${1:-}" = --encoder ] || exit $failed

# The whole workspace and not one package: its features are those that everything is compiled with already.
host=${CARGO_TARGET_DIR:-target}/debug
cargo build -q --workspace --locked --example random_clip --bin ocelli-pack
for blocks in 2 3; do
  "$host/examples/random_clip" "$work/$blocks" $blocks
  "$host/ocelli-pack" convert "$work/$blocks" -o "$work/$blocks.ocelli" \
    --precision int8 --vision-only >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
done
# core, its model in llvm-mca, the board that has it, its clocks in GHz
for board in "cortex-a72 a72 Pi-4 1.5 1.8" "cortex-a76 a76 Pi-5 2.4"; do
  read -r cpu model name clocks <<<"$board"
  for blocks in 2 3; do
    count "$cpu" -mca "$model" "$programs/encoder_region" "$work/$blocks.ocelli" >"$work/report"
    sed -n 's/^TOTAL \([0-9]*\) .*/\1/p' "$work/report"
    sed -n 's/^\([0-9]*\) MACs.*/\1/p' "$work/said"
    sed -n 's/^-- llvm-mca .*: \([0-9]*\) cycles.*/\1/p' "$work/report"
  done >"$work/counts"
  # Instructions, MACs and cycles with two blocks, then with three.
  read -r -d '' -a c <"$work/counts" || true
  [ ${#c[@]} = 6 ] || { echo "the counter said something else than expected" >&2; cat "$work/report" >&2; exit 1; }
  whole() { echo $((c[$1] + 10 * (c[$1 + 3] - c[$1]))); }
  per_mac() { awk -v i="$(whole "$1")" -v m="$(whole 1)" 'BEGIN { printf "%.5f", i / m }'; }
  judge "pixels to embedding" encoder "$cpu" "$(per_mac 0)"
  judge "pixels to embedding" cycles "$cpu" "$(per_mac 2)" "predicted cycles/MAC"
  for ghz in $clocks; do
    awk -v cycles="$(whole 2)" -v macs="$(whole 1)" -v ghz="$ghz" -v name="${name/-/ }" 'BEGIN {
      ms = cycles / ghz / 1e6
      printf "  PREDICTION, not measured: %s at %.1f GHz: %.2f G cycles for %.2f GMAC, %.0f ms on one core, %.0f ms on four if they scale ideally\n",
        name, ghz, cycles / 1e9, macs / 1e9, ms, ms / 4
    }'
  done
done
exit $failed
