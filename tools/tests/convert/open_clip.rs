//! open_clip's models whose image tower is timm's, and those that differ from OpenAI's in their configuration only.

use super::common::*;
use super::refusals::Refusal;
use super::variants::converted;
use super::wrong_families::{check, drop_tensor, remove, set, transpose};
use ocelli::format::*;
use serde_json::{Value, json};

const OPEN: &str = "open_clip_config.json";

/// A case in which the tower of timm has this name.
macro_rules! named {
    ($name:literal, $why:literal) => {
        (
            |c| set(c, OPEN, "/model_cfg/vision_cfg/timm_model_name", json!($name)),
            &["model_cfg.vision_cfg.timm_model_name", $name, $why],
        )
    };
}

#[test]
fn wrong_siglip_towers() {
    let cases: [Refusal; 24] = [
        (
            |c| drop_tensor(c, "visual.trunk.attn_pool.latent"),
            &["visual.trunk.attn_pool.latent", "is missing", "vision.head.query"],
        ),
        (|c| drop_tensor(c, "visual.trunk.pos_embed"), &["visual.trunk.pos_embed", "is missing"]),
        (|c| drop_tensor(c, "visual.trunk.patch_embed.proj.bias"), &["patch_embed.proj.bias", "is missing"]),
        (
            |c| {
                drop_tensor(c, "visual.trunk.norm.weight");
                drop_tensor(c, "visual.trunk.norm.bias");
            },
            &["visual.trunk.norm.weight", "is missing"],
        ),
        (|c| drop_tensor(c, "text.text_projection.bias"), &["text.text_projection.bias", "is missing"]),
        (|c| drop_tensor(c, "logit_scale"), &["logit_scale", "is missing"]),
        (|c| transpose(c, "visual.trunk.attn_pool.kv.weight"), &["attn_pool.kv.weight", "has shape"]),
        (|c| transpose(c, "visual.trunk.blocks.1.mlp.fc1.weight"), &["blocks.1.mlp.fc1.weight", "has shape"]),
        (|c| transpose(c, "text.text_projection.weight"), &["text.text_projection.weight", "has shape"]),
        (
            |c| _ = c.tensors.insert("visual.trunk.extra".into(), c.tensors["logit_scale"].clone()),
            &["visual.trunk.extra", "unknown"],
        ),
        (|c| set(c, OPEN, "/model_cfg/vision_cfg/timm_pool", json!("avg")), &["attn_pool", "unknown"]),
        (
            |c| set(c, OPEN, "/model_cfg/vision_cfg/timm_pool", json!("abs_attn")),
            &["vision_cfg.timm_pool", "abs_attn"],
        ),
        (|c| set(c, OPEN, "/model_cfg/vision_cfg/timm_proj", json!("mlp")), &["vision_cfg.timm_proj", "mlp"]),
        (
            |c| set(c, OPEN, "/model_cfg/vision_cfg/timm_proj", Value::Null),
            &["visual.trunk.head.weight", "missing"],
        ),
        (|c| remove(c, OPEN, "/model_cfg/vision_cfg/timm_proj"), &["visual.head.proj.weight", "missing"]),
        (
            |c| set(c, OPEN, "/model_cfg/vision_cfg/image_size", json!(96)),
            &["visual.trunk.pos_embed", "(6, 6)"],
        ),
        (|c| set(c, OPEN, "/model_cfg/vision_cfg/qk_norm", json!(true)), &["vision_cfg.qk_norm"]),
        (|c| set(c, OPEN, "/model_cfg/embed_dim", json!(40)), &["embed_dim"]),
        (|c| set(c, OPEN, "/model_cfg/text_cfg/pool_type", json!("first")), &["text_cfg.pool_type", "first"]),
        (|c| set(c, OPEN, "/model_cfg/text_cfg/proj_type", json!("mlp")), &["text_cfg.proj_type", "mlp"]),
        (
            |c| set(c, OPEN, "/model_cfg/text_cfg/tokenizer_kwargs/clean", json!("lower")),
            &["tokenizer.json", "encodes the empty text as [1]"],
        ),
        (
            |c| set(c, OPEN, "/model_cfg/text_cfg/tokenizer_kwargs/strip_sep_token", json!(true)),
            &["text_cfg.tokenizer_kwargs.clean", "canonicalize", "strip_sep_token true"],
        ),
        (
            |c| set(c, "tokenizer.json", "/pre_tokenizer", json!({"type": "Whitespace"})),
            &["tokenizer.json", "pre_tokenizer", "Whitespace"],
        ),
        (|c| remove(c, "tokenizer_config.json", "/pad_token"), &["tokenizer_config.json", "pad_token"]),
    ];
    check(OPEN_SIGLIP, &cases);
    let cases: [Refusal; 3] = [
        (
            |c| set(c, OPEN, "/model_cfg/text_cfg/act_kwargs/approximate", json!("sigmoid")),
            &["text_cfg.act_kwargs.approximate", "sigmoid"],
        ),
        (
            |c| set(c, OPEN, "/model_cfg/quick_gelu", json!(true)),
            &["text_cfg.act_kwargs.approximate", "tanh"],
        ),
        (|c| set(c, "tokenizer_config.json", "/padding_side", json!("left")), &["padding_side", "left"]),
    ];
    check(OPEN_SIGLIP2, &cases);
}

#[test]
fn wrong_eva_and_perception_encoders() {
    let cases: [Refusal; 11] = [
        (
            |c| drop_tensor(c, "visual.trunk.blocks.1.attn.norm.bias"),
            &["blocks.1.attn.norm.bias", "is missing"],
        ),
        (|c| drop_tensor(c, "visual.trunk.head.weight"), &["visual.trunk.head.weight", "is missing"]),
        (|c| drop_tensor(c, "visual.trunk.cls_token"), &["visual.trunk.pos_embed", "17 rows"]),
        (|c| transpose(c, "visual.trunk.head.weight"), &["visual.trunk.head.weight", "[32, 48]", "[48, 32]"]),
        named!("eva02_enormous_patch14_clip_224", "res-post-norm"),
        named!("naflexvit_base_patch16_siglip", "transformers"),
        named!("fastvit_mci2", "convolution"),
        named!("convnext_base", "convolution"),
        named!("vitamin_large_224", "convolution stages"),
        named!("swin_base_patch4_window7_224", "windows"),
        named!("vit_relpos_medium_patch16_cls_224", "relative"),
    ];
    check(OPEN_EVA, &cases);
    let cases: [Refusal; 4] = [
        (|c| drop_tensor(c, "visual.trunk.norm_pre.weight"), &["visual.trunk.norm_pre.weight", "is missing"]),
        (
            |c| drop_tensor(c, "visual.trunk.attn_pool.mlp.fc1.weight"),
            &["attn_pool.mlp.fc1.weight", "is missing"],
        ),
        named!("vit_pe_core_tiny_patch16", "image size"),
        named!("vit_pe_spatial_tiny_patch16_512", "not supported"),
    ];
    check(OPEN_PE, &cases);
}

#[test]
fn wrong_mobileclips() {
    let cases: [Refusal; 6] = [
        (
            |c| drop_tensor(c, "visual.trunk.patch_embed.backbone.1.bn.running_var"),
            &["patch_embed.backbone.1.bn.running_var", "is missing", "vision.patch_stem2"],
        ),
        (
            |c| drop_tensor(c, "visual.trunk.patch_embed.backbone.2.conv.bias"),
            &["patch_embed.backbone.2.conv.bias", "is missing"],
        ),
        (
            |c| transpose(c, "visual.trunk.patch_embed.backbone.0.conv.weight"),
            &["patch_embed.backbone.0.conv.weight", "[4, 4, 3, 12]"],
        ),
        (
            |c| transpose(c, "visual.trunk.patch_embed.backbone.1.conv.weight"),
            &["backbone.1.conv.weight", "[2, 2, 12, 12]", "[12, 12, 2, 2]"],
        ),
        (|c| drop_tensor(c, "visual.trunk.head.bias"), &["visual.trunk.head.bias", "is missing"]),
        (
            |c| set(c, OPEN, "/model_cfg/vision_cfg/timm_model_name", json!("vit_tiny_patch16_64")),
            &["visual.trunk.patch_embed.proj.weight", "is missing"],
        ),
    ];
    check(MOBILE, &cases);
}

/// What the names of the four fixtures stand for.
#[test]
fn towers_of_timm_are_what_their_names_say() {
    let (siglip, ..) = converted(OPEN_SIGLIP, |_| ());
    let (siglip2, ..) = converted(OPEN_SIGLIP2, |_| ());
    let (eva, ..) = converted(OPEN_EVA, |_| ());
    let (encoder, ..) = converted(OPEN_PE, |_| ());
    let (gelu, tanh, silu) = (Act::Gelu as u32, Act::GeluTanh as u32, Act::Silu as u32);
    assert_eq!((siglip.vision.tower.act, siglip.text.tower.act, siglip.text.padded), (gelu, gelu, 1));
    assert_eq!((siglip2.vision.tower.act, siglip2.text.tower.act, siglip2.text.causal), (tanh, tanh, 0));
    assert_eq!((siglip.score.kind, eva.score.kind), (Scoring::Sigmoid as u32, Scoring::Softmax as u32));
    assert_eq!((siglip.vision.pool_heads, siglip.vision.pool_mlp_width), (0, 0));
    assert_eq!(
        (eva.vision.tower.act, eva.vision.tower.norm_eps, eva.text.tower.norm_eps),
        (silu, 1e-6, 1e-5)
    );
    assert_eq!((eva.vision.rope, eva.vision.rope_rows), (Rope::Interleaved as u32, 16));
    assert!(eva.vision.tower.has(feature::ATTENTION_NORM | feature::MLP_NORM | feature::PROJECT_BIAS));
    assert_eq!((encoder.vision.rope, encoder.vision.rope_rows), (Rope::ColumnsFirst as u32, 4));
    assert_eq!((encoder.vision.pool_heads, encoder.vision.pool_mlp_width), (8, 192));
    assert_eq!((encoder.vision.tower.norm_eps, encoder.text.context, encoder.text.padded), (1e-5, 32, 0));
}

/// A projection after the trunk, and a tower that repeats keys which its name overrides.
#[test]
fn projections_that_open_clip_adds() {
    for bias in [false, true] {
        let (config, tensors, _) = converted(OPEN_EVA, |copy| {
            set(copy, OPEN, "/model_cfg/vision_cfg/timm_proj", json!("linear"));
            set(copy, OPEN, "/model_cfg/vision_cfg/timm_proj_bias", json!(bias));
            set(copy, OPEN, "/model_cfg/vision_cfg/width", json!(768));
            for end in ["weight", "bias"] {
                let head = copy.tensors.remove(&format!("visual.trunk.head.{end}")).unwrap();
                if end == "weight" || bias {
                    copy.tensors.insert(format!("visual.head.proj.{end}"), head);
                }
            }
        });
        assert_eq!(config.vision.tower.has(feature::PROJECT_BIAS), bias);
        assert_eq!(tensors.iter().any(|(name, _)| name == "vision.project.bias"), bias);
    }
}

/// CLIPA's image towers pool the mean of the patches, normed before or after; its text towers see both ways.
#[test]
fn clipas_towers_differ_in_their_configuration() {
    for after in [true, false] {
        let (config, tensors, _) = converted(OPEN_CLIP, |copy| {
            set(copy, OPEN, "/model_cfg/vision_cfg/no_ln_pre", json!(true));
            set(copy, OPEN, "/model_cfg/vision_cfg/pool_type", json!("avg"));
            set(copy, OPEN, "/model_cfg/vision_cfg/final_ln_after_pool", json!(after));
            set(copy, OPEN, "/model_cfg/text_cfg/pool_type", json!("last"));
            set(copy, OPEN, "/model_cfg/text_cfg/no_causal_mask", json!(true));
            drop_tensor(copy, "visual.ln_pre.weight");
            drop_tensor(copy, "visual.ln_pre.bias");
        });
        let norm = if after { feature::POOL_NORM } else { feature::FINAL_NORM };
        let norms = feature::POOL_NORM | feature::FINAL_NORM | feature::PRE_NORM;
        assert_eq!(config.vision.tower.features & norms, norm);
        assert_eq!(config.vision.tower.pooling, Pooling::MeanPatches as u32);
        assert_eq!(tensors.iter().any(|(name, _)| name == "vision.pool_norm.weight"), after);
        assert_eq!((config.text.causal, config.text.padded), (0, 1));
        assert_eq!(config.text.tower.pooling, Pooling::Last as u32);
    }
}

/// `T5Tokenizer` was saved with other steps by transformers 4, of the same meaning for a text that is clean.
#[test]
fn the_forms_of_a_unigram_tokenizer_give_one_model() {
    let tokenizer = |change: fn(&mut Value)| {
        let copy = Copy::of(OPEN_SIGLIP);
        copy.edit_json("tokenizer.json", change);
        copy.save();
        copy.convert(ocelli_tools::Precision::Fp32, false).unwrap();
        let bytes = AlignedBytes::read(&copy.output()).unwrap();
        File::parse(&bytes).unwrap().tokenizer().unwrap().to_string()
    };
    let now = tokenizer(|_| ());
    let before = tokenizer(|json| {
        let charsmap = json["normalizer"].take();
        json["normalizer"] = json!({"type": "Sequence", "normalizers": [
            charsmap,
            {"type": "Strip", "strip_left": false, "strip_right": true},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u{2581}"},
        ]});
        json["pre_tokenizer"] =
            json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": true});
    });
    assert!(now == before, "the tokenizers differ");
}
