#!/usr/bin/env bash
# The long form of a test that runs briefly in CI: serve-soak.sh [REQUESTS], by default 100,000 requests to `ocelli serve`, good,
# damaged, oversized and abandoned ones, from four clients. Every good one must be answered to the bit, and the server's
# memory, threads and descriptors must stay what they were.
set -euo pipefail
cd "$(dirname "$0")/.."
# What glibc's allocator keeps for later would hide what grows.
export MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=65536
OCELLI_SOAK_REQUESTS=${1:-100000} cargo test -p ocelli-cli --release --locked --test serve soak:: -- --nocapture
