"""The model of both services: CLIP ViT-B/16 with both towers and random weights, as a checkpoint and as two int8 ONNX files.

    python prepare.py FOLDER OCELLI_PACK

Needs torch, transformers, onnx and onnxruntime. What is already there is kept.
"""

import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "tests" / "oracles"))
import full_size  # noqa: E402

VISION = full_size.tower(768, 12, 12, 3072, image_size=224, patch_size=16)
TEXT = full_size.tower(512, 12, 8, 2048, projection_dim=512)


def export(folder, checkpoint):
    """Both towers with normalised embeddings, as Immich's models are exported, dynamically quantized."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(checkpoint, attn_implementation="eager").eval()

    class Tower(torch.nn.Module):
        def __init__(self, image):
            super().__init__()
            self.image, self.model = image, model

        def forward(self, x):
            if self.image:
                found = self.model.visual_projection(self.model.vision_model(pixel_values=x).pooler_output)
            else:
                found = self.model.text_projection(self.model.text_model(input_ids=x).pooler_output)
            return found / found.norm(dim=-1, keepdim=True)

    inputs = {"visual": torch.zeros(1, 3, 224, 224), "textual": torch.full((1, 77), 49407)}
    for name, example in inputs.items():
        plain, quantized = folder / f"{name}.fp32.onnx", folder / f"{name}.onnx"
        with torch.no_grad():
            torch.onnx.export(Tower(name == "visual"), (example,), plain, opset_version=17, dynamo=False,
                              input_names=["x"], output_names=["embedding"])
        # What the image towers of this folder's neighbour measure fastest with VNNI: s8 per channel.
        quantize_dynamic(plain, quantized, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
        plain.unlink()


def main(folder, pack):
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(parents=True, exist_ok=True)
    if not (checkpoint / "model.safetensors").exists():
        full_size.HfPair("CLIP", VISION, TEXT, projection_dim=512).write(checkpoint)
    if not (folder / "textual.onnx").exists():
        export(folder, checkpoint)
    subprocess.run([pack, "convert", checkpoint, "-o", folder / "model.ocelli", "--quiet"], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
