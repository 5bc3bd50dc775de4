#!/usr/bin/env python3
"""Runs the first blocks of the backbone over every crop of WORK/train.tsv, once.

    python models/train/tokens.py WORK --backbone DIR [--blocks 8] [--side 98] [--patch 14] [--seed 0] [--bfloat16]

WORK/tokens.npy gets the class token and the patches of each after the last of these blocks, in half precision:
[crops, tokens, channels]. A crop is 40 to 100 % of its picture, 3:4 to 4:3 of its shape, mirrored half the time. `--side 64
--patch 8` shows what the finished tower will see, with the first layer that export.py makes of the backbone's.
"""

import argparse
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from export import positions, shrink
from PIL import Image
from torch.nn import functional as F
from transformers import Dinov2Model

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
BATCH = 128


def crop(path, seed, side):
    chance = random.Random(seed)
    picture = Image.open(path).convert("RGB")
    width, height = picture.size
    area, shape = width * height * chance.uniform(0.4, 1.0), math.exp(chance.uniform(-0.29, 0.29))
    w, h = min(width, math.sqrt(area * shape)), min(height, math.sqrt(area / shape))
    x, y = chance.uniform(0, width - w), chance.uniform(0, height - h)
    picture = picture.resize((side, side), Image.BICUBIC, box=(x, y, x + w, y + h))
    return np.asarray(picture.transpose(Image.FLIP_LEFT_RIGHT) if chance.random() < 0.5 else picture)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--side", type=int, default=98)
    parser.add_argument("--patch", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="products in bfloat16, several times as fast with AMX")
    args = parser.parse_args()
    paths = [line.split("\t")[0] for line in (args.work / "train.tsv").read_text().splitlines()]
    model = Dinov2Model.from_pretrained(args.backbone).eval()
    embeddings, blocks = model.embeddings, model.encoder.layer[: args.blocks]
    rows, width = args.side // args.patch, model.config.hidden_size
    projection, class_token = embeddings.patch_embeddings.projection, embeddings.cls_token
    kernel, at_patch = shrink(projection.weight.detach(), args.patch), positions(embeddings.position_embeddings.detach(), rows)
    tokens = np.lib.format.open_memmap(
        args.work / "tokens.npy", mode="w+", dtype=np.float16, shape=(len(paths), rows**2 + 1, width)
    )

    def load(at):
        return np.stack([crop(path, args.seed + at + i, args.side) for i, path in enumerate(paths[at : at + BATCH])])

    start = time.time()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16), ThreadPoolExecutor(1) as reader:
        following = reader.submit(load, 0)
        for at in range(0, len(paths), BATCH):
            pixels = following.result()
            if at + BATCH < len(paths):
                following = reader.submit(load, at + BATCH)
            pixels = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
            found = F.conv2d(pixels, kernel, projection.bias, stride=args.patch).flatten(2).transpose(1, 2)
            found = torch.cat([class_token.expand(len(found), -1, -1), found], 1) + at_patch
            for block in blocks:
                found = block(found)
            tokens[at : at + len(found)] = found.half().numpy()
            if at // BATCH % 50 == 0:
                print(f"{at} of {len(paths)}, {(at + len(found)) / (time.time() - start):.1f} a second", flush=True)


if __name__ == "__main__":
    main()
