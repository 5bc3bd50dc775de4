//! Checkpoints for tests: fixtures, and fixtures with one thing changed.

use ocelli_tools::{ConvertOptions, Precision, Report, Result, convert};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const CLIP: &str = "clip-hf";
pub(crate) const OUTLIERS: &str = "clip-hf-outliers";
pub(crate) const GELU: &str = "clip-hf-gelu-p14";
pub(crate) const OPEN_CLIP: &str = "clip-openclip";
pub(crate) const OPENAI: &str = "clip-openai";
pub(crate) const SIGLIP: &str = "siglip-hf";
pub(crate) const SIGLIP2: &str = "siglip2-fixres";
pub(crate) const NAFLEX: &str = "siglip2-naflex";
pub(crate) const OPEN_SIGLIP: &str = "open-clip-siglip";
pub(crate) const OPEN_SIGLIP2: &str = "open-clip-siglip2";
pub(crate) const OPEN_EVA: &str = "open-clip-eva02";
pub(crate) const OPEN_PE: &str = "open-clip-pe";
pub(crate) const MOBILE: &str = "open-clip-mobileclip";

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(name)
}

/// Options for a fixture; all of them have or borrow a tokenizer.
pub(crate) fn options(name: &str, output: &Path, precision: Precision) -> ConvertOptions {
    let mut options = ConvertOptions::new(fixture(name), output, precision);
    if [OUTLIERS, OPEN_CLIP, OPENAI, OPEN_EVA, OPEN_PE, MOBILE].contains(&name) {
        options.model.tokenizer = Some(fixture(CLIP));
    }
    options
}

/// A checkpoint's tensor: safetensors type, shape and bytes.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) dtype: safetensors::Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

impl Raw {
    /// Its values as f32.
    pub(crate) fn values(&self) -> Vec<f32> {
        use half::{bf16, f16};
        match self.dtype {
            safetensors::Dtype::F32 => bytemuck::pod_collect_to_vec(&self.data),
            safetensors::Dtype::F16 => {
                let pairs = self.data.chunks(2).map(|pair| [pair[0], pair[1]]);
                pairs.map(|pair| f16::from_le_bytes(pair).to_f32()).collect()
            }
            safetensors::Dtype::BF16 => {
                let pairs = self.data.chunks(2).map(|pair| [pair[0], pair[1]]);
                pairs.map(|pair| bf16::from_le_bytes(pair).to_f32()).collect()
            }
            other => panic!("no floats: {other:?}"),
        }
    }
}

impl safetensors::View for &Raw {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.data).into()
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}

pub(crate) type RawTensors = BTreeMap<String, Raw>;

pub(crate) fn load(path: &Path) -> RawTensors {
    let bytes = fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let raw = tensors.iter().map(|(name, view)| {
        let raw = Raw { dtype: view.dtype(), shape: view.shape().to_vec(), data: view.data().to_vec() };
        (name.to_string(), raw)
    });
    raw.collect()
}

pub(crate) fn save<'r>(tensors: impl IntoIterator<Item = (&'r String, &'r Raw)>, path: &Path) {
    safetensors::serialize_to_file(tensors, None, path).unwrap();
}

/// A copy of a fixture in a temporary folder, to be changed. Its tensors are in one file, its tokenizer is beside them.
pub(crate) struct Copy {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) tensors: RawTensors,
    weights: String,
}

impl Copy {
    pub(crate) fn of(name: &str) -> Copy {
        let folder = tempfile::tempdir().unwrap();
        let (mut tensors, mut weights) = (RawTensors::new(), "model.safetensors");
        for entry in fs::read_dir(fixture(name)).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().unwrap() {
                // A text tower's configuration.
                name if path.is_dir() => {
                    let copied = folder.path().join(name);
                    fs::create_dir(&copied).unwrap();
                    fs::copy(path.join("config.json"), copied.join("config.json")).unwrap();
                }
                file if file.starts_with("expected") || file.ends_with("index.json") => {}
                file if file.ends_with(".safetensors") => {
                    tensors.extend(load(&path));
                    if file.starts_with("open_clip") {
                        weights = "open_clip_model.safetensors";
                    }
                }
                file => _ = fs::copy(&path, folder.path().join(file)).unwrap(),
            }
        }
        if let Some(tokenizer) = options(name, Path::new(""), Precision::Int8).model.tokenizer {
            fs::copy(tokenizer.join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
        }
        Copy { folder, tensors, weights: weights.into() }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn edit_json(&self, file: &str, edit: impl FnOnce(&mut Value)) {
        let mut json = serde_json::from_slice(&fs::read(self.path(file)).unwrap()).unwrap();
        edit(&mut json);
        fs::write(self.path(file), json.to_string()).unwrap();
    }

    pub(crate) fn save(&self) {
        save(&self.tensors, &self.path(&self.weights));
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.path("out.ocelli")
    }

    /// Converts what is in the folder.
    pub(crate) fn convert(&self, precision: Precision, vision_only: bool) -> Result<Report> {
        let mut options = ConvertOptions::new(self.folder.path(), self.output(), precision);
        options.model.vision_only = vision_only;
        convert(&options)
    }
}
