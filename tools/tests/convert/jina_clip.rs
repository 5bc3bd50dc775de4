//! Jina-CLIP: where the tensors of v1 go, and what is refused, v2 first of all.

use super::common::*;
use super::refusals::{Refusal, refused_of};
use super::wrong_families::{check, drop_tensor, remove, set, transpose};
use ocelli::format::*;
use ocelli_tools::{Precision, convert};
use serde_json::{Value, json};
use std::fs;

const JINA: &str = "jina-clip-v1";
const CONFIG: &str = "config.json";
const PROCESSOR: &str = "preprocessor_config.json";
const KWARGS: &str = "/text_config/hf_model_config_kwargs";

fn add(copy: &mut Copy, name: &str) {
    let some = copy.tensors.values().next().unwrap().clone();
    copy.tensors.insert(name.into(), some);
}

#[test]
fn tensors_go_where_they_belong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    convert(&options(JINA, &path, Precision::Fp32)).unwrap();
    let (bytes, raw) = (AlignedBytes::read(&path).unwrap(), Copy::of(JINA).tensors);
    let file = File::parse(&bytes).unwrap();
    let values = |name: &str| raw[name].values();
    let Config { vision, text, score, .. } = *file.config();
    let same = |name: &str, row: usize, expected: &[f32]| {
        let tensor = file.tensor(name).unwrap();
        let found: Vec<f32> = (0..tensor.k()).map(|column| tensor.get(row, column)).collect();
        assert_eq!(found, expected, "{name}, row {row}");
    };
    let row = |name: &str, row: usize, k: usize| values(name)[row * k..][..k].to_vec();

    // Every token has type 0, and no position.
    let types = row("text_model.transformer.embeddings.token_type_embeddings.weight", 0, 36);
    let tokens = row("text_model.transformer.embeddings.word_embeddings.weight", 99, 36);
    let sums: Vec<f32> = tokens.iter().zip(types).map(|(token, of_type)| token + of_type).collect();
    same("text.token_embed", 99, &sums);
    assert!(file.tensor("text.position").is_err() && text.tower.has(feature::ALIBI | feature::GATED_MLP));
    // Gate before value, in both towers; the text tower's have no bias.
    same(
        "text.block.1.fc1.weight",
        5,
        &row("text_model.transformer.encoder.layers.1.mlp.gated_layers.weight", 5, 36),
    );
    same("vision.block.1.fc1.weight", 0, &row("vision_model.blocks.1.mlp.w1.weight", 0, 36));
    same("vision.block.1.fc1.weight", 96, &row("vision_model.blocks.1.mlp.w2.weight", 0, 36));
    let vector = |name: &str| file.tensor(name).unwrap().vector().unwrap();
    assert!(vector("text.block.0.fc1.bias").iter().all(|&bias| bias == 0.0));
    // Keys have none.
    let bias = vector("vision.block.0.qkv.bias");
    assert_eq!(bias[..36], values("vision_model.blocks.0.attn.q_bias"));
    assert!(bias[36..72].iter().all(|&bias| bias == 0.0));
    assert_eq!(bias[72..108], values("vision_model.blocks.0.attn.v_bias"));
    // The grid is the one that the rotations are for.
    assert_eq!((vision.rope, vision.rope_rows, vision.grid_rows), (Rope::Interleaved as u32, 0, 4));
    assert_eq!((score.kind, score.embed_dim), (Scoring::Softmax as u32, 36));
    assert_eq!(text.context, 32);
}

/// `encode_text` cuts texts to 512 tokens if the tokenizer allows more.
#[test]
fn texts_have_at_most_512_tokens() {
    let copy = Copy::of(JINA);
    set(&copy, "tokenizer_config.json", "/model_max_length", json!(8192));
    copy.save();
    copy.convert(Precision::Int8, false).unwrap();
    let bytes = AlignedBytes::read(&copy.output()).unwrap();
    assert_eq!(File::parse(&bytes).unwrap().config().text.context, 512);
}

#[test]
fn version_2_is_refused_by_its_text_tower() {
    let change = |copy: &mut Copy| {
        set(copy, CONFIG, "/text_config/hf_model_name_or_path", json!("jinaai/jina-embeddings-v3"));
    };
    refused_of(
        JINA,
        change,
        &["text_config.hf_model_name_or_path", "jina-embeddings-v3", "v2"],
        Precision::Int8,
    );
}

#[test]
fn missing_extra_and_transposed_tensors_are_named() {
    let cases: [Refusal; 13] = [
        (|c| drop_tensor(c, "logit_scale"), &["logit_scale", "is missing"]),
        (|c| drop_tensor(c, "vision_model.cls_token"), &["vision_model.cls_token", "is missing"]),
        (
            |c| drop_tensor(c, "vision_model.blocks.1.attn.inner_attn_ln.weight"),
            &["blocks.1.attn.inner_attn_ln.weight", "is missing", "vision.block.1.attention_norm.weight"],
        ),
        (|c| drop_tensor(c, "vision_model.blocks.0.attn.v_bias"), &["blocks.0.attn.v_bias", "is missing"]),
        (
            |c| drop_tensor(c, "text_model.transformer.encoder.layers.0.mixer.Wqkv.bias"),
            &["layers.0.mixer.Wqkv.bias", "is missing", "text.block.0.qkv.bias"],
        ),
        (
            |c| drop_tensor(c, "text_model.transformer.embeddings.token_type_embeddings.weight"),
            &["token_type_embeddings.weight", "is missing", "text.token_embed"],
        ),
        (|c| transpose(c, "vision_model.blocks.0.mlp.w3.weight"), &["mlp.w3.weight", "[96, 36]", "[36, 96]"]),
        (
            |c| transpose(c, "text_model.transformer.encoder.layers.1.mlp.wo.weight"),
            &["layers.1.mlp.wo.weight", "[72, 36]", "[36, 72]"],
        ),
        (
            |c| transpose(c, "text_model.transformer.encoder.layers.1.mlp.gated_layers.weight"),
            &["gated_layers.weight", "[36, 144]", "[144, 36]"],
        ),
        (
            |c| transpose(c, "text_model.transformer.embeddings.token_type_embeddings.weight"),
            &["token_type_embeddings.weight", "[36, 2]", "[2, 36]", "text.token_embed"],
        ),
        (|c| add(c, "text_model.proj.weight"), &["text_model.proj.weight", "unknown"]),
        (|c| add(c, "vision_model.head.weight"), &["vision_model.head.weight", "unknown"]),
        (
            |c| add(c, "text_model.transformer.embeddings.position_embeddings.weight"),
            &["position_embeddings.weight", "unknown"],
        ),
    ];
    check(JINA, &cases);
}

#[test]
fn what_would_change_the_computation_is_refused_by_its_key() {
    let cases: [Refusal; 22] = [
        (|c| set(c, CONFIG, "/add_projections", json!(true)), &["config.json", "add_projections", "true"]),
        (|c| set(c, CONFIG, "/truncate_dim", json!(16)), &["truncate_dim", "16"]),
        (
            |c| remove(c, CONFIG, "/text_config/hf_model_name_or_path"),
            &["text_config.hf_model_name_or_path", "is missing"],
        ),
        (|c| remove(c, CONFIG, "/text_config/pooler_type"), &["text_config.pooler_type", "mean_pooler"]),
        (|c| set(c, CONFIG, "/text_config/proj_type", json!("linear")), &["text_config.proj_type", "linear"]),
        (|c| set(c, CONFIG, "/text_config/embed_dim", json!(40)), &["text_config.embed_dim", "40", "36"]),
        (
            |c| set(c, CONFIG, &format!("{KWARGS}/mlp_type"), json!("mlp")),
            &["text_config.hf_model_config_kwargs.mlp_type", "mlp", "glu"],
        ),
        (|c| set(c, CONFIG, &format!("{KWARGS}/use_qk_norm"), json!(true)), &["kwargs.use_qk_norm", "true"]),
        (
            |c| set(c, CONFIG, &format!("{KWARGS}/window_size"), json!([4, 4])),
            &["kwargs.window_size", "[4,4]"],
        ),
        (|c| set(c, CONFIG, &format!("{KWARGS}/hidden_act"), json!("relu")), &["kwargs.hidden_act", "relu"]),
        (|c| set(c, CONFIG, &format!("{KWARGS}/rotary_emb_dim"), json!(8)), &["kwargs.rotary_emb_dim", "8"]),
        (
            |c| set(c, CONFIG, &format!("{KWARGS}/num_attention_heads"), json!(5)),
            &["kwargs.num_attention_heads", "5", "36"],
        ),
        (
            |c| set(c, CONFIG, &format!("{KWARGS}/type_vocab_size"), json!(3)),
            &["token_type_embeddings.weight", "[2, 36]", "[3, 36]"],
        ),
        (
            |c| set(c, CONFIG, "/vision_config/naive_swiglu", json!(false)),
            &["vision_config.naive_swiglu", "false"],
        ),
        (|c| set(c, CONFIG, "/vision_config/post_norm", json!(true)), &["vision_config.post_norm", "true"]),
        (
            |c| set(c, CONFIG, "/vision_config/ls_init_value", json!(0.1)),
            &["vision_config.ls_init_value", "0.1"],
        ),
        (
            |c| set(c, CONFIG, "/vision_config/pt_hw_seq_len", json!(16)),
            &["vision_config.pt_hw_seq_len", "16", "4x4"],
        ),
        (
            |c| set(c, CONFIG, "/vision_config/head_width", json!(10)),
            &["vision_config.head_width", "10", "36"],
        ),
        (
            |c| set(c, CONFIG, "/vision_config/patch_size", json!(65)),
            &["vision_config.patch_size", "65", "64"],
        ),
        (|c| set(c, PROCESSOR, "/size", json!(96)), &[PROCESSOR, "size", "96", "64x64"]),
        (|c| set(c, PROCESSOR, "/resize_mode", json!("longest")), &[PROCESSOR, "resize_mode", "longest"]),
        (
            |c| set(c, PROCESSOR, "/image_processor_type", json!("CLIPImageProcessor")),
            &[PROCESSOR, "image_processor_type", "CLIPImageProcessor"],
        ),
    ];
    check(JINA, &cases);
    refused_of(
        JINA,
        |c| fs::remove_file(c.path("tokenizer.json")).unwrap(),
        &["no tokenizer here", "tokenizer.json"],
        Precision::Int8,
    );
}

/// What a checkpoint of the class's own library may have besides.
#[test]
fn buffers_and_a_pooler_are_left_out() {
    let mut copy = Copy::of(JINA);
    for name in ["vision_model.rope.freqs_cos", "vision_model.blocks.0.attn.rope.freqs_sin"] {
        add(&mut copy, name);
    }
    add(&mut copy, "text_model.transformer.pooler.dense.weight");
    set(&copy, CONFIG, "/vision_config/proj_type", Value::Null);
    copy.save();
    assert_eq!(copy.convert(Precision::Int8, false).unwrap().ignored.len(), 3);
}
