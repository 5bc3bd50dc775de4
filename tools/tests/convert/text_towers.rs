//! Text towers like BERT's: what is folded into their tables, and what is refused.

use super::common::*;
use super::refusals::{Refusal, refused_of};
use ocelli::format::*;
use ocelli_tools::{Precision, Silent, convert, join, verify};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const DUAL: &str = "dual-dinov2-bert";
const XLMR: &str = "dual-vit-xlmr";
const CHINESE: &str = "chinese-clip";
const OPEN_XLMR: &str = "openclip-xlmr";
const NLLB: &str = "openclip-nllb";
const MCLIP: &str = "mclip";

/// Positions hold the token type that every token has, and those of RoBERTa start behind the padding token.
#[test]
fn token_types_and_the_first_positions_are_folded_into_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    for (name, prefix, skipped) in [
        (DUAL, "text_model.", 0),
        (XLMR, "text_model.", 2),
        (CHINESE, "text_model.", 0),
        (OPEN_XLMR, "text.transformer.", 2),
        (MCLIP, "transformer.", 2),
    ] {
        convert(&options(name, &path, Precision::Int8)).unwrap();
        let (bytes, raw) = (AlignedBytes::read(&path).unwrap(), Copy::of(name).tensors);
        let file = File::parse(&bytes).unwrap();
        let values = |name: &str| raw[&format!("{prefix}embeddings.{name}_embeddings.weight")].values();
        let (positions, types, width) = (values("position"), values("token_type"), 32);
        let table = file.tensor("text.position").unwrap();
        assert_eq!((table.n(), table.k()), (32, width), "{name}");
        for row in 0..32 {
            for column in 0..width {
                let expected = positions[(row + skipped) * width + column] + types[column];
                assert_eq!(table.get(row, column), expected, "{name} ({row}, {column})");
            }
        }
        let tower = file.config().text.tower;
        assert!(tower.has(feature::POST_NORM | feature::PRE_NORM) && !tower.has(feature::FINAL_NORM));
        assert_eq!(tower.has(feature::POOLER), [DUAL, XLMR].contains(&name), "{name}");
        let pooling = if [OPEN_XLMR, MCLIP].contains(&name) { Pooling::MeanAll } else { Pooling::Class };
        assert_eq!(tower.pooling, pooling as u32, "{name}");
        assert_eq!(tower.project_hidden, if name == OPEN_XLMR { 36 } else { 0 });
    }
}

fn transpose(copy: &mut Copy, name: &str) {
    copy.tensors.get_mut(name).unwrap().shape.reverse();
}

fn add(copy: &mut Copy, name: &str) {
    let some = copy.tensors.values().next().unwrap().clone();
    copy.tensors.insert(name.into(), some);
}

fn set(copy: &Copy, pointer: &str, value: Value) {
    let (section, key) = pointer.rsplit_once('/').unwrap();
    let file = if copy.path("config.json").exists() { "config.json" } else { "open_clip_config.json" };
    copy.edit_json(file, |json| json.pointer_mut(section).unwrap()[key] = value);
}

#[test]
fn missing_extra_and_transposed_tensors_are_named() {
    const FC1: &str = "text_model.encoder.layer.1.intermediate.dense.weight";
    const POSITIONS: &str = "text_model.embeddings.position_embeddings.weight";
    const TYPES: &str = "text_model.embeddings.token_type_embeddings.weight";
    let cases: [Refusal; 11] = [
        (|c| _ = c.tensors.remove(FC1), &[FC1, "is missing"]),
        (|c| _ = c.tensors.remove(POSITIONS), &[POSITIONS, "is missing", "text.position"]),
        (|c| _ = c.tensors.remove(TYPES), &[TYPES, "is missing", "text.position"]),
        (
            |c| _ = c.tensors.remove("text_model.pooler.dense.weight"),
            &["text_model.pooler.dense.weight", "is missing", "text.pooler.weight"],
        ),
        (|c| _ = c.tensors.remove("visual_projection.weight"), &["visual_projection.weight", "is missing"]),
        (|c| transpose(c, FC1), &[FC1, "[32, 112]", "[112, 32]"]),
        (|c| transpose(c, POSITIONS), &[POSITIONS, "[32, 40]", "[40, 32]"]),
        (|c| transpose(c, TYPES), &[TYPES, "[32, 2]", "[2, 32]"]),
        (|c| add(c, "text_model.encoder.layer.2.output.dense.weight"), &["layer.2.output.dense", "unknown"]),
        (|c| add(c, "vision_model.pooler.dense.weight"), &["vision_model.pooler", "unknown"]),
        (|c| add(c, "text_model.embeddings.more"), &["text_model.embeddings.more", "unknown"]),
    ];
    for (change, expected) in cases {
        refused_of(DUAL, change, expected, Precision::Int8);
    }
    let cases: [(&str, Refusal); 9] = [
        (
            XLMR,
            (|c| _ = c.tensors.remove("vision_model.pooler.dense.bias"), &["vision_model.pooler.dense.bias"]),
        ),
        (
            CHINESE,
            (|c| _ = c.tensors.remove("text_projection.weight"), &["text_projection.weight", "missing"]),
        ),
        (OPEN_XLMR, (|c| _ = c.tensors.remove("text.proj.0.weight"), &["text.proj.0.weight", "missing"])),
        (
            OPEN_XLMR,
            (|c| transpose(c, "text.proj.2.weight"), &["text.proj.2.weight", "[36, 40]", "[40, 36]"]),
        ),
        (MCLIP, (|c| _ = c.tensors.remove("LinearTransformation.bias"), &["LinearTransformation.bias"])),
        (MCLIP, (|c| add(c, "transformer.more"), &["transformer.more", "unknown"])),
        (
            NLLB,
            (
                |c| _ = c.tensors.remove("text.transformer.layer_norm.bias"),
                &["text.transformer.layer_norm.bias"],
            ),
        ),
        (
            NLLB,
            (
                |c| transpose(c, "text.transformer.layers.0.fc1.weight"),
                &["text.transformer.layers.0.fc1.weight", "[32, 112]", "[112, 32]"],
            ),
        ),
        (NLLB, (|c| add(c, "text.transformer.more"), &["text.transformer.more", "unknown"])),
    ];
    for (name, (change, expected)) in cases {
        refused_of(name, change, expected, Precision::Int8);
    }
}

#[test]
fn what_would_change_the_computation_is_refused_by_its_key() {
    let cases: [(&str, Refusal); 21] = [
        (
            DUAL,
            (
                |c| set(c, "/text_config/position_embedding_type", json!("relative_key")),
                &["config.json", "text_config.position_embedding_type", "relative_key"],
            ),
        ),
        (DUAL, (|c| set(c, "/text_config/is_decoder", json!(true)), &["text_config.is_decoder"])),
        (DUAL, (|c| set(c, "/text_config/add_cross_attention", json!(true)), &["add_cross_attention"])),
        (DUAL, (|c| set(c, "/text_config/hidden_act", json!("mish")), &["text_config.hidden_act", "mish"])),
        (
            DUAL,
            (
                |c| set(c, "/text_config/model_type", json!("distilbert")),
                &["text_config.model_type", "distilbert", "pooled"],
            ),
        ),
        (
            DUAL,
            (
                |c| set(c, "/text_config/model_type", json!("electra")),
                &["text_config.model_type", "electra", "xlm-roberta"],
            ),
        ),
        (DUAL, (|c| set(c, "/model_type", json!("align")), &["model_type", "align", "jina_clip"])),
        (
            DUAL,
            (
                |c| set(c, "/vision_config/model_type", json!("swin")),
                &["vision_config.model_type", "swin", "dinov2"],
            ),
        ),
        (
            DUAL,
            (
                |c| set(c, "/text_config/type_vocab_size", json!(3)),
                &["token_type_embeddings.weight", "[2, 32]", "[3, 32]"],
            ),
        ),
        (
            XLMR,
            (|c| set(c, "/vision_config/pooler_act", json!("gelu")), &["vision_config.pooler_act", "gelu"]),
        ),
        (
            XLMR,
            (
                |c| set(c, "/vision_config/pooler_output_size", json!(20)),
                &["vision_config.pooler_output_size", "20"],
            ),
        ),
        (
            XLMR,
            (
                |c| set(c, "/text_config/pad_token_id", json!(40)),
                &["text_config.max_position_embeddings", "41"],
            ),
        ),
        (
            OPEN_XLMR,
            (
                |c| set(c, "/model_cfg/text_cfg/hf_pooler_type", json!("max_pooler")),
                &["open_clip_config.json", "text_cfg.hf_pooler_type", "max_pooler"],
            ),
        ),
        (
            OPEN_XLMR,
            (|c| set(c, "/model_cfg/text_cfg/hf_proj_type", Value::Null), &["text_cfg.hf_proj_type", "null"]),
        ),
        (
            OPEN_XLMR,
            (
                |c| set(c, "/model_cfg/text_cfg/hf_model_name", json!("google/mt5-base")),
                &["text_cfg.hf_model_name", "google/mt5-base", "config.json"],
            ),
        ),
        (
            OPEN_XLMR,
            (
                |c| set(c, "/model_cfg/text_cfg/tokenizer_kwargs", json!({"strip_sep_token": true})),
                &["text_cfg.tokenizer_kwargs.strip_sep_token", "true"],
            ),
        ),
        (
            NLLB,
            (
                |c| c.edit_json("nllb-small/config.json", |json| json["d_model"] = 33.into()),
                &["nllb-small/config.json", "encoder_attention_heads", "33"],
            ),
        ),
        (
            NLLB,
            (
                |c| c.edit_json("nllb-small/config.json", |json| json["activation_function"] = "mish".into()),
                &["nllb-small/config.json", "activation_function", "mish"],
            ),
        ),
        // What is known of that model does not fit these weights.
        (
            MCLIP,
            (
                |c| set(c, "/modelBase", json!("xlm-roberta-large")),
                &["position_embeddings.weight", "[34, 32]", "[514, 1024]"],
            ),
        ),
        (MCLIP, (|c| set(c, "/transformerDimensions", json!(64)), &["transformerDimensions", "64", "32"])),
        (
            MCLIP,
            (|c| set(c, "/numDims", json!(41)), &["LinearTransformation.weight", "[40, 32]", "[41, 32]"]),
        ),
    ];
    for (name, (change, expected)) in cases {
        refused_of(name, change, expected, Precision::Int8);
    }
}

#[test]
fn tokenizers_that_leave_something_open_are_refused() {
    let cases: [(&str, Refusal); 5] = [
        (CHINESE, (|c| fs::remove_file(c.path("vocab.txt")).unwrap(), &["no tokenizer here", "vocab.txt"])),
        (
            CHINESE,
            (|c| fs::write(c.path("vocab.txt"), "[UNK]\n[CLS]\na\n").unwrap(), &["vocab.txt", "[SEP]"]),
        ),
        (
            XLMR,
            (
                |c| fs::write(c.path("sentencepiece.bpe.model"), [0x0a]).unwrap(),
                &["sentencepiece.bpe.model", "cut off"],
            ),
        ),
        (
            DUAL,
            (
                |c| c.edit_json("tokenizer.json", |json| json["post_processor"] = Value::Null),
                &["tokenizer.json", "empty text", "begins"],
            ),
        ),
        (
            NLLB,
            (
                |c| c.edit_json("tokenizer_config.json", |json| json["src_lang"] = "xyz_Latn".into()),
                &["tokenizer_config.json", "src_lang", "xyz_Latn"],
            ),
        ),
    ];
    for (name, (change, expected)) in cases {
        refused_of(name, change, expected, Precision::Int8);
    }
}

/// `BertTokenizer` makes its normaliser of its own arguments.
#[test]
fn the_tokenizers_own_settings_outdo_its_json() {
    let copy = Copy::of(DUAL);
    copy.save();
    let normalizer = |lower: bool| {
        copy.edit_json("tokenizer_config.json", |json| json["do_lower_case"] = lower.into());
        copy.convert(Precision::Int8, false).unwrap();
        let bytes = AlignedBytes::read(&copy.output()).unwrap();
        let json: Value = serde_json::from_str(File::parse(&bytes).unwrap().tokenizer().unwrap()).unwrap();
        json["normalizer"]["lowercase"].clone()
    };
    assert_eq!([normalizer(true), normalizer(false)], [true, false]);
}

/// M-CLIP's text tower beside an image tower: what each file had, and nothing else.
#[test]
fn a_text_tower_alone_is_joined_with_an_image_tower() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (image, text, both) = (path("image.ocelli"), path("text.ocelli"), path("both.ocelli"));
    let mut vision_only = options(OPEN_XLMR, &image, Precision::Int8);
    vision_only.model.vision_only = true;
    convert(&vision_only).unwrap();
    convert(&options(MCLIP, &text, Precision::Fp16)).unwrap();
    join(&image, &text, &both, &Silent).unwrap();
    verify::verify(&both).unwrap();
    let read = |path: &Path| AlignedBytes::read(path).unwrap();
    let (images, texts, joined) = (read(&image), read(&text), read(&both));
    let [images, texts, joined] = [&images, &texts, &joined].map(|bytes| File::parse(bytes).unwrap());
    let payloads = |file: File<'_>| {
        let of =
            |tensor: Tensor<'_>| (tensor.name().to_string(), tensor.dtype(), file.payload(&tensor).to_vec());
        file.tensors().map(of).collect::<Vec<_>>()
    };
    assert!(payloads(joined) == [payloads(images), payloads(texts)].concat());
    let (found, of_image) = (joined.config().checkpoint_id, images.config().checkpoint_id);
    assert_eq!((joined.tokenizer(), found), (texts.tokenizer(), of_image));
    assert_eq!(joined.config().score.kind, Scoring::Softmax as u32);
    assert_eq!(joined.config().text.context, 32);

    // The wrong way round, of other lengths, damaged, and over one of the two.
    let clip = path("clip.ocelli");
    convert(&options(CLIP, &clip, Precision::Int8)).unwrap();
    let damaged = path("damaged.ocelli");
    let mut bytes = fs::read(&image).unwrap();
    let last = bytes.len() - 70;
    bytes[last] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    for (a, b, output, says) in [
        (&text, &image, path("new"), "text.ocelli: has no image tower"),
        (&image, &image, path("new"), "image.ocelli: has no text tower"),
        (&clip, &text, path("new"), "embeds texts in 40 values"),
        (&damaged, &text, path("new"), "damaged.ocelli"),
        (&image, &text, text.clone(), "choose another output"),
    ] {
        let error = join(a, b, &output, &Silent).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!path("new").exists());
    }
}

#[test]
fn one_tower_can_be_left_out() {
    for name in [DUAL, CHINESE, OPEN_XLMR] {
        let copy = Copy::of(name);
        copy.save();
        let report = copy.convert(Precision::Int8, true).unwrap();
        assert!(report.tensors.iter().all(|tensor| tensor.name.starts_with("vision.")));
        assert!(report.ignored.iter().any(|ignored| ignored.reason.contains("--vision-only")));
    }
    let copy = Copy::of(MCLIP);
    copy.save();
    let error = copy.convert(Precision::Int8, true).unwrap_err().to_string();
    assert!(error.contains("--vision-only"), "{error}");
}
