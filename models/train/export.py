#!/usr/bin/env python3
"""Writes the trained towers as a checkpoint of open_clip, which ocelli-pack converts.

    python models/train/export.py WORK --backbone DIR -o CHECKPOINT [--patches 8] [--patch 8] [--logit-scale 25]

The finished tower sees `--patches` by `--patches` patches of `--patch` pixels a side. Positions are interpolated as transformers
does it for DINOv2. Pictures that were enlarged before they were cut into patches of 14 pixels, as Tiny-ImageNet's 64 pixels to
112, can be cut into patches of 8 as they are: enlarging is linear, so it goes into the first layer's weights (FlexiViT, arXiv
2212.08013, has the same the other way round).
"""

import argparse
import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from train import MINILM

NAME, CONTEXT = "sentence-transformers/all-MiniLM-L6-v2", 64
# transformers 5 has other names for modules than for the tensors of a file.
RENAMED = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
}


def positions(stored, rows):
    """[1, 1 + patches, width] for rows x rows patches."""
    side, width = math.isqrt(stored.shape[1] - 1), stored.shape[2]
    grid = stored[:, 1:].reshape(1, side, side, width).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(rows, rows), mode="bicubic", align_corners=False)
    return torch.cat([stored[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * rows, width)], 1)


def shrink(kernel, side):
    """The kernel of patches of `side` pixels that gives what `kernel` gives when they are enlarged to its size."""
    enlarge = F.interpolate(
        torch.eye(side).reshape(1, side, 1, side), size=(1, kernel.shape[-1]), mode="bicubic", align_corners=False
    )[0, :, 0]
    return enlarge @ kernel @ enlarge.T


def image_tower(backbone, trained, patches, patch):
    """transformers' names to timm's."""
    blocks = len({key.split(".")[1] for key in trained["weights"] if key.startswith("blocks.")})
    first = trained["last"] - blocks

    def replace(name, value):
        assert name in backbone, f"the backbone has no {name}"
        backbone[name] = value

    for key, value in trained["weights"].items():
        if key.startswith("blocks."):
            _, i, rest = key.split(".", 2)
            module, kind = rest.rsplit(".", 1)
            replace(f"encoder.layer.{first + int(i)}.{RENAMED.get(module, module)}.{kind}", value)
        if key.startswith("norm."):
            replace(f"layernorm.{key[5:]}", value)
    of = {
        "cls_token": backbone["embeddings.cls_token"],
        "pos_embed": positions(backbone["embeddings.position_embeddings"], patches),
    }
    for kind in ["weight", "bias"]:
        of[f"patch_embed.proj.{kind}"] = backbone[f"embeddings.patch_embeddings.projection.{kind}"]
        of[f"norm.{kind}"] = backbone[f"layernorm.{kind}"]
    of["patch_embed.proj.weight"] = shrink(of["patch_embed.proj.weight"], patch)
    for i in range(trained["last"]):
        block = lambda name: backbone[f"encoder.layer.{i}.{name}"]
        for kind in ["weight", "bias"]:
            qkv = [block(f"attention.attention.{part}.{kind}") for part in ["query", "key", "value"]]
            of[f"blocks.{i}.attn.qkv.{kind}"] = torch.cat(qkv)
            of[f"blocks.{i}.attn.proj.{kind}"] = block(f"attention.output.dense.{kind}")
            for name in ["norm1", "norm2", "mlp.fc1", "mlp.fc2"]:
                of[f"blocks.{i}.{name}.{kind}"] = block(f"{name}.{kind}")
        of[f"blocks.{i}.ls1.gamma"] = block("layer_scale1.lambda1")
        of[f"blocks.{i}.ls2.gamma"] = block("layer_scale2.lambda1")
    return {f"visual.trunk.{key}": value for key, value in of.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--patches", type=int, default=8)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--logit-scale", type=float, default=25.0, help="what a cosine counts: fitted on tinyval")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    trained = torch.load(args.work / "trained.pt")
    tensors = image_tower(load_file(args.backbone / "model.safetensors"), trained, args.patches, args.patch)
    text = load_file(MINILM / "model.safetensors")
    # Tokens are averaged: what is taken from each is taken from the mean.
    last = max(key for key in text if key.endswith("output.LayerNorm.bias") and "attention" not in key)
    text[last] = text[last] - trained["mean"]
    left_out = ("pooler.", "embeddings.position_ids")
    tensors |= {f"text.transformer.{key}": value for key, value in text.items() if not key.startswith(left_out)}
    tensors["visual.head.proj.weight"] = trained["weights"]["image.weight"]
    tensors["text.proj.weight"] = trained["weights"]["text.weight"]
    # Smoothed labels train it too low.
    tensors["logit_scale"] = torch.tensor(args.logit_scale).log()
    args.output.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.float().contiguous().clone() for key, value in tensors.items()}
    save_file(tensors, args.output / "open_clip_model.safetensors")
    width = tensors["visual.head.proj.weight"].shape[0]
    vision = {
        "timm_model_name": "vit_small_patch14_dinov2",
        "timm_model_pretrained": False,
        "timm_pool": "token",
        "timm_proj": "linear",
        "timm_proj_bias": False,
        "image_size": args.patches * args.patch,
    }
    words = {
        "hf_model_name": NAME,
        "hf_tokenizer_name": NAME,
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "linear",
        "context_length": CONTEXT,
    }
    preprocess = {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    model = {"embed_dim": width, "vision_cfg": vision, "text_cfg": words}
    config = {"model_cfg": model, "preprocess_cfg": preprocess}
    (args.output / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(MINILM / name, args.output / name)


if __name__ == "__main__":
    main()
