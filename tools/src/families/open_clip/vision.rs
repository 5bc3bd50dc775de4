//! The image tower of open_clip's own class, `VisionTransformer`.

use super::section::Section;
use super::tower::{self, Tower};
use crate::Result;
use crate::families::origin::{Origin, Transform};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::json;

/// Keys that change what is computed here, or that only training reads.
const KEYS: [&str; 10] = [
    "image_size",
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "patch_dropout",
    "final_ln_after_pool",
    "pool_type",
    "no_ln_pre",
];

pub(super) fn recognise(section: &Section<'_>, act: Act) -> Result<Tower<VisionConfig>> {
    section.check_keys(&KEYS)?;
    let (height, width) = section.sides("image_size", 224)?;
    let (patch, columns) = section.sides("patch_size", 16)?;
    if patch != columns || patch == 0 || patch > height.min(width) {
        let problem = format!("is {patch}x{columns} for an image of {height}x{width}");
        return Err(section.wrong("patch_size", problem));
    }
    let (channels, head): (u32, u32) =
        (section.get("width", json!(768))?, section.get("head_width", json!(64))?);
    if head == 0 || !channels.is_multiple_of(head) || channels == 0 {
        return Err(section.wrong("head_width", format!("is {head}, no divisor of {channels}")));
    }
    let pre_norm = if section.get("no_ln_pre", json!(false))? { 0 } else { feature::PRE_NORM };
    // `ln_post` norms all tokens, or what they are pooled to: the same for one token.
    let (pooling, norm) = match section.get::<String>("pool_type", json!("tok"))?.as_str() {
        "tok" => (Pooling::Class, feature::FINAL_NORM),
        "avg" if section.get("final_ln_after_pool", json!(false))? => {
            (Pooling::MeanPatches, feature::POOL_NORM)
        }
        "avg" => (Pooling::MeanPatches, feature::FINAL_NORM),
        other => return Err(section.wrong("pool_type", format!("is {other:?}; supported: \"tok\", \"avg\""))),
    };
    let features = feature::CLASS_TOKEN | feature::PROJECT | pre_norm | norm;
    let config = VisionConfig {
        tower: section.tower(channels, channels / head, act, features, pooling)?,
        patch,
        height,
        width,
        prefix_tokens: 1,
        position: Position::Learned as u32,
        grid_rows: height / patch,
        grid_cols: width / patch,
        interpolation: Interpolation::BicubicAntialias as u32,
        position_prefix: 1,
        ..VisionConfig::zeroed()
    };
    let scaled = section.has_layer_scale();
    Ok(Tower {
        config,
        origin: Box::new(move |rest| origin(rest, patch as usize, scaled)),
        ignore: Box::new(|_| None),
    })
}

fn origin(rest: &str, patch: usize, scaled: bool) -> Origin {
    let whole = |name: &str| Origin::rows([format!("visual.{name}")]);
    tower::origin(rest, "visual.", scaled, |module, end| match module {
        "patch_embed" => whole("conv1.weight").with(Transform::Convolution { side: patch }),
        "class_token" => whole("class_embedding"),
        "position" => whole("positional_embedding"),
        "pre_norm" => whole(&format!("ln_pre.{end}")),
        "final_norm" | "pool_norm" => whole(&format!("ln_post.{end}")),
        // The projection; there is no other part.
        _ => whole("proj").with(Transform::Transposed),
    })
}
