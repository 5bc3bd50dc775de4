#!/usr/bin/env python3
"""PyTorch's answers, in fp32, with the weights that cli/demo.ocelli holds.

    python tests/oracles/demo_int8_weights.py CHECKPOINT > tests/fixtures/cifar10/int8_weights.csv

CHECKPOINT is the demo model's, as transformers saves it. Its weights are rounded as `ocelli-pack convert --precision int8`
rounds them (int8 per row in the blocks and the token table, half precision in patch embedding and projections) and then
used in fp32. So this repository, which has no room for the checkpoint, can compare fp32 with PyTorch on a model that
recognises something. Needs torch, transformers and pillow.
"""

import csv
import sys
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

PHOTOS = Path(__file__).resolve().parents[1] / "fixtures" / "cifar10"


def rounded(name, weight):
    if name.endswith(("patch_embedding.weight", "projection.weight")):
        return weight.half().float()
    if ".layers." in name and weight.dim() == 2 or name.endswith("token_embedding.weight"):
        scale = weight.abs().amax(1, keepdim=True) / 127
        return torch.where(scale > 0, (weight / scale).round().clamp(-127, 127) * scale, 0.0)
    return weight


@torch.no_grad()
def main():
    model = CLIPModel.from_pretrained(sys.argv[1]).eval()
    for name, weight in model.named_parameters():
        weight.copy_(rounded(name, weight))
    processor, tokenizer = CLIPImageProcessor.from_pretrained(sys.argv[1]), AutoTokenizer.from_pretrained(sys.argv[1])
    labels = sorted(folder.name for folder in PHOTOS.iterdir() if folder.is_dir())
    texts = tokenizer([f"a photo of a {label}" for label in labels], padding=True, return_tensors="pt")
    photos = [photo for label in labels for photo in sorted((PHOTOS / label).glob("*.jpg"))]
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["image", "label", "pytorch_top1", "pytorch_score"])
    for first in range(0, len(photos), 200):
        batch = photos[first : first + 200]
        pixels = processor([Image.open(photo).convert("RGB") for photo in batch], return_tensors="pt")
        best = model(**pixels, **texts).logits_per_image.softmax(1).max(1)
        for photo, index, score in zip(batch, best.indices.tolist(), best.values.tolist()):
            out.writerow([photo.relative_to(PHOTOS).as_posix(), photo.parent.name, labels[index], f"{score:.6f}"])


if __name__ == "__main__":
    main()
