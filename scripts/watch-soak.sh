#!/usr/bin/env bash
# The long form of a test that runs briefly in CI: watch-soak.sh [FRAMES], by default 200,000 raw frames (a day at more than two per
# second) and a quarter as many JPEG pictures through `ocelli watch`. Every scene must enter and leave at its frame, and
# memory, threads and descriptors must stay what they were.
set -euo pipefail
cd "$(dirname "$0")/.."
# What glibc's allocator keeps for later would hide what grows.
export MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=65536
OCELLI_SOAK_WATCH_FRAMES=${1:-200000} cargo test -p ocelli-cli --release --locked --test watch soak:: -- --nocapture
