//! timm's names of the tensors of its `VisionTransformer` and `Eva`, which spell some parts in several ways.

use super::origin::{Origin, Part, Transform};
use super::timm::Trunk;
use ocelli::format::{VisionConfig, feature};

/// How a checkpoint names the tensors that vary.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// What stands before all names.
    prefix: &'static str,
    patch: usize,
    /// Patches go through three convolutions.
    stem: bool,
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
    pub(super) fn new(trunk: Trunk<'_>, vision: &VisionConfig) -> Names {
        let has = |name: &str| trunk.has(&format!("blocks.0.{name}"));
        let vit: fn(&str, u32) -> String = |layer, i| format!("{layer}.ls{i}.gamma");
        let eva: fn(&str, u32) -> String = |layer, i| format!("{layer}.gamma_{i}");
        Names {
            prefix: trunk.prefix,
            patch: vision.patch as usize,
            stem: vision.tower.features & feature::PATCH_STEM != 0,
            apart: has("attn.q_proj.weight")
                .then(|| ["q", "k", "v"].map(|part| has(&format!("attn.{part}_proj.bias")))),
            split_bias: has("attn.q_bias"),
            gate: has("mlp.fc1_g.weight"),
            scale: if has("ls1.gamma") { Some(vit) } else { has("gamma_1").then_some(eva) },
        }
    }

    /// Where a tensor comes from, by what follows `vision.` in its canonical name.
    pub(super) fn origin(&self, rest: &str) -> Origin {
        self.in_trunk(rest).within(self.prefix)
    }

    fn in_trunk(&self, rest: &str) -> Origin {
        let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
        let one = |module: &str| Origin::rows([format!("{module}.{end}")]);
        match module {
            // The query is a vector: its latent, which never changes, through the linear layer.
            "head" if end == "query" => Origin::rows(["attn_pool.q.weight"]).with(Transform::Applied {
                input: "attn_pool.latent".into(),
                bias: Some(("attn_pool.q.bias".into(), 0)),
            }),
            "head.kv" | "head.norm" => one(&module.replacen("head", "attn_pool", 1)),
            "head.out" => one("attn_pool.proj"),
            "head.fc1" | "head.fc2" => one(&module.replacen("head", "attn_pool.mlp", 1)),
            "patch_stem1" => self.convolution(0, end),
            "patch_stem2" => self.convolution(1, end),
            "patch_embed" if self.stem => {
                one("patch_embed.backbone.2.conv").with(Transform::Convolution { side: 2 })
            }
            "patch_embed" => one("patch_embed.proj").with(Transform::Convolution { side: self.patch }),
            "class_token" => Origin::rows(["cls_token"]),
            "registers" => Origin::rows(["reg_token"]),
            "position" => Origin::rows(["pos_embed"]),
            "pre_norm" => one("norm_pre"),
            "final_norm" => one("norm"),
            "pool_norm" => one("fc_norm"),
            "classifier" | "project" => one("head"),
            _ => {
                let (block, part) = module.rsplit_once('.').expect("the rest are parts of blocks");
                self.in_block(&block.replacen("block", "blocks", 1), part, end)
            }
        }
    }

    /// A convolution of the stem without bias, and the batch norm behind it.
    fn convolution(&self, i: usize, end: &str) -> Origin {
        let (layer, side) = (format!("patch_embed.backbone.{i}"), if i == 0 { self.patch / 4 } else { 2 });
        let norm = format!("{layer}.bn");
        match end {
            "bias" => Origin::rows([format!("{norm}.bias")]),
            _ => Origin::rows([format!("{layer}.conv.weight")]).with(Transform::Convolution { side }),
        }
        .normed(norm)
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
            "attention_norm" => one("attn.norm"),
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
