//! An image tower of timm's inside open_clip (`TimmModel`): `visual.trunk.*`, and `visual.head.*` where open_clip adds a
//! projection. What the tower is, timm's name of it says.

use super::section::Section;
use super::tower::Tower;
use crate::Result;
use crate::families::origin::Origin;
use crate::families::timm::{Keys, Timm, Trunk};
use crate::families::timm_names::Names;
use crate::families::timm_vit;
use crate::source::Tensors;
use ocelli::format::{VisionConfig, feature};
use serde_json::json;

const TRUNK: &str = "visual.trunk.";

/// How open_clip spells the facts that timm's own files have.
const TIMM: Keys =
    Keys { section: "model_cfg.vision_cfg.", architecture: "timm_model_name", global_pool: "timm_pool" };

/// Keys that are read here or by training alone, and those of open_clip's own tower, which the name overrides.
const KEYS: [&str; 14] = [
    "timm_model_name",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
    "timm_drop",
    "timm_drop_path",
    "patch_dropout",
    "image_size",
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
];

/// Towers that open_clip has names for, by a part of the name, and why they are not supported.
const OTHERS: [(&str, &str); 9] = [
    (
        "naflex",
        "a tower for pictures of any size in timm's layout (transformers' siglip2 layout is supported)",
    ),
    ("eva02_enormous_", "its blocks add normed branches (res-post-norm)"),
    ("vitamin_", "it has convolution stages before its transformer"),
    ("fastvit_", "MobileCLIP's S towers are convolution networks"),
    ("mobileclip", "MobileCLIP's S towers are convolution networks"),
    ("convnext_", "it is a convolution network"),
    ("resnet", "it is a convolution network"),
    ("swin", "it attends in windows"),
    ("relpos", "its positions are relative"),
];

/// Whether the image tower is timm's.
pub(super) fn is_one(section: &Section<'_>) -> bool {
    section.has("timm_model_name")
}

pub(super) fn recognise(section: &Section<'_>, tensors: &Tensors) -> Result<Tower<VisionConfig>> {
    section.check_keys(&KEYS)?;
    let timm = Timm::with_keys(section.json, section.path, &TIMM)?;
    let name = timm.architecture;
    if let Some((_, why)) = OTHERS.iter().find(|(part, _)| name.contains(part)) {
        return Err(timm.wrong_architecture(format!("is {name:?}, which is not supported: {why}")));
    }
    let projection = Projection::of(section)?;
    let trunk = Trunk::new(tensors, TRUNK);
    let mut config = timm_vit::vision(&timm, trunk, section.sides("image_size", 224)?)?;
    config.tower.features |= projection.features(section)?;
    let names = Names::new(trunk, &config);
    Ok(Tower {
        config,
        origin: Box::new(move |rest| match rest.strip_prefix("project.") {
            Some(end) if projection == Projection::Added => Origin::rows([format!("visual.head.proj.{end}")]),
            _ => names.origin(rest),
        }),
        ignore: Box::new(|name| timm_vit::ignore(name.strip_prefix(TRUNK).unwrap_or(name))),
    })
}

/// Where the pooled vector becomes the embedding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Projection {
    /// Nowhere: it is the embedding.
    None,
    /// In the trunk's own head, a linear layer with bias.
    Trunk,
    /// In a linear layer after the trunk.
    Added,
}

impl Projection {
    fn of(section: &Section<'_>) -> Result<Projection> {
        // The default of the class where the key is missing; null is the trunk's own.
        let value = section.json.get("timm_proj").cloned().unwrap_or(json!("linear"));
        match value.as_str() {
            Some("linear") => Ok(Projection::Added),
            Some("none") => Ok(Projection::None),
            Some("") => Ok(Projection::Trunk),
            None if value.is_null() => Ok(Projection::Trunk),
            _ => {
                let problem = format!("is {value}; supported: null, \"none\", \"linear\"");
                Err(section.wrong("timm_proj", problem))
            }
        }
    }

    fn features(self, section: &Section<'_>) -> Result<u32> {
        Ok(match self {
            Projection::None => 0,
            Projection::Trunk => feature::PROJECT | feature::PROJECT_BIAS,
            Projection::Added if section.get("timm_proj_bias", json!(false))? => {
                feature::PROJECT | feature::PROJECT_BIAS
            }
            Projection::Added => feature::PROJECT,
        })
    }
}
