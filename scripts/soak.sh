#!/usr/bin/env bash
# The long form of tests that run briefly in CI: soak.sh [FRAMES [ROUNDS]], by default 20,000 frames through one encoder
# with flat memory, threads and descriptors, and 4,000 random shapes of each kernel between guard pages. Takes long.
set -euo pipefail
cd "$(dirname "$0")/.."
OCELLI_SOAK_FRAMES=${1:-20000} cargo test -p ocelli-tests --release --locked --test soak -- --nocapture
OCELLI_GUARD_ROUNDS=${2:-4000} cargo test -p ocelli-tests --release --locked --test guard_pages -- --nocapture
