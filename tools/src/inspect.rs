//! What a packed file holds, for people and for programs.

use crate::quant::AccuracyReport;
use crate::source::hex;
use crate::{Error, Result};
use ocelli::format::*;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;

/// A packed file as JSON: header, sections, configuration, provenance and tensors.
///
/// # Errors
/// If the file cannot be read or is not valid; the message names it.
pub fn inspect(path: &Path) -> Result<Value> {
    let bytes = AlignedBytes::read(path)?;
    let file = File::parse(&bytes).map_err(|e| e.in_file(path))?;
    let (header, config) = (file.header(), file.config());
    let sections = header.sections().iter().map(|section| {
        let kind = SectionKind::from_stored(section.kind).map_or("?", SectionKind::name);
        json!({"kind": kind, "offset": section.offset, "bytes": section.len})
    });
    let tensors = file.tensors().map(|tensor| {
        json!({
            "name": tensor.name(), "dtype": tensor.dtype().name(), "layout": tensor.layout().name(),
            "n": tensor.n(), "k": tensor.k(), "bytes": tensor.bytes_len(),
            "magnitude": tensor.entry().magnitude,
        })
    });
    let mut provenance: Value = serde_json::from_str(file.provenance()).map_err(Error::json(path))?;
    let promise = provenance.as_object_mut().and_then(|map| map.remove("promise")).unwrap_or(Value::Null);
    Ok(json!({
        "file": path.display().to_string(),
        "bytes": file.bytes_len(),
        "version": header.version,
        "panels": {"nr": header.nr, "k_group": header.k_group, "k_align": header.k_align},
        "model_id": hex(&file.model_id()),
        "sections": sections.collect::<Vec<_>>(),
        "config": config_json(config),
        "cost": {"image": cost(Cost::of_images(config, None, 1, 1)), "text": cost(Cost::of_text(config, 1))},
        "tokenizer_bytes": file.tokenizer().map(str::len),
        "bank_labels": file.bank().map(|bank| bank.len()),
        "classes": file.labels().collect::<Vec<_>>(),
        "provenance": provenance,
        "promise": promise,
        "tensors": tensors.collect::<Vec<_>>(),
    }))
}

/// The same as text.
pub fn render(report: &Value) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| _ = writeln!(text, "{key:<30}{value}");
    for key in ["file", "bytes", "version", "panels", "model_id"] {
        line(key, plain(&report[key]));
    }
    for section in list(&report["sections"]) {
        let (kind, bytes, offset) = (plain(&section["kind"]), &section["bytes"], &section["offset"]);
        line(&format!("section {kind}"), format!("{bytes} bytes at {offset}"));
    }
    for part in ["config", "cost", "provenance"] {
        flatten(part, &report[part], &mut line);
    }
    let promise: Option<AccuracyReport> = serde_json::from_value(report["promise"].clone()).ok();
    let nothing = "\naccuracy: nothing was measured (convert with --precision auto or --calibrate)\n".into();
    text += &promise.as_ref().map_or(nothing, |promise| format!("\naccuracy\n{}", promise.render()));
    _ = writeln!(
        text,
        "\n{:<36}{:>5} {:>7} {:>14} {:>12} {:>4} {:>8}",
        "tensor", "type", "layout", "shape", "bytes", "max", "SNR"
    );
    let snr = |name: &str| {
        let layer = promise.as_ref()?.layers.iter().find(|layer| layer.name == name)?;
        Some(format!("{:.1} dB", layer.snr_db?))
    };
    for tensor in list(&report["tensors"]) {
        let shape = format!("{} x {}", tensor["n"], tensor["k"]);
        let (name, dtype, layout) =
            (plain(&tensor["name"]), plain(&tensor["dtype"]), plain(&tensor["layout"]));
        let (bytes, magnitude) = (plain(&tensor["bytes"]), plain(&tensor["magnitude"]));
        let snr = snr(&name).unwrap_or_default();
        _ = writeln!(
            text,
            "{name:<36}{dtype:>5} {layout:>7} {shape:>14} {bytes:>12} {magnitude:>4} {snr:>8}"
        );
    }
    text
}

/// What a tower costs to run on one thread, and what an encoder says of it.
fn cost(cost: Option<Cost>) -> Value {
    cost.map_or(Value::Null, |cost| {
        json!({
            "tokens": cost.tokens, "blocks": cost.blocks, "heads": cost.heads, "macs": cost.macs,
            "position_macs": cost.position_macs, "arena_bytes": cost.arena_bytes,
            "refused": cost.check(&Limits::default()).err().map(|error| error.to_string()),
        })
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A string without its quotes, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// One line per leaf, with its path.
fn flatten(path: &str, value: &Value, line: &mut impl FnMut(&str, String)) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, line))
        }
        other => line(path, plain(other)),
    }
}

/// The name of a stored enum's value; parsing has checked that it has one.
macro_rules! name_of {
    ($kind:ty, $value:expr) => {
        <$kind>::from_stored($value).map_or("?", <$kind>::name)
    };
}

fn config_json(config: &Config) -> Value {
    let mut parts = Map::new();
    if config.has_vision() {
        let (vision, preprocess) = (&config.vision, &config.preprocess);
        let mut part = tower(&vision.tower);
        part.extend(object(json!({
            "patch": vision.patch, "height": vision.height, "width": vision.width,
            "prefix_tokens": vision.prefix_tokens, "position": name_of!(Position, vision.position),
            "position_prefix": vision.position_prefix, "grid": [vision.grid_rows, vision.grid_cols],
            "interpolation": name_of!(Interpolation, vision.interpolation),
        })));
        let merging = Merging::of(&vision.tower);
        if !merging.is_none() {
            let Merging { most, first, power } = merging;
            part.insert("merge_tokens".into(), json!({"most": most, "first": first, "power": power}));
        }
        if let Some(rope) = Rope::from_stored(vision.rope) {
            let scaled_to = [vision.rope_rows, vision.rope_cols];
            part.insert(
                "rope".into(),
                json!({"kind": rope.name(), "theta": short(vision.rope_theta), "scaled_to": scaled_to}),
            );
        }
        if vision.pool_heads > 0 || vision.pool_mlp_width > 0 {
            let head = vision.pool_tower();
            part.insert("pool_head".into(), json!({"heads": head.heads, "mlp_width": head.mlp_width}));
        }
        if vision.sincos_temperature > 0.0 {
            part.insert("sincos_temperature".into(), short(vision.sincos_temperature).into());
        }
        if vision.max_patches > 0 {
            part.insert("max_patches".into(), vision.max_patches.into());
        }
        if vision.pyramid_stride > 0 {
            let pyramid = json!({"sides": vision.pyramid_sides(), "stride": vision.pyramid_stride});
            part.insert("pyramid".into(), pyramid);
        }
        parts.insert("vision".into(), part.into());
        let value = json!({
            "mode": name_of!(ResizeMode, preprocess.mode), "filter": name_of!(Filter, preprocess.filter),
            "resampler": name_of!(Resampler, preprocess.resampler),
            "crop_rounding": name_of!(CropRounding, preprocess.crop_rounding),
            "alpha": name_of!(Alpha, preprocess.alpha), "shortest": preprocess.shortest,
            "mean": preprocess.mean.map(short), "std": preprocess.std.map(short),
        });
        parts.insert("preprocess".into(), value);
    }
    if config.has_text() {
        let text = &config.text;
        let mut part = tower(&text.tower);
        part.extend(object(json!({
            "vocab": text.vocab, "context": text.context, "causal": text.causal == 1, "eos": text.eos,
            "pad": text.pad, "padded": text.padded == 1,
            "canonical": Canonical::from_stored(text.canonical).map(Canonical::name),
        })));
        parts.insert("text".into(), part.into());
    }
    let score = &config.score;
    let value = json!({
        "kind": name_of!(Scoring, score.kind), "embed_dim": score.embed_dim, "logit_scale": short(score.logit_scale),
        "logit_bias": short(score.logit_bias), "classes": score.classes,
    });
    parts.insert("score".into(), value);
    parts.insert("checkpoint_id".into(), hex(&config.checkpoint_id).into());
    parts.into()
}

/// The f64 that prints as the f32 does: 1e-5 instead of 9.999999747378752e-6.
fn short(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(value.into())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn tower(tower: &TowerConfig) -> Map<String, Value> {
    let features: Vec<&str> = feature::names(tower.features).collect();
    object(json!({
        "tower_width": tower.width, "depth": tower.depth, "heads": tower.heads, "head_dim": tower.head_dim,
        "mlp_width": tower.mlp_width, "act": name_of!(Act, tower.act), "norm_eps": short(tower.norm_eps),
        "pooling": name_of!(Pooling, tower.pooling), "project_hidden": tower.project_hidden, "features": features,
    }))
}
