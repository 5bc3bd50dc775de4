//! What `ocelli info` tells about a model and this machine.

use super::Args;
use crate::args::Opened;
use crate::console::Console;
use crate::named::Named;
use ocelli::format::{
    Act, Canonical, Config, Cost, Dtype, File, Filter, Layout, Merging, Pooling, Resampler, ResizeMode,
    Scoring, Tensor, TowerConfig,
};
use ocelli::runtime::{self, Buffer, Plan};
use ocelli::{Error, ImageEncoder, ImageOptions, Isa, Result, Runtime, TextEncoder, knobs};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(super) struct Report {
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_bytes: Option<String>,
    bytes: usize,
    model_id: String,
    checkpoint_id: String,
    architecture: Architecture,
    preprocessing: Preprocessing,
    labels: usize,
    precision: BTreeMap<String, Storage>,
    /// What was measured at conversion, as the file has it.
    promise: Value,
    provenance: Value,
    cost: CostOfTowers,
    arena: Option<Arena>,
    cpu: Cpu,
    kernels: Named<String>,
    environment: Named<Variable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tensors: Option<Named<TensorLine>>,
}

#[derive(Serialize)]
struct Architecture {
    #[serde(skip_serializing_if = "Option::is_none")]
    vision: Option<Vision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text>,
    score: Score,
}

#[derive(Serialize)]
struct Tower {
    width: u32,
    depth: u32,
    heads: u32,
    head_dim: u32,
    mlp_width: u32,
    activation: Option<&'static str>,
    norm_eps: f32,
    pooling: Option<&'static str>,
}

#[derive(Serialize)]
struct Vision {
    #[serde(flatten)]
    tower: Tower,
    image: String,
    patch: u32,
    prefix_tokens: u32,
    /// Tokens that go into each block and what is left behind the last, if some are merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_tokens: Option<Vec<usize>>,
}

#[derive(Serialize)]
struct Text {
    #[serde(flatten)]
    tower: Tower,
    vocab: u32,
    context: u32,
    causal: bool,
    padded: bool,
    canonical: Option<&'static str>,
}

#[derive(Serialize)]
struct Score {
    kind: Option<&'static str>,
    embed_dim: u32,
    logit_scale: f32,
    logit_bias: f32,
}

#[derive(Serialize)]
struct Preprocessing {
    resize: Option<&'static str>,
    shortest: u32,
    filter: Option<&'static str>,
    arithmetic: Option<&'static str>,
    mean: [f32; 3],
    std: [f32; 3],
}

/// How many weights are stored in one way.
#[derive(Default, Serialize)]
struct Storage {
    tensors: u64,
    elements: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct TensorLine {
    storage: String,
    shape: [usize; 2],
    bytes: u64,
}

/// What one image and one text cost, known before anything is run.
#[derive(Serialize)]
struct CostOfTowers {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<CostLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<CostLine>,
}

#[derive(Serialize)]
struct CostLine {
    tokens: u64,
    blocks: u64,
    heads: u64,
    macs: u64,
    position_macs: u64,
    arena_bytes: u64,
}

#[derive(Serialize)]
struct Arena {
    bytes: usize,
    buffers: Named<usize>,
}

#[derive(Serialize)]
struct Cpu {
    cores: String,
    features: String,
    used: String,
    threads: usize,
}

#[derive(Serialize)]
struct Variable {
    value: Option<String>,
    meaning: &'static str,
}

impl Report {
    /// Makes the encoders that would run the model, unless it costs too much: then a warning says so.
    pub(super) fn new(args: &Args, opened: &Opened, console: &Console) -> Result<Report> {
        let Opened { model, runtime, .. } = opened;
        let file = model.file();
        let config = file.config();
        let mut provenance = serde_json::from_str::<Value>(file.provenance()).unwrap_or(Value::Null);
        let promise = provenance.as_object_mut().and_then(|map| map.remove("promise")).unwrap_or(Value::Null);
        let environment = knobs::ALL.iter().map(|knob| {
            (knob.name.to_owned(), Variable { value: knob.get().ok().flatten(), meaning: knob.meaning })
        });
        Ok(Report {
            model: opened.name(),
            model_bytes: opened.name_bytes(),
            bytes: file.bytes_len(),
            model_id: hex(&file.model_id()),
            checkpoint_id: hex(&config.checkpoint_id),
            architecture: architecture(file),
            preprocessing: preprocessing(config),
            labels: file.bank().map_or(0, |bank| bank.len()),
            precision: precision(file),
            promise,
            provenance,
            cost: CostOfTowers {
                image: Cost::of_images(config, None, 1, runtime.threads()).map(CostLine::from),
                text: Cost::of_text(config, runtime.threads()).map(CostLine::from),
            },
            arena: arena(opened, console)?,
            cpu: Cpu {
                cores: runtime::describe(&runtime::cpus()),
                features: Isa::available().to_string(),
                used: runtime.kernels().isa().to_string(),
                threads: runtime.threads(),
            },
            kernels: kernels(file, runtime),
            environment: environment.collect(),
            tensors: args.tensors.then(|| tensors(file)),
        })
    }
}

impl From<Cost> for CostLine {
    fn from(cost: Cost) -> CostLine {
        let Cost { tokens, blocks, heads, macs, position_macs, arena_bytes, .. } = cost;
        CostLine { tokens, blocks, heads, macs, position_macs, arena_bytes }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tower(config: &TowerConfig) -> Tower {
    Tower {
        width: config.width,
        depth: config.depth,
        heads: config.heads,
        head_dim: config.head_dim,
        mlp_width: config.mlp_width,
        activation: Act::from_stored(config.act).map(Act::name),
        norm_eps: config.norm_eps,
        pooling: Pooling::from_stored(config.pooling).map(Pooling::name),
    }
}

fn architecture(file: File<'_>) -> Architecture {
    let Config { vision, text, score, .. } = file.config();
    Architecture {
        vision: file.has_vision().then(|| Vision {
            tower: tower(&vision.tower),
            image: format!("{}x{}", vision.height, vision.width),
            patch: vision.patch,
            prefix_tokens: vision.prefix_tokens,
            merged_tokens: {
                let (merging, patches) = (Merging::of(&vision.tower), vision.patches());
                let (depth, prefix) = (vision.tower.depth as usize, vision.prefix_tokens as usize);
                (!merging.is_none()).then(|| merging.tokens(depth, (patches, patches), prefix).collect())
            },
        }),
        text: file.has_text().then(|| Text {
            tower: tower(&text.tower),
            vocab: text.vocab,
            context: text.context,
            causal: text.causal != 0,
            padded: text.padded != 0,
            canonical: Canonical::from_stored(text.canonical).map(Canonical::name),
        }),
        score: Score {
            kind: Scoring::from_stored(score.kind).map(Scoring::name),
            embed_dim: score.embed_dim,
            logit_scale: score.logit_scale,
            logit_bias: score.logit_bias,
        },
    }
}

fn preprocessing(config: &Config) -> Preprocessing {
    let p = &config.preprocess;
    Preprocessing {
        resize: ResizeMode::from_stored(p.mode).map(ResizeMode::name),
        shortest: p.shortest,
        filter: Filter::from_stored(p.filter).map(Filter::name),
        arithmetic: Resampler::from_stored(p.resampler).map(Resampler::name),
        mean: p.mean,
        std: p.std,
    }
}

/// How a tensor is stored.
fn storage(tensor: &Tensor<'_>) -> String {
    match (tensor.dtype(), tensor.layout()) {
        (Dtype::I8, Layout::Panels) => format!("i8 panels, codes up to {}", tensor.entry().magnitude),
        (dtype, layout) => format!("{} {}", dtype.name(), layout.name()),
    }
}

/// Every tensor: storage, shape and bytes.
fn tensors(file: File<'_>) -> Named<TensorLine> {
    let line = |tensor: Tensor<'_>| {
        let (storage, shape) = (storage(&tensor), [tensor.n(), tensor.k()]);
        (tensor.name().to_owned(), TensorLine { storage, shape, bytes: tensor.bytes_len() })
    };
    file.tensors().map(line).collect()
}

/// Tensors, elements and bytes per kind of storage.
fn precision(file: File<'_>) -> BTreeMap<String, Storage> {
    let mut kinds: BTreeMap<String, Storage> = BTreeMap::new();
    for tensor in file.tensors() {
        let entry = kinds.entry(storage(&tensor)).or_default();
        entry.tensors += 1;
        entry.elements += tensor.n() as u64 * tensor.k().max(1) as u64;
        entry.bytes += tensor.bytes_len();
    }
    kinds
}

/// The buffers of the encoders that would run the model; `None`, and a warning, if it costs too much.
fn arena(opened: &Opened, console: &Console) -> Result<Option<Arena>> {
    let Opened { model, runtime, .. } = opened;
    let limits = knobs::limits()?;
    let image = || ImageEncoder::new(model, runtime, &ImageOptions::default().limits(limits));
    let text = || TextEncoder::new(model, runtime, &limits);
    let plans = || -> Result<Vec<(&str, Plan)>> {
        let mut plans = Vec::new();
        if model.vision().is_some() {
            plans.push(("image", image()?.plan().clone()));
        }
        if model.text().is_some() {
            plans.push(("text", text()?.plan().clone()));
        }
        Ok(plans)
    };
    match plans() {
        Ok(plans) => {
            let buffers = |(tower, plan): &(&str, Plan)| {
                let named = |buffer: &Buffer| (format!("{tower} {}", buffer.name), buffer.bytes);
                plan.buffers().iter().map(named).collect::<Vec<_>>()
            };
            Ok(Some(Arena {
                bytes: plans.iter().map(|(_, plan)| plan.bytes()).sum(),
                buffers: plans.iter().flat_map(buffers).collect(),
            }))
        }
        Err(error @ Error::TooCostly { .. }) => {
            console.warn(format_args!("{}", opened.blame(error)));
            Ok(None)
        }
        Err(error) => Err(opened.blame(error)),
    }
}

/// Which micro-kernel multiplies by which kind of matrix, and why that one.
fn kernels(file: File<'_>, runtime: &Runtime) -> Named<String> {
    let kernels = runtime.kernels();
    let isa = kernels.isa();
    let mut why = if isa == Isa::detect() {
        format!("best for what this CPU has ({isa})")
    } else {
        format!("{} asks for {isa}", knobs::ISA.name)
    };
    for feature in Isa::available().features().filter(|&feature| feature.on_request() && !isa.has(feature)) {
        why += &format!("; {}=+{} would be faster and less exact", knobs::ISA.name, feature.name());
    }
    let mut chosen = vec![("why".to_owned(), why)];
    for tensor in file.tensors().filter(|tensor| tensor.layout() == Layout::Panels) {
        if let Ok(weights) = tensor.weights() {
            let kind = match tensor.dtype() {
                Dtype::I8 => format!("i8, codes up to {}", tensor.entry().magnitude),
                dtype => dtype.name().to_owned(),
            };
            if chosen.iter().all(|(known, _)| *known != kind) {
                chosen.push((kind, kernels.gemm_name(&weights).into()));
            }
        }
    }
    // One line for each kind of weights that make queries, keys and values.
    for tensor in file.tensors().filter(|tensor| tensor.name().ends_with("qkv.weight")) {
        if let Ok(weights) = tensor.weights() {
            let line = format!("attention, {}", tensor.dtype().name());
            if chosen.iter().all(|(known, _)| *known != line) {
                chosen.push((line, kernels.attention_name(&weights).into()));
            }
        }
    }
    Named(chosen)
}
