//! timm's `VisionTransformer` (`vit_*`, `deit*`, `flexivit_*`, `eva_large_*`) and `Eva` (`eva02_*`, `eva_giant_*`,
//! `vit_*_dinov3*`). What the architecture's name does not say is read off the tensors: widths, depth, which biases,
//! norms, registers and layer scales there are.

use super::classes::{classify, embedding_only};
use super::key_names;
use super::origin::{Origin, Part, Transform};
use super::recognised::{ModelOptions, Recognised};
use super::timm::{Timm, depth, dimension, present};
use crate::source::{Checkpoint, Tensors};
use crate::{Error, Result};
use bytemuck::Zeroable;
use ocelli::format::*;
use serde_json::Value;
use std::path::Path;

/// Architectures by the start of their name that are computed otherwise than here: attention and norms inside, other
/// rotations.
const OTHERS: [&str; 5] = ["vit_pe_", "vit_dpwee", "vit_pwee", "deit_tiny_distilled", "eva02_enormous"];

pub(super) fn recognise(
    _: &Checkpoint,
    path: &Path,
    json: &Value,
    tensors: &Tensors,
    _: &ModelOptions,
) -> Result<Recognised> {
    let timm = Timm::new(json, path)?;
    let name = timm.architecture;
    let known =
        ["vit_", "deit", "flexivit_", "eva", "retinavit_"].iter().any(|start| name.starts_with(start));
    let other = OTHERS.iter().any(|start| name.starts_with(start))
        || ["_siglip_", "_rope_", "sapiens", "_18x2_", "_rpn_", "_xp_"]
            .iter()
            .any(|part| name.contains(part));
    if !known || other {
        return Err(timm.wrong(
            "architecture",
            format!("is {name:?}, which is not supported; of timm: plain vit_*, deit*, flexivit_*, eva_*, eva02_* and *_dinov3"),
        ));
    }
    let mut config = Config::zeroed();
    let image = timm.image()?;
    config.vision = vision(&timm, tensors, image)?;
    config.preprocess = timm.preprocess(image)?;
    config.score = embedding_only(config.vision.tower.width);
    let mut labels = Vec::new();
    if tensors.get("head.weight").is_some() {
        let names = timm.label_names()?;
        labels = classify(&mut config, tensors, "head.weight", names, (path, "label_names"))?;
    }
    let names = Names::new(tensors, &config);
    Ok(Recognised {
        config,
        tokenizer: None,
        labels,
        scalars: Vec::new(),
        path: path.to_path_buf(),
        files: Vec::new(),
        origin: Box::new(move |demand| names.origin(demand.name.as_str())),
        key_of: Box::new(key_names::timm),
        ignore: Box::new(|name| match name {
            "mask_token" => Some("stands for hidden patches in training"),
            _ if name.starts_with("rope.") => Some("rotary frequencies, which are computed"),
            _ if name.ends_with("attn.k_bias") => Some("zeros"),
            _ => None,
        }),
    })
}

fn vision(timm: &Timm<'_>, tensors: &Tensors, (height, width): (u32, u32)) -> Result<VisionConfig> {
    let name = timm.architecture;
    let patch_embed = "patch_embed.proj.weight";
    let (channels, patch) = (dimension(tensors, patch_embed, 0)?, dimension(tensors, patch_embed, 2)?);
    let registers = if tensors.get("reg_token").is_some() { dimension(tensors, "reg_token", 1)? } else { 0 };
    let qkv_bias = ["qkv.bias", "q_bias", "q_proj.bias"]
        .iter()
        .any(|end| tensors.get(&format!("blocks.0.attn.{end}")).is_some());
    let mut features = present(
        tensors,
        &[
            (feature::OUT_BIAS, "blocks.0.attn.proj.bias"),
            (feature::MLP_BIAS, "blocks.0.mlp.fc2.bias"),
            (feature::MLP_NORM, "blocks.0.mlp.norm.weight"),
            (feature::FINAL_NORM, "norm.weight"),
            (feature::POOL_NORM, "fc_norm.weight"),
            (feature::PATCH_BIAS, "patch_embed.proj.bias"),
            (feature::PRE_NORM, "norm_pre.weight"),
            (feature::CLASS_TOKEN, "cls_token"),
        ],
    );
    features |= if qkv_bias { feature::QKV_BIAS } else { 0 };
    let mlp_width = dimension(tensors, "blocks.0.mlp.fc2.weight", 1)?;
    let apart = tensors.get("blocks.0.mlp.fc1_g.weight").is_some();
    let gated = apart || dimension(tensors, "blocks.0.mlp.fc1.weight", 0)? == 2 * mlp_width;
    features |= if gated { feature::GATED_MLP } else { 0 };
    let act = match () {
        () if gated => Act::Silu,
        () if name.contains("_quickgelu_") => Act::QuickGelu,
        () => Act::Gelu,
    };
    if let Some(act) = timm.arg("act_layer") {
        return Err(
            timm.wrong("model_args.act_layer", format!("is {act}, only the architecture's own is supported"))
        );
    }
    let heads = timm.heads(channels)?;
    if !channels.is_multiple_of(heads) {
        return Err(timm.wrong("model_args.num_heads", format!("is {heads}, no divisor of {channels}")));
    }
    let mut vision = VisionConfig {
        tower: TowerConfig {
            width: channels,
            depth: depth(tensors),
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
    positions(&mut vision, tensors)?;
    rotations(&mut vision, timm)?;
    pyramid(&mut vision, timm)?;
    Ok(vision)
}

/// The learned table: rows for the prefix tokens, if it has them, then the grid.
fn positions(vision: &mut VisionConfig, tensors: &Tensors) -> Result<()> {
    let name = "pos_embed";
    if tensors.get(name).is_none() || vision.patch == 0 {
        return Ok(());
    }
    let rows = dimension(tensors, name, 1)?;
    let grid = (vision.height / vision.patch, vision.width / vision.patch);
    let prefix =
        rows.checked_sub(grid.0 * grid.1).filter(|&prefix| prefix == 0 || prefix == vision.prefix_tokens);
    let Some(prefix) = prefix else {
        let problem =
            format!("has {rows} rows, but {grid:?} patches and {} tokens before", vision.prefix_tokens);
        return Err(Error::tensor(name, problem));
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
    }
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

/// How a checkpoint names the tensors that vary.
#[derive(Clone, Copy)]
struct Names {
    patch: usize,
    /// q, k and v are apart, and which of them have biases.
    apart: Option<[bool; 3]>,
    /// `qkv` is one matrix, but its bias is `q_bias`, zeros, `v_bias`.
    split_bias: bool,
    /// The gate is a matrix of its own.
    gate: bool,
    /// Layer scale: `ls1.gamma` or `gamma_1`.
    scale: Option<fn(&str, u32) -> String>,
}

impl Names {
    fn new(tensors: &Tensors, config: &Config) -> Names {
        let has = |name: &str| tensors.get(&format!("blocks.0.{name}")).is_some();
        let vit: fn(&str, u32) -> String = |layer, i| format!("{layer}.ls{i}.gamma");
        let eva: fn(&str, u32) -> String = |layer, i| format!("{layer}.gamma_{i}");
        Names {
            patch: config.vision.patch as usize,
            apart: has("attn.q_proj.weight")
                .then(|| ["q", "k", "v"].map(|part| has(&format!("attn.{part}_proj.bias")))),
            split_bias: has("attn.q_bias"),
            gate: has("mlp.fc1_g.weight"),
            scale: if has("ls1.gamma") { Some(vit) } else { has("gamma_1").then_some(eva) },
        }
    }

    /// Where a canonical tensor comes from.
    fn origin(&self, name: &str) -> Origin {
        let rest = name.strip_prefix("vision.").unwrap_or(name);
        let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
        let one = |module: &str| Origin::rows([format!("{module}.{end}")]);
        match module {
            "patch_embed" => one("patch_embed.proj").with(Transform::Convolution { side: self.patch }),
            "class_token" => Origin::rows(["cls_token"]),
            "registers" => Origin::rows(["reg_token"]),
            "position" => Origin::rows(["pos_embed"]),
            "pre_norm" => one("norm_pre"),
            "final_norm" => one("norm"),
            "pool_norm" => one("fc_norm"),
            "classifier" => one("head"),
            _ => {
                let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
                self.in_block(&block.replacen("block", "blocks", 1), part, end)
            }
        }
    }

    fn in_block(&self, layer: &str, part: &str, end: &str) -> Origin {
        let named = |module: &str| format!("{layer}.{module}.{end}");
        let one = |module: &str| Origin::rows([named(module)]);
        let scaled = |origin: Origin, i: u32| match self.scale {
            Some(scale) => origin.scaled(scale(layer, i)),
            None => origin,
        };
        match part {
            "qkv" => self.qkv(layer, end),
            "out" => scaled(one("attn.proj"), 1),
            "fc1" if self.gate => Origin::rows([named("mlp.fc1_g"), named("mlp.fc1_x")]),
            "fc1" => one("mlp.fc1"),
            "mlp_norm" => one("mlp.norm"),
            "fc2" => scaled(one("mlp.fc2"), 2),
            _ => one(part),
        }
    }

    fn qkv(&self, layer: &str, end: &str) -> Origin {
        let parts = match self.apart {
            Some(biases) => ["q", "k", "v"]
                .into_iter()
                .zip(biases)
                .map(|(part, bias)| match end {
                    "bias" if !bias => Part::Zeros,
                    _ => Part::Tensor(format!("{layer}.attn.{part}_proj.{end}")),
                })
                .collect(),
            None if self.split_bias && end == "bias" => vec![
                Part::Tensor(format!("{layer}.attn.q_bias")),
                Part::Zeros,
                Part::Tensor(format!("{layer}.attn.v_bias")),
            ],
            None => vec![Part::Tensor(format!("{layer}.attn.qkv.{end}"))],
        };
        Origin { parts, ..Origin::rows([""; 0]) }
    }
}
