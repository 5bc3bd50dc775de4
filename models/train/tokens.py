#!/usr/bin/env python3
"""Runs the first blocks of the backbone over every crop of WORK/train.tsv, once.

    python models/train/tokens.py WORK --backbone DIR [--blocks 8] [--side 98]

WORK/tokens.npy gets the class token and the patches of each after the last of these blocks, in half precision:
[crops, tokens, channels]. A crop is 40 to 100 % of its picture, 3:4 to 4:3 of its shape, mirrored half the time.
"""

import argparse
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
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
    args = parser.parse_args()
    paths = [line.split("\t")[0] for line in (args.work / "train.tsv").read_text().splitlines()]
    model = Dinov2Model.from_pretrained(args.backbone).eval()
    model.encoder.layer = model.encoder.layer[: args.blocks]
    width = model.config.hidden_size
    shape = (len(paths), (args.side // model.config.patch_size) ** 2 + 1, width)
    tokens = np.lib.format.open_memmap(args.work / "tokens.npy", mode="w+", dtype=np.float16, shape=shape)
    start = time.time()
    with torch.inference_mode(), ThreadPoolExecutor(1) as reader:
        load = lambda at: np.stack([crop(path, at + i, args.side) for i, path in enumerate(paths[at : at + BATCH])])
        following = reader.submit(load, 0)
        for at in range(0, len(paths), BATCH):
            pixels = following.result()
            if at + BATCH < len(paths):
                following = reader.submit(load, at + BATCH)
            pixels = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
            # What the last of the kept blocks gives, before the final norm.
            found = model(pixels, output_hidden_states=True).hidden_states[args.blocks]
            tokens[at : at + len(found)] = found.half().numpy()
            if at // BATCH % 50 == 0:
                print(f"{at} of {len(paths)}, {(at + len(found)) / (time.time() - start):.1f} a second", flush=True)


if __name__ == "__main__":
    main()
