//! Wrong checkpoints of each family: a missing tensor, a transposed one, an unknown activation, an absent key that has
//! no safe default, an absent tokenizer. Each is refused by name, and nothing is written.

use super::common::*;
use super::refusals::{Refusal, refused_of};
use ocelli_tools::Precision;
use serde_json::{Value, json};
use std::fs;

pub(crate) fn set(copy: &Copy, file: &str, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    copy.edit_json(file, |json| json.pointer_mut(parent).unwrap()[key] = value);
}

pub(crate) fn remove(copy: &Copy, file: &str, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    copy.edit_json(file, |json| {
        json.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    });
}

pub(crate) fn transpose(copy: &mut Copy, name: &str) {
    copy.tensors.get_mut(name).unwrap_or_else(|| panic!("no {name}")).shape.reverse();
}

pub(crate) fn drop_tensor(copy: &mut Copy, name: &str) {
    copy.tensors.remove(name).unwrap_or_else(|| panic!("no {name}"));
}

pub(crate) fn check(name: &str, cases: &[Refusal]) {
    // What is refused below must not be refused anyway.
    let copy = Copy::of(name);
    copy.save();
    copy.convert(Precision::Int8, false).unwrap_or_else(|error| panic!("{name}: {error}"));
    for (change, expected) in cases {
        refused_of(name, *change, expected, Precision::Int8);
    }
}

const OPEN: &str = "open_clip_config.json";

#[test]
fn wrong_open_clip_checkpoints() {
    let cases: [Refusal; 24] = [
        (
            |c| drop_tensor(c, "visual.transformer.resblocks.1.mlp.c_fc.weight"),
            &["visual.transformer.resblocks.1.mlp.c_fc.weight", "is missing", "vision.block.1.fc1.weight"],
        ),
        (
            |c| drop_tensor(c, "transformer.resblocks.0.attn.in_proj_bias"),
            &["attn.in_proj_bias", "is missing"],
        ),
        (|c| drop_tensor(c, "text_projection"), &["text_projection", "is missing"]),
        (|c| drop_tensor(c, "logit_scale"), &["logit_scale", "is missing"]),
        (|c| transpose(c, "visual.proj"), &["visual.proj", "[32, 64]", "[64, 32]"]),
        (|c| transpose(c, "text_projection"), &["text_projection", "[32, 16]", "[16, 32]"]),
        (
            |c| transpose(c, "visual.transformer.resblocks.0.mlp.c_fc.weight"),
            &["mlp.c_fc.weight", "[64, 160]", "[160, 64]"],
        ),
        (
            |c| set(c, OPEN, "/model_cfg/vision_cfg/act_kwargs", json!({"inplace": true})),
            &[OPEN, "model_cfg.vision_cfg.act_kwargs", "inplace"],
        ),
        (|c| set(c, OPEN, "/model_cfg/quick_gelu", json!("yes")), &["model_cfg.quick_gelu", "yes"]),
        (|c| remove(c, OPEN, "/model_cfg/embed_dim"), &[OPEN, "model_cfg.embed_dim", "is missing"]),
        (|c| remove(c, OPEN, "/model_cfg/vision_cfg"), &["model_cfg.vision_cfg", "is missing"]),
        (|c| remove(c, OPEN, "/model_cfg/text_cfg"), &["model_cfg.text_cfg", "is missing"]),
        (|c| remove(c, OPEN, "/preprocess_cfg"), &["preprocess_cfg", "is missing"]),
        (|c| fs::remove_file(c.path("tokenizer.json")).unwrap(), &["tokenizer.json", "--tokenizer"]),
        (
            |c| set(c, OPEN, "/model_cfg/vision_cfg/timm_model_name", json!("convnext_base")),
            &["model_cfg.vision_cfg.timm_model_name", "convnext_base"],
        ),
        (
            |c| set(c, OPEN, "/model_cfg/text_cfg/hf_model_name", json!("google/mt5-base")),
            &["model_cfg.text_cfg.hf_model_name", "google/mt5-base"],
        ),
        (
            |c| set(c, OPEN, "/model_cfg/text_cfg/tokenizer_mode", json!("clips")),
            &["model_cfg.text_cfg.tokenizer_mode", "clips"],
        ),
        (|c| set(c, OPEN, "/model_cfg/multimodal_cfg", json!({"width": 8})), &["model_cfg.multimodal_cfg"]),
        (
            |c| set(c, OPEN, "/model_cfg/vision_cfg/layers", json!([3, 4, 6, 3])),
            &["vision_cfg.layers", "[3,4,6,3]"],
        ),
        (
            |c| set(c, OPEN, "/model_cfg/vision_cfg/pool_type", json!("none")),
            &["vision_cfg.pool_type", "none"],
        ),
        (|c| set(c, OPEN, "/model_cfg/vision_cfg/head_width", json!(24)), &["vision_cfg.head_width", "24"]),
        (|c| set(c, OPEN, "/model_cfg/vision_cfg/mlp_ratio", json!(4.0)), &["mlp.c_fc.weight", "[256, 64]"]),
        (
            |c| set(c, OPEN, "/preprocess_cfg/interpolation", json!("nearest")),
            &["preprocess_cfg.interpolation"],
        ),
        (|c| set(c, OPEN, "/preprocess_cfg/resize_mode", json!("longest")), &["preprocess_cfg.resize_mode"]),
    ];
    check(OPEN_CLIP, &cases);
    check(OPENAI, &cases[..2]);
}

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer_config.json";

/// What SigLIP and SigLIP 2 have in common.
const SIGLIP_CASES: [Refusal; 15] = [
    (|c| drop_tensor(c, "vision_model.head.probe"), &["vision_model.head.probe", "is missing"]),
    (|c| drop_tensor(c, "vision_model.head.attention.in_proj_weight"), &["in_proj_weight", "is missing"]),
    (
        |c| drop_tensor(c, "text_model.encoder.layers.1.self_attn.k_proj.bias"),
        &["layers.1.self_attn.k_proj.bias", "is missing"],
    ),
    (|c| drop_tensor(c, "text_model.head.bias"), &["text_model.head.bias", "is missing"]),
    (|c| drop_tensor(c, "logit_bias"), &["logit_bias", "is missing"]),
    (
        |c| transpose(c, "vision_model.head.mlp.fc1.weight"),
        &["vision_model.head.mlp.fc1.weight", "has shape"],
    ),
    (|c| transpose(c, "vision_model.head.attention.in_proj_weight"), &["in_proj_weight", "has shape"]),
    (
        |c| transpose(c, "text_model.encoder.layers.0.mlp.fc2.weight"),
        &["layers.0.mlp.fc2.weight", "has shape"],
    ),
    (
        |c| set(c, CONFIG, "/vision_config/hidden_act", json!("mish")),
        &[CONFIG, "vision_config.hidden_act", "mish"],
    ),
    (
        |c| set(c, CONFIG, "/text_config/hidden_act", json!("gelu_new")),
        &["text_config.hidden_act", "gelu_new"],
    ),
    (|c| set(c, CONFIG, "/vision_config/vision_use_head", json!(false)), &["vision_config.vision_use_head"]),
    (|c| set(c, CONFIG, "/text_config/projection_size", json!(24)), &["text_config.projection_size", "24"]),
    (|c| set(c, TOKENIZER, "/model_max_length", json!(16)), &[TOKENIZER, "model_max_length", "16", "64"]),
    (|c| set(c, TOKENIZER, "/padding_side", json!("left")), &[TOKENIZER, "padding_side", "left"]),
    (|c| set(c, TOKENIZER, "/pad_token", json!("<nothing>")), &[TOKENIZER, "pad_token", "<nothing>"]),
];

fn without_tokenizer(copy: &Copy) {
    for file in ["tokenizer.json", "spiece.model", "tokenizer.model"] {
        _ = fs::remove_file(copy.path(file));
    }
}

#[test]
fn wrong_siglip_checkpoints() {
    check(SIGLIP, &SIGLIP_CASES);
    check(
        SIGLIP,
        &[
            (|c| without_tokenizer(c), &["spiece.model", "--tokenizer"]),
            (|c| set(c, TOKENIZER, "/do_lower_case", json!(false)), &[TOKENIZER, "do_lower_case"]),
            (|c| set(c, CONFIG, "/text_config/vocab_size", json!(900)), &["spiece.model", "1000", "900"]),
            (
                |c| fs::write(c.path("spiece.model"), b"\x0a\xff").unwrap(),
                &["spiece.model", "not a usable SentencePiece model", "cut off"],
            ),
        ],
    );
}

#[test]
fn wrong_siglip2_checkpoints() {
    check(SIGLIP2, &SIGLIP_CASES);
    check(
        SIGLIP2,
        &[
            (|c| without_tokenizer(c), &["tokenizer.model", "--tokenizer"]),
            (|c| remove(c, TOKENIZER, "/padding_side"), &[TOKENIZER, "padding_side", "is missing"]),
            (|c| set(c, TOKENIZER, "/add_eos_token", json!(false)), &[TOKENIZER, "add_bos_token"]),
            (
                |c| {
                    set(c, TOKENIZER, "/add_bos_token", json!(false));
                    set(c, TOKENIZER, "/add_eos_token", json!(false));
                },
                &[TOKENIZER, "add_eos_token", "is false"],
            ),
            (
                |c| set(c, "tokenizer.json", "/post_processor", Value::Null),
                &["tokenizer.json", "encodes the empty text as []"],
            ),
            (
                |c| {
                    remove(c, TOKENIZER, "/pad_token");
                    remove(c, CONFIG, "/text_config/pad_token_id");
                },
                &[TOKENIZER, "pad_token", "is missing"],
            ),
        ],
    );
}

#[test]
fn wrong_naflex_checkpoints() {
    check(NAFLEX, &SIGLIP_CASES);
    check(
        NAFLEX,
        &[
            (|c| without_tokenizer(c), &["tokenizer.model", "--tokenizer"]),
            (
                |c| transpose(c, "vision_model.embeddings.patch_embedding.weight"),
                &["patch_embedding.weight", "[768, 48]", "[48, 768]"],
            ),
            (
                |c| {
                    set(c, "preprocessor_config.json", "/image_processor_type", json!("SiglipImageProcessor"))
                },
                &["preprocessor_config.json", "image_processor_type", "SiglipImageProcessor", "siglip2"],
            ),
            (
                |c| set(c, "preprocessor_config.json", "/patch_size", json!(14)),
                &["preprocessor_config.json", "patch_size"],
            ),
            (|c| set(c, CONFIG, "/vision_config/num_patches", json!(15)), &["num_patches"]),
        ],
    );
}
