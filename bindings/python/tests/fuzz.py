"""Fuzzes the package with Atheris, led by what its Python code covers:

    fuzz.py TEST [LIBFUZZER OPTION...]      TEST is one of test_fuzz.py without "test_", or --list
"""

import sys

import atheris

with atheris.instrument_imports(include=["ocelli"]):
    import ocelli  # noqa: F401
import test_fuzz

TESTS = {name.removeprefix("test_"): test for name, test in vars(test_fuzz).items() if name.startswith("test_")}

name = sys.argv.pop(1) if len(sys.argv) > 1 else "--list"
if name == "--list":
    print("\n".join(TESTS))
elif name in TESTS:
    atheris.Setup(sys.argv, TESTS[name].hypothesis.fuzz_one_input)
    atheris.Fuzz()
else:
    sys.exit(f"no test {name}: {', '.join(TESTS)}")
