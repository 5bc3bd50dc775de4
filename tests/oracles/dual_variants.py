"""Small random `VisionTextDualEncoderModel`s of towers that have no fixture, and small models of open_clip with other poolers
and projections, through ocelli in f32 and through the library in f64.

    cargo build -p ocelli-cli -p ocelli-tools --bins
    python tests/oracles/dual_variants.py tests/fixtures target/debug/ocelli-pack target/debug/ocelli

Needs what text_towers.py needs. Prints the largest difference of the normalised embeddings of each and fails if one is
above 1e-5.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file

FIXTURES, PACK, RUN = Path(sys.argv[1]), *sys.argv[2:4]
sys.argv = sys.argv[:2]
from text_towers import SMALL, TEXT, randomise  # noqa: E402  (reads its own argument)

TEXTS = ["a photo of a cat", "ein Bild von einem Hund", "一张猫的照片", "x"]
MLP = {"intermediate_size": 128}
VISION = {
    "CLIPVision": SMALL | MLP | {"image_size": 64, "patch_size": 16},
    "SiglipVision": SMALL | MLP | {"image_size": 64, "patch_size": 16},
    "Dinov2": SMALL | {"mlp_ratio": 3, "image_size": 64, "patch_size": 16, "use_swiglu_ffn": True},
    "Dinov2WithRegisters": SMALL | {"mlp_ratio": 3, "image_size": 64, "patch_size": 16, "num_register_tokens": 3},
    "DINOv3ViT": SMALL | MLP | {"image_size": 64, "patch_size": 16, "num_register_tokens": 2},
    "ViT": SMALL | MLP | {"image_size": 64, "patch_size": 16, "qkv_bias": False},
}
TEXT_TOWERS = {
    "Bert": (TEXT | {"max_position_embeddings": 40, "hidden_act": "gelu_pytorch_tanh"}, "chinese-clip"),
    "Roberta": (TEXT | {"max_position_embeddings": 40, "layer_norm_eps": 1e-5}, "roberta"),
    "CLIPText": (TEXT | {"max_position_embeddings": 77, "hidden_act": "gelu"}, "clip-hf"),
}
TOKENIZERS = {"Bert": "BertTokenizer", "Roberta": "RobertaTokenizer", "CLIPText": "CLIPTokenizer"}
FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json", "sentencepiece.bpe.model")


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def ocelli(folder, pixels):
    """Normalised embeddings of the pixels and of the texts."""
    model, inputs, outputs = (folder / name for name in ("m.ocelli", "pixels.bin", "embeddings.bin"))
    pixels.numpy().astype("<f4").tofile(inputs)
    run(PACK, "convert", folder, "-o", model, "--precision", "fp32", "--quiet")
    run(RUN, "profile", "-m", model, "--iters", "1", "--pixels", inputs, "--embeddings-out", outputs)
    images = np.fromfile(outputs, "<f4").reshape(len(pixels), -1)
    texts = [json.loads(run(RUN, "embed", "-m", model, "--text", text, "--json"))["embedding"] for text in TEXTS]
    return unit(images), unit(np.array(texts))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def dual(folder, vision, text):
    text_arguments, tokenizer = TEXT_TOWERS[text]
    for name in FILES:
        if (FIXTURES / tokenizer / name).exists():
            shutil.copy(FIXTURES / tokenizer / name, folder)
    tokenizer = getattr(transformers, TOKENIZERS[text]).from_pretrained(folder)
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        getattr(transformers, f"{vision}Config")(**VISION[vision]),
        getattr(transformers, f"{text}Config")(**text_arguments, vocab_size=len(tokenizer)), projection_dim=40)
    model = transformers.VisionTextDualEncoderModel(config)
    randomise(model, 7)
    model.eval().save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    model = transformers.VisionTextDualEncoderModel.from_pretrained(folder, dtype=torch.float32).double().eval()
    pixels = torch.randn(2, 3, 64, 64)
    images = model.get_image_features(pixel_values=pixels.double()).pooler_output
    encoded = (tokenizer(text, return_tensors="pt") for text in TEXTS)
    texts = torch.cat([model.get_text_features(**inputs).pooler_output for inputs in encoded])
    return pixels, images, texts


def openclip(folder, text):
    import open_clip
    from open_clip.push_to_hf_hub import save_for_hf

    tokenizer = "mclip" if text.pop("kind") == "xlm-roberta" else "chinese-clip"
    for name in FILES:
        if (FIXTURES / tokenizer / name).exists():
            shutil.copy(FIXTURES / tokenizer / name, folder)
    base = folder / "base"
    if tokenizer == "mclip":
        shutil.copytree(FIXTURES / "mclip/xlm-roberta-small", base)
    else:
        transformers.BertConfig(**TEXT, vocab_size=len((folder / "vocab.txt").read_text().splitlines()),
                                max_position_embeddings=64).save_pretrained(base)
    embed_dim = text.pop("embed_dim", 40)
    config = {
        "embed_dim": embed_dim, "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 48, "head_width": 16, "patch_size": 16},
        "text_cfg": {"hf_model_name": "base", "hf_tokenizer_name": "base", "context_length": 32} | text,
    }
    local = config | {"text_cfg": config["text_cfg"] | {"hf_model_name": str(base), "hf_model_pretrained": False}}
    model = open_clip.CustomTextCLIP(**json.loads(json.dumps(local)))
    randomise(model, 8)
    open_clip.factory.set_model_preprocess_cfg(model, dict(vars(open_clip.transform.PreprocessCfg(size=64))))

    class Kept:
        def save_pretrained(self, folder): ...

    save_for_hf(model, Kept(), config, folder, safe_serialization=True)
    model.double().eval().load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    source = str(folder)
    if tokenizer == "chinese-clip":
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    pixels, ids = torch.randn(2, 3, 64, 64), open_clip.tokenizer.HFTokenizer(source, context_length=32)(TEXTS)
    return pixels, model.encode_image(pixels.double()), model.encode_text(ids)


def main():
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    texts = list(TEXT_TOWERS)
    cases = [(f"{vision} + {texts[i % 3]}", dual, (vision, texts[i % 3])) for i, vision in enumerate(VISION)]
    poolers = ["mean_pooler", "cls_pooler", "cls_last_hidden_state_pooler"]
    for kind, pooler, extra in [
        ("bert", poolers[1], {"hf_proj_type": "linear"}), ("bert", poolers[2], {"hf_proj_type": "mlp"}),
        ("xlm-roberta", poolers[1], {"hf_proj_type": "mlp"}), ("xlm-roberta", poolers[0], {"hf_proj_type": "linear"}),
        ("xlm-roberta", poolers[0], {"hf_proj_type": None, "embed_dim": 32}),
    ]:
        name = f"open_clip {kind} {pooler} {extra['hf_proj_type']}"
        cases.append((name, openclip, ({"kind": kind, "hf_pooler_type": pooler} | extra,)))
    worst = 0.0
    for name, make, arguments in cases:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            pixels, *expected = make(Path(folder), *arguments)
            found = ocelli(Path(folder), pixels)
        errors = [np.abs(a - unit(b.numpy())).max() for a, b in zip(found, expected)]
        worst = max(worst, *errors)
        print(f"{name:<64}images {errors[0]:.1e} texts {errors[1]:.1e}", flush=True)
    sys.exit(int(worst > 1e-5))


main()
