"""What every peer is measured on: a random-weight CLIP ViT-B/16 image tower, 16 pictures, reference embeddings.

Everything goes into the folder named on the command line; what is already there is kept.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
SIDE = 224
# Those that the first table was made with: more examples must not change what the next one is compared with.
PHOTOS = ["astronaut", "automobile", "cat", "coffee", "frog", "horse", "rocket", "ship"]
PRECISIONS = ["int8", "int8-96", "int8w7", "fp16", "fp32"]
# Weights of ONNX Runtime's dynamic quantization: reduce_range keeps them to 7 bits, since without VNNI the int8 multiply
# of x86 saturates on 8.
ONNX_INT8 = {"s8-rr": ("QInt8", True), "s8": ("QInt8", False), "u8": ("QUInt8", False)}


def pictures(photos):
    """[16, 3, 224, 224] f32: each photo whole, and the mirrored middle half of each."""
    images = []
    for path in photos:
        photo = Image.open(path).convert("RGB")
        width, height = photo.size
        middle = photo.crop((width // 4, height // 4, width - width // 4, height - height // 4))
        images += [photo, middle.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return np.stack([normalised(image) for image in images])


def normalised(image):
    scale = SIDE / min(image.size)
    width, height = (max(SIDE, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    levels = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
    return ((levels - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)


def checkpoint(folder):
    """Random weights whose attention is not uniform and whose residual stream neither dies out nor explodes."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(patch_size=16, projection_dim=512)
    model = CLIPVisionModelWithProjection(config).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            noise = torch.randn_like(weights)
            if "norm" in name and name.endswith("weight"):
                weights.copy_(torch.exp(noise * 0.25))
            elif name.endswith("bias"):
                weights.copy_(noise * 0.1)
            elif "position_embedding" in name or "class_embedding" in name:
                weights.copy_(noise * 0.5)
            else:
                gain = 1.3 if "q_proj" in name or "k_proj" in name else 1.0
                weights.copy_(noise * gain / math.sqrt(weights[0].numel()))
    model.save_pretrained(folder)
    preprocessing = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}, "resample": 3,
        "do_resize": True, "do_center_crop": True, "do_convert_rgb": True, "do_rescale": True, "do_normalize": True,
        "rescale_factor": 1 / 255, "image_mean": MEAN, "image_std": STD,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))


def export(folder, pixels, onnx, reference):
    """The tower as ONNX, and PyTorch's fp32 embeddings, not normalised."""
    import torch
    from transformers import CLIPVisionModelWithProjection

    class Embed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = CLIPVisionModelWithProjection.from_pretrained(folder, attn_implementation="eager").eval()

        def forward(self, pixel_values):
            return self.tower(pixel_values).image_embeds

    with torch.inference_mode():
        model = Embed()
        model(torch.from_numpy(pixels)).numpy().astype("<f4").tofile(reference)
    with torch.no_grad():
        first = (torch.from_numpy(pixels[:1]),)
        names = {"input_names": ["pixel_values"], "output_names": ["image_embeds"]}
        torch.onnx.export(model, first, onnx, opset_version=17, dynamo=False, **names)


def quantize(onnx, output, weight_type, reduce_range):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        onnx, output, op_types_to_quantize=["MatMul"], per_channel=True,
        weight_type=getattr(QuantType, weight_type), reduce_range=reduce_range,
    )


def whole(output, write):
    """Writes beside `output` and renames: an interrupted run leaves nothing that looks complete."""
    part = output.with_suffix(".part.onnx")
    write(part)
    part.rename(output)


def main(data, photos, pack):
    data.mkdir(parents=True, exist_ok=True)
    photos = [Path(photos) / f"{name}.jpg" for name in PHOTOS]
    pixels = pictures(photos)
    pixels.astype("<f4").tofile(data / "pictures.f32")
    pixels[:1].astype("<f4").tofile(data / "picture.f32")
    folder, onnx = data / "checkpoint", data / "fp32.onnx"
    if not (folder / "preprocessor_config.json").exists():
        checkpoint(folder)
    if not onnx.exists():
        whole(onnx, lambda part: export(folder, pixels, part, data / "reference.f32"))
    for name, (weight_type, reduce_range) in ONNX_INT8.items():
        output = data / f"int8-{name}.onnx"
        if not output.exists():
            whole(output, lambda part: quantize(onnx, part, weight_type, reduce_range))
    # Always made anew: they are what is under test, and take seconds.
    for precision in PRECISIONS:
        output = data / f"{precision}.ocelli"
        command = [pack, "convert", folder, "-o", output, "--precision", precision, "--vision-only"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
