//! `ocelli info`

use crate::common::{self, Failure, ModelArgs};
use ocelli::Isa;
use ocelli::format::{
    Act, Canonical, Config, Dtype, File, Filter, Layout, Pooling, Resampler, ResizeMode, Scoring, Tensor,
    TowerConfig,
};
use ocelli::{Model, Result, Session, knobs, runtime};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

/// Show a model and how it would run here: architecture, precision, memory plan, CPU cores and features, kernels.
///
/// The kernels follow from the features alone (OCELLI_ISA chooses among them), which all cores of a machine share. The kind
/// of a core decides how many threads there are (OCELLI_THREADS) and, on boards with big and little cores, where they run.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// List every tensor with its precision
    #[arg(long)]
    tensors: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let model = args.model.open()?;
    let options = args.model.options()?;
    let session = Session::new(&model, &options)?;
    let mut report = report(args, &model, &session);
    if args.tensors {
        report["tensors"] = tensors(model.file());
    }
    if args.json {
        common::print_json(&report)?;
    } else {
        report["promise"] = summary(&report["promise"], args.tensors);
        let mut out = std::io::stdout().lock();
        print(&mut out, &report, 0)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn report(args: &Args, model: &Model, session: &Session<'_>) -> Value {
    let file = model.file();
    let config = file.config();
    let buffers = session.plan();
    let mut provenance = serde_json::from_str::<Value>(file.provenance()).unwrap_or(Value::Null);
    let promise = provenance.as_object_mut().and_then(|map| map.remove("promise")).unwrap_or(Value::Null);
    json!({
        "model": args.model.name(),
        "bytes": file.bytes_len(),
        "model_id": hex(&file.model_id()),
        "checkpoint_id": hex(&config.checkpoint_id),
        "architecture": architecture(file),
        "preprocessing": preprocessing(config),
        "labels": file.bank().map_or(0, |bank| bank.len()),
        "precision": precision(file),
        "promise": promise,
        "provenance": provenance,
        "arena": {
            "bytes": buffers.bytes(),
            "buffers": buffers.buffers().iter().map(|b| (b.name.to_owned(), json!(b.bytes))).collect::<serde_json::Map<_, _>>(),
        },
        "cpu": {
            "cores": runtime::describe(&runtime::cpus()),
            "features": Isa::available().to_string(),
            "used": session.kernels().isa().to_string(),
            "threads": session.threads(),
        },
        "kernels": kernels(file, session),
        "environment": knobs::ALL.iter().map(|knob| {
            let value = knob.get().ok().flatten().map_or(Value::Null, Value::from);
            (knob.name.to_owned(), json!({"value": value, "meaning": knob.meaning}))
        }).collect::<serde_json::Map<_, _>>(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tower(config: &TowerConfig) -> Value {
    json!({
        "width": config.width,
        "depth": config.depth,
        "heads": config.heads,
        "head_dim": config.head_dim,
        "mlp_width": config.mlp_width,
        "activation": Act::from_stored(config.act).map(Act::name),
        "norm_eps": common::number(config.norm_eps),
        "pooling": Pooling::from_stored(config.pooling).map(Pooling::name),
    })
}

fn architecture(file: File<'_>) -> Value {
    let Config { vision, text, score, .. } = file.config();
    let mut towers = serde_json::Map::new();
    if file.has_vision() {
        let mut value = tower(&vision.tower);
        value["image"] = json!(format!("{}x{}", vision.height, vision.width));
        value["patch"] = json!(vision.patch);
        value["prefix_tokens"] = json!(vision.prefix_tokens);
        towers.insert("vision".into(), value);
    }
    if file.has_text() {
        let mut value = tower(&text.tower);
        value["vocab"] = json!(text.vocab);
        value["context"] = json!(text.context);
        value["causal"] = json!(text.causal != 0);
        value["padded"] = json!(text.padded != 0);
        value["canonical"] = json!(Canonical::from_stored(text.canonical).map(Canonical::name));
        towers.insert("text".into(), value);
    }
    towers.insert(
        "score".into(),
        json!({
            "kind": Scoring::from_stored(score.kind).map(Scoring::name),
            "embed_dim": score.embed_dim,
            "logit_scale": common::number(score.logit_scale),
            "logit_bias": common::number(score.logit_bias),
        }),
    );
    Value::Object(towers)
}

fn preprocessing(config: &Config) -> Value {
    let p = &config.preprocess;
    json!({
        "resize": ResizeMode::from_stored(p.mode).map(ResizeMode::name),
        "shortest": p.shortest,
        "filter": Filter::from_stored(p.filter).map(Filter::name),
        "arithmetic": Resampler::from_stored(p.resampler).map(Resampler::name),
        "mean": p.mean.map(common::number),
        "std": p.std.map(common::number),
    })
}

/// How a tensor is stored.
fn storage(tensor: &Tensor<'_>) -> String {
    match (tensor.dtype(), tensor.layout()) {
        (Dtype::I8, Layout::Panels) => format!("i8 panels, codes up to {}", tensor.entry().magnitude),
        (dtype, layout) => format!("{} {}", dtype.name(), layout.name()),
    }
}

/// Every tensor: storage, shape and bytes.
fn tensors(file: File<'_>) -> Value {
    let describe = |tensor: Tensor<'_>| {
        let value = json!({
            "storage": storage(&tensor),
            "shape": [tensor.n(), tensor.k()],
            "bytes": tensor.bytes_len(),
        });
        (tensor.name().to_owned(), value)
    };
    file.tensors().map(describe).collect::<serde_json::Map<_, _>>().into()
}

/// Tensors, elements and bytes per kind of storage.
fn precision(file: File<'_>) -> Value {
    let mut kinds: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for tensor in file.tensors() {
        let kind = storage(&tensor);
        let entry = kinds.entry(kind).or_default();
        entry.0 += 1;
        entry.1 += tensor.n() as u64 * tensor.k().max(1) as u64;
        entry.2 += tensor.bytes_len();
    }
    kinds
        .into_iter()
        .map(|(kind, (tensors, elements, bytes))| {
            (kind, json!({"tensors": tensors, "elements": elements, "bytes": bytes}))
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Which micro-kernel multiplies by which kind of matrix, and why that one.
fn kernels(file: File<'_>, session: &Session<'_>) -> Value {
    let kernels = session.kernels();
    let isa = kernels.isa();
    let mut why = if isa == Isa::detect() {
        format!("best for what this CPU has ({isa})")
    } else {
        format!("{} asks for {isa}", knobs::ISA.name)
    };
    for feature in Isa::available().features().filter(|&feature| feature.on_request() && !isa.has(feature)) {
        why += &format!("; {}=+{} would be faster and less exact", knobs::ISA.name, feature.name());
    }
    let mut chosen = serde_json::Map::new();
    chosen.insert("why".into(), why.into());
    for tensor in file.tensors().filter(|tensor| tensor.layout() == Layout::Panels) {
        if let Ok(weights) = tensor.weights() {
            let kind = match tensor.dtype() {
                Dtype::I8 => format!("i8, codes up to {}", tensor.entry().magnitude),
                dtype => dtype.name().to_owned(),
            };
            chosen.entry(kind).or_insert_with(|| kernels.gemm_name(&weights).into());
        }
    }
    chosen.insert("attention".into(), kernels.attention_name().into());
    Value::Object(chosen)
}

/// What was measured when the model was converted, for people: lists become one line per entry, and layers are only
/// listed on request.
fn summary(promise: &Value, layers: bool) -> Value {
    let Value::Object(promise) = promise else {
        return "nothing was measured (convert with --precision auto or --calibrate)".into();
    };
    let mut summary = promise.clone();
    let each = |key: &str, name: &str, line: &dyn Fn(&Value) -> String| {
        let entries = promise.get(key).and_then(Value::as_array).into_iter().flatten();
        let entry = |entry: &Value| (entry[name].as_str().unwrap_or("plain").to_owned(), line(entry).into());
        Value::Object(entries.map(entry).collect())
    };
    let steps = each("steps", "repair", &|step| {
        let mean = |tower: &str| {
            step["cosine"][tower]["mean"].as_f64().map_or("-".into(), |mean| format!("{mean:.5}"))
        };
        let kept: Vec<&str> =
            step["kept"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("image cosine {}, text {}, kept for: {}", mean("image"), mean("text"), kept.join(" and "))
    });
    summary.insert("steps".into(), steps);
    let listed = each("layers", "name", &|layer| {
        let snr = layer["snr_db"].as_f64().map_or("-".into(), |snr| format!("{snr:.1} dB"));
        format!("{}, signal-to-noise ratio {snr}", layer["dtype"].as_str().unwrap_or("?"))
    });
    let count = listed.as_object().map_or(0, |layers| layers.len());
    let listed = if layers { listed } else { format!("{count} (list them with --tensors)").into() };
    summary.insert("layers".into(), listed);
    Value::Object(summary)
}

/// Prints nested objects as an indented list.
fn print(out: &mut impl Write, value: &Value, depth: usize) -> std::io::Result<()> {
    let Value::Object(map) = value else { return Ok(()) };
    for (key, value) in map {
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(_) => {
                writeln!(out, "{indent}{key}")?;
                print(out, value, depth + 1)?;
            }
            Value::String(text) => writeln!(out, "{indent}{key}: {text}")?,
            Value::Null => writeln!(out, "{indent}{key}: -")?,
            other => writeln!(out, "{indent}{key}: {other}")?,
        }
    }
    Ok(())
}
