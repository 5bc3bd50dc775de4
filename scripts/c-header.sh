#!/bin/bash
# Makes bindings/c/ocelli.h from the sources. Needs: cargo install cbindgen --locked --version (bindings/c/cbindgen.version)
set -euo pipefail
cd "$(dirname "$0")/.."
cbindgen bindings/c --crate ocelli-c --output bindings/c/ocelli.h
