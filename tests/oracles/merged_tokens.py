"""Token merging in plain float64, sharing nothing with the runtime: writes the fixture `merged`.

    ocelli-pack convert tests/fixtures/NAME -o FOLDER/NAME.ocelli --precision fp32 --vision-only     for each NAME below
    python tests/oracles/merged_tokens.py FOLDER tests/fixtures/merged

Needs numpy and safetensors. The blocks start from what the fixtures say goes into them (`vision.pre_norm`, or
`vision.embeddings`) and read their weights from the packed files with read_ocelli.py. Each model is first run without
merging and held to the fixture's own stages, so that the formulas are those of its library.

Merging is that of ToMe (arXiv 2210.09461) with tokens that keep their order: after attention every other token of a
patch (the first, the third ...) finds the one among the rest whose key, the mean over the heads, has the largest cosine
with its own; those with the largest cosines are averaged into theirs, weighted by how many patches each stands for; and
keys get the logarithm of that number in every later softmax.
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file

# Name, and (most, first, power): class token with a pre-norm and three blocks, class token, attention head, mean.
CASES = [("clip-hf", (5, 0, 1)), ("dinov2-hf", (9, 0, 0)), ("siglip-hf", (6, 0, 0)), ("simplevit", (7, 0, 0))]
ACTS = {
    1: lambda x: x / (1 + np.exp(-1.702 * x)),
    2: lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    3: lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}


def read(model):
    with tempfile.NamedTemporaryFile() as values:
        reader = pathlib.Path(__file__).parent / "read_ocelli.py"
        report = json.loads(subprocess.check_output([sys.executable, reader, model, "--values", values.name]))
        flat = np.fromfile(values.name, "<f4").astype(np.float64)
    tensors, at = {}, 0
    for name, _, _, n, k in report["tensors"]:
        tensors[name] = flat[at:at + n * k].reshape(n, k) if k > 1 else flat[at:at + n]
        at += n * k
    return report["config"], tensors


class Tower:
    def __init__(self, model):
        self.config, self.w = read(model)

    def get(self, name):
        return self.config["vision.tower." + name]

    def norm(self, x, name):
        mean = x.mean(-1, keepdims=True)
        scaled = (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + self.get("norm_eps"))
        return scaled * self.w[name + ".weight"] + self.w[name + ".bias"]

    def linear(self, x, name):
        return x @ self.w[name + ".weight"].T + self.w.get(name + ".bias", 0.0)

    def attend(self, q, k, v, sizes):
        scores = q @ k.T / math.sqrt(q.shape[-1]) + np.log(sizes)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True) @ v

    def mlp(self, x, name):
        return self.linear(ACTS[self.get("act")](self.linear(x, name + ".fc1")), name + ".fc2")

    def merge(self, x, sizes, keys, count, prefix):
        """One image: x [tokens, width], keys [tokens, head_dim]."""
        keys = keys / np.linalg.norm(keys, axis=-1, keepdims=True)
        even, odd = range(prefix, len(x), 2), range(prefix + 1, len(x), 2)
        likeness = keys[list(even)] @ keys[list(odd)].T
        chosen = sorted(range(len(even)), key=lambda i: -likeness[i].max())[:count]
        sums, gone = x * sizes[:, None], set()
        sizes = sizes.copy()
        for i in chosen:
            to = odd[int(likeness[i].argmax())]
            sums[to] += sums[even[i]]
            sizes[to] += sizes[even[i]]
            gone.add(even[i])
        kept = [i for i in range(len(x)) if i not in gone]
        return (sums / sizes[:, None])[kept], sizes[kept]

    def run(self, x, merging):
        """One image's stages: the output of every block, the final norm's, the pooled vector."""
        most, first, power = merging
        depth, heads, prefix = self.get("depth"), self.get("heads"), self.config["vision.prefix_tokens"]
        sizes, stages = np.ones(len(x)), {}
        for i in range(depth):
            name = f"vision.block.{i}"
            qkv = self.linear(self.norm(x, name + ".norm1"), name + ".qkv")
            q, k, v = (part.reshape(len(x), heads, -1).transpose(1, 0, 2) for part in np.split(qkv, 3, axis=-1))
            attended = [self.attend(q[h], k[h], v[h], sizes) for h in range(heads)]
            x = x + self.linear(np.concatenate(attended, axis=-1), name + ".out")
            if first <= i < depth - 1:
                wanted = math.floor(most * ((i - first + 1) / (depth - 1 - first)) ** power + 0.5)
                count = min(wanted, (len(x) - prefix) // 2)
                x, sizes = self.merge(x, sizes, k.mean(0), count, prefix)
            x = x + self.mlp(self.norm(x, name + ".norm2"), name)
            stages[f"vision.block.{i}"] = x
        if "vision.final_norm.weight" in self.w:
            x = self.norm(x, "vision.final_norm")
            stages["vision.final_norm"] = x
        stages["vision.pooled"] = self.pool(x, sizes, heads, prefix)
        return stages

    def pool(self, x, sizes, heads, prefix):
        pooling = self.get("pooling")
        if pooling == 1:
            return x[0]
        if pooling in (2, 3):
            first = prefix if pooling == 2 else 0
            return (x * sizes[:, None])[first:].sum(0) / sizes[first:].sum()
        assert pooling == 4
        k, v = (part.reshape(len(x), heads, -1).transpose(1, 0, 2)
                for part in np.split(self.linear(x, "vision.head.kv"), 2, axis=-1))
        q = self.w["vision.head.query"].reshape(heads, 1, -1)
        y = self.linear(np.concatenate([self.attend(q[h], k[h], v[h], sizes)[0] for h in range(heads)]), "vision.head.out")
        return y + self.mlp(self.norm(y, "vision.head.norm"), "vision.head")


def main(folder, out):
    fixtures, written = pathlib.Path(out).parent, {}
    for name, merging in CASES:
        tower = Tower(pathlib.Path(folder) / f"{name}.ocelli")
        expected = load_file(fixtures / name / "expected.safetensors")
        start = expected.get("vision.pre_norm", expected["vision.embeddings"]).astype(np.float64)
        for schedule in [(0, 0, 0), merging]:
            images = [tower.run(x, schedule) for x in start]
            for stage in images[0]:
                values = np.stack([image[stage] for image in images])
                if schedule == merging:
                    written[f"{name}.{stage}"] = values.astype(np.float32)
                elif stage in expected:
                    off = np.abs(values - expected[stage]).max() / np.abs(expected[stage]).max()
                    assert off < 1e-5, (name, stage, off)
    pathlib.Path(out).mkdir(exist_ok=True)
    save_file(written, pathlib.Path(out) / "expected.safetensors")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
