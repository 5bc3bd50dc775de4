#!/bin/bash
# Changes one expression at a time and runs the tests, which should notice: what survives is not tested.
#
#   scripts/mutants.sh [FILE...]        such as kernels/src/matrix.rs; everything listed below if none is named
#
# Needs cargo-mutants: cargo install cargo-mutants --locked. Writes mutants.out/; a mutant takes about ten seconds, so
# everything takes hours. TESTS narrows the kernels' tests: TESTS="matrix pack" scripts/mutants.sh kernels/src/matrix.rs
# SHARD takes a sample of all, one in so many: SHARD=17/40 scripts/mutants.sh 'kernels/src/**/*.rs'
#
# Of matrix.rs and most of pack/rhs.rs (cargo-mutants 27.1, 110 mutants that compile): 96 caught, 7 endless loops stopped, 7
# missed. Of those, three (views that cut a block, the position of an element) got tests; four change speed alone (a matrix
# that is never found to lie in blocks is finished panel by panel, with the same bits; a wrong stride of cache hints).
#
# Of all kernels (1,112 mutants), the first 22 of the sample above, with their library's tests on AVX2: 2 do not compile, 16
# caught, 4 missed. Two of those are in code that x86 does not run (whether there is I8MM; f16 operands), one is how much is
# asked for early, one a name that is only printed: none gave a test. Of scores (255 mutants), the first,
# until it was stopped: 45 caught, 3 missed. Two of these got tests, the third showed a label that was set twice.
#
# Of format (839) and of preprocessing (1,261), 60 each, drawn at random, with the tests of both packages that are about them
# (cargo mutants --list --json --diff has a patch for each; most of these tests are in tests/, which cargo-mutants runs for a
# mutant of another package with everything else only): 16 do not compile, 85 caught, 19 missed. Eleven of the missed got tests
# (places that errors name, chunks behind a PNG's end, JPEG markers without a length, limits at their edge, sizes that are only
# reported); three give the same result (a weight of 0, choices between equals); one (the patch stem)
# is caught by a test that was not among those; four are estimates of memory and words of a message.
set -euo pipefail
cd "$(dirname "$0")/.."

files=("$@")
[ $# -gt 0 ] || files=('kernels/src/**/*.rs' 'src/format/**/*.rs' 'src/preprocess/**/*.rs' 'src/score/**/*.rs')
export RUST_BACKTRACE=0
# Micro-kernels of another architecture are not compiled; instructions asked for early change no result.
exclude=(--exclude 'kernels/src/aarch64/**' --exclude kernels/src/prefetch.rs --exclude-re '::prefetch|impl .*Debug')
args=()
for file in "${files[@]}"; do args+=(--file "$file"); done
[ -z "${SHARD:-}" ] || args+=(--sharding round-robin --shard "$SHARD")
# shellcheck disable=SC2086
exec cargo mutants --workspace --iterate --jobs 1 --timeout "${TIMEOUT:-60}" --no-shuffle "${exclude[@]}" "${args[@]}" -- ${TESTS:+--lib -- $TESTS}
