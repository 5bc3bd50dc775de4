"""A reader of packed files, written from docs/FORMAT.md alone, with the standard library of Python 3.9 or later.

    python3 read_ocelli.py MODEL                 one line of JSON: configuration, tensors
    python3 read_ocelli.py MODEL --values FILE   the same, and all values as f32, little-endian, row by row, in FILE

With the package `xxhash` checksums are checked too; "checksums" in the output says whether they were.
"""

import array
import json
import struct
import sys

try:
    from xxhash import xxh3_64_intdigest
except ImportError:
    xxh3_64_intdigest = None

TYPES = {1: ("i8", "b", 1), 2: ("f16", "e", 2), 3: ("f32", "f", 4)}
LAYOUTS = {1: "vector", 2: "table", 3: "panels"}
SECTIONS = {1: "CONFIG", 2: "TENSORS", 3: "STRINGS", 4: "TOKENIZER", 5: "PROVENANCE", 6: "BANK", 7: "DATA", 8: "LABELS"}

TOWER = [
    ("width", "I"), ("depth", "I"), ("heads", "I"), ("head_dim", "I"), ("mlp_width", "I"), ("act", "I"),
    ("norm_eps", "f"), ("pooling", "I"), ("features", "I"), ("project_hidden", "I"), ("merge_most", "I"), ("merge_first", "I"),
    ("merge_power", "I"), ("reserved", "3I"),
]
CONFIG = (
    [("vision.tower." + name, code) for name, code in TOWER]
    + [("vision." + name, "I") for name in (
        "patch", "height", "width", "prefix_tokens", "position", "grid_rows", "grid_cols", "interpolation",
        "position_prefix", "rope")]
    + [("vision.rope_theta", "f"), ("vision.rope_rows", "I"), ("vision.rope_cols", "I"),
       ("vision.sincos_temperature", "f"), ("vision.max_patches", "I"), ("vision.pyramid_stride", "I"),
       ("vision.pyramid", "6I"), ("vision.pool_heads", "I"), ("vision.pool_mlp_width", "I")]
    + [("text.tower." + name, code) for name, code in TOWER]
    + [("text." + name, "I") for name in ("vocab", "context", "causal", "eos", "pad", "padded", "canonical")]
    + [("text.reserved", "9I")]
    + [("preprocess." + name, "I") for name in ("mode", "filter", "resampler", "crop_rounding", "alpha", "shortest")]
    + [("preprocess.mean", "3f"), ("preprocess.std", "3f"), ("preprocess.reserved", "8I")]
    + [("score.kind", "I"), ("score.embed_dim", "I"), ("score.logit_scale", "f"), ("score.logit_bias", "f"),
       ("score.classes", "I"), ("score.reserved", "3I"), ("checkpoint_id", "16s")]
)


def check(condition, problem):
    if not condition:
        sys.exit(f"read_ocelli.py: {problem}")


def check_sum(data, expected, what):
    check(xxh3_64_intdigest is None or xxh3_64_intdigest(data) == expected, f"{what} is damaged")


def pad(count, multiple):
    return -(-count // multiple) * multiple


def sections(file):
    magic, version, endian, length, count, file_len, nr, group, align, signed = struct.unpack_from("<8sIIIIQIIII", file)
    check(magic == b"\x8aOCELLI\n" and version == 1 and endian == 0x01020304, "not a packed file of version 1")
    check((length, nr, group, align, signed) == (320, 16, 4, 16, 1), "another layout")
    check(file_len == len(file) and count <= 8, "cut off, or too many sections")
    check_sum(file[:312], struct.unpack_from("<Q", file, 312)[0], "the header")
    found, end = {}, 320
    for i in range(count):
        kind, reserved, start, size, checksum = struct.unpack_from("<IIQQQ", file, 56 + 32 * i)
        check(kind in SECTIONS and reserved == 0 and start == pad(end, 64) and size > 0, f"section {i} is wrong")
        end = start + size
        found[SECTIONS[kind]] = file[start:end]
        if kind != 7:
            check_sum(found[SECTIONS[kind]], checksum, SECTIONS[kind])
    check(end == len(file) and list(found)[-1] == "DATA", "DATA is not the end of the file")
    return found


def read_config(data):
    config, offset = {}, 0
    for name, code in CONFIG:
        values = struct.unpack_from("<" + code, data, offset)
        offset += struct.calcsize("<" + code)
        value = values[0] if len(values) == 1 else list(values)
        config[name] = value.hex() if isinstance(value, bytes) else value
    check(offset == len(data), "CONFIG has another size")
    return config


def index(layout, dtype, k, row, column):
    if layout != "panels":
        return row * k + column
    panel = row // 16 * 16 * pad(k, 16)
    if dtype == "i8":
        return panel + column // 4 * 64 + row % 16 * 4 + column % 4
    return panel + column * 16 + row % 16


def tensors(found):
    """Name, type, layout, n, k and the values of each tensor."""
    table, strings, data = found["TENSORS"], found["STRINGS"], found["DATA"]
    for start in range(0, len(table), 96):
        entry = struct.unpack_from("<8I8Q", table, start)
        name_offset, name_len, dtype, layout, n, k = entry[:6]
        at, size, scales_at, scales_len, sums_at, sums_len, checksum = entry[8:15]
        name = strings[name_offset:name_offset + name_len].decode()
        check_sum(data[at:max(at + size, scales_at + scales_len, sums_at + sums_len)], checksum, name)
        (dtype, code, width), layout = TYPES[dtype], LAYOUTS[layout]
        stored = struct.unpack_from(f"<{size // width}{code}", data, at)
        scales = struct.unpack_from(f"<{scales_len // 4}f", data, scales_at)
        values = array.array("f")
        for row in range(n):
            elements = (stored[index(layout, dtype, k, row, column)] for column in range(k))
            values.extend(value * scales[row] for value in elements) if scales else values.extend(elements)
        yield name, dtype, layout, n, k, values


def main(path, values_path=None):
    with open(path, "rb") as file:
        found = sections(file.read())
    listing = []
    out = open(values_path, "wb") if values_path else None
    for name, dtype, layout, n, k, values in tensors(found):
        listing.append([name, dtype, layout, n, k])
        if out:
            if sys.byteorder == "big":
                values.byteswap()
            out.write(values.tobytes())
    if out:
        out.close()
    report = {"config": read_config(found["CONFIG"]), "tensors": listing, "checksums": xxh3_64_intdigest is not None}
    print(json.dumps(report))


if __name__ == "__main__":
    check(len(sys.argv) == 2 or (len(sys.argv) == 4 and sys.argv[2] == "--values"), "MODEL [--values FILE]")
    main(sys.argv[1], *sys.argv[3:4])
