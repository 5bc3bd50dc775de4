#!/usr/bin/env python3
"""Models of full size with random weights: conversion time and memory, running memory, and agreement with the library.

    cargo build --release --workspace
    python tests/oracles/full_size.py [--only clip-l14 ...] [--bin target/release] [--scratch DIR]

Needs torch, transformers, open_clip_torch, safetensors and pillow, some 4 GB of disk per model at a time, and the memory
that the library takes in single precision (up to 5 GB). A checkpoint is written tensor by tensor as its library would
save it, converted by `ocelli-pack` and run by `ocelli embed` on a photo and a text; the library loads the same checkpoint
and gives the reference. ViT-bigG/14 is too large for that here and is only converted and run.

Exits with 1 if an agreement is below 0.999 (fp16) or 0.99 (int8), or if bigG takes 3 GB to convert or 2.2 GB to run.
"""

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
PHOTO = ROOT / "examples" / "astronaut.jpg"
TEXT = "a photo of an astronaut"
LIMITS = {"fp16": 0.999, "int8": 0.99}
GB = 1e9


def deviation(name, shape):
    """Queries and keys so that attention is not uniform, the rest so that the residual stream keeps its size."""
    if "norm" in name or "ln_" in name:
        return 0.25 if name.endswith("weight") else 0.1
    if name.endswith("bias") or len(shape) < 2 and "class" not in name:
        return 0.1
    if "embedding" in name and "patch" not in name or "probe" in name:
        return 0.5
    # `proj` and `text_projection` of open_clip are stored as inputs x outputs.
    inputs = shape[0] if name in ("visual.proj", "text_projection") else math.prod(shape[1:])
    return (1.3 if "q_proj" in name or "k_proj" in name else 1.0) / math.sqrt(inputs)


def values(name, shape, generator):
    if name == "logit_scale":
        return torch.full(shape, math.log(100.0))
    if name == "logit_bias":
        return torch.full(shape, -12.0)
    noise = torch.randn(shape, generator=generator) * deviation(name, shape)
    gain = ("norm" in name or "ln_" in name) and name.endswith("weight")
    return noise.exp() if gain else noise


def write(model, path, dtype):
    """Saves random weights under the names and shapes of `model`, one tensor in memory at a time."""
    names = {"F32": torch.float32, "F16": torch.float16}
    tensors = [(name, tuple(t.shape)) for name, t in model.state_dict().items() if t.is_floating_point()]
    tensors = [(name, shape) for name, shape in tensors if not name.endswith("attn_mask")]
    header, end, size = {}, 0, names[dtype].itemsize
    for name, shape in tensors:
        bytes_ = math.prod(shape) * size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + bytes_]}
        end += bytes_
    text = json.dumps(header).encode()
    generator = torch.Generator().manual_seed(0)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            file.write(values(name, shape, generator).to(names[dtype]).numpy().tobytes())
    return sum(math.prod(shape) for _, shape in tensors)


class HfPair:
    """CLIP or SigLIP by transformers."""

    def __init__(self, kind, vision, text, **top):
        self.kind, self.vision, self.text, self.top = kind, vision, text, top
        self.fixture = FIXTURES / ("clip-hf" if kind == "CLIP" else "siglip-hf")

    def write(self, folder):
        import transformers as tf
        config = getattr(tf, f"{self.kind}Config")(vision_config=self.vision, text_config=self.text, **self.top)
        with torch.device("meta"):
            model = getattr(tf, f"{self.kind}Model")(config)
        config.save_pretrained(folder)
        for path in self.fixture.glob("*token*"):
            shutil.copy(path, folder)
        (folder / "tokenizer_cases.json").unlink(missing_ok=True)
        if (self.fixture / "spiece.model").exists():
            shutil.copy(self.fixture / "spiece.model", folder)
        preprocess = json.loads((self.fixture / "preprocessor_config.json").read_text())
        side = self.vision["image_size"]
        square = {"height": side, "width": side}
        preprocess |= {"size": square} if self.kind == "Siglip" else {"size": {"shortest_edge": side}, "crop_size": square}
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocess))
        return write(model, folder / "model.safetensors", "F32")

    def reference(self, folder):
        import transformers as tf
        from PIL import Image
        model = getattr(tf, f"{self.kind}Model").from_pretrained(folder, dtype=torch.float32).eval()
        processor = getattr(tf, f"{self.kind}ImageProcessorPil").from_pretrained(folder)
        pixels = processor(images=Image.open(PHOTO).convert("RGB"), return_tensors="pt")["pixel_values"]
        tokenizer = getattr(tf, f"{self.kind}Tokenizer").from_pretrained(folder)
        padding = {"padding": "max_length", "max_length": 64} if self.kind == "Siglip" else {}
        ids = tokenizer([TEXT], return_tensors="pt", **padding)["input_ids"]
        with torch.no_grad():
            out = model(pixel_values=pixels, input_ids=ids)
        return out.image_embeds[0], out.text_embeds[0]


class OpenClip:
    """CLIP by open_clip."""

    def __init__(self, vision, text, embed_dim, dtype="F32", reference=True):
        self.cfg = {"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": text}
        self.dtype = dtype
        if not reference:
            self.reference = None

    def write(self, folder):
        import open_clip
        with torch.device("meta"):
            model = open_clip.CLIP(**json.loads(json.dumps(self.cfg)))
        preprocess = json.loads((FIXTURES / "clip-openclip" / "open_clip_config.json").read_text())["preprocess_cfg"]
        config = {"model_cfg": self.cfg, "preprocess_cfg": preprocess}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        shutil.copy(FIXTURES / "clip-hf" / "tokenizer.json", folder)
        return write(model, folder / "open_clip_model.safetensors", self.dtype)

    def reference(self, folder):
        import open_clip
        from PIL import Image
        model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}", precision="fp32")
        pixels = preprocess(Image.open(PHOTO))[None]
        ids = open_clip.tokenize([TEXT])
        with torch.no_grad():
            return model.encode_image(pixels, normalize=True)[0], model.encode_text(ids, normalize=True)[0]


def tower(width, layers, heads, mlp, **more):
    return {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
            "intermediate_size": mlp, **more}


L14 = dict(width=1024, layers=24, heads=16, mlp=4096, patch_size=14)
L14_TEXT = tower(768, 12, 12, 3072, projection_dim=768)
SO400M = dict(width=1152, layers=27, heads=16, mlp=4304)
MODELS = {
    "clip-l14": HfPair("CLIP", tower(**L14, image_size=224), L14_TEXT, projection_dim=768),
    "clip-l14-336": HfPair("CLIP", tower(**L14, image_size=336), L14_TEXT, projection_dim=768),
    "siglip-so400m": HfPair("Siglip", tower(**SO400M, image_size=384, patch_size=14), tower(**SO400M)),
    "open-clip-h14": OpenClip(
        {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
        {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24}, 1024),
    "open-clip-bigg14": OpenClip(
        {"image_size": 224, "layers": 48, "width": 1664, "head_width": 104, "mlp_ratio": 4.9231, "patch_size": 14},
        {"context_length": 77, "vocab_size": 49408, "width": 1280, "heads": 20, "layers": 32}, 1280,
        dtype="F16", reference=False),
}


def run(*command):
    """Runs a command; its output, seconds, and peak resident memory in GB.

    The peak is that of /proc, looked at every few milliseconds: the one of wait4 begins with this process's own memory.
    """
    start, peak = time.time(), 0
    with tempfile.TemporaryFile() as out:
        quiet = subprocess.DEVNULL if "convert" in command else None
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=quiet)
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            # Before the command has taken this process's place, its memory is this one's.
            if found and Path(f"/proc/{process.pid}/exe").resolve() == Path(command[0]).resolve():
                peak = max(peak, int(found[1]) * 1024 / GB)
            time.sleep(0.002)
        out.seek(0)
        text = out.read().decode()
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed")
    return text, time.time() - start, peak


def embed(binaries, packed, *options):
    text, seconds, peak = run(binaries / "ocelli", "embed", "--model", packed, *options)
    return torch.tensor(json.loads(text)["embedding"], dtype=torch.float64), seconds, peak


def measure(name, model, binaries, scratch):
    """One line per precision; whether all limits were kept."""
    fine = True
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        folder = Path(folder)
        weights = model.write(folder)
        reference = model.reference(folder) if model.reference else None
        for precision in ["fp16", "int8"] if reference else ["int8"]:
            options = [] if reference else ["--vision-only"]
            packed = folder / "packed.ocelli"
            _, seconds, peak = run(
                binaries / "ocelli-pack", "convert", folder, "-o", packed, "--precision", precision, *options)
            line = f"{name:17} {weights / 1e6:6.0f} M {precision}: converted in {seconds:4.0f} s, {peak:.2f} GB; "
            line += f"file {packed.stat().st_size / GB:.2f} GB"
            fine &= peak < 3.0
            image, seconds, peak = embed(binaries, packed, "--image", PHOTO)
            line += f"; image {seconds:.1f} s, {peak:.2f} GB resident"
            if reference:
                text, _, _ = embed(binaries, packed, "--text", TEXT)
                cosines = [float(torch.dot(a, b.double()) / b.double().norm()) for a, b in zip((image, text), reference)]
                line += f"; cosine image {cosines[0]:.6f}, text {cosines[1]:.6f}"
                fine &= min(cosines) >= LIMITS[precision]
            else:
                fine &= peak < 2.2 and bool(torch.isfinite(image).all())
            print(line, flush=True)
            packed.unlink()
    return fine


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--bin", type=Path, default=ROOT / "target" / "release", help="folder of the two programs")
    parser.add_argument("--scratch", type=Path, help="folder for checkpoints [default: the system's temporary one]")
    args = parser.parse_args()
    results = [measure(name, MODELS[name], args.bin.resolve(), args.scratch) for name in args.only]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
