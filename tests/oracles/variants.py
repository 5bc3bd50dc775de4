"""Small random models of architectures that have no fixture, through ocelli and through the library, in f32 against f64.

    cargo build -p ocelli-cli -p ocelli-tools --bins
    python tests/oracles/variants.py target/debug/ocelli-pack target/debug/ocelli

Needs numpy, torch, timm, transformers and safetensors. Prints the largest relative error of the pooled features of each
and fails if one is above 1e-5.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

PACK, RUN = sys.argv[1:3]
SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3}
TIMM = [
    ("eva02_base_patch14_224", {"img_size": 56, "ref_feat_shape": (4, 4), "num_classes": 7}, [None, (84, 56)]),
    ("eva_giant_patch14_224", {"img_size": 56, "num_classes": 7}, [None]),
    ("eva_large_patch14_196", {"img_size": 56, "num_classes": 7}, [None]),
    ("vit_giant_patch14_reg4_dinov2", {"img_size": 56, "num_classes": 0}, [None, (70, 42)]),
    ("vit_base_patch16_dinov3", {"img_size": 64, "num_classes": 0}, [None, (48, 96)]),
    ("vit_small_plus_patch16_dinov3_qkvb", {"img_size": 64, "num_classes": 0}, [None]),
    ("vit_base_patch16_clip_quickgelu_224", {"img_size": 64, "num_classes": 7}, [None]),
    ("vit_medium_patch16_reg4_gap_256", {"img_size": 64, "num_classes": 7}, [None, (48, 80)]),
    ("deit3_small_patch16_224", {"img_size": 64, "num_classes": 7}, [None, (32, 96)]),
    ("vit_base_patch16_siglip_224", {"img_size": 64, "num_classes": 0}, [None, (48, 80)]),
    ("vit_so400m_patch16_siglip_gap_256", {"img_size": 64, "num_classes": 0}, [None]),
    ("eva_giant_patch14_clip_224", {"img_size": 56, "num_classes": 0}, [None]),
    ("eva02_base_patch16_clip_224", {"img_size": 64, "num_classes": 0}, [None, (48, 80)]),
    ("vit_pe_core_base_patch16_224", {"img_size": 64, "num_classes": 0}, [None, (48, 80)]),
    ("vit_pe_core_gigantic_patch14_448", {"img_size": 56, "num_classes": 0}, [None]),
]
HF_SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 64, "patch_size": 16}
HF = [
    ("Dinov2", {"use_swiglu_ffn": True}, [None, (48, 80)]),
    ("Dinov2WithRegisters", {"num_register_tokens": 3}, [None, (48, 80)]),
    ("DINOv3ViT", {"use_gated_mlp": True, "key_bias": True, "mlp_bias": False, "num_register_tokens": 2,
                   "intermediate_size": 96, "hidden_act": "silu"}, [None, (48, 80)]),
    ("ViT", {"qkv_bias": False, "intermediate_size": 96, "hidden_act": "gelu_pytorch_tanh"}, [None, (48, 80)]),
]


def randomise(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "token" not in name and "pos" not in name:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            elif "norm" in name and name.endswith("weight"):
                parameter.uniform_(0.5, 1.5)
            elif "gamma" in name or "lambda" in name:
                parameter.uniform_(0.3, 1.2)
            else:
                parameter.normal_(0, 0.3)


def ocelli(folder, size, pixels):
    model, inputs, outputs = (str(folder / name) for name in ("m.ocelli", "pixels.bin", "embeddings.bin"))
    extra = ["--image-size", f"{size[0]}x{size[1]}"] if size else []
    pixels.numpy().astype("<f4").tofile(inputs)
    for command in (
        [PACK, "convert", str(folder), "-o", model, "--precision", "fp32", *extra],
        [RUN, "profile", "-m", model, "--iters", "1", "--pixels", inputs, "--embeddings-out", outputs],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
    return np.fromfile(outputs, "<f4").reshape(len(pixels), -1)


def timm_model(folder, name, arguments):
    model = timm.create_model(name, **SMALL, **arguments).eval()
    randomise(model)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
    config = {
        "architecture": name,
        "global_pool": model.global_pool,
        "model_args": SMALL | arguments | {"img_size": [arguments["img_size"]] * 2},
        "pretrained_cfg": {
            "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center", "mean": [0.5] * 3, "std": [0.5] * 3,
        },
    }
    (folder / "config.json").write_text(json.dumps(config))

    def features(pixels, size):
        used = model
        if size:
            used = timm.create_model(name, **SMALL, **(arguments | {"img_size": size})).eval()
            state, patch = dict(model.state_dict()), model.patch_embed.patch_size[0]
            if "pos_embed" in state:
                prefix = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
                grid = (size[0] // patch, size[1] // patch)
                state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], grid, num_prefix_tokens=prefix)
            used.load_state_dict(state)
        used = used.double()
        return used.forward_head(used.forward_features(pixels.double()), pre_logits=True)

    return features, arguments["img_size"]


def hf_model(folder, name, arguments):
    config = getattr(transformers, f"{name}Config")(**HF_SMALL, **arguments)
    model = getattr(transformers, f"{name}Model")(config).eval()
    randomise(model)
    model.save_pretrained(folder)
    processor = {
        "do_center_crop": False, "size": {"height": 64, "width": 64}, "resample": 2,
        "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))

    def features(pixels, size):
        extra = {"interpolate_pos_encoding": True} if size and name == "ViT" else {}
        return model.double()(pixels.double(), **extra).last_hidden_state[:, 0]

    return features, HF_SMALL["image_size"]


def main():
    torch.manual_seed(0)
    transformers.logging.disable_progress_bar()
    worst = 0.0
    for make, cases in ((timm_model, TIMM), (hf_model, HF)):
        for name, arguments, sizes in cases:
            for size in sizes:
                with tempfile.TemporaryDirectory() as folder, torch.no_grad():
                    folder = pathlib.Path(folder)
                    features, own = make(folder, name, arguments)
                    pixels = torch.randn(2, 3, *(size or (own, own)))
                    found, expected = ocelli(folder, size, pixels), features(pixels, size).numpy()
                error = np.abs(found - expected).max() / np.abs(expected).max()
                worst = max(worst, error)
                print(f"{name:<40}{size or 'own size'!s:<12}{error:.1e}", flush=True)
    sys.exit(int(worst > 1e-5))


main()
