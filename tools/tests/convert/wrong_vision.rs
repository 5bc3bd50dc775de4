//! Wrong checkpoints of the families with an image tower alone, refused by name; and what their files may leave out.

use super::common::*;
use super::refusals::Refusal;
use super::wrong_families::{check, drop_tensor, remove, set, transpose};
use ocelli::format::{AlignedBytes, File, Interpolation, Scoring};
use ocelli_tools::{LabelSet, Precision, convert};
use serde_json::json;

const CONFIG: &str = "config.json";

#[test]
fn wrong_transformers_vits() {
    let cases: [Refusal; 10] = [
        (
            |c| drop_tensor(c, "vit.encoder.layer.1.attention.attention.key.weight"),
            &[
                "vit.encoder.layer.1.attention.attention.key.weight",
                "is missing",
                "vision.block.1.qkv.weight",
            ],
        ),
        (|c| drop_tensor(c, "vit.embeddings.position_embeddings"), &["position_embeddings", "is missing"]),
        (
            |c| transpose(c, "vit.encoder.layer.0.intermediate.dense.weight"),
            &["intermediate.dense.weight", "[48, 160]", "[160, 48]"],
        ),
        (|c| set(c, CONFIG, "/hidden_act", json!("mish")), &["hidden_act", "mish"]),
        (|c| set(c, CONFIG, "/num_attention_heads", json!(5)), &["num_attention_heads", "5"]),
        (|c| set(c, CONFIG, "/num_channels", json!(4)), &["num_channels", "4"]),
        (|c| set(c, CONFIG, "/image_size", json!(96)), &["position_embeddings", "[1, 17, 48]", "[37, 48]"]),
        (|c| remove(c, CONFIG, "/id2label/7"), &["id2label", "class 7"]),
        (|c| set(c, CONFIG, "/problem_type", json!("multi_label_classification")), &["problem_type"]),
        (|c| remove(c, CONFIG, "/model_type"), &["model_type", "is missing"]),
    ];
    check("vit-hf", &cases);
    let cases: [Refusal; 2] = [
        (|c| drop_tensor(c, "embeddings.cls_token"), &["embeddings.cls_token", "is missing"]),
        (|c| set(c, CONFIG, "/hidden_act", json!("tanh")), &["hidden_act", "tanh"]),
    ];
    check("mae-hf", &cases);
}

#[test]
fn wrong_dinos() {
    let cases: [Refusal; 5] = [
        (
            |c| drop_tensor(c, "encoder.layer.1.layer_scale2.lambda1"),
            &["encoder.layer.1.layer_scale2.lambda1", "is missing", "vision.block.1.fc2.weight"],
        ),
        (|c| transpose(c, "encoder.layer.0.mlp.fc1.weight"), &["mlp.fc1.weight", "[48, 96]", "[96, 48]"]),
        (|c| set(c, CONFIG, "/mlp_ratio", json!(3)), &["mlp.fc1", "144"]),
        (|c| set(c, CONFIG, "/use_swiglu_ffn", json!(true)), &["mlp.weights_in", "is missing"]),
        (|c| set(c, CONFIG, "/hidden_act", json!("mish")), &["hidden_act", "mish"]),
    ];
    check("dinov2-hf", &cases);
    let cases: [Refusal; 5] = [
        (|c| drop_tensor(c, "embeddings.register_tokens"), &["embeddings.register_tokens", "is missing"]),
        (
            |c| drop_tensor(c, "layer.1.attention.v_proj.weight"),
            &["layer.1.attention.v_proj.weight", "missing"],
        ),
        (|c| set(c, CONFIG, "/num_register_tokens", json!(2)), &["register_tokens", "[1, 4, 64]", "[2, 64]"]),
        (|c| set(c, CONFIG, "/use_gated_mlp", json!(true)), &["layer.0.mlp.gate_proj.weight", "missing"]),
        (|c| set(c, CONFIG, "/rope_theta", json!(0.5)), &["vision.rope_theta"]),
    ];
    check("dinov3-hf", &cases);
}

#[test]
fn wrong_timm_and_vit_pytorch_checkpoints() {
    let cases: [Refusal; 10] = [
        (|c| drop_tensor(c, "blocks.0.attn.qkv.weight"), &["blocks.0.attn.qkv.weight", "is missing"]),
        (|c| drop_tensor(c, "blocks.0.norm1.weight"), &["blocks.0.norm1.weight", "is missing"]),
        (|c| transpose(c, "blocks.1.mlp.fc2.weight"), &["blocks.1.mlp.fc2.weight", "[144, 48]", "[48, 144]"]),
        (|c| set(c, CONFIG, "/architecture", json!("vit_base_patch16_rope_224")), &["architecture", "rope"]),
        (|c| set(c, CONFIG, "/architecture", json!("resnet50")), &["architecture", "resnet50"]),
        (|c| set(c, CONFIG, "/model_args/act_layer", json!("relu")), &["act_layer", "relu"]),
        (|c| set(c, CONFIG, "/model_args/num_heads", json!(5)), &["num_heads", "5"]),
        (
            |c| set(c, CONFIG, "/model_args/global_pool", json!("map")),
            &["architecture", "attention head", "1 tokens"],
        ),
        (|c| set(c, CONFIG, "/pretrained_cfg/crop_pct", json!(1.5)), &["pretrained_cfg.crop_pct", "is 1.5"]),
        (|c| set(c, CONFIG, "/label_names", json!(["a", "b"])), &["label_names", "2 names", "10 classes"]),
    ];
    check("timm-vit", &cases);
    let cases: [Refusal; 3] = [
        (|c| drop_tensor(c, "blocks.1.attn.v_bias"), &["blocks.1.attn.v_bias", "is missing"]),
        (|c| drop_tensor(c, "fc_norm.weight"), &["fc_norm.weight", "is missing"]),
        (|c| set(c, CONFIG, "/model_args/img_size", json!([70, 70])), &["pos_embed", "17 rows"]),
    ];
    check("timm-eva02", &cases);
    let cases: [Refusal; 4] = [
        (|c| drop_tensor(c, "transformer.layers.1.1.net.3.bias"), &["layers.1.1.net.3.bias", "is missing"]),
        (
            |c| transpose(c, "transformer.layers.0.0.to_out.weight"),
            &["to_out.weight", "[40, 48]", "[48, 40]"],
        ),
        (|c| set(c, CONFIG, "/pool", json!("cls")), &["pool", "cls"]),
        (|c| remove(c, CONFIG, "/layer_norm_eps"), &["layer_norm_eps", "is missing"]),
    ];
    check("simplevit", &cases);
    let cases: [Refusal; 3] = [
        (|c| remove(c, CONFIG, "/model_args/pyramid"), &["model_args.pyramid", "is missing"]),
        (|c| set(c, CONFIG, "/model_args/pyramid/sides", json!([64, 80])), &["vision.pyramid"]),
        (|c| set(c, CONFIG, "/model_args/pyramid/stride", json!(0)), &["vision.pyramid_stride"]),
    ];
    check("retinavit", &cases);
}

/// The configuration and the class names of what `change` makes of a fixture.
fn converted(name: &str, change: fn(&mut Copy)) -> (ocelli::format::Config, Vec<String>) {
    let mut copy = Copy::of(name);
    change(&mut copy);
    copy.save();
    copy.convert(Precision::Fp32, false).unwrap();
    let bytes = AlignedBytes::read(&copy.output()).unwrap();
    let file = File::parse(&bytes).unwrap();
    (*file.config(), file.labels().map(String::from).collect())
}

#[test]
fn classes_have_names_numbers_or_those_that_are_given() {
    let (config, names) = converted("vit-hf", |_| ());
    assert_eq!((config.score.kind, config.score.classes), (Scoring::Classifier as u32, 10));
    assert_eq!((names[0].as_str(), names[9].as_str()), ("tench", "ostrich"));
    let (_, names) = converted("timm-vit", |copy| remove(copy, CONFIG, "/label_names"));
    assert_eq!((names.len(), names[3].as_str()), (10, "class 3"));
    // Without its head it gives embeddings.
    let (config, names) = converted("timm-vit", |copy| {
        drop_tensor(copy, "head.weight");
        drop_tensor(copy, "head.bias");
    });
    assert_eq!((config.score.kind, names.len()), (Scoring::Embedding as u32, 0));

    let folder = tempfile::tempdir().unwrap();
    let mut options = options("timm-vit", &folder.path().join("m.ocelli"), Precision::Fp32);
    let labels = |count: usize| (0..count).map(|i| format!("thing {i}")).collect();
    options.labels = Some(LabelSet { labels: labels(10), templates: Vec::new() });
    convert(&options).unwrap();
    let bytes = AlignedBytes::read(&options.output).unwrap();
    assert_eq!(File::parse(&bytes).unwrap().labels().last(), Some("thing 9"));
    options.labels = Some(LabelSet { labels: labels(9), templates: Vec::new() });
    let error = convert(&options).unwrap_err().to_string();
    assert!(error.contains("9 labels") && error.contains("10 classes"), "{error}");
}

#[test]
fn registers_change_how_dinov2_resamples() {
    let (plain, _) = converted("dinov2-hf", |_| ());
    let (registers, _) = converted("dinov2-hf", |copy| {
        set(copy, CONFIG, "/model_type", json!("dinov2_with_registers"));
        let mut tokens = copy.tensors["embeddings.cls_token"].clone();
        tokens.data = tokens.data.repeat(4);
        tokens.shape = vec![1, 4, 48];
        copy.tensors.insert("embeddings.register_tokens".into(), tokens);
    });
    assert_eq!((plain.vision.registers(), registers.vision.registers()), (0, 4));
    assert_eq!(plain.vision.interpolation, Interpolation::Bicubic as u32);
    assert_eq!(registers.vision.interpolation, Interpolation::BicubicAntialias as u32);
    // A table of MAE that is not stored is computed.
    let (mae, _) = converted("mae-hf", |copy| drop_tensor(copy, "embeddings.position_embeddings"));
    assert_eq!(mae.vision.sincos_temperature, 10_000.0);
}
