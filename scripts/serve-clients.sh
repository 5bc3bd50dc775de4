#!/usr/bin/env bash
# The real clients of `ocelli serve`: Node's fetch, Python's openai, infinity-client, inference-sdk and schemathesis, Frigate's
# request, and the page in Chromium. Python's are installed under target/clients; Node and Chromium must be there, or are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=target/clients
wanted=cli/tests/serve/clients/requirements.txt
if ! cmp -s "$wanted" "$venv/installed.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet -r "$wanted"
    cp "$wanted" "$venv/installed.txt"
fi
OCELLI_CLIENTS_PYTHON=$PWD/$venv/bin/python cargo test --workspace --locked --test serve -- clients:: page:: --nocapture
