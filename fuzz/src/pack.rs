//! Small model files around a configuration.

use ocelli::Model;
use ocelli::format::{Config, Dtype, Kind, TensorSpec, TowerConfig, feature, for_each_tensor};
use ocelli_tools::write::{Contents, Planned, ReadRows, draft, write};
use std::path::Path;
use std::sync::Arc;

/// Most multiplications of an image or a text that a fuzzed model may take.
const MAX_MACS: u64 = 1 << 26;
/// Most weights.
const MAX_WEIGHTS: usize = 1 << 20;

/// Whether running a model of this configuration takes milliseconds. The configuration must be valid.
pub fn affordable(config: &Config) -> bool {
    let mut weights = 0usize;
    let _ = for_each_tensor(config, &mut |demand| {
        weights = weights.saturating_add(demand.n.saturating_mul(demand.k));
        Ok::<(), ()>(())
    });
    let vision = &config.vision;
    let side = |pixels: u32, stride: u32| u64::from(pixels / stride.max(1)) + 1;
    let stride = if vision.pyramid_stride > 0 { vision.pyramid_stride } else { vision.patch };
    let patches = match vision.pyramid_sides() {
        [] => side(vision.height, stride) * side(vision.width, stride),
        levels => levels.iter().map(|&level| side(level, stride).pow(2)).sum(),
    };
    let image = patches.max(vision.max_patches.into()) + u64::from(vision.prefix_tokens);
    let pixels = u64::from(vision.height) * u64::from(vision.width);
    weights <= MAX_WEIGHTS
        && pixels <= 1 << 20
        && macs(&vision.tower, image).max(macs(&config.text.tower, config.text.context.into())) <= MAX_MACS
}

fn macs(tower: &TowerConfig, tokens: u64) -> u64 {
    let (width, attention) = (u64::from(tower.width), tower.attention_width() as u64);
    let mlp = u64::from(tower.mlp_width) * if tower.has(feature::GATED_MLP) { 3 } else { 2 };
    let linear = width.saturating_mul(4 * attention + mlp);
    let block = tokens.saturating_mul(linear.saturating_add(2 * tokens.saturating_mul(attention)));
    block.saturating_mul(u64::from(tower.depth) + 1)
}

/// Everything that `config` demands: matrices in int8, the rest in f32.
fn demands(config: &Config) -> Option<Vec<TensorSpec>> {
    if config.validate().is_err() || !affordable(config) {
        return None;
    }
    let mut demands = Vec::new();
    let listed = for_each_tensor(config, &mut |demand| {
        demands.push(demand);
        Ok::<(), ()>(())
    });
    listed.ok().map(|()| demands)
}

fn planned(demands: &[TensorSpec]) -> Vec<Planned<'_>> {
    let plan = |&demand: &TensorSpec| {
        let dtype = if demand.kind.allows(Dtype::I8) { Dtype::I8 } else { Dtype::F32 };
        Planned { demand, dtype, magnitude: 64, codes: None, payload: None }
    };
    demands.iter().map(plan).collect()
}

fn fill(demand: &TensorSpec, first: usize, out: &mut [f32]) {
    let wave = |i: usize| ((i * 7919) % 255) as f32 / 255.0 - 0.5;
    let offset =
        if demand.kind == Kind::Vector && demand.name.as_str().ends_with("norm.weight") { 1.0 } else { 0.0 };
    out.iter_mut().enumerate().for_each(|(i, out)| *out = wave(first * demand.k + i) + offset);
}

/// Calls `write` with everything that a file of this configuration holds, and with what reads its weights; `None` if the
/// configuration would be refused, or costs too much.
fn with_contents<T>(
    config: &Config,
    tokenizer: Option<&str>,
    write: impl FnOnce(&Contents<'_>, &mut ReadRows<'_>) -> T,
) -> Option<T> {
    let demands = demands(config)?;
    let labels: Vec<String> = (0..config.score.classes).map(|i| format!("class {i}")).collect();
    let (provenance, bank, tensors) = ("{}", None, &planned(&demands)[..]);
    let contents = Contents { config, tokenizer, provenance, bank, labels: &labels, tensors };
    Some(write(&contents, &mut |i, rows, out| {
        fill(&demands[i], rows.start, out);
        Ok(())
    }))
}

/// A model of this configuration, in a file without a name; `None` if it would be refused, or costs too much.
pub fn pack(config: &Config, tokenizer: Option<&str>) -> Option<Arc<Model>> {
    let beside = std::env::temp_dir().join("fuzzed");
    with_contents(config, tokenizer, |contents, read| draft(&beside, contents, read))?.ok()
}

/// The bytes of such a file.
pub fn bytes(config: &Config, tokenizer: Option<&str>, folder: &Path) -> Option<Vec<u8>> {
    let path = folder.join("seed.ocelli");
    with_contents(config, tokenizer, |contents, read| write(&path, contents, &mut |_| (), read))?.ok()?;
    std::fs::read(path).ok()
}
