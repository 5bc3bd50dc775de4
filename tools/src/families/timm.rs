//! What the checkpoints of timm have in common: `config.json` with `architecture`, `model_args` and `pretrained_cfg`, or
//! in older files `architecture` among the keys of `pretrained_cfg`. Facts that timm keeps in its source instead of the
//! file are taken from the architecture's name (timm 1.0). open_clip's files name an architecture of timm too.

use super::classes::name_list;
use crate::source::{TensorInfo, Tensors};
use crate::{Error, Result};
use ocelli::format::*;
use serde_json::{Value, json};
use std::path::Path;

/// Heads of an architecture by the size in its name.
const HEADS: [(&str, u32); 6] =
    [("_tiny_", 3), ("_small_", 6), ("_medium_", 8), ("_base_", 12), ("_large_", 16), ("_huge_", 16)];

/// Architectures with GELU by tanh, by the start of their name.
const GELU_TANH: [&str; 5] = [
    "vit_base_patch32_siglip_",
    "vit_giantopt_patch16_siglip_",
    "vit_large_patch16_siglip_512",
    "vit_large_patch16_siglip_gap_512",
    "vit_so400m_patch16_siglip_",
];

/// How a file spells what timm's own has at its top.
#[derive(Debug)]
pub(super) struct Keys {
    /// What stands before every key.
    pub(super) section: &'static str,
    pub(super) architecture: &'static str,
    pub(super) global_pool: &'static str,
}

const KEYS: Keys = Keys { section: "", architecture: "architecture", global_pool: "global_pool" };

/// A timm configuration.
pub(super) struct Timm<'j> {
    json: &'j Value,
    path: &'j Path,
    keys: &'static Keys,
    /// timm's name of the architecture, without a tag after a dot.
    pub(super) architecture: &'j str,
}

impl<'j> Timm<'j> {
    pub(super) fn new(json: &'j Value, path: &'j Path) -> Result<Timm<'j>> {
        Timm::with_keys(json, path, &KEYS)
    }

    /// The same where the facts have other keys.
    pub(super) fn with_keys(json: &'j Value, path: &'j Path, keys: &'static Keys) -> Result<Timm<'j>> {
        let name = json.get(keys.architecture).and_then(Value::as_str);
        let key = format!("{}{}", keys.section, keys.architecture);
        let name = name.ok_or_else(|| Error::field(path, key, "is missing"))?;
        Ok(Timm { json, path, keys, architecture: name.split('.').next().unwrap_or(name) })
    }

    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::field(self.path, format!("{}{key}", self.keys.section), problem)
    }

    /// The key of the architecture, without the section.
    pub(super) fn architecture_key(&self) -> &'static str {
        self.keys.architecture
    }

    /// Something wrong with the architecture.
    pub(super) fn wrong_architecture(&self, problem: impl Into<String>) -> Error {
        self.wrong(self.keys.architecture, problem)
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
            _ if name.starts_with("vit_pe_core_gigantic_") => 16,
            _ if name.contains("_huge_plus_") => 20,
            1024 | 1152 | 1280 | 1408 | 1664 | 1792 => 16,
            4096 => 32,
            // 24 for 1536: DINOv2's giant.
            192..=1536 if width.is_multiple_of(64) => width / 64,
            // A width that no architecture has on its own: heads are the architecture's all the same.
            _ if let Some((_, heads)) = HEADS.iter().find(|(size, _)| name.contains(size)) => *heads,
            _ => {
                let problem = format!("is {name:?}: unknown how many heads its {width} channels have");
                return Err(self.wrong_architecture(problem));
            }
        };
        Ok(heads)
    }

    /// LayerNorm's epsilon.
    pub(super) fn norm_eps(&self) -> f32 {
        let larger = ["_clip_", "beit3_", "dinov3", "_lingbot", "vit_pe_"];
        // EVA's CLIP towers have the smaller one.
        let is_eva = self.architecture.starts_with("eva");
        if !is_eva && larger.iter().any(|part| self.architecture.contains(part)) { 1e-5 } else { 1e-6 }
    }

    /// The activation of an MLP that is not gated.
    pub(super) fn activation(&self) -> Act {
        let name = self.architecture;
        match () {
            () if name.contains("_quickgelu_") => Act::QuickGelu,
            () if GELU_TANH.iter().any(|start| name.starts_with(start)) => Act::GeluTanh,
            () => Act::Gelu,
        }
    }

    /// How tokens become one vector.
    pub(super) fn pooling(&self) -> Result<Pooling> {
        let name = self.architecture;
        let siglip = name.contains("_siglip_") && !name.contains("_gap_");
        let own = if name.contains("_map_") || siglip || name.starts_with("vit_pe_core_") {
            "map"
        } else if (name.contains("_gap_") || name.starts_with("eva") || name.contains("dinov3"))
            && !name.contains("_clip_")
        {
            "avg"
        } else {
            "token"
        };
        let own = self.pretrained("global_pool", own.into());
        let key = self.keys.global_pool;
        let value = self.arg("global_pool").or_else(|| self.json.get(key)).unwrap_or(&own);
        match value.as_str() {
            Some("token") => Ok(Pooling::Class),
            Some("avg") => Ok(Pooling::MeanPatches),
            Some("map") => Ok(Pooling::AttentionHead),
            _ => Err(self.wrong(key, format!("is {value}; supported: \"token\", \"avg\", \"map\""))),
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

/// The tensors of a timm model, which may be a part of a larger one.
#[derive(Clone, Copy)]
pub(super) struct Trunk<'t> {
    tensors: &'t Tensors,
    /// What stands before the names of all of them.
    pub(super) prefix: &'static str,
}

impl<'t> Trunk<'t> {
    pub(super) fn new(tensors: &'t Tensors, prefix: &'static str) -> Trunk<'t> {
        Trunk { tensors, prefix }
    }

    /// The tensor `name`, without the prefix.
    pub(super) fn get(&self, name: &str) -> Option<&'t TensorInfo> {
        self.tensors.get(&format!("{}{name}", self.prefix))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn wrong(&self, name: &str, problem: impl Into<String>) -> Error {
        Error::tensor(format!("{}{name}", self.prefix), problem)
    }

    /// A dimension of a tensor's shape.
    pub(super) fn dimension(&self, name: &str, axis: usize) -> Result<u32> {
        let info = self.get(name).ok_or_else(|| self.wrong(name, "is missing"))?;
        let size = info.shape.get(axis).copied().and_then(|size| u32::try_from(size).ok());
        size.ok_or_else(|| self.wrong(name, format!("has shape {:?}, too few dimensions", info.shape)))
    }

    /// The bits of `features` whose tensor is there, or of a norm one of the two.
    pub(super) fn present(&self, features: &[(u32, &str)]) -> u32 {
        let is_there = |name: &str| {
            self.has(name) || ["weight", "bias"].iter().any(|end| self.has(&format!("{name}.{end}")))
        };
        features.iter().filter(|(_, name)| is_there(name)).fold(0, |all, (bit, _)| all | bit)
    }

    /// Blocks: one more than the largest number that a tensor's name has.
    pub(super) fn depth(&self) -> u32 {
        let number = |name: &str| {
            name.strip_prefix(self.prefix)?.strip_prefix("blocks.")?.split('.').next()?.parse::<u32>().ok()
        };
        self.tensors.names().filter_map(number).max().map_or(0, |last| last.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `blocks[0].attn.num_heads` and `global_pool` of timm 1.0.31.
    #[test]
    fn heads_and_pooling_are_the_architectures() {
        let (token, avg, map) = (Pooling::Class, Pooling::MeanPatches, Pooling::AttentionHead);
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
            ("vit_base_patch16_siglip_224", 768, 12, map),
            ("vit_so400m_patch14_siglip_gap_384", 1152, 16, avg),
            ("vit_giantopt_patch16_siglip_256", 1536, 16, map),
            ("vit_pe_core_large_patch14_336", 1024, 16, map),
            ("vit_pe_core_gigantic_patch14_448", 1536, 16, map),
            // A width of nobody's: as many as the architecture has.
            ("vit_small_patch16_224", 96, 6, token),
        ] {
            let json = json!({"architecture": name});
            let timm = Timm::new(&json, Path::new("config.json")).unwrap();
            assert_eq!((timm.heads(width).unwrap(), timm.pooling().unwrap()), (heads, pooling), "{name}");
        }
    }

    /// The epsilon of `norm1` and the activation of `mlp` of timm 1.0.31.
    #[test]
    fn epsilon_and_activation_are_the_architectures() {
        for (name, eps, act) in [
            ("vit_base_patch16_224", 1e-6, Act::Gelu),
            ("vit_base_patch16_clip_224", 1e-5, Act::Gelu),
            ("vit_huge_patch14_clip_quickgelu_378", 1e-5, Act::QuickGelu),
            ("eva02_base_patch16_clip_224", 1e-6, Act::Gelu),
            ("eva_giant_patch14_clip_224", 1e-6, Act::Gelu),
            ("vit_pe_core_base_patch16_224", 1e-5, Act::Gelu),
            ("vit_base_mci_224", 1e-6, Act::Gelu),
            ("vit_base_patch16_siglip_224", 1e-6, Act::Gelu),
            ("vit_base_patch32_siglip_256", 1e-6, Act::GeluTanh),
            ("vit_large_patch16_siglip_384", 1e-6, Act::Gelu),
            ("vit_large_patch16_siglip_512", 1e-6, Act::GeluTanh),
            ("vit_so400m_patch14_siglip_384", 1e-6, Act::Gelu),
            ("vit_so400m_patch16_siglip_384", 1e-6, Act::GeluTanh),
            ("vit_giantopt_patch16_siglip_384", 1e-6, Act::GeluTanh),
        ] {
            let json = json!({"architecture": name});
            let timm = Timm::new(&json, Path::new("config.json")).unwrap();
            assert_eq!((timm.norm_eps(), timm.activation()), (eps, act), "{name}");
        }
    }
}
