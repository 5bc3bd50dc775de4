#!/usr/bin/env python3
"""Small checkpoints of open_clip: models with an image tower of timm, CLIPA and MetaCLIP 2; and what it computes with them.

    python tests/oracles/open_clip_timm.py tests/fixtures [NAME ...]

open_clip builds such a tower by timm's name of it, so small architectures are put into timm's registry under names of
nobody's that follow the real ones. Configurations are those of open_clip's own models with other sizes, the files are
written by open_clip's export (`save_for_hf`), and everything in `expected.safetensors` is computed in float64 from the
checkpoint as `create_model("local-dir:...")` loads it. Two runs give the same bytes.

Needs torch, open_clip_torch 3.3.0, timm 1.0.31, transformers 5, sentencepiece and pillow. Pictures are those of
`images/`; the SentencePiece models and the awkward strings of `siglip-hf` and `siglip2-fixres` serve here too, and CLIP's
tokenizer of `clip-hf`.
"""

import hashlib
import json
import math
import shutil
import sys
from functools import partial
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
import transformers
from open_clip.factory import set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_for_hf
from PIL import Image
from safetensors.torch import save_file
from timm.layers import LayerNorm
from timm.models import _registry, eva, vision_transformer
from timm.models import vision_transformer_hybrid as hybrid
from torch import nn
from transformers.convert_slow_tokenizer import SentencePieceExtractor

torch.set_num_threads(1)
torch.backends.mha.set_fastpath_enabled(False)  # one code path for what is recorded and what is not

PICTURES = ["portrait.png", "landscape.png", "gray.png"]
TEXTS = [
    "a photo of a cat",
    "A Bird, standing on one_leg!",
    "schÃ¶n &amp; na\u00efve caf\u00e9 \u2014 50% off",
    "",
    "a red house near the blue lake, " * 20,
]
OPENAI = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
HALVES = ([0.5] * 3, [0.5] * 3)


def vit(name, **args):
    return lambda **kw: vision_transformer._create_vision_transformer(name, **(args | kw))


def eva_tower(name, **args):
    return lambda **kw: eva._create_eva(name, **(args | kw))


def mci(name, **args):
    """A tower whose patches go through three convolutions, each as wide as the last or a quarter of it."""
    width = args["embed_dim"]

    def make(**kw):
        stem = hybrid.ConvStem(
            channels=(width // 4, width // 4, width), stride=(4, 2, 2), kernel_size=(4, 2, 2), padding=0, act_layer=nn.GELU)
        return hybrid._create_vision_transformer_hybrid(name, backbone=stem, embed_args=dict(proj=False), **(args | kw))

    return make


# ---- what there is ------------------------------------------------------------------------------------------------
SIGLIP_TEXT = dict(
    context_length=64,
    tokenizer_kwargs={"clean": "canonicalize"},
    width=24,
    heads=3,
    layers=2,
    no_causal_mask=True,
    proj_bias=True,
    pool_type="last",
    norm_kwargs={"eps": 1e-6},
)
CLIP_TEXT = dict(context_length=77, vocab_size=49408, width=6, heads=2, layers=1)

FIXTURES = {
    # ViT-B-16-SigLIP: exact GELU in both towers, a unigram tokenizer.
    "open-clip-siglip": dict(
        tower=("vit_tiny_patch16_siglip_64", vit, dict(
            patch_size=16, embed_dim=48, depth=2, num_heads=3, mlp_ratio=3.5, class_token=False, global_pool="map",
            img_size=64)),
        model=dict(embed_dim=48, init_logit_bias=-10, custom_text=True),
        vision=dict(image_size=64, timm_pool="map", timm_proj="none"),
        text=dict(SIGLIP_TEXT, vocab_size=1000, hf_tokenizer_name="timm/ViT-B-16-SigLIP"),
        tokenizer="siglip", dtype=torch.float16, means=HALVES),
    # ViT-B-32-SigLIP2-256: GELU by tanh in both, Gemma's tokenizer.
    "open-clip-siglip2": dict(
        tower=("vit_base_patch32_siglip_256", vit, dict(
            patch_size=16, embed_dim=72, depth=2, num_heads=12, mlp_ratio=2.5, class_token=False, global_pool="map",
            act_layer="gelu_tanh", img_size=62)),
        model=dict(embed_dim=72, init_logit_bias=-10, custom_text=True),
        vision=dict(image_size=62, timm_pool="map", timm_proj="none"),
        text=dict(SIGLIP_TEXT, vocab_size=1200, hf_tokenizer_name="timm/ViT-B-32-SigLIP2-256",
                  act_kwargs={"approximate": "tanh"}),
        tokenizer="gemma", dtype=torch.bfloat16, means=HALVES),
    # EVA02-L-14: rotary positions scaled to 16x16, norms inside attention and MLP, a projection in the trunk's head.
    "open-clip-eva02": dict(
        tower=("eva02_tiny_patch14_clip_56", eva_tower, dict(
            img_size=56, patch_size=14, embed_dim=48, depth=2, num_heads=3, qkv_fused=False, mlp_ratio=4 * 2 / 3,
            swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True, use_rot_pos_emb=True, ref_feat_shape=(16, 16),
            global_pool="token")),
        model=dict(embed_dim=32, custom_text=True),
        vision=dict(image_size=56, timm_pool="token", timm_proj=None),
        text=CLIP_TEXT, dtype=torch.float16, means=OPENAI),
    # PE-Core-B-16: rotary positions counted from the class token, columns first; eight heads pool what three attend.
    "open-clip-pe": dict(
        tower=("vit_pe_core_tiny_patch16_64", eva_tower, dict(
            img_size=64, patch_size=16, embed_dim=48, depth=2, num_heads=3, mlp_ratio=2.0, global_pool="map",
            attn_type="rope", use_pre_transformer_norm=True, use_rot_pos_emb=True, ref_feat_shape=(4, 4),
            rope_grid_offset=1.0, rope_grid_indexing="xy", attn_pool_num_heads=8, attn_pool_mlp_ratio=4.0,
            norm_layer=partial(LayerNorm, eps=1e-5))),
        model=dict(embed_dim=40, custom_text=True),
        vision=dict(image_size=64, timm_pool="map", timm_proj=None),
        text=dict(CLIP_TEXT, context_length=32), dtype=torch.float16, means=HALVES),
    # MobileCLIP-B: convolutions with batch norms in place of the patch embedding, no position for the class token.
    "open-clip-mobileclip": dict(
        tower=("vit_tiny_mci_64", mci, dict(
            img_size=64, embed_dim=48, depth=2, num_heads=3, mlp_ratio=3.0, no_embed_class=True)),
        model=dict(embed_dim=32, custom_text=True),
        vision=dict(image_size=64, timm_pool="token", timm_proj=None, timm_drop=0.0, timm_drop_path=0.0),
        text=dict(CLIP_TEXT, no_causal_mask=False), dtype=torch.float16, means=([0.0] * 3, [1.0] * 3)),
    # ViT-L-14-CLIPA: the mean of the patches, normed after; BERT's tokenizer without [SEP], texts that see both ways.
    "open-clip-clipa": dict(
        tower=None,
        model=dict(embed_dim=32),
        vision=dict(image_size=64, layers=2, width=48, head_width=16, mlp_ratio=3.0, patch_size=16, no_ln_pre=True,
                    pool_type="avg", final_ln_after_pool=True),
        text=dict(context_length=16, vocab_size=1200, hf_tokenizer_name="bert-base-uncased",
                  tokenizer_kwargs={"strip_sep_token": True}, width=24, heads=3, layers=2, pool_type="last",
                  no_causal_mask=True),
        tokenizer="bert", dtype=torch.float16, means=OPENAI),
    # ViT-H-14-worldwide-quickgelu (MetaCLIP 2): quick GELU, XLM-R's kind of tokenizer, the first end token is pooled.
    "open-clip-worldwide": dict(
        tower=None,
        model=dict(embed_dim=32, quick_gelu=True),
        vision=dict(image_size=64, layers=2, width=48, head_width=16, mlp_ratio=3.0, patch_size=16),
        text=dict(hf_tokenizer_name="facebook/xlm-v-base", pool_type="eos", eos_id=2, context_length=77, vocab_size=1000,
                  width=24, heads=3, layers=2),
        tokenizer="xlmr", dtype=torch.bfloat16, means=OPENAI),
}


# ---- weights ------------------------------------------------------------------------------------------------------
def randomise(model, generator):
    """Attention logits with a deviation of 1 to 3, hidden units over -4..4, no bias of 0 and no factor of 1."""
    done = set()

    def fill(parameter, values):
        parameter.data.copy_(values)
        done.add(id(parameter))

    def normal(parameter, std, mean=0.0):
        fill(parameter, torch.randn(parameter.shape, generator=generator) * std + mean)

    def uniform(parameter, low, high):
        fill(parameter, torch.rand(parameter.shape, generator=generator) * (high - low) + low)

    def dense(weight, bias, gain):
        normal(weight, gain / math.sqrt(weight[0].numel()))
        if bias is not None:
            normal(bias, 0.3)

    for name, module in model.named_modules():
        leaf = name.rsplit(".", 1)[-1]
        if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
            uniform(module.weight, 0.5, 1.5)
            normal(module.bias, 0.2)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) * 0.2)
                module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.3)
        elif isinstance(module, nn.MultiheadAttention):
            dense(module.in_proj_weight, module.in_proj_bias, 1.35)
        elif isinstance(module, nn.Linear):
            gain = {"qkv": 1.35, "q_proj": 1.35, "k_proj": 1.35, "q": 2.0, "kv": 1.35}.get(leaf, 1.0)
            dense(module.weight, module.bias, 1.5 if leaf in ("fc1", "c_fc", "fc1_g") else gain)
        elif isinstance(module, nn.Conv2d):
            dense(module.weight, module.bias, 1.0)
        elif isinstance(module, nn.Embedding):
            normal(module.weight, 0.9)
    for name, parameter in model.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        if id(parameter) in done or leaf in ("logit_scale", "logit_bias"):
            continue
        if leaf in ("gamma", "gamma_1", "gamma_2"):
            uniform(parameter, 0.3, 1.1)
        elif leaf in ("proj", "text_projection"):
            normal(parameter, 1 / math.sqrt(parameter.shape[0]))
        elif leaf in ("q_bias", "v_bias"):
            normal(parameter, 0.3)
        elif leaf in ("pos_embed", "positional_embedding"):
            normal(parameter, 0.5)
        elif leaf in ("cls_token", "class_embedding", "latent"):
            normal(parameter, 0.8)
        else:
            raise RuntimeError(f"no rule for {name}")


# ---- tokenizers ---------------------------------------------------------------------------------------------------
def tokenizer(kind, root):
    """What open_clip's `SigLipTokenizer` makes of a SentencePiece model, here that of another fixture."""
    if kind == "bert":
        return transformers.BertTokenizer(vocab=str(root / "chinese-clip/vocab.txt"))
    if kind == "xlmr":
        return transformers.AutoTokenizer.from_pretrained(root / "openclip-xlmr")
    if kind == "siglip":
        made, model = transformers.T5Tokenizer, root / "siglip-hf/spiece.model"
        settings = dict(extra_ids=0, pad_token="</s>")
    else:
        made, model = transformers.GemmaTokenizer, root / "siglip2-fixres/tokenizer.model"
        settings = dict(padding_side="right", add_bos_token=False, add_eos_token=True)
    return made(**SentencePieceExtractor(str(model)).extract(made.model), **settings)


# ---- outputs ------------------------------------------------------------------------------------------------------
def record(modules):
    """Hooks that keep what goes into ("in") or comes out of ("out") modules."""
    seen = {}
    for name, (module, side) in modules.items():
        if side == "out":
            module.register_forward_hook(lambda m, args, out, name=name: seen.__setitem__(name, out.detach().clone()))
        else:
            module.register_forward_pre_hook(lambda m, args, name=name: seen.__setitem__(name, args[0].detach().clone()))
    return seen


def outputs(folder, dtype):
    _, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    pixels = torch.stack([preprocess(Image.open(folder.parent / "images" / name)) for name in PICTURES])
    ids = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    model = open_clip.create_model(f"local-dir:{folder}", precision="fp32").to(dtype).eval()
    text = getattr(model, "text", model)
    modules = {f"text.block.{i}": (block, "out") for i, block in enumerate(text.transformer.resblocks)}
    modules |= {"text.embeddings": (text.transformer, "in"), "text.final_norm": (text.ln_final, "out")}
    if hasattr(model.visual, "trunk"):
        trunk = model.visual.trunk
        blocks, norm, start = trunk.blocks, trunk.norm_pre, (trunk.pos_drop, "out")
        modules |= {"vision.final_norm": (trunk.norm, "out"), "vision.pooled": (trunk.head, "in")}
    else:
        own = model.visual
        blocks, norm, start = own.transformer.resblocks, own.ln_pre, (own.patch_dropout, "out")
        modules["vision.pooled" if own.final_ln_after_pool else "vision.final_norm"] = (own.ln_post, "out")
    modules |= {f"vision.block.{i}": (block, "out") for i, block in enumerate(blocks)}
    modules["vision.embeddings"] = start
    if not isinstance(norm, nn.Identity):
        modules["vision.pre_norm"] = (norm, "out")
    seen = record(modules)
    with torch.no_grad():
        image, words = model.encode_image(pixels.to(dtype)), model.encode_text(ids)
        unit_image, unit_words = F.normalize(image, dim=-1), F.normalize(words, dim=-1)
        logits = model.get_logits(pixels.to(dtype), ids)[0]
    normed = seen.pop("text.final_norm")
    pooling = getattr(text, "pool_type", None) or text.text_pool_type
    end = {
        "last": torch.full((len(ids),), ids.shape[1] - 1),
        "argmax": ids.argmax(-1),
        "eos": (ids == 2).int().argmax(-1),
    }[pooling]
    if pooling == "eos":
        seen["attention_mask"] = (torch.arange(ids.shape[1]) <= end[:, None]).long()
    if "vision.pooled" not in seen:
        seen["vision.pooled"] = seen["vision.final_norm"][:, 0]
    seen["text.pooled"] = normed[torch.arange(len(ids)), end]
    sigmoid = model.logit_bias is not None
    found = seen | {
        "pixel_values": pixels, "input_ids": ids, "image_embeds_raw": image, "image_embeds": unit_image,
        "text_embeds_raw": words, "text_embeds": unit_words, "logits_per_image": logits,
        "probs": logits.sigmoid() if sigmoid else logits.softmax(-1)}
    return {name: value.float().contiguous() if value.is_floating_point() else value for name, value in found.items()}


# ---- a fixture ----------------------------------------------------------------------------------------------------
def build(name, root):
    spec, folder = FIXTURES[name], root / name
    shutil.rmtree(folder, ignore_errors=True)
    vision = dict(image_size=spec["vision"]["image_size"])
    if spec["tower"]:
        tower, kind, args = spec["tower"]
        _registry._model_entrypoints[tower] = lambda pretrained=False, **kw: kind(tower, **args)(pretrained=False, **kw)
        vision |= dict(timm_model_name=tower, timm_model_pretrained=False)
    config = dict(spec["model"], vision_cfg=vision | spec["vision"], text_cfg=spec["text"])
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
    generator = torch.Generator().manual_seed(seed)
    arguments = {key: value for key, value in json.loads(json.dumps(config)).items() if key != "custom_text"}
    model = (open_clip.CustomTextCLIP if "custom_text" in config else open_clip.CLIP)(**arguments)
    randomise(model, generator)
    model.logit_scale.data.fill_(2.7)
    if model.logit_bias is not None:
        model.logit_bias.data.fill_(-3.25)
    model = model.to(spec["dtype"]).eval()
    mean, std = spec["means"]
    squash = spec["vision"].get("timm_pool") == "map"
    preprocess = open_clip.transform.PreprocessCfg(
        size=vision["image_size"], mean=mean, std=std, resize_mode="squash" if squash else "shortest")
    set_model_preprocess_cfg(model, dict(vars(preprocess)))

    class Tokenizer:
        def save_pretrained(self, target):
            if "tokenizer" in spec:
                tokenizer(spec["tokenizer"], root).save_pretrained(target)

    save_for_hf(model, Tokenizer(), config, folder, safe_serialization=True)
    exact = outputs(folder, torch.float64)
    save_file(exact, folder / "expected.safetensors")
    single = outputs(folder, torch.float32)
    noise = max(float((exact[key] - single[key]).abs().max() / exact[key].abs().max())
                for key in exact if exact[key].is_floating_point())
    meta = {
        "library": "open_clip 3.3.0, timm 1.0.31", "torch": torch.__version__, "transformers": transformers.__version__,
        "script": "tests/oracles/open_clip_timm.py", "images": [f"../images/{picture}" for picture in PICTURES],
        "texts": TEXTS, "tokenizer_dir": "." if "tokenizer" in spec else "../clip-hf",
        "float32_relative_noise_max": float(f"{noise:.2e}"),
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if "tokenizer" in spec:
        cases = json.loads((root / "siglip-hf/tokenizer_cases.json").read_text(encoding="utf-8"))
        tokens = open_clip.get_tokenizer(f"local-dir:{folder}")
        ids = [tokens([case["text"]])[0].tolist() for case in cases]
        if spec["text"]["pool_type"] == "eos":  # such a text runs at its own length
            ids = [one[: one.index(2) + 1] for one in ids]
        cases = [{"text": case["text"], "ids": ids} for case, ids in zip(cases, ids)]
        (folder / "tokenizer_cases.json").write_text(json.dumps(cases, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{name}: {size / 1e3:.0f} kB, float32 is {noise:.1e} from float64")


def main():
    root = Path(sys.argv[1])
    for name in sys.argv[2:] or FIXTURES:
        build(name, root)


if __name__ == "__main__":
    main()
