"""Makes the fixtures whose text towers are like BERT's, each written by the library that publishes such checkpoints.

    python tests/oracles/text_towers.py tests/fixtures [NAME...]

Needs torch, transformers, tokenizers, sentencepiece, open_clip, safetensors and pillow; nothing is downloaded. Each
folder gets the checkpoint, `expected.safetensors` (stages in float64 from the stored weights, cast to F32, ids I64) under
the names that tests/fixtures/README.md lists, and `tokenizer_cases.json`: awkward strings, and labels in many scripts,
with the library's ids.
"""

import json
import math
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from text_tokenizers import TEXTS, bpe, byte_level, cases, unigram, wordpiece

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

OUT = Path(sys.argv[1])
IMAGES = ["portrait.png", "landscape.png", "gray.png"]

# Weights.


def randomise(model, seed):
    """Attention logits spread over about 1-2, MLP inputs over about -4..4, no gain, offset or bias is trivial."""
    random = torch.Generator().manual_seed(seed)

    def normal(parameter, std):
        parameter.copy_(torch.randn(parameter.shape, generator=random) * std)

    def uniform(parameter, low, high):
        parameter.copy_(torch.rand(parameter.shape, generator=random) * (high - low) + low)

    with torch.no_grad():
        done = set()
        for name, module in model.named_modules():
            leaf = name.rsplit(".", 1)[-1]
            own = list(module.parameters(recurse=False))
            if isinstance(module, nn.LayerNorm):
                uniform(module.weight, 0.5, 1.5)
                normal(module.bias, 0.2)
            elif isinstance(module, nn.MultiheadAttention):
                normal(module.in_proj_weight, 1.35 / math.sqrt(module.embed_dim))
                module.in_proj_weight[2 * module.embed_dim:] *= 0.7
                normal(module.in_proj_bias, 0.3)
            elif isinstance(module, (nn.Linear, nn.Conv2d)):
                gain = 1.35 if leaf in ("query", "key", "q_proj", "k_proj") else 1.0
                gain = 1.5 if leaf in ("fc1", "c_fc") or "intermediate" in name else gain
                normal(module.weight, gain / math.sqrt(module.weight[0].numel()))
                if module.bias is not None:
                    normal(module.bias, 0.3)
            elif isinstance(module, nn.Embedding):
                normal(module.weight, 0.5 if "position" in name or "token_type" in name else 0.9)
            else:
                continue
            done.update(id(parameter) for parameter in own)
        for name, parameter in model.named_parameters():
            if id(parameter) in done or name == "logit_scale":
                continue
            uniform(parameter, 0.3, 1.1) if "lambda" in name else normal(parameter, 0.5)
        if hasattr(model, "logit_scale"):
            model.logit_scale.fill_(3.2)


# Reference outputs.


class Taps:
    """Records what modules give, or what they get."""

    def __init__(self):
        self.found, self.handles = {}, []

    def output(self, name, module):
        first = lambda value: value[0] if isinstance(value, tuple) else value
        hook = lambda _, inputs, output: self.found.__setitem__(name, first(output).detach().clone())
        self.handles.append(module.register_forward_hook(hook))

    def input(self, name, module):
        hook = lambda _, inputs: self.found.__setitem__(name, inputs[0].detach().clone())
        self.handles.append(module.register_forward_pre_hook(hook))

    def take(self):
        for handle in self.handles:
            handle.remove()
        return self.found


def tap_bert(taps, model):
    taps.input("text.embeddings", model.embeddings.LayerNorm)
    taps.output("text.pre_norm", model.embeddings.LayerNorm)
    for i, layer in enumerate(model.encoder.layer):
        taps.output(f"text.block.{i}", layer)


def pictures():
    return [Image.open(OUT / "images" / name).convert("RGB") for name in IMAGES]


def scores(model_scale, image, text):
    unit = lambda x: x / x.norm(dim=-1, keepdim=True)
    logits = model_scale.exp() * unit(image) @ unit(text).T
    labels = torch.arange(len(image))
    loss = (nn.functional.cross_entropy(logits[:, : len(image)], labels)
            + nn.functional.cross_entropy(logits[:, : len(image)].T, labels)) / 2
    return {"image_embeds": unit(image), "text_embeds": unit(text), "logits_per_image": logits,
            "probs": logits.softmax(-1), "loss": loss.reshape(1)}


def write(folder, tensors, tokenizer, ids_of):
    for name, tensor in tensors.items():
        tensors[name] = tensor.detach().to(torch.float32 if tensor.is_floating_point() else torch.int64).contiguous().clone()
    save_file(tensors, folder / "expected.safetensors")
    write_cases(folder, ids_of)
    print(f"{folder.name}: {sum(path.stat().st_size for path in folder.iterdir())} bytes, "
          f"worst cosine between texts {worst(tensors['text_embeds_raw']):.3f}")


def write_cases(folder, ids_of):
    table = [{"text": text, "ids": ids_of(text)} for text in cases()]
    (folder / "tokenizer_cases.json").write_text(json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n")


def worst(embeddings):
    unit = embeddings / embeddings.norm(dim=-1, keepdim=True)
    return ((unit @ unit.T) - 2 * torch.eye(len(unit))).max()


def hf_ids(tokenizer):
    return lambda text: tokenizer(text, truncation=True)["input_ids"]


def save(model, folder, dtype):
    model.to(dtype).eval().save_pretrained(folder)


# The families.

SMALL = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}
TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 112}


def hf_pair(folder, model, tokenizer, processor, vision):
    """Outputs of a model of transformers with two towers: `vision` taps its image tower."""
    processor.save_pretrained(folder)
    model = type(model).from_pretrained(folder, dtype=torch.float32).double().eval()
    inputs = {"pixel_values": processor(images=pictures(), return_tensors="pt")["pixel_values"].float()}
    encoded = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=32, return_tensors="pt")
    inputs |= {name: encoded[name] for name in ("input_ids", "attention_mask")}
    taps = Taps()
    vision(taps, model.vision_model)
    tap_bert(taps, model.text_model)
    with torch.no_grad():
        taps.input("vision.pooled", model.visual_projection)
        taps.output("image_embeds_raw", model.visual_projection)
        taps.input("text.pooled", model.text_projection)
        taps.output("text_embeds_raw", model.text_projection)
        model(**{name: value.double() if name == "pixel_values" else value for name, value in inputs.items()})
    found = taps.take()
    found |= scores(model.logit_scale, found["image_embeds_raw"], found["text_embeds_raw"])
    write(folder, inputs | found, tokenizer, hf_ids(tokenizer))


def vision_dinov2(taps, model):
    taps.output("vision.embeddings", model.embeddings)
    for i, layer in enumerate(model.encoder.layer):
        taps.output(f"vision.block.{i}", layer)
    taps.output("vision.final_norm", model.layernorm)


def vision_vit(taps, model):
    taps.output("vision.embeddings", model.embeddings)
    for i, layer in enumerate(model.layers):
        taps.output(f"vision.block.{i}", layer)
    taps.output("vision.final_norm", model.layernorm)


def vision_clip(taps, model):
    taps.output("vision.embeddings", model.embeddings)
    taps.output("vision.pre_norm", model.pre_layrnorm)
    for i, layer in enumerate(model.encoder.layers):
        taps.output(f"vision.block.{i}", layer)


def dual(folder, vision, text, tokenizer, processor, tap, seed, dtype):
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=40)
    model = transformers.VisionTextDualEncoderModel(config)
    randomise(model, seed)
    save(model, folder, dtype)
    hf_pair(folder, model, tokenizer, processor, tap)


def dual_dinov2_bert(folder):
    """What locked-image tuning of DINOv2 with a small BERT gives."""
    tokenizer = wordpiece(folder, 1500, lowercase=True)
    vision = transformers.Dinov2Config(**SMALL, mlp_ratio=3, image_size=56, patch_size=14)
    text = transformers.BertConfig(**TEXT, vocab_size=len(tokenizer), max_position_embeddings=40)
    processor = transformers.BitImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56})
    dual(folder, vision, text, tokenizer, processor, vision_dinov2, 1, torch.float32)


def dual_vit_xlmr(folder):
    tokenizer = unigram(folder, 1300, whole=False)
    vision = transformers.ViTConfig(**SMALL, intermediate_size=128, image_size=64, patch_size=16)
    text = transformers.XLMRobertaConfig(
        **TEXT, vocab_size=len(tokenizer), max_position_embeddings=34, type_vocab_size=1, layer_norm_eps=1e-5)
    processor = transformers.ViTImageProcessor(size={"height": 64, "width": 64})
    dual(folder, vision, text, tokenizer, processor, vision_vit, 2, torch.float16)


def chinese_clip(folder):
    tokenizer = wordpiece(folder, 1500, lowercase=True, whole=False)
    config = transformers.ChineseCLIPConfig(
        projection_dim=40,
        text_config=TEXT | {"vocab_size": len(tokenizer), "max_position_embeddings": 32},
        vision_config=SMALL | {"intermediate_size": 128, "image_size": 64, "patch_size": 16})
    model = transformers.ChineseCLIPModel(config)
    randomise(model, 3)
    save(model, folder, torch.float16)
    processor = transformers.ChineseCLIPImageProcessor(
        size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64}, do_center_crop=False)
    hf_pair(folder, model, tokenizer, processor, vision_clip)


def xlmr(folder, tokenizer):
    """The text tower that a checkpoint names: a folder beside its weights, as `from_pretrained` takes one."""
    base = folder / "xlm-roberta-small"
    config = transformers.XLMRobertaConfig(
        **TEXT, vocab_size=len(tokenizer), max_position_embeddings=34, type_vocab_size=1, layer_norm_eps=1e-5)
    config.save_pretrained(base)
    return base


def openclip(folder, base, text, seed, tap):
    """`CustomTextCLIP` with the text tower that the folder `base` describes; `text` has the rest of its settings."""
    import open_clip
    from open_clip.factory import set_model_preprocess_cfg
    from open_clip.push_to_hf_hub import save_for_hf

    config = {
        "embed_dim": 40,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 48, "head_width": 16, "patch_size": 16, "mlp_ratio": 2.5},
        "text_cfg": {"hf_model_name": base.name, "hf_tokenizer_name": base.name, "context_length": 32} | text,
    }
    local = config | {"text_cfg": config["text_cfg"] | {"hf_model_name": str(base), "hf_model_pretrained": False}}
    model = open_clip.CustomTextCLIP(**json.loads(json.dumps(local)))
    randomise(model, seed)
    preprocess = open_clip.transform.PreprocessCfg(size=64)
    set_model_preprocess_cfg(model, dict(vars(preprocess)))

    class Kept:
        def save_pretrained(self, folder): ...

    save_for_hf(model.to(torch.float16), Kept(), config, folder, safe_serialization=True)
    model.double().eval().load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    for module in model.modules():
        if hasattr(module, "make_weights"):  # NLLB's positions are no parameter: in half precision they lost digits
            module.make_weights(module.num_positions + module.offset, module.embedding_dim, module.padding_idx)
    transform = open_clip.transform.image_transform_v2(preprocess, is_train=False)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(folder), context_length=32)
    ids, pixels, pad = tokenizer(TEXTS), torch.stack([transform(image) for image in pictures()]), 1
    taps = Taps()
    visual = model.visual
    taps.input("vision.embeddings", visual.ln_pre)
    taps.output("vision.pre_norm", visual.ln_pre)
    for i, block in enumerate(visual.transformer.resblocks):
        taps.output(f"vision.block.{i}", block)
    taps.output("vision.final_norm", visual.ln_post)
    tap(taps, model.text.transformer)
    taps.output("text.pooled", model.text.pooler)
    with torch.no_grad():
        image, text = model.encode_image(pixels.double()), model.encode_text(ids)
    found = taps.take() | {"image_embeds_raw": image, "text_embeds_raw": text}
    found["vision.pooled"] = found["vision.final_norm"][:, 0]
    found |= scores(model.logit_scale, image, text) | {"pixel_values": pixels, "input_ids": ids}
    found["attention_mask"] = (ids != pad).long()
    write(folder, found, tokenizer, lambda text: [id for id in tokenizer(text)[0].tolist() if id != pad])


def openclip_xlmr(folder):
    openclip(folder, xlmr(folder, unigram(folder, 1300)), {"hf_pooler_type": "mean_pooler"}, 4, tap_bert)


def openclip_nllb(folder):
    tokenizer = bpe(folder, 1100)
    base = folder / "nllb-small"
    transformers.M2M100Config(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=112,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=32, max_position_embeddings=64).save_pretrained(base)

    def tap(taps, model):
        taps.input("text.embeddings", model.layers[0])
        for i, layer in enumerate(model.layers):
            taps.output(f"text.block.{i}", layer)

    openclip(folder, base, {"hf_pooler_type": "cls_pooler", "hf_proj_type": "linear"}, 6, tap)


class MultilingualClip(nn.Module):
    """What M-CLIP's own class computes (github.com/FreddeFrallan/Multilingual-CLIP), under its names of tensors."""

    def __init__(self, config, dim):
        super().__init__()
        self.transformer = transformers.XLMRobertaModel(config)
        self.LinearTransformation = nn.Linear(config.hidden_size, dim)

    def forward(self, input_ids, attention_mask):
        tokens = self.transformer(input_ids=input_ids, attention_mask=attention_mask)[0]
        mask = attention_mask.unsqueeze(2).to(tokens.dtype)
        return self.LinearTransformation((tokens * mask).sum(1) / mask.sum(1))


def mclip(folder):
    tokenizer = unigram(folder, 1300)
    base = xlmr(folder, tokenizer)
    model = MultilingualClip(transformers.XLMRobertaConfig.from_pretrained(base), 40)
    randomise(model, 5)
    save_file(model.to(torch.float16).state_dict(), folder / "model.safetensors", {"format": "pt"})
    config = {"architectures": ["MultilingualCLIP"], "modelBase": base.name, "model_type": "M-CLIP", "numDims": 40,
              "transformerDimensions": TEXT["hidden_size"]}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    model.double().eval().load_state_dict(load_file(folder / "model.safetensors"))
    encoded = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=32, return_tensors="pt")
    inputs = {name: encoded[name] for name in ("input_ids", "attention_mask")}
    taps = Taps()
    tap_bert(taps, model.transformer)
    taps.input("text.pooled", model.LinearTransformation)
    with torch.no_grad():
        text = model(**inputs)
    write(folder, inputs | taps.take() | {"text_embeds_raw": text}, tokenizer, hf_ids(tokenizer))


def roberta(folder):
    """A tokenizer alone."""
    write_cases(folder, hf_ids(byte_level(folder, 800)))


FIXTURES = {"dual-dinov2-bert": dual_dinov2_bert, "dual-vit-xlmr": dual_vit_xlmr, "chinese-clip": chinese_clip,
            "openclip-xlmr": openclip_xlmr, "openclip-nllb": openclip_nllb, "mclip": mclip, "roberta": roberta}

if __name__ == "__main__":
    for name in sys.argv[2:] or FIXTURES:
        shutil.rmtree(OUT / name, ignore_errors=True)
        (OUT / name).mkdir()
        FIXTURES[name](OUT / name)
