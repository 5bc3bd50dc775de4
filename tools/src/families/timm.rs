//! What the checkpoints of timm have in common: `config.json` with `architecture`, `model_args` and `pretrained_cfg`, or
//! in older files `architecture` among the keys of `pretrained_cfg`. Facts that timm keeps in its source instead of the
//! file are taken from the architecture's name (timm 1.0).

use super::classes::name_list;
use crate::source::Tensors;
use crate::{Error, Result};
use ocelli::format::*;
use serde_json::{Value, json};
use std::path::Path;

/// Heads of an architecture by the size in its name.
const HEADS: [(&str, u32); 6] =
    [("_tiny_", 3), ("_small_", 6), ("_medium_", 8), ("_base_", 12), ("_large_", 16), ("_huge_", 16)];

/// A timm configuration.
pub(super) struct Timm<'j> {
    json: &'j Value,
    path: &'j Path,
    /// timm's name of the architecture, without a tag after a dot.
    pub(super) architecture: &'j str,
}

impl<'j> Timm<'j> {
    pub(super) fn new(json: &'j Value, path: &'j Path) -> Result<Timm<'j>> {
        let name = json.get("architecture").and_then(Value::as_str);
        let name = name.ok_or_else(|| Error::field(path, "architecture", "is missing"))?;
        Ok(Timm { json, path, architecture: name.split('.').next().unwrap_or(name) })
    }

    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::field(self.path, key, problem)
    }

    /// A value of `model_args`, which overrides the architecture's own.
    pub(super) fn arg(&self, key: &str) -> Option<&'j Value> {
        self.json["model_args"].get(key).filter(|value| !value.is_null())
    }

    fn number(&self, section: &str, key: &str, value: &Value) -> Result<u32> {
        let number = value.as_u64().and_then(|value| u32::try_from(value).ok()).filter(|&value| value > 0);
        number
            .ok_or_else(|| self.wrong(&format!("{section}.{key}"), format!("is {value}, expected a number")))
    }

    /// Two numbers, or one for both.
    pub(super) fn pair(&self, section: &str, key: &str, value: &Value) -> Result<(u32, u32)> {
        match value.as_array().map(Vec::as_slice) {
            None => self.number(section, key, value).map(|side| (side, side)),
            Some([a, b]) => Ok((self.number(section, key, a)?, self.number(section, key, b)?)),
            _ => Err(self.wrong(&format!("{section}.{key}"), format!("is {value}, expected two numbers"))),
        }
    }

    /// A value of `pretrained_cfg`, or timm's default for it.
    fn pretrained(&self, key: &str, default: Value) -> Value {
        let section = self.json.get("pretrained_cfg").unwrap_or(self.json);
        section.get(key).filter(|value| !value.is_null()).cloned().unwrap_or(default)
    }

    /// A key of `pretrained_cfg` with something wrong.
    fn wrong_pretrained(&self, key: &str, problem: String) -> Error {
        let section = if self.json.get("pretrained_cfg").is_some() { "pretrained_cfg." } else { "" };
        self.wrong(&format!("{section}{key}"), problem)
    }

    /// Height and width of the image.
    pub(super) fn image(&self) -> Result<(u32, u32)> {
        if let Some(size) = self.arg("img_size") {
            return self.pair("model_args", "img_size", size);
        }
        let value = self.pretrained("input_size", json!([3, 224, 224]));
        match value.as_array().map(Vec::as_slice) {
            Some([channels, height, width]) if *channels == 3 => {
                let number = |value| self.number("pretrained_cfg", "input_size", value);
                Ok((number(height)?, number(width)?))
            }
            _ => {
                let problem = format!("is {value}, expected [3, height, width]");
                Err(self.wrong_pretrained("input_size", problem))
            }
        }
    }

    /// Attention heads: `model_args`, or the architecture's.
    pub(super) fn heads(&self, width: u32) -> Result<u32> {
        if let Some(heads) = self.arg("num_heads") {
            return self.number("model_args", "num_heads", heads);
        }
        let name = self.architecture;
        let heads = match width {
            _ if name == "vit_base_patch16_gap_224" || name.contains("giantopt") => 16,
            _ if name.contains("_huge_plus_") => 20,
            1024 | 1152 | 1280 | 1408 | 1664 | 1792 => 16,
            4096 => 32,
            // 24 for 1536: DINOv2's giant.
            192..=1536 if width.is_multiple_of(64) => width / 64,
            // A width that no architecture has on its own: heads are the architecture's all the same.
            _ if let Some((_, heads)) = HEADS.iter().find(|(size, _)| name.contains(size)) => *heads,
            _ => {
                let problem = format!("is {name:?}: unknown how many heads its {width} channels have");
                return Err(self.wrong("architecture", problem));
            }
        };
        Ok(heads)
    }

    /// LayerNorm's epsilon.
    pub(super) fn norm_eps(&self) -> f32 {
        let larger = ["_clip_", "beit3_", "dinov3", "_lingbot"];
        if larger.iter().any(|part| self.architecture.contains(part)) { 1e-5 } else { 1e-6 }
    }

    /// How tokens become one vector.
    pub(super) fn pooling(&self) -> Result<Pooling> {
        let name = self.architecture;
        let own = if name.contains("_map_") {
            "map"
        } else if (name.contains("_gap_") || name.starts_with("eva") || name.contains("dinov3"))
            && !name.contains("_clip_")
        {
            "avg"
        } else {
            "token"
        };
        let own = self.pretrained("global_pool", own.into());
        let value = self.arg("global_pool").or_else(|| self.json.get("global_pool")).unwrap_or(&own);
        match value.as_str() {
            Some("token") => Ok(Pooling::Class),
            Some("avg") => Ok(Pooling::MeanPatches),
            _ => Err(self.wrong("global_pool", format!("is {value}; supported: \"token\", \"avg\""))),
        }
    }

    /// The names of the classes, if the file has them.
    pub(super) fn label_names(&self) -> Result<Option<Vec<String>>> {
        let flat = self.json.get("pretrained_cfg").is_none() && self.json.get("labels").is_some();
        name_list(self.json, if flat { "labels" } else { "label_names" }, self.path)
    }

    /// Preprocessing as `timm.data.create_transform` does it from `pretrained_cfg`, for images of `size`.
    pub(super) fn preprocess(&self, size: (u32, u32)) -> Result<PreprocessConfig> {
        let interpolation = self.pretrained("interpolation", "bicubic".into());
        let filter = match interpolation.as_str() {
            Some("bilinear") => Filter::Bilinear,
            Some("bicubic") => Filter::Bicubic,
            _ => {
                let problem = format!("is {interpolation}; supported: \"bilinear\", \"bicubic\"");
                return Err(self.wrong_pretrained("interpolation", problem));
            }
        };
        let crop = self.pretrained("crop_pct", json!(0.875));
        let Some(crop) = crop.as_f64().filter(|&crop| crop > 0.0 && crop <= 1.0) else {
            let problem = format!("is {crop}, expected above 0, at most 1");
            return Err(self.wrong_pretrained("crop_pct", problem));
        };
        let crop_mode = self.pretrained("crop_mode", "center".into());
        let (mode, shortest) = match crop_mode.as_str() {
            Some("center") if size.0 == size.1 => {
                (ResizeMode::ShortestCrop, (f64::from(size.0) / crop).floor() as u32)
            }
            Some("squash") if crop == 1.0 => (ResizeMode::Squash, 0),
            _ => {
                let problem =
                    format!("is {crop_mode} for {size:?} pixels and crop_pct {crop}, which is not supported");
                return Err(self.wrong_pretrained("crop_mode", problem));
            }
        };
        let triple = |key: &str, default: Value| {
            let value = self.pretrained(key, default);
            serde_json::from_value(value.clone())
                .map_err(|_| self.wrong_pretrained(key, format!("is {value}, expected three numbers")))
        };
        Ok(PreprocessConfig {
            mode: mode as u32,
            filter: filter as u32,
            resampler: Resampler::Pillow as u32,
            crop_rounding: CropRounding::HalfEven as u32,
            alpha: Alpha::Drop as u32,
            shortest,
            mean: triple("mean", json!([0.485, 0.456, 0.406]))?,
            std: triple("std", json!([0.229, 0.224, 0.225]))?,
            reserved: [0; 8],
        })
    }
}

/// A dimension of a tensor's shape.
pub(super) fn dimension(tensors: &Tensors, name: &str, axis: usize) -> Result<u32> {
    let info = tensors.get(name).ok_or_else(|| Error::tensor(name, "is missing"))?;
    let size = info.shape.get(axis).copied().and_then(|size| u32::try_from(size).ok());
    size.ok_or_else(|| Error::tensor(name, format!("has shape {:?}, too few dimensions", info.shape)))
}

/// The bits of `features` whose tensor is in the checkpoint.
pub(super) fn present(tensors: &Tensors, features: &[(u32, &str)]) -> u32 {
    let found = features.iter().filter(|(_, name)| tensors.get(name).is_some());
    found.fold(0, |all, (bit, _)| all | bit)
}

/// Blocks in the checkpoint: one more than the largest number that a tensor's name has.
pub(super) fn depth(tensors: &Tensors) -> u32 {
    let number = |name: &str| name.strip_prefix("blocks.")?.split('.').next()?.parse::<u32>().ok();
    tensors.names().filter_map(number).max().map_or(0, |last| last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `blocks[0].attn.num_heads` and `global_pool` of timm 1.0.31.
    #[test]
    fn heads_and_pooling_are_the_architectures() {
        let (token, avg) = (Pooling::Class, Pooling::MeanPatches);
        for (name, width, heads, pooling) in [
            ("vit_tiny_patch16_224", 192, 3, token),
            ("vit_base_patch16_clip_224", 768, 12, token),
            ("vit_base_patch16_gap_224", 768, 16, avg),
            ("vit_giant_patch14_dinov2", 1536, 24, token),
            ("vit_huge_plus_patch16_dinov3", 1280, 20, avg),
            ("vit_7b_patch16_dinov3", 4096, 32, avg),
            ("vit_so150m2_patch16_reg1_gap_384", 832, 13, avg),
            ("deit3_medium_patch16_224", 512, 8, token),
            ("eva_large_patch14_196", 1024, 16, avg),
            ("eva02_base_patch16_clip_224", 768, 12, token),
            ("eva02_base_patch14_224", 768, 12, avg),
            // A width of nobody's: as many as the architecture has.
            ("vit_small_patch16_224", 96, 6, token),
        ] {
            let json = json!({"architecture": name});
            let timm = Timm::new(&json, Path::new("config.json")).unwrap();
            assert_eq!((timm.heads(width).unwrap(), timm.pooling().unwrap()), (heads, pooling), "{name}");
        }
    }
}
