//! Conversion: what comes out is what went in, and what cannot be converted is refused by name.

mod common;

use common::*;
use half::f16;
use ocelli::format::*;
use ocelli_tools::{ConvertOptions, Precision, Report, convert, verify};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tokenizers::Tokenizer;

fn open(path: &Path) -> AlignedBytes {
    verify::verify(path).unwrap();
    AlignedBytes::read(path).unwrap()
}

/// Rows of a packed tensor as its sources say, patch embeddings with the channel last.
fn source_rows(raw: &RawTensors, from: &[String], k: usize) -> Vec<f32> {
    let mut rows = Vec::new();
    for name in from {
        let (values, shape) = (raw[name].values(), &raw[name].shape);
        if let &[n, 3, h, w] = shape.as_slice() {
            for row in 0..n {
                for pixel in 0..h * w {
                    rows.extend((0..3).map(|channel| values[(row * 3 + channel) * h * w + pixel]));
                }
            }
        } else {
            rows.extend(values);
        }
    }
    assert_eq!(rows.len() % k, 0);
    rows
}

fn check_values(name: &str, precision: Precision) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    let report = convert(&options(name, &path, precision)).unwrap();
    let (bytes, raw) = (open(&path), load(&fixture(name).join("model.safetensors")));
    let file = File::parse(&bytes).unwrap();
    assert_eq!(report.bytes as usize, bytes.len());
    assert_eq!(file.tensors().count(), report.tensors.len());
    let mut quantized = 0;
    for used in &report.tensors {
        let tensor = file.tensor(&used.name).unwrap();
        let (n, k) = (tensor.n(), tensor.k());
        let rows = source_rows(&raw, &used.from, k);
        assert_eq!(rows.len(), n * k, "{}", used.name);
        for (i, row) in rows.chunks_exact(k).enumerate() {
            let magnitude = tensor.entry().magnitude as f32;
            let scale = row.iter().fold(0f32, |most, value| most.max(value.abs())) / magnitude;
            for (j, &value) in row.iter().enumerate() {
                let (found, at) = (tensor.get(i, j), format!("{} ({i}, {j})", used.name));
                match tensor.dtype() {
                    Dtype::F32 => assert_eq!(found.to_bits(), value.to_bits(), "{at}"),
                    Dtype::F16 => assert_eq!(found, f16::from_f32(value).to_f32(), "{at}"),
                    Dtype::I8 => {
                        quantized += 1;
                        let error = (found - value).abs();
                        assert!(error <= scale / 2.0 * 1.0001, "{at}: {value} became {found}, scale {scale}");
                    }
                }
            }
        }
    }
    let wants_int8 = matches!(precision, Precision::Int8 | Precision::Int8w7);
    assert_eq!(quantized > 880_000, wants_int8, "{quantized}");
}

#[test]
fn every_weight_survives_in_every_precision() {
    for name in [CLIP, GELU, OUTLIERS] {
        for precision in [Precision::Int8, Precision::Int8w7, Precision::Fp16, Precision::Fp32] {
            check_values(name, precision);
        }
    }
}

#[test]
fn precisions_store_the_types_that_they_promise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    let expected = [
        (Precision::Int8, Dtype::F16, (Dtype::I8, 127), (Dtype::I8, 127)),
        (Precision::Int8w7, Dtype::F16, (Dtype::I8, 64), (Dtype::I8, 127)),
        (Precision::Fp16, Dtype::F16, (Dtype::F16, 0), (Dtype::F16, 0)),
        (Precision::Fp32, Dtype::F32, (Dtype::F32, 0), (Dtype::F32, 0)),
    ];
    for (precision, edge, block, tokens) in expected {
        convert(&options(CLIP, &path, precision)).unwrap();
        let bytes = open(&path);
        let file = File::parse(&bytes).unwrap();
        let stored = |name: &str| {
            let tensor = file.tensor(name).unwrap();
            (tensor.dtype(), tensor.entry().magnitude)
        };
        for name in ["vision.patch_embed.weight", "vision.project.weight", "text.project.weight"] {
            assert_eq!(stored(name).0, edge, "{name}");
        }
        for part in ["qkv", "out", "fc1", "fc2"] {
            assert_eq!(stored(&format!("vision.block.2.{part}.weight")), block, "{part}");
            assert_eq!(stored(&format!("text.block.1.{part}.weight")), block, "{part}");
        }
        assert_eq!(stored("text.token_embed"), tokens);
        assert_eq!(stored("vision.position"), (Dtype::F32, 0));
        assert!(file.weights("vision.block.0.qkv.weight").unwrap().n() == 192);
        assert!(
            file.vector("vision.block.0.qkv.weight").is_err() && file.weights("vision.class_token").is_err()
        );
    }
}

#[test]
fn facts_come_from_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    convert(&options(CLIP, &path, Precision::Int8)).unwrap();
    let bytes = open(&path);
    let config = File::parse(&bytes).unwrap().config();
    assert_eq!((config.vision.height, config.vision.patch, config.vision.grid_rows), (64, 16, 4));
    assert_eq!(
        (config.vision.tower.act, config.text.tower.act),
        (Act::QuickGelu as u32, Act::QuickGelu as u32)
    );
    assert_eq!((config.text.tower.pooling, config.text.eos), (Pooling::FirstEos as u32, 49407));
    assert_eq!((config.preprocess.shortest, config.preprocess.filter), (64, Filter::Bicubic as u32));
    assert_eq!(config.preprocess.mean, [0.481_454_66, 0.457_827_5, 0.408_210_73]);
    let raw = load(&fixture(CLIP).join("model.safetensors"));
    let scale = f64::from(raw["logit_scale"].values()[0]).exp() as f32;
    assert_eq!((config.score.logit_scale, config.score.embed_dim), (scale, 32));

    convert(&options(GELU, &path, Precision::Int8)).unwrap();
    let bytes = open(&path);
    let config = File::parse(&bytes).unwrap().config();
    assert_eq!((config.vision.tower.act, config.vision.height), (Act::Gelu as u32, 70));
    assert_eq!((config.text.tower.pooling, config.text.eos), (Pooling::ArgMax as u32, 49407));
}

#[test]
fn absent_keys_are_the_defaults_of_transformers() {
    let copy = Copy::of(CLIP);
    copy.edit_json("config.json", |json| {
        for tower in ["vision_config", "text_config"] {
            for key in ["hidden_act", "layer_norm_eps"] {
                json[tower].as_object_mut().unwrap().remove(key).unwrap();
            }
        }
        json["text_config"].as_object_mut().unwrap().remove("vocab_size").unwrap();
        json["text_config"].as_object_mut().unwrap().remove("max_position_embeddings").unwrap();
        json["text_config"].as_object_mut().unwrap().remove("eos_token_id").unwrap();
    });
    copy.edit_json("preprocessor_config.json", |json| {
        for key in ["do_rescale", "rescale_factor", "do_convert_rgb"] {
            json.as_object_mut().unwrap().remove(key).unwrap();
        }
        (json["size"], json["crop_size"]) = (json!(64), json!(64));
    });
    copy.save();
    copy.convert(Precision::Int8, false).unwrap();
    let (bytes, other) = (open(&copy.output()), copy.path("other.ocelli"));
    convert(&options(CLIP, &other, Precision::Int8)).unwrap();
    let (mut ours, theirs) = (*File::parse(&bytes).unwrap().config(), open(&other));
    let theirs = File::parse(&theirs).unwrap();
    assert_ne!(ours.checkpoint_id, theirs.config().checkpoint_id);
    ours.checkpoint_id = theirs.config().checkpoint_id;
    assert_eq!(bytemuck::bytes_of(&ours), bytemuck::bytes_of(theirs.config()));
}

#[test]
fn identities_tell_checkpoints_and_weights_apart() {
    let folder = tempfile::tempdir().unwrap();
    let ids = [(CLIP, Precision::Int8, false), (CLIP, Precision::Fp16, false), (CLIP, Precision::Int8, true)]
        .into_iter()
        .chain([(OUTLIERS, Precision::Int8, false)])
        .map(|(name, precision, vision_only)| {
            let path = folder.path().join("model.ocelli");
            let mut options = options(name, &path, precision);
            options.wishes.vision_only = vision_only;
            convert(&options).unwrap();
            let bytes = open(&path);
            let file = File::parse(&bytes).unwrap();
            assert_eq!((file.has_vision(), file.has_text()), (true, !vision_only));
            assert_eq!(file.tokenizer().is_some(), !vision_only);
            (file.config().checkpoint_id, file.model_id())
        });
    let ids: Vec<_> = ids.collect();
    assert!(ids[0].0 == ids[1].0 && ids[0].0 == ids[2].0 && ids[0].0 != ids[3].0);
    for i in 0..ids.len() {
        assert!(ids[..i].iter().all(|other| other.1 != ids[i].1), "model id {i} is not its own");
    }
}

fn payloads(path: &Path) -> Vec<(String, u64)> {
    let bytes = open(path);
    let file = File::parse(&bytes).unwrap();
    file.tensors().map(|tensor| (tensor.name().to_string(), tensor.entry().checksum)).collect()
}

#[test]
fn shards_give_the_same_weights_as_one_file() {
    let (copy, whole) = (Copy::of(GELU), Copy::of(GELU));
    whole.save();
    whole.convert(Precision::Int8, false).unwrap();
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut map = serde_json::Map::new();
    for (i, name) in names.iter().enumerate() {
        let part = copy.tensors.iter().enumerate().filter(|(j, _)| j % 2 == i).map(|(_, tensor)| tensor);
        let part: Vec<_> = part.collect();
        part.iter().for_each(|(tensor, _)| _ = map.insert(tensor.to_string(), json!(name)));
        save(part, &copy.path(name));
    }
    let index = copy.path("model.safetensors.index.json");
    fs::write(&index, json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    copy.convert(Precision::Int8, false).unwrap();
    assert_eq!(payloads(&copy.output()), payloads(&whole.output()));
    convert(&ConvertOptions::new(&index, copy.output(), Precision::Int8)).unwrap();
    assert_eq!(payloads(&copy.output()), payloads(&whole.output()));

    fs::write(&index, json!({"weight_map": {"logit_scale": "../model.safetensors"}}).to_string()).unwrap();
    let error = copy.convert(Precision::Int8, false).unwrap_err().to_string();
    assert!(error.contains("weight_map.logit_scale"), "{error}");
    fs::write(&index, json!({"weight_map": map}).to_string()).unwrap();
    fs::remove_file(copy.path(names[1])).unwrap();
    let error = copy.convert(Precision::Int8, false).unwrap_err().to_string();
    assert!(error.contains(names[1]), "{error}");
}

#[test]
fn towers_saved_alone_are_read_with_and_without_their_prefix() {
    let reference = Copy::of(CLIP);
    reference.save();
    reference.convert(Precision::Int8, true).unwrap();
    for (prefix, projects) in [("vision_model.", true), ("", false)] {
        let mut copy = Copy::of(CLIP);
        let tensors = std::mem::take(&mut copy.tensors);
        for (name, raw) in tensors {
            if let Some(rest) = name.strip_prefix("vision_model.") {
                copy.tensors.insert(format!("{prefix}{rest}"), raw);
            } else if name == "visual_projection.weight" && projects {
                copy.tensors.insert(name, raw);
            }
        }
        copy.save();
        copy.edit_json("config.json", |json| *json = json["vision_config"].take());
        copy.convert(Precision::Int8, false).unwrap();
        let mut expected = payloads(&reference.output());
        expected.retain(|(name, _)| projects || name != "vision.project.weight");
        assert_eq!(payloads(&copy.output()), expected, "prefix {prefix:?}");
        let bytes = open(&copy.output());
        let score = File::parse(&bytes).unwrap().config().score;
        assert_eq!(
            (score.kind, score.embed_dim),
            (Scoring::Embedding as u32, if projects { 32 } else { 64 })
        );
    }
}

/// A change to a checkpoint, and what the refusal must mention.
type Refusal = (fn(&mut Copy), &'static [&'static str]);

fn refused(change: fn(&mut Copy), expected: &[&str], precision: Precision) {
    let mut copy = Copy::of(CLIP);
    change(&mut copy);
    copy.save();
    fs::write(copy.output(), "old").unwrap();
    let error = copy.convert(precision, false).expect_err(expected[0]).to_string();
    for part in expected {
        assert!(error.contains(part), "{part:?} is not in: {error}");
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

fn config(copy: &Copy, pointer: &str, value: Value) {
    copy.edit_json("config.json", |json| *json.pointer_mut(pointer).unwrap() = value);
}

fn preprocess(copy: &Copy, key: &str, value: Value) {
    copy.edit_json("preprocessor_config.json", |json| json[key] = value);
}

#[test]
fn unknown_and_unsupported_settings_are_refused_by_name() {
    let cases: [Refusal; 24] = [
        (|c| config(c, "/model_type", json!("siglip")), &["config.json", "model_type", "siglip"]),
        (|c| config(c, "/vision_config/hidden_act", json!("relu")), &["vision_config.hidden_act", "relu"]),
        (|c| config(c, "/vision_config/num_channels", json!(4)), &["vision_config.num_channels", "4"]),
        (
            |c| config(c, "/vision_config/num_attention_heads", json!(5)),
            &["vision_config.num_attention_heads", "5"],
        ),
        (
            |c| config(c, "/vision_config/num_attention_heads", json!(0)),
            &["vision_config.num_attention_heads"],
        ),
        (|c| config(c, "/vision_config/patch_size", json!(0)), &["vision_config.patch_size"]),
        (
            |c| config(c, "/vision_config/image_size", json!(80)),
            &["position_embedding.weight", "[17, 64]", "[26, 64]"],
        ),
        (|c| config(c, "/vision_config/layer_norm_eps", json!(0.0)), &["vision.tower.norm_eps"]),
        (|c| config(c, "/vision_config/num_hidden_layers", json!(4)), &["layers.3.", "is missing"]),
        (|c| config(c, "/vision_config/num_hidden_layers", json!(2)), &["layers.2.", "unknown"]),
        (|c| config(c, "/text_config/vocab_size", json!(40000)), &["tokenizer.json", "49408", "40000"]),
        (|c| config(c, "/text_config/eos_token_id", json!(7)), &["text_config.eos_token_id", "49407"]),
        (|c| config(c, "/projection_dim", json!("32")), &["config.json", "invalid type"]),
        (|c| fs::remove_file(c.path("preprocessor_config.json")).unwrap(), &["preprocessor_config.json"]),
        (|c| preprocess(c, "do_resize", json!(false)), &["preprocessor_config.json", "do_resize"]),
        (|c| preprocess(c, "do_normalize", json!(false)), &["do_normalize"]),
        (|c| preprocess(c, "do_center_crop", json!(false)), &["do_center_crop"]),
        (|c| preprocess(c, "rescale_factor", json!(0.5)), &["rescale_factor", "0.5"]),
        (|c| preprocess(c, "resample", json!(1)), &["resample", "is 1"]),
        (|c| preprocess(c, "resample", Value::Null), &["resample"]),
        (|c| preprocess(c, "size", json!({"longest_edge": 64})), &["size", "longest_edge"]),
        (|c| preprocess(c, "crop_size", json!({"height": 96, "width": 64})), &["preprocess.shortest"]),
        (|c| preprocess(c, "image_std", json!([1.0, 0.0, 1.0])), &["preprocess.std"]),
        (|c| preprocess(c, "image_mean", json!([1.0, 0.0])), &["image_mean"]),
    ];
    for (change, expected) in cases {
        refused(change, expected, Precision::Int8);
    }
    for key in ["resample", "size", "crop_size", "image_mean", "image_std"] {
        let copy = Copy::of(CLIP);
        copy.save();
        copy.edit_json("preprocessor_config.json", |json| {
            _ = json.as_object_mut().unwrap().remove(key).unwrap()
        });
        let error = copy.convert(Precision::Int8, false).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("is missing"), "{error}");
    }
}

#[test]
fn damaged_checkpoints_are_refused() {
    let cases: [(fn(&mut Vec<u8>), &str); 5] = [
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
fn another_crop_than_the_trained_square_is_kept() {
    let copy = Copy::of(CLIP);
    copy.save();
    preprocess(&copy, "crop_size", json!({"height": 32, "width": 64}));
    copy.convert(Precision::Int8, true).unwrap();
    let bytes = open(&copy.output());
    let vision = File::parse(&bytes).unwrap().config().vision;
    assert_eq!((vision.height, vision.width, vision.grid_rows, vision.grid_cols), (32, 64, 4, 4));
}

#[test]
fn tokenizers_give_exactly_the_ids_of_transformers() {
    for name in [CLIP, GELU] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.ocelli");
        let report: Report = convert(&options(name, &path, Precision::Int8)).unwrap();
        assert!(report.files.len() == 4, "{:?}", report.files);
        let bytes = open(&path);
        let tokenizer: Tokenizer = File::parse(&bytes).unwrap().tokenizer().unwrap().parse().unwrap();
        let cases = fs::read(fixture(name).join("tokenizer_cases.json")).unwrap();
        let cases: Value = serde_json::from_slice(&cases).unwrap();
        for case in cases.as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let expected: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
            let encoding = tokenizer.encode(text, true).unwrap();
            let mut ids = encoding.get_ids().to_vec();
            if ids.len() > 77 {
                ids.drain(76..ids.len() - 1);
            }
            assert_eq!(ids, expected, "{name}: {text:?}");
        }
        assert_eq!(cases.as_array().unwrap().len(), 41);
    }
}

#[test]
fn a_text_tower_needs_a_tokenizer_and_the_message_says_how() {
    let folder = tempfile::tempdir().unwrap();
    let options = ConvertOptions::new(fixture(OUTLIERS), folder.path().join("o"), Precision::Int8);
    let error = convert(&options).unwrap_err().to_string();
    assert!(error.contains("--tokenizer") && error.contains("--vision-only"), "{error}");
    refused(|c| fs::write(c.path("tokenizer.json"), "{}").unwrap(), &["tokenizer.json"], Precision::Int8);
}
