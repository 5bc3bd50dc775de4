#!/usr/bin/env python3
"""Predicts the cycles that the longest loop of a function takes on a Cortex-A55.

    scripts/a55-cycles.py PROGRAM FUNCTION      such as ocelli_kernels::aarch64::dotprod::gemm_i8::run

Needs nm and objdump for AArch64 (binutils-aarch64-linux-gnu). The rules are those that ncnn measured on the core
(docs/developer-guide/arm-a53-a55-dual-issue.md): in order, two instructions a cycle; with a vector multiplication goes
one load of 64 bits, one insertion, or one instruction of general registers; a vector load of 128 bits goes alone and takes
two cycles for each register. Latencies: loads 3, insertions 3, multiplications 4 (1 from sum to sum's next product, as LLVM's
model of the core has it for the same instruction). Loads hit L1. A prediction, no measurement.
"""

import re
import subprocess
import sys


def lines(program, function):
    """The disassembled instructions of the function: address and text."""
    names = subprocess.run(["aarch64-linux-gnu-nm", "-C", "-S", program], capture_output=True, text=True, check=True).stdout
    for line in names.splitlines():
        if line.endswith(" " + function):
            start, size = (int(word, 16) for word in line.split()[:2])
            break
    else:
        sys.exit(f"{program} has no {function}")
    code = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", f"--start-address={start}",
         f"--stop-address={start + size}", program], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\s*([0-9a-f]+):\s+(.*)$", code, re.M)
    return [(int(address, 16), re.sub(r"\s*(<.*|//.*)", "", text)) for address, text in found]


def loop(code):
    """The instructions from the target of the longest backward branch to the branch."""
    best = []
    for at, (address, text) in enumerate(code):
        target = re.match(r"(?:b\.\w+|cbn?z\s+\w+,|tbn?z .*,)\s*([0-9a-f]+)$", text)
        if target and int(target[1], 16) < address:
            body = [text for place, text in code[:at + 1] if place >= int(target[1], 16)]
            best = max(best, body, key=len)
    return best or sys.exit("no loop")


def registers(words):
    """Names that do not depend on the width: v0 for d0 and q0, x0 for w0."""
    return [("v" if kind in "vqdshb" else "x") + number for kind, number in re.findall(r"\b([vqdshbxw])(\d+)\b", words)]


def parse(text):
    """(kind, written, read, latency) of an instruction."""
    name, _, rest = text.partition("\t")
    name, rest = (name, rest) if rest else (text.split()[0], text[len(text.split()[0]):])
    all_of = registers(rest)
    operands = rest.split(",")
    if name in ("ldr", "ldp", "ld1"):
        written = registers(rest.split("[")[0])
        wide = len(re.findall(r"\bq\d+", rest.split("[")[0]))
        return ("wide", written, registers(rest.split("[")[1]), 2 * wide + 2) if wide else ("load", written, registers(rest.split("[")[1]), 3)
    if name in ("mov", "ins") and re.search(r"v\d+\.d\[", operands[0]):
        return "insert", registers(operands[0]), all_of, 3
    if re.search(r"\bv\d+\.", rest):
        return "multiply", registers(operands[0]), all_of, 4
    if name in ("cmp", "tst") or name.startswith("b"):
        return "general", [], all_of, 1
    return "general", registers(operands[0]), registers(",".join(operands[1:])), 1


def cycles(body, turns):
    """Cycles of so many turns."""
    ready, cycle, before = {}, 0, None
    for _ in range(turns):
        for text in body:
            kind, written, read, latency = parse(text)
            accumulated = written[:1] if kind == "multiply" else []
            start = max([cycle] + [ready.get(r, 0) for r in read if r not in accumulated])
            for r in accumulated:
                start = max(start, ready.get(r, 0) - 3)
            pair = {before, kind}
            together = start == cycle and before is not None and "wide" not in pair and len(pair) == 2
            if not together:
                start = max(start, cycle + 1)
            before = None if together else kind
            cycle = start
            if kind == "wide":
                cycle, before = start + 2 * len(written) - 1, None
            for r in written:
                ready[r] = start + latency
    return cycle


body = loop(lines(*sys.argv[1:])) if len(sys.argv) == 3 else sys.exit(__doc__)
few, many = cycles(body, 10), cycles(body, 110)
products = sum(16 for text in body if text.startswith("sdot"))
print(f"{len(body)} instructions, {(many - few) / 100:.2f} cycles a turn (a prediction)"
      + (f", {products} products" if products else ""))
