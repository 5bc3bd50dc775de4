//! What cannot be converted is refused by name, and nothing is written.

use super::common::*;
use ocelli_tools::{ConvertOptions, Precision, convert};
use serde_json::{Value, json};
use std::fs;

/// A change to a checkpoint, and what the refusal must mention.
pub(crate) type Refusal = (fn(&mut Copy), &'static [&'static str]);

fn refused(change: fn(&mut Copy), expected: &[&str], precision: Precision) {
    refused_of(CLIP, change, expected, precision);
}

/// Checks that the fixture `name` is refused after `change`, with a message that has all parts of `expected`.
pub(crate) fn refused_of(name: &str, change: fn(&mut Copy), expected: &[&str], precision: Precision) {
    let mut copy = Copy::of(name);
    change(&mut copy);
    copy.save();
    fs::write(copy.output(), "old").unwrap();
    let error = copy.convert(precision, false).expect_err(expected[0]).to_string();
    for part in expected {
        assert!(error.contains(part), "{name}: {part:?} is not in: {error}");
    }
    assert_eq!(fs::read(copy.output()).unwrap(), b"old");
    let left = fs::read_dir(copy.folder.path())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    assert_eq!(left.filter(|name| name.ends_with(".tmp")).count(), 0, "temporary files stay after: {error}");
}

const FC1: &str = "vision_model.encoder.layers.1.mlp.fc1.weight";

fn poke(copy: &mut Copy, name: &str, element: usize, value: f32) {
    copy.tensors.get_mut(name).unwrap().data[element * 4..][..4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn impossible_tensors_are_refused_by_name() {
    let cases: [Refusal; 12] = [
        (|c| _ = c.tensors.remove(FC1), &[FC1, "is missing"]),
        (|c| _ = c.tensors.remove("logit_scale"), &["logit_scale", "is missing"]),
        (
            |c| _ = c.tensors.insert("text_model.extra".into(), c.tensors[FC1].clone()),
            &["text_model.extra", "unknown"],
        ),
        (|c| c.tensors.get_mut(FC1).unwrap().shape.reverse(), &[FC1, "[64, 256]", "[256, 64]"]),
        (
            |c| c.tensors.get_mut("visual_projection.weight").unwrap().shape.reverse(),
            &["visual_projection.weight", "[64, 32]", "[32, 64]"],
        ),
        (|c| c.tensors.get_mut(FC1).unwrap().dtype = safetensors::Dtype::I32, &[FC1, "I32"]),
        (|c| poke(c, FC1, 777, f32::NAN), &[FC1, "NaN", "777"]),
        (
            |c| poke(c, "vision_model.embeddings.class_embedding", 5, f32::INFINITY),
            &["class_embedding", "inf", "5"],
        ),
        (
            |c| poke(c, "text_model.embeddings.token_embedding.weight", 70_000, f32::NAN),
            &["token_embedding", "70000"],
        ),
        (|c| poke(c, "visual_projection.weight", 3, 65505.0), &["vision.project.weight", "65505", "fp32"]),
        (|c| poke(c, "logit_scale", 0, 1000.0), &["score.logit_scale"]),
        (|c| c.tensors.get_mut("logit_scale").unwrap().shape = vec![1, 1], &["logit_scale", "[1, 1]"]),
    ];
    for (change, expected) in cases {
        refused(change, expected, Precision::Int8);
    }
    refused(|c| poke(c, FC1, 9, -1e6), &["vision.block.1.fc1.weight", "-1000000"], Precision::Fp16);
}

fn set_config(copy: &Copy, pointer: &str, value: Value) {
    copy.edit_json("config.json", |json| *json.pointer_mut(pointer).unwrap() = value);
}

fn set_preprocess(copy: &Copy, key: &str, value: Value) {
    copy.edit_json("preprocessor_config.json", |json| json[key] = value);
}

#[test]
fn unknown_and_unsupported_settings_are_refused_by_name() {
    let cases: [Refusal; 27] = [
        (|c| set_config(c, "/model_type", json!("bert")), &["config.json", "model_type", "bert"]),
        (
            |c| set_config(c, "/vision_config/hidden_act", json!("mish")),
            &["vision_config.hidden_act", "mish"],
        ),
        (|c| set_config(c, "/vision_config/num_channels", json!(4)), &["vision_config.num_channels", "4"]),
        (
            |c| set_config(c, "/vision_config/num_attention_heads", json!(5)),
            &["vision_config.num_attention_heads", "5"],
        ),
        (
            |c| set_config(c, "/vision_config/num_attention_heads", json!(0)),
            &["vision_config.num_attention_heads"],
        ),
        (|c| set_config(c, "/vision_config/patch_size", json!(0)), &["vision_config.patch_size"]),
        (
            |c| set_config(c, "/vision_config/image_size", json!(80)),
            &["position_embedding.weight", "[17, 64]", "[26, 64]"],
        ),
        (
            |c| set_config(c, "/vision_config/layer_norm_eps", json!(0.0)),
            &["/config.json", "vision_config.layer_norm_eps", "vision.tower.norm_eps"],
        ),
        (|c| set_config(c, "/vision_config/num_hidden_layers", json!(4)), &["layers.3.", "is missing"]),
        (|c| set_config(c, "/vision_config/num_hidden_layers", json!(2)), &["layers.2.", "unknown"]),
        (|c| set_config(c, "/text_config/vocab_size", json!(40000)), &["tokenizer.json", "49408", "40000"]),
        (|c| set_config(c, "/text_config/eos_token_id", json!(7)), &["text_config.eos_token_id", "49407"]),
        (|c| set_config(c, "/projection_dim", json!("32")), &["config.json", "invalid type"]),
        (|c| fs::remove_file(c.path("preprocessor_config.json")).unwrap(), &["preprocessor_config.json"]),
        (|c| set_preprocess(c, "do_resize", json!(false)), &["preprocessor_config.json", "do_resize"]),
        (|c| set_preprocess(c, "do_resize", Value::Null), &["do_resize"]),
        (|c| set_preprocess(c, "do_normalize", json!("no")), &["do_normalize", "no"]),
        (|c| set_preprocess(c, "do_center_crop", json!(false)), &["do_center_crop"]),
        (|c| set_preprocess(c, "rescale_factor", json!(0)), &["rescale_factor", "is 0"]),
        (
            |c| set_preprocess(c, "image_processor_type", json!("ConvNextImageProcessor")),
            &[
                "preprocessor_config.json",
                "image_processor_type",
                "ConvNextImageProcessor",
                "ViTImageProcessor",
            ],
        ),
        (
            |c| set_preprocess(c, "image_processor_type", json!("Siglip2ImageProcessor")),
            &["image_processor_type", "keeps the aspect ratio"],
        ),
        // Squashed to another shape than a square, of which a centre is cut.
        (
            |c| set_preprocess(c, "size", json!({"height": 80, "width": 96})),
            &["crop_size", "(64, 64)", "(80, 96)"],
        ),
        (|c| set_preprocess(c, "resample", json!(1)), &["resample", "is 1"]),
        (|c| set_preprocess(c, "resample", Value::Null), &["resample"]),
        (|c| set_preprocess(c, "size", json!({"longest_edge": 64})), &["size", "longest_edge"]),
        (
            |c| set_preprocess(c, "image_std", json!([1.0, 0.0, 1.0])),
            &["preprocessor_config.json", "image_std", "preprocess.std"],
        ),
        (|c| set_preprocess(c, "image_mean", json!([1.0, 0.0])), &["image_mean"]),
    ];
    for (change, expected) in cases {
        refused(change, expected, Precision::Int8);
    }
}

#[test]
fn damaged_checkpoints_are_refused() {
    type Damage = (fn(&mut Vec<u8>), &'static str);
    let cases: [Damage; 5] = [
        (|bytes| bytes.clear(), "model.safetensors"),
        (|bytes| bytes.truncate(1000), "not a safetensors file"),
        (|bytes| bytes.truncate(bytes.len() - 1), "cut off"),
        (|bytes| bytes[..8].fill(0xff), "not a safetensors file"),
        (|bytes| bytes[9] = b'}', "not a safetensors file"),
    ];
    for (damage, expected) in cases {
        let copy = Copy::of(CLIP);
        copy.save();
        let mut bytes = fs::read(copy.path("model.safetensors")).unwrap();
        damage(&mut bytes);
        fs::write(copy.path("model.safetensors"), bytes).unwrap();
        let error = copy.convert(Precision::Int8, false).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("model.safetensors"), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    let error =
        convert(&ConvertOptions::new(empty.path(), empty.path().join("o"), Precision::Int8)).unwrap_err();
    assert!(error.to_string().contains("model.safetensors"), "{error}");
}

#[test]
fn a_text_tower_needs_a_tokenizer_and_the_message_says_how() {
    let folder = tempfile::tempdir().unwrap();
    let options = ConvertOptions::new(fixture(OUTLIERS), folder.path().join("o"), Precision::Int8);
    let error = convert(&options).unwrap_err().to_string();
    assert!(error.contains("--tokenizer") && error.contains("--vision-only"), "{error}");
    refused(|c| fs::write(c.path("tokenizer.json"), "{}").unwrap(), &["tokenizer.json"], Precision::Int8);
}

#[test]
fn a_checkpoint_is_never_overwritten() {
    let copy = Copy::of(CLIP);
    copy.save();
    let weights = copy.path("model.safetensors");
    let before = fs::read(&weights).unwrap();
    for output in [weights.clone(), copy.path("tokenizer.json")] {
        let error = convert(&ConvertOptions::new(copy.folder.path(), &output, Precision::Int8)).unwrap_err();
        assert!(error.to_string().contains("part of what is read"), "{error}");
    }
    assert!(fs::read(&weights).unwrap() == before);
}
