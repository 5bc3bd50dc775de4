#!/usr/bin/env bash
# The downloads of ocelli-pack and of Python's huggingface_hub share a cache and a hub on loopback, and a download that is
# killed at many moments ends with the right files. Installs huggingface_hub into target/hub-venv unless OCELLI_PYTHON
# names a Python that has it; without Python or a package index those tests are skipped.
#
#   scripts/hub-interop.sh [KILLS]
set -euo pipefail
cd "$(dirname "$0")/.."

python=${OCELLI_PYTHON:-target/hub-venv/bin/python}
if [ -z "${OCELLI_PYTHON:-}" ] && ! "$python" -c "import huggingface_hub" 2>/dev/null; then
    python3 -m venv target/hub-venv && "$python" -m pip install --quiet "huggingface_hub==2.4.*" ||
        echo "no Python with venv, or no package index: the tests with huggingface_hub are skipped"
fi
[ ! -e "$python" ] || python=$(realpath --no-symlinks "$python")
OCELLI_PYTHON=$python OCELLI_KILLS=${1:-30} \
    cargo test --workspace --test hub --locked -- --nocapture --test-threads 2 interop kills
