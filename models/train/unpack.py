#!/usr/bin/env python3
"""Takes a finished model apart again, so that training goes on from what was committed.

    python models/train/unpack.py models/demo.ocelli WORK --backbone DIR --first 9

WORK/unpacked becomes a backbone: DIR with the model's own trained blocks. WORK/start.pt has the blocks from `--first` on, the norm and
the projections, for `train.py --start`. int8 weights are taken as they are in the file; packed again they give the same codes.
"""

import argparse
import math
import shutil
import sys
from pathlib import Path

import torch
from export import RENAMED
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/oracles"))
import read_ocelli  # noqa: E402

PARTS = {
    "norm1": ["norm1"],
    "qkv": ["attention.attention.query", "attention.attention.key", "attention.attention.value"],
    "out": ["attention.output.dense"],
    "norm2": ["norm2"],
    "fc1": ["mlp.fc1"],
    "fc2": ["mlp.fc2"],
}
MODULES = {stored: module for module, stored in RENAMED.items()}
SCALES = {"out": "layer_scale1", "fc2": "layer_scale2"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--trained", type=int, default=8, help="the first block that was trained before")
    parser.add_argument("--first", type=int, default=9, help="the first block that is trained next")
    args = parser.parse_args()
    found = read_ocelli.sections(args.model.read_bytes())
    config = read_ocelli.read_config(found["CONFIG"])
    of = {}
    for name, _, _, n, k, values in read_ocelli.tensors(found):
        if name.startswith("vision.") or ".project." in name:
            of[name] = torch.tensor(values).view(n, k).squeeze(1) if k == 1 else torch.tensor(values).view(n, k)
    last = config["vision.tower.depth"]
    backbone = load_file(args.backbone / "model.safetensors")
    start = {
        "norm.weight": of["vision.final_norm.weight"],
        "norm.bias": of["vision.final_norm.bias"],
        "image.weight": of["vision.project.weight"],
        "text.weight": of["text.project.weight"],
        "logit_scale": torch.tensor(math.log(config["score.logit_scale"])),
    }
    for i in range(args.trained, last):
        for part, names in PARTS.items():
            for kind in ["weight", "bias"]:
                value = of[f"vision.block.{i}.{part}.{kind}"]
                if part in SCALES:
                    # LayerScale is part of these rows in the file.
                    scale = backbone[f"encoder.layer.{i}.{SCALES[part]}.lambda1"]
                    value = value / (scale if value.dim() == 1 else scale[:, None])
                for name, rows in zip(names, value.chunk(len(names))):
                    backbone[f"encoder.layer.{i}.{name}.{kind}"] = rows.contiguous().clone()
                    start[f"blocks.{i - args.first}.{MODULES.get(name, name)}.{kind}"] = rows.clone()
        for scale in SCALES.values():
            start[f"blocks.{i - args.first}.{scale}.lambda1"] = backbone[f"encoder.layer.{i}.{scale}.lambda1"]
    start = {key: value for key, value in start.items() if not key.startswith("blocks.-")}
    folder = args.work / "unpacked"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(backbone, folder / "model.safetensors")
    shutil.copy(args.backbone / "config.json", folder)
    torch.save({"weights": start, "last": last}, args.work / "start.pt")


if __name__ == "__main__":
    main()
