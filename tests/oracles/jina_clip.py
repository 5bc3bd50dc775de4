"""Makes `jina-clip-v1`: a small Jina-CLIP v1, image and text tower, with reference outputs in float64.

    python tests/oracles/jina_clip.py tests/fixtures EVA FLASH [--plain]

Needs torch, torchvision, timm, transformers, tokenizers, sentencepiece, einops, safetensors and pillow. Jina's model code is not in a
library but on a hub (jinaai/jina-clip-implementation, jinaai/jina-bert-flash-implementation), so the towers are those that it was
adopted from, and nothing is downloaded:

* EVA is a checkout of github.com/baaivision/EVA (commit 5623d08). Its `EVAVisionTransformer` is the image tower. Changed: `head` is
  an identity, as in Jina's copy where widths agree and `proj_type` is null, and the rotary tables are no part of the checkpoint.
* FLASH is a checkout of github.com/Dao-AILab/flash-attention at commit 43950dd, which Jina's copy names. Its `BertModel` without a
  pooler is the text tower, without flash attention. Changed as in Jina's copy: no positions, scores less
  `slope * |i - j|` with that commit's own `get_alibi_slopes` (there for flash attention only), and `GLUMLP` in place of `Mlp`.

Both packages are imported without their `__init__`, which wants what is not needed here. The configuration and the names of tensors
are those of jinaai/jina-clip-v1; only `hf_model_config_kwargs` makes the text tower small, which Jina's code reads too.
With `--plain` another folder, `jina-clip-plain`, has what v1's configuration turns off or on the other way: no norms inside
attention and MLP, no biases of queries and values, `intp_freq`, four heads in the text tower.
"""

import json
import math
import shutil
import sys
import types
from functools import partial
from pathlib import Path

sys.dont_write_bytecode = True
from text_towers import IMAGES, OUT, Taps, hf_ids, pictures, randomise, scores, write
from text_tokenizers import TEXTS, wordpiece

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import transforms
from transformers.models.bert import modeling_bert  # before flash_attn, which transformers looks for

EVA, FLASH = Path(sys.argv[2]), Path(sys.argv[3])
for name, folder in {"eva_clip": EVA / "EVA-CLIP/rei/eva_clip", "flash_attn": FLASH / "flash_attn"}.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(folder)]
from eva_clip.eva_vit_model import EVAVisionTransformer
from flash_attn.models.bert import BertModel
from flash_attn.modules.mha import SelfAttention, get_alibi_slopes

del sys.modules["flash_attn"]

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


class AlibiSelfAttention(SelfAttention):
    """Key padding is masked as there: by -10000."""

    def forward(self, qkv, causal=None, key_padding_mask=None):
        q, k, v = qkv.unbind(dim=2)
        scores = torch.einsum("bthd,bshd->bhts", q, k / math.sqrt(q.shape[-1]))
        at = torch.arange(qkv.shape[1])
        slopes = torch.tensor(get_alibi_slopes(q.shape[2]), dtype=q.dtype)
        scores = scores - slopes[:, None, None] * (at[:, None] - at).abs()
        scores = scores + torch.where(key_padding_mask, 0.0, -10000.0)[:, None, None]
        return torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v)


class GLUMLP(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.gated_layers = nn.Linear(width, 2 * hidden, bias=False)
        self.wo = nn.Linear(hidden, width)

    def forward(self, x):
        gate, value = self.gated_layers(x).chunk(2, dim=-1)
        return self.wo(nn.functional.gelu(gate) * value), x


class JinaClip(nn.Module):
    """Jina's class, under its names of tensors."""

    def __init__(self, text, vision):
        super().__init__()
        config = transformers.BertConfig(**text, max_position_embeddings=0)
        config.position_embedding_type, config.use_flash_attn = "absolute", False
        self.text_model = nn.Module()
        self.text_model.transformer = BertModel(config, add_pooling_layer=False)
        for layer in self.text_model.transformer.encoder.layers:
            layer.mlp = GLUMLP(config.hidden_size, config.intermediate_size)
            layer.mixer.inner_attn = AlibiSelfAttention()
        self.vision_model = EVAVisionTransformer(
            img_size=vision["image_size"], patch_size=vision["patch_size"], num_classes=vision["embed_dim"],
            use_mean_pooling=False, embed_dim=vision["width"], depth=vision["layers"],
            num_heads=vision["width"] // vision["head_width"], mlp_ratio=vision["mlp_ratio"], qkv_bias=vision["qkv_bias"],
            norm_layer=partial(nn.LayerNorm, eps=1e-6), rope=True, pt_hw_seq_len=vision["pt_hw_seq_len"],
            intp_freq=vision["intp_freq"], naiveswiglu=True, subln=vision["subln"])
        self.vision_model.head = nn.Identity()
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))

    def encode_text(self, ids):
        mask = ids != 0
        tokens = self.text_model.transformer(ids, attention_mask=mask).last_hidden_state
        return (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def make(folder, vision, heads, seed):
    tokenizer = wordpiece(folder, 1500, lowercase=True)
    text = {"hidden_size": 36, "num_hidden_layers": 2, "num_attention_heads": heads, "intermediate_size": 72,
            "vocab_size": len(tokenizer)}
    vision = {"embed_dim": 36, "width": 36, "image_size": 64, "patch_size": 16, "layers": 2, "head_width": 12, "mlp_ratio": 2.6667,
              "ls_init_value": None, "patch_dropout": 0.1, "qkv_bias": True, "fused_layer_norm": False, "x_attention": False,
              "post_norm": False, "rope_embeddings": True, "pt_hw_seq_len": 4, "intp_freq": False, "naive_swiglu": True,
              "subln": True, "drop_path_rate": 0.0, "proj_type": None} | vision
    model = JinaClip(text, vision).eval()
    randomise(model, seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "Wqkv.weight" in name or "attn.qkv.weight" in name:
                parameter[: 2 * len(parameter) // 3] *= 1.35
    model.to(torch.float16)
    stored = {name: tensor for name, tensor in model.state_dict().items() if ".freqs_" not in name}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    config = {
        "add_projections": False, "architectures": ["JinaCLIPModel"], "initializer_factor": 1.0, "logit_scale_init_value": 2.6592,
        "model_type": "jina_clip", "projection_dim": 36,
        "text_config": {
            "embed_dim": 36, "hf_model_config_kwargs": {"use_flash_attn": False} | text,
            "hf_model_name_or_path": "jinaai/jina-bert-flash-implementation", "model_type": "jina_clip_text",
            "pooler_type": "mean_pooler", "proj_bias": False, "proj_type": None},
        "vision_config": vision | {"model_type": "jina_clip_vision"}}
    processor = {"fill_color": 0, "image_processor_type": "JinaCLIPImageProcessor", "interpolation": "bicubic", "mean": MEAN,
                 "processor_class": "JinaCLIPProcessor", "resize_mode": "shortest", "size": 64, "std": STD}
    for name, value in {"config.json": config, "preprocessor_config.json": processor}.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")

    fresh = JinaClip(text, vision).double().eval()
    missing, unknown = fresh.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not unknown and all(".freqs_" in name for name in missing)
    transform = transforms.Compose([
        transforms.Resize(64, interpolation=transforms.InterpolationMode.BICUBIC), transforms.CenterCrop((64, 64)),
        transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    pixels = torch.stack([transform(image) for image in pictures()])
    encoded = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=32, return_tensors="pt")
    taps, visual, bert = Taps(), fresh.vision_model, fresh.text_model.transformer
    taps.output("vision.embeddings", visual.pos_drop)
    for i, block in enumerate(visual.blocks):
        taps.output(f"vision.block.{i}", block)
    taps.output("vision.final_norm", visual.norm)
    taps.input("text.embeddings", bert.emb_ln)
    taps.output("text.pre_norm", bert.emb_ln)
    for i, layer in enumerate(bert.encoder.layers):
        taps.output(f"text.block.{i}", layer)
    with torch.no_grad():
        image, words = visual(pixels.double()), fresh.encode_text(encoded["input_ids"])
    found = taps.take() | {"vision.pooled": image, "image_embeds_raw": image, "text.pooled": words, "text_embeds_raw": words}
    found |= scores(fresh.logit_scale.detach(), image, words) | {"pixel_values": pixels}
    write(folder, found | {name: encoded[name] for name in ("input_ids", "attention_mask")}, tokenizer, hf_ids(tokenizer))


if __name__ == "__main__":
    assert len(IMAGES) == 3
    plain = "--plain" in sys.argv
    folder = OUT / ("jina-clip-plain" if plain else "jina-clip-v1")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if plain:
        make(folder, {"subln": False, "qkv_bias": False, "intp_freq": True, "pt_hw_seq_len": 16}, 4, 8)
    else:
        make(folder, {}, 6, 7)
