//! From fields of a packed configuration to the keys of the file that they came from, for messages.

use super::recognised::{KeyOf, Recognised};
use crate::Error;

/// What `error` means for a checkpoint: which file and key to look at.
pub(super) fn explain(error: ocelli::Error, recognised: &Recognised) -> Error {
    let ocelli::Error::Config { field, expected, found } = error else {
        return error.in_file(&recognised.path).into();
    };
    let is_processor = |path: &&std::path::PathBuf| path.to_string_lossy().ends_with("processor_config.json");
    let processor = recognised.files.iter().find(is_processor);
    let path = processor.filter(|_| field.starts_with("preprocess.")).unwrap_or(&recognised.path);
    match (recognised.key_of)(field) {
        Some(key) => {
            Error::field(path, key, format!("is {found}, expected {expected} ({field} of the packed model)"))
        }
        None => Error::file(path, format!("gives a model whose {field} is {found}, expected {expected}")),
    }
}

/// Keys of transformers. `vision` and `text` stand before those of the towers: `vision_config.`, or nothing where a
/// tower was saved alone.
pub(super) fn transformers(vision: &'static str, text: &'static str) -> Box<KeyOf> {
    Box::new(move |field| {
        let (part, rest) = field.split_once('.')?;
        let key = match rest.trim_start_matches("tower.") {
            "width" if rest.starts_with("tower.") => "hidden_size",
            "depth" => "num_hidden_layers",
            "heads" | "head_dim" => "num_attention_heads",
            "mlp_width" => "intermediate_size",
            "act" => "hidden_act",
            "norm_eps" => "layer_norm_eps",
            "patch" => "patch_size",
            "grid_rows" | "grid_cols" => "image_size",
            "prefix_tokens" => "num_register_tokens",
            "rope_theta" => "rope_theta",
            "vocab" => "vocab_size",
            "context" => "max_position_embeddings",
            "eos" => "eos_token_id",
            "embed_dim" => "projection_dim",
            "shortest" | "mode" => "size",
            // Of the image, which the processor decides.
            "height" | "width" => return Some("size of the image processor".into()),
            "mean" => "image_mean",
            "std" => "image_std",
            "max_patches" => return Some("max_num_patches of the image processor".into()),
            _ => return None,
        };
        let before = match part {
            "vision" => vision,
            "text" => text,
            _ => "",
        };
        Some(format!("{before}{key}"))
    })
}

/// Keys of Jina-CLIP, whose text tower is described in `hf_model_config_kwargs`.
pub(super) fn jina_clip(field: &str) -> Option<String> {
    let vision = match field {
        "vision.tower.width" => "width",
        "vision.tower.depth" => "layers",
        "vision.tower.heads" | "vision.tower.head_dim" => "head_width",
        "vision.tower.mlp_width" => "mlp_ratio",
        "vision.patch" => "patch_size",
        "vision.height" | "vision.width" | "vision.grid_rows" | "vision.grid_cols" => "image_size",
        "vision.rope_rows" | "vision.rope_cols" => "pt_hw_seq_len",
        "preprocess.shortest" | "preprocess.mode" => return Some("size".into()),
        "preprocess.mean" => return Some("mean".into()),
        "preprocess.std" => return Some("std".into()),
        // Neither tower is projected.
        "score.embed_dim" => return Some("vision_config.embed_dim".into()),
        _ if field.starts_with("text.") => {
            let key = transformers("", "text_config.hf_model_config_kwargs.");
            return key(field);
        }
        _ => return None,
    };
    Some(format!("vision_config.{vision}"))
}

/// Keys of open_clip.
pub(super) fn open_clip(field: &str) -> Option<String> {
    let (part, rest) = field.split_once('.')?;
    let section = match part {
        "vision" => "model_cfg.vision_cfg.",
        "text" => "model_cfg.text_cfg.",
        "preprocess" => "preprocess_cfg.",
        _ => "model_cfg.",
    };
    let key = match rest.trim_start_matches("tower.") {
        "width" if rest.starts_with("tower.") => "width",
        "depth" => "layers",
        "heads" | "head_dim" if part == "vision" => "head_width",
        "heads" | "head_dim" => "heads",
        "mlp_width" => "mlp_ratio",
        "norm_eps" => "norm_kwargs.eps",
        "patch" => "patch_size",
        "height" | "width" | "grid_rows" | "grid_cols" => "image_size",
        "vocab" => "vocab_size",
        "context" => "context_length",
        "embed_dim" => "embed_dim",
        "mean" => "mean",
        "std" => "std",
        _ => return None,
    };
    Some(format!("{section}{key}"))
}

/// Keys of timm. What timm's files do not have was read off the tensors.
pub(super) fn timm(field: &str) -> Option<String> {
    let key = match field {
        "vision.tower.heads" | "vision.tower.head_dim" => "model_args.num_heads",
        "vision.height" | "vision.width" => "pretrained_cfg.input_size",
        "vision.pyramid" => "model_args.pyramid.sides",
        "vision.pyramid_stride" => "model_args.pyramid.stride",
        "vision.rope_rows" | "vision.rope_cols" => "model_args.ref_feat_shape",
        "preprocess.shortest" => "pretrained_cfg.crop_pct",
        "preprocess.mean" => "pretrained_cfg.mean",
        "preprocess.std" => "pretrained_cfg.std",
        _ => return None,
    };
    Some(key.into())
}

/// Keys of vit-pytorch's constructors.
pub(super) fn vit_pytorch(field: &str) -> Option<String> {
    let key = match field {
        "vision.tower.width" => "dim",
        "vision.tower.depth" => "depth",
        "vision.tower.heads" => "heads",
        "vision.tower.head_dim" => "dim_head",
        "vision.tower.mlp_width" => "mlp_dim",
        "vision.tower.norm_eps" => "layer_norm_eps",
        "vision.patch" => "patch_size",
        "vision.height" | "vision.width" => "image_size",
        "vision.sincos_temperature" => "pos_temperature",
        _ => return None,
    };
    Some(key.into())
}
