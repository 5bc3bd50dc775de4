#!/usr/bin/env bash
# What a busy CPU costs: the image tower with one thread and with two, then with two while a loop holds CPU 1.
#
#   scripts/busy-core.sh MODEL [OCELLI...]
#
# Several programs (another commit's, say) are timed in turn. Prints the median milliseconds of each round; ROUNDS=N rounds
# of ITERS=N images.
set -euo pipefail
model=${1:?"the model to time"}
shift
[ $# -gt 0 ] || set -- "$(dirname "$0")/../target/release/ocelli"

# median PROGRAM THREADS
median() {
  "$1" profile --quiet --model "$model" --threads "$2" --iters "${ITERS:-12}" --json | sed -n 's/.*"p50_ms":\([0-9.]*\).*/\1/p'
}
busy=
trap '[ -z "$busy" ] || kill "$busy"' EXIT
printf '%-8s' round
for program; do printf '  %-40s' "$program: 1, 2, 2 and a busy CPU"; done
for round in $(seq "${ROUNDS:-5}"); do
  printf '\n%-8s' "$round"
  for program; do
    one=$(median "$program" 1)
    two=$(median "$program" 2)
    taskset -c 1 sh -c 'while :; do :; done' &
    busy=$!
    printf '  %-40s' "$one $two $(median "$program" 2)"
    kill "$busy"
    wait "$busy" 2>/dev/null || true
    busy=
  done
done
echo
