#!/bin/bash
# The Python package: built as a wheel, installed into a virtual environment of its own, type-checked and tested, also with
# random arguments; its results compared with the program's, bit by bit.
#
#   scripts/python-tests.sh [PYTEST ARGUMENTS]
#
# PROFILE=release tests that build. FUZZ=SECONDS fuzzes each door for so long with Atheris afterwards. PYTHON names the interpreter (python3). Needs PyPI; the environment stays in
# target/python/venv.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
profile=${PROFILE:-dev}

venv=$root/target/python/venv
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install -q -r bindings/python/requirements-tests.txt
cargo build --locked --profile "$profile" -p ocelli-cli
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
CARGO_TARGET_DIR=target/python "$venv/bin/maturin" build --locked --profile "$profile" \
    --manifest-path bindings/python/Cargo.toml --interpreter "$venv/bin/python" --out "$wheels"
"$venv/bin/pip" install -q --no-deps --force-reinstall "$wheels"/ocelli-*.whl
"$venv/bin/mypy" --strict bindings/python/python/ocelli
OCELLI_PROGRAM=$root/target/$([ "$profile" = dev ] && echo debug || echo "$profile")/ocelli \
    "$venv/bin/python" -m pytest -q bindings/python/tests "$@"
if [ -n "${FUZZ:-}" ]; then
    "$venv/bin/pip" install -q "atheris>=3"
    for target in $("$venv/bin/python" bindings/python/tests/fuzz.py --list); do
        echo "== $target, $FUZZ s"
        "$venv/bin/python" bindings/python/tests/fuzz.py "$target" -max_total_time="$FUZZ" -verbosity=0 -print_final_stats=1
    done
fi
