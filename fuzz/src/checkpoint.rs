//! Checkpoint folders: configuration files and the header of a safetensors file, from one input.

use crate::input::Input;
use crate::model::use_model;
use crate::pack::affordable;
use ocelli::Model;
use ocelli_tools::{ConvertOptions, Precision, convert};
use std::fs::write;

/// The files that an input may hold, by number. The first is only the header of a safetensors file: the weights that
/// it describes are zeros, so that inputs stay small.
pub const FILES: [&str; 12] = [
    "model.safetensors",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "open_clip_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "spiece.model",
    "vocab.json",
    "merges.txt",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
];
/// Most bytes of weights.
const MAX_WEIGHTS: usize = 1 << 20;

/// One byte of options, then for each file its number in one byte, its length in four, its bytes.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let options = input.u8();
    let folder = tempfile::tempdir().expect("a temporary folder");
    while !input.0.is_empty() {
        let name = FILES[usize::from(input.u8()) % FILES.len()];
        let len = input.u32() as usize;
        let mut bytes = input.bytes(len).to_vec();
        if name.ends_with(".safetensors") {
            bytes = safetensors(&bytes);
        }
        write(folder.path().join(name), bytes).expect("a file in a temporary folder");
    }
    let precision =
        [Precision::Int8, Precision::Fp32, Precision::Fp16, Precision::Int8w7][usize::from(options & 3)];
    let output = folder.path().join("out.ocelli");
    let mut convert_options = ConvertOptions::new(folder.path(), &output, precision);
    convert_options.model.vision_only = options & 4 != 0;
    if convert(&convert_options).is_err() {
        return;
    }
    let model = Model::open(&output).expect("what the converter writes, the reader reads");
    model.file().verify().expect("what the converter writes is right");
    if affordable(model.file().config()) {
        use_model(&model);
    }
}

/// A safetensors file with this header and zeros to the end of its last tensor.
fn safetensors(header: &[u8]) -> Vec<u8> {
    let end = |json: serde_json::Value| -> Option<u64> {
        json.as_object()?.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64()).max()
    };
    let weights = serde_json::from_slice(header).ok().and_then(end).unwrap_or(0);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.resize(bytes.len() + (weights as usize).min(MAX_WEIGHTS), 0);
    bytes
}
