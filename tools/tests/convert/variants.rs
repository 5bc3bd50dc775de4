//! Checkpoints as they are found in the wild: keys left out, old spellings, wrappers' prefixes, one tower's configuration
//! beside all weights. Each gives the model that its library would load.

use super::common::*;
use super::wrong_families::{remove, set};
use ocelli::format::*;
use ocelli_tools::{Precision, Report};
use serde_json::{Value, json};
use std::fs;

const CONFIG: &str = "config.json";
const PREPROCESS: &str = "preprocessor_config.json";

/// What `change` makes of a fixture: its configuration, its tensors with their checksums, and the report.
pub(crate) fn converted(name: &str, change: impl FnOnce(&mut Copy)) -> (Config, Vec<(String, u64)>, Report) {
    let mut copy = Copy::of(name);
    change(&mut copy);
    copy.save();
    let report = copy.convert(Precision::Fp32, false).unwrap_or_else(|error| panic!("{name}: {error}"));
    let bytes = AlignedBytes::read(&copy.output()).unwrap();
    let file = File::parse(&bytes).unwrap();
    let tensors = file.tensors().map(|tensor| (tensor.name().to_string(), tensor.entry().checksum)).collect();
    (*file.config(), tensors, report)
}

/// The preprocessing of a fixture whose processor has the settings `json`, and the image's height and width.
fn preprocess(name: &str, json: Value) -> (PreprocessConfig, (u32, u32)) {
    let (config, ..) = converted(name, |copy| copy.edit_json(PREPROCESS, |old| *old = json));
    (config.preprocess, (config.vision.height, config.vision.width))
}

const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];

/// The defaults of transformers 5.24, by class.
#[test]
fn keys_left_out_are_the_class_defaults() {
    let (bilinear, bicubic) = (Filter::Bilinear as u32, Filter::Bicubic as u32);
    let (squash, crop) = (ResizeMode::Squash as u32, ResizeMode::ShortestCrop as u32);
    let squash_crop = ResizeMode::SquashCrop as u32;
    let cases = [
        ("vit-hf", "ViTImageProcessor", squash, 0, bilinear, 0.5, 0.5),
        ("vit-hf", "ViTFeatureExtractor", squash, 0, bilinear, 0.5, 0.5),
        ("vit-hf", "CLIPImageProcessor", crop, 224, bicubic, CLIP_MEAN[0], 0.268_629_54),
        (CLIP, "CLIPImageProcessorFast", crop, 224, bicubic, CLIP_MEAN[0], 0.268_629_54),
        (CLIP, "CLIPFeatureExtractor", crop, 224, bicubic, CLIP_MEAN[0], 0.268_629_54),
        (CLIP, "BeitImageProcessor", squash, 0, bicubic, 0.5, 0.5),
        (SIGLIP, "SiglipImageProcessor", squash, 0, bicubic, 0.5, 0.5),
        ("dinov2-hf", "BitImageProcessor", crop, 224, bicubic, CLIP_MEAN[0], 0.268_629_54),
        ("dinov3-hf", "DINOv3ViTImageProcessorFast", squash, 0, bilinear, 0.485, 0.229),
        ("vit-hf", "DeiTFeatureExtractor", squash_crop, 256, bicubic, 0.5, 0.5),
    ];
    for (name, class, mode, shortest, filter, mean, std) in cases {
        let (found, sides) = preprocess(name, json!({"image_processor_type": class}));
        let found = (found.mode, found.shortest, found.filter, found.mean[0], found.std[0]);
        assert_eq!((found, sides), ((mode, shortest, filter, mean, std), (224, 224)), "{name} {class}");
    }
    // A file that names no class has that of the family.
    for (name, class) in [
        ("vit-hf", "ViT"),
        ("mae-hf", "ViT"),
        (CLIP, "CLIP"),
        (SIGLIP2, "Siglip"),
        ("dinov2-hf", "Bit"),
        ("dinov3-hf", "DINOv3ViT"),
    ] {
        let named = preprocess(name, json!({"image_processor_type": format!("{class}ImageProcessor")}));
        let unnamed = preprocess(name, json!({}));
        assert_eq!(bytemuck::bytes_of(&named.0), bytemuck::bytes_of(&unnamed.0), "{name}");
    }
    let (config, ..) = converted(NAFLEX, |copy| remove(copy, PREPROCESS, "/max_num_patches"));
    assert_eq!(config.vision.max_patches, 256);
}

/// One number, two, or names: what they mean depends on the class.
#[test]
fn sizes_in_every_spelling() {
    let squash = |name, json| {
        let (found, sides) = preprocess(name, json);
        assert_eq!((found.mode, found.shortest), (ResizeMode::Squash as u32, 0));
        sides
    };
    assert_eq!(
        squash("vit-hf", json!({"size": 64, "feature_extractor_type": "ViTFeatureExtractor"})),
        (64, 64)
    );
    assert_eq!(squash("vit-hf", json!({"size": [48, 64], "do_center_crop": null})), (48, 64));
    let sides = json!({"height": 48, "width": 64});
    assert_eq!(squash(CLIP, json!({"size": sides, "crop_size": sides})), (48, 64));
    assert_eq!(squash(CLIP, json!({"size": sides, "do_center_crop": false})), (48, 64));
    let (found, sides) = preprocess(CLIP, json!({"size": 80, "crop_size": 64}));
    assert_eq!((found.mode, found.shortest, sides), (ResizeMode::ShortestCrop as u32, 80, (64, 64)));
    let (found, sides) =
        preprocess(CLIP, json!({"size": {"height": 80, "width": 80}, "crop_size": [48, 64]}));
    assert_eq!((found.mode, found.shortest, sides), (ResizeMode::SquashCrop as u32, 80, (48, 64)));
    // The crop is padded where the resized picture is smaller.
    let (found, sides) = preprocess(CLIP, json!({"size": {"shortest_edge": 48}, "crop_size": 64}));
    assert_eq!((found.mode, found.shortest, sides), (ResizeMode::ShortestCrop as u32, 48, (64, 64)));
}

/// 100 of 255 through the processors of transformers 5.24 with these switches.
#[test]
fn steps_switched_off_and_other_factors() {
    let base = json!({"size": 64, "crop_size": 64});
    let cases = [
        ("do_rescale", json!(false), 370.467_62),
        ("do_normalize", json!(false), 0.392_156_9),
        ("do_normalize", Value::Null, 0.392_156_9),
        ("rescale_factor", json!(0.5), 184.337_68),
        ("rescale_factor", json!(0.00392156862745098), (100.0 / 255.0 - CLIP_MEAN[0]) / 0.268_629_54),
    ];
    for (key, value, expected) in cases {
        let mut json = base.clone();
        json[key] = value;
        let (found, _) = preprocess(CLIP, json);
        let value = (100.0 / 255.0 - found.mean[0]) / found.std[0];
        assert!((value - expected).abs() < 1e-4 * expected.abs(), "{key}: {value} instead of {expected}");
    }
}

#[test]
fn one_towers_configuration_beside_all_weights() {
    for (name, towers) in [
        (CLIP, [("vision", "clip_vision_model"), ("text", "clip_text_model")]),
        (SIGLIP, [("vision", "siglip_vision_model"), ("text", "siglip_text_model")]),
    ] {
        let (whole, all, _) = converted(name, |_| ());
        for (tower, model_type) in towers {
            let (config, tensors, report) = converted(name, |copy| {
                copy.edit_json(CONFIG, |json| {
                    *json = json[format!("{tower}_config")].take();
                    (json["model_type"], json["projection_dim"]) = (json!(model_type), json!(32));
                });
            });
            let expected: Vec<_> = all.iter().filter(|(name, _)| name.starts_with(tower)).cloned().collect();
            assert_eq!(tensors, expected, "{model_type}");
            assert_eq!(config.score.embed_dim, whole.score.embed_dim);
            let other = if tower == "vision" { "text_model." } else { "vision_model." };
            assert!(report.ignored.iter().any(|ignored| ignored.name.starts_with(other)));
            assert!(report.warnings[0].contains("tensors are of a tower"), "{:?}", report.warnings);
        }
    }
    // The class without a projection has none, whatever lies beside it.
    let (config, ..) = converted(CLIP, |copy| {
        copy.edit_json(CONFIG, |json| {
            *json = json["vision_config"].take();
            json["model_type"] = json!("clip_vision_model");
            json["architectures"] = json!(["CLIPVisionModel"]);
        });
    });
    assert_eq!(config.score.embed_dim, 64);
}

#[test]
fn what_wrappers_put_before_every_name_is_left_out() {
    for name in [CLIP, OPEN_CLIP, "vit-hf", "dinov2-hf", "timm-vit"] {
        let (_, all, _) = converted(name, |_| ());
        for prefix in ["module.", "_orig_mod.module.", "model.", "clip_model."] {
            let (_, tensors, report) = converted(name, |copy| {
                let renamed = std::mem::take(&mut copy.tensors).into_iter();
                copy.tensors = renamed.map(|(name, raw)| (format!("{prefix}{name}"), raw)).collect();
            });
            assert_eq!(tensors, all, "{name} {prefix}");
            assert!(report.tensors.iter().flat_map(|used| &used.from).all(|name| name.starts_with(prefix)));
            assert!(report.warnings[0].contains(prefix), "{:?}", report.warnings);
        }
    }
}

/// timm's old files have the keys of `pretrained_cfg` at the top and no `model_args`.
#[test]
fn timms_flat_configuration_and_its_defaults() {
    let flat = |change: fn(&mut Value)| {
        let (config, ..) = converted("timm-vit", |copy| {
            copy.edit_json(CONFIG, |json| {
                let (architecture, mut flat) = (json["architecture"].take(), json["pretrained_cfg"].take());
                flat["architecture"] = architecture;
                change(&mut flat);
                *json = flat;
            });
        });
        config
    };
    let (mut nested, ..) = converted("timm-vit", |_| ());
    let mut found = flat(|_| ());
    (nested.checkpoint_id, found.checkpoint_id) = ([0; 16], [0; 16]);
    assert_eq!(bytemuck::bytes_of(&found), bytemuck::bytes_of(&nested));
    let found = flat(|json| {
        for key in ["crop_mode", "crop_pct", "interpolation", "mean", "std"] {
            json.as_object_mut().unwrap().remove(key).unwrap();
        }
    });
    // floor(64 / 0.875) = 73, bicubic, ImageNet's mean.
    let preprocess = found.preprocess;
    assert_eq!((preprocess.mode, preprocess.shortest), (ResizeMode::ShortestCrop as u32, 73));
    assert_eq!((preprocess.filter, preprocess.mean), (Filter::Bicubic as u32, [0.485, 0.456, 0.406]));
    let (found, ..) = converted("timm-vit", |copy| remove(copy, CONFIG, "/pretrained_cfg/crop_mode"));
    assert_eq!(bytemuck::bytes_of(&found.preprocess), bytemuck::bytes_of(&nested.preprocess));
    // The architecture pools as timm builds it, where nothing else is said.
    let pooling = |name: &str, architecture: &str| {
        let (config, ..) = converted(name, |copy| {
            set(copy, CONFIG, "/architecture", json!(architecture));
            remove(copy, CONFIG, "/global_pool");
            remove(copy, CONFIG, "/model_args/global_pool");
        });
        config.vision.tower.pooling
    };
    assert_eq!(pooling("timm-vit", "vit_base_patch16_clip_224"), Pooling::Class as u32);
    assert_eq!(pooling("timm-eva02", "eva02_tiny_patch14_224"), Pooling::MeanPatches as u32);
}

#[test]
fn what_lies_in_place_of_a_file_is_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:abab\nsize 605143316\n";
    let page = "<!DOCTYPE html>\n<html><body>404</body></html>";
    for file in [CONFIG, PREPROCESS, "model.safetensors", "tokenizer.json"] {
        for (contents, cause) in [(pointer, "git lfs pull"), (page, "web page"), ("", "empty file")] {
            let copy = Copy::of(CLIP);
            copy.save();
            fs::write(copy.path(file), contents).unwrap();
            let error = copy.convert(Precision::Int8, false).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains(cause), "{file}, {cause}: {error}");
        }
    }
    let copy = Copy::of(CLIP);
    for (file, contents, cause) in [
        ("m.ocelli", &b"\x8AOCELLI\n...."[..], "a packed .ocelli model"),
        ("m.gguf", b"GGUF\x03\0\0\0", "a GGUF model"),
        ("pytorch_model.bin", b"PK\x03\x04", "not a usable PyTorch checkpoint"),
    ] {
        fs::write(copy.path(file), contents).unwrap();
        let options = ocelli_tools::ConvertOptions::new(copy.path(file), copy.output(), Precision::Int8);
        let error = ocelli_tools::convert(&options).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(cause), "{error}");
    }
    fs::remove_file(copy.path("m.gguf")).unwrap();
    // Without weights of its own, the folder's message says what else is there.
    fs::rename(copy.path("pytorch_model.bin"), copy.path("epoch_7.pt")).unwrap();
    let error = copy.convert(Precision::Int8, false).unwrap_err().to_string();
    assert!(error.contains("if epoch_7.pt has the weights, give its path"), "{error}");
    copy.save();
    fs::remove_file(copy.path(CONFIG)).unwrap();
    let error = copy.convert(Precision::Int8, false).unwrap_err().to_string();
    assert!(error.contains("no config.json"), "{error}");
}
