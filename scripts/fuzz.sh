#!/usr/bin/env bash
# Fuzzes the doors for foreign bytes: fuzz.sh [SECONDS [TARGET...]], by default 5 seconds for each target of fuzz/.
# First every seed is replayed with the stable compiler, which needs nothing else. Fuzzing itself needs a nightly
# compiler and cargo-fuzz (cargo install cargo-fuzz --locked); without them it is left out, and that is said.
# What is found lies under fuzz/artifacts/TARGET: keep it, once it is fixed, under fuzz/seeds/TARGET.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-5}
targets=("${@:2}")

# The whole workspace and not one package: its features are those that everything is compiled with already.
if [ ${#targets[@]} -eq 0 ]; then
    cargo test --workspace --test seeds --locked
    mapfile -t targets < <(sed -n 's|^path = "targets/\(.*\)\.rs"|\1|p' fuzz/Cargo.toml)
else
    cargo test --workspace --test seeds --locked --no-run
fi
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "no nightly compiler with cargo-fuzz: the seeds were replayed, nothing was fuzzed"
    exit 0
fi
"${CARGO_TARGET_DIR:-target}/debug/seeds" fuzz/corpus

# Another folder, as sanitizers change every dependency; and no time for the optimisations of a release.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/fuzz CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
failed=()
for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    # A model file of a few KB may ask for much: more than 2 GiB in all, or a single input of 20 s, is a fault.
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" -- -max_total_time="$seconds" -timeout=20 \
        -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -verbosity=0 || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
