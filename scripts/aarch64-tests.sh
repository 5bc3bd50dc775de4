#!/bin/bash
# Builds the tests of the whole workspace for 64-bit ARM once and runs them under QEMU, two at a time: kernels on every kind
# of core, everything else on one or two.
#
#   scripts/aarch64-tests.sh
#
# Prints what each took, and what failed with its output. JOBS=N runs N at a time. LONG=1 runs also what takes minutes here
# and is least about the CPU: unit tests of the programs, the program's tests of photo indexes and of videos, and the equality
# of bits for all models instead of two.
set -euo pipefail
cd "$(dirname "$0")/.."

cpus=(cortex-a53 cortex-a72 cortex-a76 max)
# Kernels. Everything else runs on the last CPU, which has every tier, and what must hold without any extension (accuracy of
# the image towers, no allocation) on the first too: what lies between differs in kernels alone.
on_every_cpu='/ocelli_kernels-[0-9a-f]+$'
on_the_first='/(parity_vision|zero_alloc)-[0-9a-f]+$'
# Conversion, evaluation and downloads are for the computer where checkpoints are converted, and take ten minutes here. The
# tests of `ocelli serve` expect answers in the time that a real CPU takes, as do those of `ocelli watch` but for videos.
elsewhere='/(hub|convert|eval|calibration|ocelli_pack|serve)-[0-9a-f]+$'

if [ -n "${LONG:-}" ]; then
  what=(--workspace)
else
  # Without the features that only speak to a network: they cost much to compile, and are no different on another CPU.
  elsewhere="$elsewhere|/watch-[0-9a-f]+$"
  what=(-p ocelli-kernels -p ocelli -p ocelli-index -p ocelli-c -p ocelli-tests -p ocelli-cli --lib --test '*'
    --no-default-features --features ocelli-kernels/std,ocelli/std,ocelli-cli/index,ocelli-cli/watch)
  export OCELLI_DETERMINISM_FIXTURES=2
fi

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
scripts/aarch64.sh test "${what[@]}" --locked --no-run 2>&1 | tee "$logs/build"
# Cargo names what it built: "  Executable tests/cli/main.rs (target/…/cli-0123456789abcdef)"
mapfile -t tests < <(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$logs/build")
((${#tests[@]} > 10)) || { echo "only ${#tests[@]} test programs were built" >&2; exit 1; }

run_one() {
  local cpu=$1 program=$2 log start=$SECONDS status=passed
  log=$logs/$(basename "$program")-$cpu
  # Tests that start the command itself find the emulator where Cargo would have put it.
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L / -cpu $cpu"
  local chosen=()
  [[ ! $program =~ /watch- ]] || chosen=(video::)
  [[ -n "${LONG:-}" || ! $program =~ /cli- ]] || chosen=(--skip index::)
  # One test at a time per program: two programs run already.
  RUST_TEST_THREADS=1 timeout 1200 $CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER "$program" "${chosen[@]}" >"$log" 2>&1 ||
    status=FAILED
  local name passed
  name=$(basename "${program%-*}")
  passed=$(sed -n 's/^test result: .* \([0-9]* passed\).*/\1/p' "$log")
  # No word of the result: the program did not end as a test program does.
  [ -n "$passed" ] || status=FAILED
  printf '%5d s  %-10s  %-20s %s %s\n' $((SECONDS - start)) "$cpu" "$name" "$status" "$passed"
  [ $status = passed ] || { tail -40 "$log"; return 1; }
}
export -f run_one
export logs

# A program's absolute path: tests run where Cargo would run them, or name their files absolutely.
jobs=()
for cpu in "${cpus[@]}"; do
  for program in "${tests[@]}"; do
    [[ $program =~ $elsewhere ]] && continue
    if [[ $cpu = "${cpus[-1]}" || $program =~ $on_every_cpu || $cpu = "${cpus[0]}" && $program =~ $on_the_first ]]; then
      jobs+=("$cpu" "$PWD/${program#"$PWD/"}")
    fi
  done
done
printf '%s\n' "${jobs[@]}" | xargs -d '\n' -n 2 -P "${JOBS:-2}" bash -c 'run_one "$@"' run_one
