"""A plain float64 RetinaViT (arXiv 2403.13677) that shares nothing with the runtime: writes the fixture `retinavit`.

    python tests/oracles/retinavit.py tests/fixtures/retinavit

Needs numpy, torch (for the antialiased resize) and safetensors. There are no public weights: these are random. What is
taken from the paper: patches of an image pyramid go through one patch embedding, in steps of half a patch, and one
learned table for the finest level's patches serves all levels: a patch gets the mean of the embeddings of what it
covers, times its receptive field relative to a patch of the finest level.
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

SIDES, STRIDE, PATCH = [64, 40, 16], 8, 16
WIDTH, DEPTH, HEADS, HIDDEN, CLASSES, IMAGES = 48, 2, 3, 96, 5, 3
EPS = 1e-6


def weights(rng):
    def normal(*shape, scale=1.0):
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    def linear(name, n, k, gain=1.0):
        return {f"{name}.weight": normal(n, k, scale=gain / math.sqrt(k)), f"{name}.bias": normal(n, scale=0.2)}

    def norm(name):
        gamma = rng.uniform(0.5, 1.5, WIDTH).astype(np.float32)
        return {f"{name}.weight": gamma, f"{name}.bias": normal(WIDTH, scale=0.2)}

    grid = SIDES[0] // PATCH
    w = {
        "cls_token": normal(1, 1, WIDTH),
        "pos_embed": normal(1, 1 + grid * grid, WIDTH),
        "patch_embed.proj.weight": normal(WIDTH, 3, PATCH, PATCH, scale=1 / math.sqrt(3 * PATCH * PATCH)),
        "patch_embed.proj.bias": normal(WIDTH, scale=0.2),
        **norm("norm"),
        **linear("head", CLASSES, WIDTH),
    }
    for i in range(DEPTH):
        w |= norm(f"blocks.{i}.norm1") | norm(f"blocks.{i}.norm2")
        w |= linear(f"blocks.{i}.attn.qkv", 3 * WIDTH, WIDTH, 1.5) | linear(f"blocks.{i}.attn.proj", WIDTH, WIDTH)
        w |= linear(f"blocks.{i}.mlp.fc1", HIDDEN, WIDTH) | linear(f"blocks.{i}.mlp.fc2", WIDTH, HIDDEN)
    return w


def layer_norm(x, w, name):
    mean = x.mean(-1, keepdims=True)
    var = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + EPS) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def positions(table):
    """For every level and patch. Coverage is exact: the integral of the piecewise constant table over the patch."""
    grid = SIDES[0] // PATCH
    table = table.reshape(grid, grid, WIDTH)
    total = np.zeros((grid + 1, grid + 1, WIDTH))
    total[1:, 1:] = table.cumsum(0).cumsum(1)
    edges = np.arange(grid + 1) * PATCH

    def integral(y, x):
        """Over [0, y) x [0, x) of the finest level, in cells: linear between the edges along either axis."""
        def along(values, at):
            at = np.clip(at, 0, edges[-1]) / PATCH
            low = min(int(at), grid - 1)
            return values[low] * (1 - (at - low)) + values[low + 1] * (at - low)

        return along(along(total, y), x)

    rows = []
    for side in SIDES:
        field = SIDES[0] / side
        count = (side - PATCH) // STRIDE + 1
        for i in range(count):
            for j in range(count):
                y, x, reach = i * STRIDE * field, j * STRIDE * field, PATCH * field
                over = integral(y + reach, x + reach) - integral(y, x + reach) - integral(y + reach, x) + integral(y, x)
                mean = over / (reach / PATCH) ** 2
                rows.append(mean * field)
    return np.stack(rows)


def forward(w, pixels):
    out = {}
    patches = []
    for side in SIDES:
        level = torch.from_numpy(pixels)
        if side != SIDES[0]:
            level = torch.nn.functional.interpolate(level, size=(side, side), mode="bilinear", antialias=True)
        kernel, bias = (torch.from_numpy(w[f"patch_embed.proj.{end}"]) for end in ("weight", "bias"))
        embedded = torch.nn.functional.conv2d(level, kernel, bias, stride=STRIDE)
        patches.append(embedded.flatten(2).transpose(1, 2).numpy())
    table = w["pos_embed"][0]
    patches = np.concatenate(patches, 1) + positions(table[1:])
    x = np.concatenate([np.tile(w["cls_token"] + table[:1], (len(pixels), 1, 1)), patches], 1)
    out["vision.embeddings"] = x
    for i in range(DEPTH):
        qkv = linear(layer_norm(x, w, f"blocks.{i}.norm1"), w, f"blocks.{i}.attn.qkv")
        images, tokens = x.shape[:2]
        q, k, v = qkv.reshape(images, tokens, 3, HEADS, WIDTH // HEADS).transpose(2, 0, 3, 1, 4)
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(WIDTH // HEADS)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        attended = (scores / scores.sum(-1, keepdims=True)) @ v
        x = x + linear(attended.transpose(0, 2, 1, 3).reshape(images, tokens, WIDTH), w, f"blocks.{i}.attn.proj")
        hidden = linear(layer_norm(x, w, f"blocks.{i}.norm2"), w, f"blocks.{i}.mlp.fc1")
        hidden = hidden * 0.5 * (1 + torch.erf(torch.from_numpy(hidden / math.sqrt(2))).numpy())
        x = x + linear(hidden, w, f"blocks.{i}.mlp.fc2")
        out[f"vision.block.{i}"] = x
    x = layer_norm(x, w, "norm")
    out["vision.final_norm"] = x
    out["vision.pooled"] = x[:, 0]
    logits = linear(x[:, 0], w, "head")
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return out | {"logits": logits, "probs": exp / exp.sum(-1, keepdims=True)}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2403)
    w = weights(rng)
    # Smooth pictures, so that levels of the pyramid differ.
    pixels = rng.uniform(-1, 1, (IMAGES, 3, SIDES[0], SIDES[0]))
    pixels = pixels.cumsum(2).cumsum(3) / 20
    pixels = np.clip(pixels, -2, 2).astype(np.float32)
    expected = forward({name: tensor.astype(np.float64) for name, tensor in w.items()}, pixels.astype(np.float64))
    expected = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in expected.items()}
    save_file(w, folder / "model.safetensors", metadata={"format": "pt"})
    save_file({"pixel_values": pixels} | expected, folder / "expected.safetensors")
    config = {
        "architecture": "retinavit_tiny_patch16_64",
        "global_pool": "token",
        "label_names": ["tench", "goldfish", "great white shark", "tiger shark", "hammerhead shark"],
        "model_args": {
            "img_size": [SIDES[0]] * 2,
            "num_heads": HEADS,
            "pyramid": {"sides": SIDES, "stride": STRIDE},
        },
        "pretrained_cfg": {
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


main()
