#!/bin/bash
# The Python package as the workspace builds it: type-checked and tested, also with random arguments; its results compared
# with the program's, bit by bit. The wheel itself is tested by package-tests.sh.
#
#   scripts/python-tests.sh [PYTEST ARGUMENTS]
#
# PROFILE=release tests that build. FUZZ=SECONDS fuzzes each door for so long with Atheris afterwards. PYTHON names the
# interpreter (python3), VENV a virtual environment to use instead of one in target/python-tests. Needs PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
profile=${PROFILE:-dev}

venv=${VENV:-$root/target/python-tests/venv}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install -q -r bindings/python/requirements-tests.txt
cargo build --workspace --locked --profile "$profile"
built=$root/target/$([ "$profile" = dev ] && echo debug || echo "$profile")

# The package as the wheel has it.
package=$root/target/python-tests/package
rm -rf "$package"
mkdir -p "$package"
cp -r bindings/python/python/ocelli "$package"
cp "$built/lib_native.so" "$package/ocelli/_native.abi3.so"
export PYTHONPATH=$package

"$venv/bin/mypy" --strict bindings/python/python/ocelli
OCELLI_PROGRAM=$built/ocelli "$venv/bin/python" -m pytest -q bindings/python/tests "$@"
if [ -n "${FUZZ:-}" ]; then
    "$venv/bin/pip" install -q "atheris>=3"
    for target in $("$venv/bin/python" bindings/python/tests/fuzz.py --list); do
        echo "== $target, $FUZZ s"
        "$venv/bin/python" bindings/python/tests/fuzz.py "$target" -max_total_time="$FUZZ" -verbosity=0 -print_final_stats=1
    done
fi
