#!/usr/bin/env python3
"""Writes the image tower of a CLIP ViT-B/16 with random weights and the outliers that trained ones have.

    python tests/oracles/clip_b16_outliers.py OUT [--plain] [--wide]
    ocelli-pack convert OUT -o outliers.ocelli --vision-only --precision auto --calibrate PHOTOS

Matrices are drawn as CLIP initialises them (`initialize_parameters` in openai/CLIP). `--wide` draws those that write into
the residual stream (2 * LAYERS) ** 0.5 times wider: such a tower amplifies every error. `--plain` injects no outliers.
docs/quantization.md says where their sizes come from. Needs torch and safetensors.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "clip-hf"
WIDTH, HIDDEN, LAYERS, EMBED, IMAGE, PATCH = 768, 3072, 12, 512, 224, 16
# Residual channels that are massive in every token, and what a register neuron of block 1 adds to them in a few tokens.
MASSIVE = {133: 100.0, 408: -60.0, 702: 40.0}
REGISTER = {133: 120.0, 408: -90.0, 702: 60.0}
# LayerNorm channels per norm with larger gains, and by how much.
GAINED, GAIN = 12, 40.0


def tower(wide, generator):
    """Names, as transformers has them, and values."""

    def normal(*shape, std):
        return torch.randn(*shape, generator=generator) * std

    tensors = {
        "logit_scale": torch.tensor(4.6),
        "visual_projection.weight": normal(EMBED, WIDTH, std=WIDTH**-0.5),
        "vision_model.embeddings.class_embedding": normal(WIDTH, std=0.5),
        "vision_model.embeddings.patch_embedding.weight": normal(WIDTH, 3, PATCH, PATCH, std=WIDTH**-0.5),
        "vision_model.embeddings.position_embedding.weight": normal((IMAGE // PATCH) ** 2 + 1, WIDTH, std=0.5),
    }

    def norm(name):
        tensors[f"{name}.weight"] = normal(WIDTH, std=0.25).exp()
        tensors[f"{name}.bias"] = normal(WIDTH, std=0.1)

    def linear(name, outputs, inputs, std):
        tensors[f"{name}.weight"] = normal(outputs, inputs, std=std)
        tensors[f"{name}.bias"] = normal(outputs, std=0.1)

    norm("vision_model.pre_layrnorm")
    norm("vision_model.post_layernorm")
    branch = 1.0 if wide else (2 * LAYERS) ** -0.5
    for block in blocks():
        for part in "qkv":
            linear(f"{block}.self_attn.{part}_proj", WIDTH, WIDTH, WIDTH**-0.5)
        linear(f"{block}.self_attn.out_proj", WIDTH, WIDTH, WIDTH**-0.5 * branch)
        linear(f"{block}.mlp.fc1", HIDDEN, WIDTH, (2 * WIDTH) ** -0.5)
        linear(f"{block}.mlp.fc2", WIDTH, HIDDEN, WIDTH**-0.5 * branch)
        norm(f"{block}.layer_norm1")
        norm(f"{block}.layer_norm2")
    return tensors


def blocks():
    return [f"vision_model.encoder.layers.{i}" for i in range(LAYERS)]


def inject(tensors, generator):
    massive = torch.tensor(list(MASSIVE))
    tensors["vision_model.pre_layrnorm.bias"][massive] += torch.tensor(list(MASSIVE.values()))
    tensors["vision_model.post_layernorm.weight"][massive] = 0.05
    # A register neuron: off in nearly all tokens, and firmly on in a few.
    unit, first = 5, blocks()[1]
    tensors[f"{first}.mlp.fc1.weight"][unit] *= 6
    tensors[f"{first}.mlp.fc1.bias"][unit] = -9.0
    tensors[f"{first}.mlp.fc2.weight"][massive, unit] = torch.tensor(list(REGISTER.values()))
    # The massive channels set the deviation that LayerNorm divides by; gains make up for it.
    deviation = (sum(value**2 for value in MASSIVE.values()) / WIDTH) ** 0.5
    for block in blocks():
        readers = {
            "layer_norm1": [f"self_attn.{part}_proj" for part in "qkv"],
            "layer_norm2": ["mlp.fc1"],
        }
        for norm, matrices in readers.items():
            gain, bias = tensors[f"{block}.{norm}.weight"], tensors[f"{block}.{norm}.bias"]
            gain *= deviation * (torch.randn(WIDTH, generator=generator) * 0.3).exp()
            gain[massive] = torch.tensor([0.3, 0.5, 0.4])
            gained = torch.randperm(WIDTH, generator=generator)[:GAINED]
            gain[gained] *= GAIN
            bias[gained] *= GAIN
            for matrix in matrices:
                tensors[f"{block}.{matrix}.weight"][:, gained] /= GAIN
        # Hidden units that are always on.
        tensors[f"{block}.mlp.fc1.bias"][:2] += torch.tensor([18.0, 11.0])


def write_config(out):
    preprocess = json.loads((FIXTURE / "preprocessor_config.json").read_text())
    preprocess["size"], preprocess["crop_size"] = {"shortest_edge": IMAGE}, {"height": IMAGE, "width": IMAGE}
    (out / "preprocessor_config.json").write_text(json.dumps(preprocess))

    def config(width, heads):
        return {
            "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": LAYERS,
            "num_attention_heads": heads, "image_size": IMAGE, "patch_size": PATCH, "eos_token_id": 49407,
        }  # fmt: skip

    model = {"model_type": "clip", "projection_dim": EMBED}
    model["vision_config"], model["text_config"] = config(WIDTH, 12), config(512, 8)
    (out / "config.json").write_text(json.dumps(model))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--wide", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(7)
    tensors = tower(args.wide, generator)
    if not args.plain:
        inject(tensors, generator)
    write_config(args.out)
    save_file({name: value.contiguous() for name, value in tensors.items()}, args.out / "model.safetensors")


if __name__ == "__main__":
    main()
