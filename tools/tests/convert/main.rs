//! Conversion: what comes out is what went in, and what cannot be converted is refused by name.

mod common;
mod jina_clip;
mod open_clip;
mod refusals;
mod text_towers;
mod torch;
mod variants;
mod wrong_families;
mod wrong_vision;

use common::*;
use half::f16;
use ocelli::format::*;
use ocelli_tools::{ConvertOptions, Precision, Report, Used, convert, verify};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tokenizers::Tokenizer;

fn open(path: &Path) -> AlignedBytes {
    verify::verify(path).unwrap();
    AlignedBytes::read(path).unwrap()
}

/// Rows of a packed tensor as its sources say: patch embeddings with the channel last, open_clip's projections
/// transposed, the head's packed projection applied to its probe (q) or without that part (k and v).
fn source_rows(raw: &RawTensors, used: &Used) -> Vec<f32> {
    let k = used.k;
    if used.name == "vision.head.query" {
        let values = |end: &str| raw[used.from.iter().find(|name| name.ends_with(end)).unwrap()].values();
        let (weight, bias, probe) = (values("in_proj_weight"), values("in_proj_bias"), values("probe"));
        let product = |row: &[f32]| row.iter().zip(&probe).map(|(a, b)| f64::from(a * b)).sum::<f64>() as f32;
        return weight.chunks(probe.len()).zip(bias).take(used.n).map(|(row, b)| product(row) + b).collect();
    }
    let mut rows = Vec::new();
    for name in &used.from {
        let (mut values, shape) = (raw[name].values(), &raw[name].shape);
        if name.contains("head.attention.in_proj") {
            values.drain(..values.len() / 3);
        }
        if name == "visual.proj" || name == "text_projection" {
            let n = shape[1];
            rows.extend((0..n * k).map(|i| values[i % k * n + i / k]));
        } else if let &[n, 3, h, w] = shape.as_slice() {
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
    let (bytes, raw) = (open(&path), Copy::of(name).tensors);
    let file = File::parse(&bytes).unwrap();
    assert_eq!(report.bytes as usize, bytes.len());
    assert_eq!(file.tensors().count(), report.tensors.len());
    let mut quantized = 0;
    for used in &report.tensors {
        let tensor = file.tensor(&used.name).unwrap();
        let (n, k) = (tensor.n(), tensor.k());
        let rows = source_rows(&raw, used);
        assert_eq!(rows.len(), n * k, "{}", used.name);
        for (i, row) in rows.chunks_exact(k).enumerate() {
            let magnitude = tensor.entry().magnitude as f32;
            let scale = row.iter().fold(0f32, |most, value| most.max(value.abs())) / magnitude;
            for (j, &value) in row.iter().enumerate() {
                let (found, at) = (tensor.get(i, j), format!("{} ({i}, {j})", used.name));
                match tensor.dtype() {
                    // Computed by the converter.
                    Dtype::F32 if used.name == "vision.head.query" => {
                        assert!((found - value).abs() < 1e-5, "{at}: {found} instead of {value}");
                    }
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
    let wants_int8 = matches!(precision, Precision::Int8 | Precision::Int8To96 | Precision::Int8w7);
    assert_eq!(quantized > 100_000, wants_int8, "{quantized}");
}

#[test]
fn every_weight_survives_in_every_precision() {
    for name in [CLIP, GELU, OUTLIERS, OPEN_CLIP, OPENAI, SIGLIP, SIGLIP2] {
        for precision in Precision::ALL.into_iter().filter(|&precision| precision != Precision::Auto) {
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
        (Precision::Int8To96, Dtype::F16, (Dtype::I8, 96), (Dtype::I8, 127)),
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
            options.model.vision_only = vision_only;
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

/// Counts what a run says of itself.
#[derive(Default)]
struct Counter(std::sync::Mutex<(u64, u64, bool)>);

impl ocelli_tools::Progress for Counter {
    fn begin(&self, _: &str, total: u64) {
        *self.0.lock().unwrap() = (total, 0, false);
    }
    fn extend(&self, steps: u64) {
        self.0.lock().unwrap().0 += steps;
    }
    fn advance(&self, steps: u64) {
        self.0.lock().unwrap().1 += steps;
    }
    fn end(&self) {
        self.0.lock().unwrap().2 = true;
    }
}

#[test]
fn progress_ends_where_it_was_announced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    let counter = Counter::default();
    ocelli_tools::convert_with(&options(CLIP, &path, Precision::Int8), &counter).unwrap();
    let (total, done, ended) = *counter.0.lock().unwrap();
    assert!(total > 1_000_000 && total == done && ended, "{done} of {total}");
    verify::verify_with(&path, &counter).unwrap();
    let (total, done, ended) = *counter.0.lock().unwrap();
    assert!(total > 1_000_000 && total == done && ended, "{done} of {total}");
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

/// Without a prefix as transformers 5 writes it, with the prefix of older releases, and with a projection.
#[test]
fn towers_saved_alone_are_read_with_and_without_their_prefix() {
    let cases = [
        (CLIP, "vision", "clip_vision_model", "visual_projection.weight"),
        (CLIP, "text", "clip_text_model", "text_projection.weight"),
        (SIGLIP, "vision", "siglip_vision_model", ""),
        (SIGLIP, "text", "siglip_text_model", ""),
        (SIGLIP2, "text", "siglip_text_model", ""),
        (NAFLEX, "vision", "siglip2_vision_model", ""),
        (NAFLEX, "text", "siglip2_text_model", ""),
    ];
    for (name, tower, model_type, projection) in cases {
        let reference = Copy::of(name);
        reference.save();
        reference.convert(Precision::Int8, false).unwrap();
        let mut expected = payloads(&reference.output());
        expected.retain(|(name, _)| name.starts_with(tower));
        let own_prefix = format!("{tower}_model.");
        for (prefix, projects) in [(own_prefix.as_str(), true), (&own_prefix, false), ("", true), ("", false)]
        {
            let mut copy = Copy::of(name);
            for (name, raw) in std::mem::take(&mut copy.tensors) {
                if let Some(rest) = name.strip_prefix(&own_prefix) {
                    copy.tensors.insert(format!("{prefix}{rest}"), raw);
                } else if name == projection && projects {
                    copy.tensors.insert(name, raw);
                }
            }
            copy.save();
            copy.edit_json("config.json", |json| {
                *json = json[format!("{tower}_config")].take();
                (json["model_type"], json["projection_dim"]) = (json!(model_type), json!(32));
            });
            copy.convert(Precision::Int8, false).unwrap_or_else(|error| panic!("{model_type}: {error}"));
            let mut expected = expected.clone();
            if !projection.is_empty() && !projects {
                expected.retain(|(name, _)| !name.contains(".project."));
            }
            assert_eq!(payloads(&copy.output()), expected, "{model_type}, prefix {prefix:?}");
            let bytes = open(&copy.output());
            let file = File::parse(&bytes).unwrap();
            assert_eq!((file.has_vision(), file.has_text()), (tower == "vision", tower == "text"));
            assert_eq!(file.config().score.kind, Scoring::Embedding as u32);
            if tower == "text" {
                let error = copy.convert(Precision::Int8, true).unwrap_err().to_string();
                assert!(error.contains("model_type") && error.contains("--vision-only"), "{error}");
            }
        }
    }
}

#[test]
fn padding_asked_for_by_a_tokenizer_does_not_hide_the_end_token() {
    let copy = Copy::of(CLIP);
    copy.save();
    copy.edit_json("tokenizer.json", |json| {
        json["padding"] = json!({
            "strategy": {"Fixed": 77}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "!",
        });
        json["truncation"] =
            json!({"direction": "Right", "max_length": 77, "strategy": "LongestFirst", "stride": 0});
    });
    copy.convert(Precision::Int8, false).unwrap();
    let bytes = open(&copy.output());
    assert_eq!(File::parse(&bytes).unwrap().config().text.eos, 49407);
}

#[test]
fn another_crop_than_the_trained_square_is_kept() {
    let copy = Copy::of(CLIP);
    copy.save();
    copy.edit_json("preprocessor_config.json", |json| json["crop_size"] = json!({"height": 32, "width": 64}));
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
        // Configuration, weights, preprocessing; tokenizer.json, or vocab.json and merges.txt.
        assert_eq!(report.files.len(), if name == CLIP { 4 } else { 5 }, "{:?}", report.files);
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
