//! timm's `VisionTransformer` (`vit_*`, `deit*`, `flexivit_*`, `eva_large_*`) and `Eva` (`eva02_*`, `eva_giant_*`,
//! `vit_*_dinov3*`). What the architecture's name does not say is read off the tensors: widths, depth, which biases,
//! norms, registers and layer scales there are.

use super::classes::{classify, embedding_only};
use super::key_names;
use super::recognised::{ModelOptions, Recognised};
use super::timm::{Timm, Trunk};
use super::timm_names::Names;
use crate::Result;
use crate::source::{Checkpoint, Tensors};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::Value;
use std::path::Path;

/// Architectures by the start of their name that are computed otherwise than here: attention and norms inside, other
/// rotations.
const OTHERS: [&str; 6] =
    ["vit_pe_lang_", "vit_pe_spatial_", "vit_dpwee", "vit_pwee", "deit_tiny_distilled", "eva02_enormous"];

pub(super) fn recognise(
    _: &Checkpoint,
    path: &Path,
    json: &Value,
    tensors: &Tensors,
    _: &ModelOptions,
) -> Result<Recognised> {
    let timm = Timm::new(json, path)?;
    let mut config = Config::zeroed();
    let (image, trunk) = (timm.image()?, Trunk::new(tensors, ""));
    config.vision = vision(&timm, trunk, image)?;
    config.preprocess = timm.preprocess(image)?;
    config.score = embedding_only(config.vision.tower.width);
    let mut labels = Vec::new();
    if tensors.get("head.weight").is_some() {
        let names = timm.label_names()?;
        labels = classify(&mut config, tensors, "head.weight", names, (path, "label_names"))?;
    }
    let names = Names::new(trunk, &config.vision);
    Ok(Recognised {
        config,
        tokenizer: None,
        labels,
        scalars: Vec::new(),
        path: path.to_path_buf(),
        files: Vec::new(),
        origin: Box::new(move |demand| {
            let name = demand.name.as_str();
            names.origin(name.strip_prefix("vision.").unwrap_or(name))
        }),
        key_of: Box::new(key_names::timm),
        ignore: Box::new(ignore),
    })
}

/// Why a tensor of a trunk may be left out, by its name there.
pub(super) fn ignore(name: &str) -> Option<&'static str> {
    match name {
        "mask_token" => Some("stands for hidden patches in training"),
        _ if name.starts_with("rope.") => Some("rotary frequencies, which are computed"),
        _ if name.ends_with("attn.k_bias") => Some("zeros"),
        _ if name.ends_with("bn.num_batches_tracked") => Some("a counter of training"),
        _ => None,
    }
}

/// The image tower with the tensors of `trunk`, for images of `height` × `width`.
pub(super) fn vision(timm: &Timm<'_>, trunk: Trunk<'_>, (height, width): (u32, u32)) -> Result<VisionConfig> {
    let name = timm.architecture;
    let known =
        ["vit_", "deit", "flexivit_", "eva", "retinavit_"].iter().any(|start| name.starts_with(start));
    let other = OTHERS.iter().any(|start| name.starts_with(start))
        || ["_rope_", "sapiens", "_18x2_", "_rpn_", "_xp_"].iter().any(|part| name.contains(part));
    if !known || other {
        return Err(timm.wrong_architecture(
            format!("is {name:?}, which is not supported; of timm: plain vit_*, deit*, flexivit_*, eva_*, eva02_* and *_dinov3"),
        ));
    }
    let stem = name.contains("_mci_");
    let (channels, patch) = patches(timm, trunk, stem)?;
    let registers = if trunk.has("reg_token") { trunk.dimension("reg_token", 1)? } else { 0 };
    let qkv_bias =
        ["qkv.bias", "q_bias", "q_proj.bias"].iter().any(|end| trunk.has(&format!("blocks.0.attn.{end}")));
    let mut features = trunk.present(&[
        (feature::OUT_BIAS, "blocks.0.attn.proj.bias"),
        (feature::MLP_BIAS, "blocks.0.mlp.fc2.bias"),
        (feature::MLP_NORM, "blocks.0.mlp.norm"),
        (feature::ATTENTION_NORM, "blocks.0.attn.norm"),
        (feature::FINAL_NORM, "norm"),
        (feature::POOL_NORM, "fc_norm"),
        (feature::PATCH_BIAS, "patch_embed.proj.bias"),
        (feature::PRE_NORM, "norm_pre"),
        (feature::CLASS_TOKEN, "cls_token"),
    ]);
    if stem {
        let bias = trunk.has("patch_embed.backbone.2.conv.bias");
        features |= feature::PATCH_STEM | if bias { feature::PATCH_BIAS } else { 0 };
    }
    features |= if qkv_bias { feature::QKV_BIAS } else { 0 };
    let mlp_width = trunk.dimension("blocks.0.mlp.fc2.weight", 1)?;
    let apart = trunk.has("blocks.0.mlp.fc1_g.weight");
    let gated = apart || trunk.dimension("blocks.0.mlp.fc1.weight", 0)? == 2 * mlp_width;
    features |= if gated { feature::GATED_MLP } else { 0 };
    let act = if gated { Act::Silu } else { timm.activation() };
    if let Some(act) = timm.arg("act_layer") {
        return Err(
            timm.wrong("model_args.act_layer", format!("is {act}, only the architecture's own is supported"))
        );
    }
    let heads = timm.heads(channels)?;
    if !channels.is_multiple_of(heads) {
        let given = timm.arg("num_heads").is_some();
        let key = if given { "model_args.num_heads" } else { timm.architecture_key() };
        return Err(timm.wrong(key, format!("gives {heads} heads, no divisor of {channels} channels")));
    }
    let mut vision = VisionConfig {
        tower: TowerConfig {
            width: channels,
            depth: trunk.depth(),
            heads,
            head_dim: channels / heads,
            mlp_width,
            act: act as u32,
            norm_eps: timm.norm_eps(),
            pooling: timm.pooling()? as u32,
            features,
            ..TowerConfig::zeroed()
        },
        patch,
        height,
        width,
        prefix_tokens: registers + u32::from(features & feature::CLASS_TOKEN != 0),
        position: Position::None as u32,
        interpolation: Interpolation::Computed as u32,
        ..VisionConfig::zeroed()
    };
    complete(&vision, timm, trunk)?;
    rotations(&mut vision, timm)?;
    positions(&mut vision, trunk)?;
    pool_head(&mut vision, timm, trunk)?;
    pyramid(&mut vision, timm)?;
    Ok(vision)
}

/// Channels of a token and side of a patch.
fn patches(timm: &Timm<'_>, trunk: Trunk<'_>, stem: bool) -> Result<(u32, u32)> {
    if !stem {
        let name = "patch_embed.proj.weight";
        return Ok((trunk.dimension(name, 0)?, trunk.dimension(name, 2)?));
    }
    let name = |i: usize| format!("patch_embed.backbone.{i}.conv.weight");
    let first = trunk.dimension(&name(0), 2)?;
    let shape = trunk.get(&name(0)).map_or(&[][..], |info| &info.shape);
    if !matches!(shape, [_, 3, rows, columns] if rows == columns) {
        return Err(trunk.wrong(&name(0), format!("has shape {shape:?}, expected [n, 3, side, side]")));
    }
    let sides = [first, trunk.dimension(&name(1), 2)?, trunk.dimension(&name(2), 2)?];
    match sides {
        [first, 2, 2] => Ok((trunk.dimension(&name(2), 0)?, 4 * first)),
        _ => Err(timm.wrong_architecture(format!("has convolutions of {sides:?}, expected n, 2 and 2"))),
    }
}

/// What every such tower has, but nothing else of it says so: without this, a checkpoint that lacks it would be taken
/// for a tower that has none.
fn complete(vision: &VisionConfig, timm: &Timm<'_>, trunk: Trunk<'_>) -> Result<()> {
    let name = timm.architecture;
    let has_any = |bits: u32| vision.tower.features & bits != 0;
    let missing = |name: &str| Err(trunk.wrong(name, "is missing"));
    // Only a norm before the blocks makes up for the patches' bias.
    if !has_any(feature::PATCH_BIAS | feature::PRE_NORM) {
        let stem = has_any(feature::PATCH_STEM);
        return missing(if stem { "patch_embed.backbone.2.conv.bias" } else { "patch_embed.proj.bias" });
    }
    if !has_any(feature::FINAL_NORM | feature::POOL_NORM) {
        return missing("norm.weight");
    }
    let registers = name.contains("_reg") || name.contains("dinov3");
    if registers && vision.registers() == 0 { missing("reg_token") } else { Ok(()) }
}

/// The learned table: rows for the prefix tokens, if it has them, then the grid.
fn positions(vision: &mut VisionConfig, trunk: Trunk<'_>) -> Result<()> {
    let name = "pos_embed";
    // DINOv3's positions are rotary alone.
    if vision.patch == 0 || (vision.rope == Rope::Centred as u32 && !trunk.has(name)) {
        return Ok(());
    }
    let rows = trunk.dimension(name, 1)?;
    let grid = (vision.height / vision.patch, vision.width / vision.patch);
    let prefix =
        rows.checked_sub(grid.0 * grid.1).filter(|&prefix| prefix == 0 || prefix == vision.prefix_tokens);
    let Some(prefix) = prefix else {
        let problem =
            format!("has {rows} rows, but {grid:?} patches and {} tokens before", vision.prefix_tokens);
        return Err(trunk.wrong(name, problem));
    };
    vision.position = Position::Learned as u32;
    (vision.grid_rows, vision.grid_cols) = grid;
    vision.interpolation = Interpolation::BicubicAntialias as u32;
    vision.position_prefix = prefix;
    Ok(())
}

fn rotations(vision: &mut VisionConfig, timm: &Timm<'_>) -> Result<()> {
    let name = timm.architecture;
    if name.starts_with("eva02_") {
        vision.rope = Rope::Interleaved as u32;
        vision.rope_theta = 10_000.0;
        (vision.rope_rows, vision.rope_cols) = match timm.arg("ref_feat_shape") {
            Some(shape) => timm.pair("model_args", "ref_feat_shape", shape)?,
            None => (16, 16),
        };
    } else if name.contains("dinov3") || name.contains("_lingbot") {
        vision.rope = Rope::Centred as u32;
        vision.rope_theta = 100.0;
    } else if name.starts_with("vit_pe_core_") {
        // Scaled to the grid of the size in the name.
        let side = name.rsplit('_').next().and_then(|side| side.parse::<u32>().ok());
        let Some(grid) = side.and_then(|side| side.checked_div(vision.patch)).filter(|&grid| grid > 0) else {
            return Err(
                timm.wrong_architecture(format!("is {name:?}, which does not end with an image size"))
            );
        };
        vision.rope = Rope::ColumnsFirst as u32;
        vision.rope_theta = 10_000.0;
        (vision.rope_rows, vision.rope_cols) = (grid, grid);
    }
    Ok(())
}

/// Pooling by attention, `attn_pool`.
fn pool_head(vision: &mut VisionConfig, timm: &Timm<'_>, trunk: Trunk<'_>) -> Result<()> {
    if vision.tower.pooling != Pooling::AttentionHead as u32 {
        return Ok(());
    }
    let encoder = timm.architecture.starts_with("vit_pe_core_");
    if !encoder && vision.prefix_tokens > 0 {
        // timm's `VisionTransformer` pools the patches alone, its `Eva` all tokens.
        let problem = format!(
            "is {:?}: an attention head that leaves {} tokens before the patches out is not supported",
            timm.architecture, vision.prefix_tokens
        );
        return Err(timm.wrong_architecture(problem));
    }
    let hidden = trunk.dimension("attn_pool.mlp.fc1.weight", 0)?;
    vision.pool_heads = if encoder { 8 } else { 0 };
    vision.pool_mlp_width = if hidden == vision.tower.mlp_width { 0 } else { hidden };
    Ok(())
}

/// RetinaViT, which has no file format of its own: as a timm ViT whose `model_args.pyramid` has the `sides` of the levels,
/// finest first, and the `stride`.
fn pyramid(vision: &mut VisionConfig, timm: &Timm<'_>) -> Result<()> {
    let Some(pyramid) = timm.arg("pyramid") else {
        let is_one = timm.architecture.starts_with("retinavit_");
        return if is_one { Err(timm.wrong("model_args.pyramid", "is missing")) } else { Ok(()) };
    };
    let wrong = |key: &str, problem: String| Err(timm.wrong(&format!("model_args.pyramid.{key}"), problem));
    let sides: Vec<u32> = match serde_json::from_value(pyramid["sides"].clone()) {
        Ok(sides) => sides,
        Err(_) => return wrong("sides", format!("is {}, expected numbers", pyramid["sides"])),
    };
    if sides.is_empty() || sides.len() > MAX_LEVELS {
        return wrong("sides", format!("has {} levels; 1 to {MAX_LEVELS} are possible", sides.len()));
    }
    let Some(stride) = pyramid["stride"].as_u64().and_then(|stride| u32::try_from(stride).ok()) else {
        return wrong("stride", format!("is {}, expected a number", pyramid["stride"]));
    };
    vision.position = Position::ScaledAverage as u32;
    vision.interpolation = Interpolation::Fixed as u32;
    vision.pyramid[..sides.len()].copy_from_slice(&sides);
    vision.pyramid_stride = stride;
    Ok(())
}
