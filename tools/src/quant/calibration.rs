//! What a model is calibrated on: pictures, and texts for its text tower.

use crate::encoders::image_encoder;
use crate::error::{Error, Result};
use crate::images;
use crate::source::{hash, hex};
use ocelli::preprocess::{Packed, PixelView};
use ocelli::text::{TextTokenizer, fill};
use ocelli::{ImageEncoder, Model};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

/// Pictures that are used unless another number is asked for.
pub const DEFAULT_IMAGES: usize = 32;
/// Pictures of the synthetic set.
const SYNTHETIC: usize = 16;
/// Width and height of each.
const SIDES: (u32, u32) = (336, 256);
/// Most texts.
const TEXTS: usize = 64;

/// Where the pictures came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A folder of the user's.
    Photos,
    /// Made up here, because there was no folder: smooth random fields in the colours of photographs.
    Synthetic,
}

/// A preprocessed picture.
pub struct Frame {
    /// [rows · patch, columns · patch, 3], red first.
    pixels: Vec<u8>,
    /// Rows and columns of its patches.
    grid: (usize, usize),
}

impl Frame {
    /// Preprocesses `picture` as the encoder's model does.
    fn of(encoder: &mut ImageEncoder, picture: &PixelView<'_>) -> ocelli::Result<Frame> {
        encoder.preprocess(core::slice::from_ref(picture))?;
        Ok(Frame { pixels: encoder.frame(0)?.to_vec(), grid: encoder.grid() })
    }

    /// Makes it the first frame of an encoder.
    ///
    /// # Errors
    /// The encoder's model sees pictures of another size.
    pub fn show(&self, encoder: &mut ImageEncoder) -> ocelli::Result<()> {
        encoder.set_pixels(0, self.grid, &self.pixels)
    }
}

/// Pictures and texts, ready for an encoder. Even-numbered ones are for fitting, odd ones for judging what was fitted;
/// one alone serves for both.
pub struct Calibration {
    /// Where the pictures came from.
    pub kind: Kind,
    /// First 16 bytes, in hexadecimal, of the SHA-256 over the SHA-256 of every picture file (or of every frame).
    pub hash: String,
    /// Preprocessed pictures.
    pub frames: Vec<Frame>,
    /// Token ids of every text; none without a text tower.
    pub texts: Vec<Vec<u32>>,
}

/// The members of a set that repairs are fitted to, and those that judge them.
pub fn split<T>(all: &[T]) -> (Vec<&T>, Vec<&T>) {
    if all.len() == 1 {
        return (vec![&all[0]], vec![&all[0]]);
    }
    (all.iter().step_by(2).collect(), all.iter().skip(1).step_by(2).collect())
}

impl Calibration {
    /// Reads up to `limit` pictures of `folder`, evenly spread over its sorted list, and preprocesses them as `model`
    /// does; without a folder, or without an image tower, makes them up. Texts are `labels` in `templates`, or captions
    /// of everyday things.
    ///
    /// # Errors
    /// The folder has no pictures, or one of them can't be read.
    pub fn new(
        model: &Arc<Model>,
        folder: Option<&Path>,
        limit: usize,
        labels: &[String],
        templates: &[&str],
    ) -> Result<Calibration> {
        let mut digest = Sha256::new();
        let file = model.file();
        let mut frames = Vec::new();
        let mut kind = Kind::Synthetic;
        if file.has_vision() {
            let mut encoder = image_encoder(model)?;
            if let Some(folder) = folder {
                kind = Kind::Photos;
                let all = images::find(folder)?;
                let count = all.len().min(limit);
                for path in (0..count).map(|i| &all[i * all.len() / count]) {
                    let image = images::decode(path)?;
                    let frame = Frame::of(&mut encoder, &image.view());
                    frames.push(frame.map_err(|error| Error::Ocelli(error.in_file(path)))?);
                    digest.update(hash(path)?.1);
                }
            } else {
                for seed in 0..SYNTHETIC {
                    let pixels = synthetic(seed as u64);
                    let picture =
                        PixelView::new(Packed::Rgb, &pixels, SIDES.0, SIDES.1, 3 * SIDES.0 as usize)?;
                    frames.push(Frame::of(&mut encoder, &picture)?);
                    digest.update(Sha256::digest(&pixels));
                }
            }
        }
        let texts = if file.has_text() { texts(model, labels, templates)? } else { Vec::new() };
        Ok(Calibration { kind, hash: hex(&digest.finalize()[..16]), frames, texts })
    }
}

/// Labels in templates, thinned out evenly to [`TEXTS`].
fn texts(model: &Arc<Model>, labels: &[String], templates: &[&str]) -> Result<Vec<Vec<u32>>> {
    let tokenizer = TextTokenizer::new(model.file())?;
    let builtin: Vec<String> = NOUNS.iter().map(|noun| (*noun).to_owned()).collect();
    let labels = if labels.is_empty() { &builtin } else { labels };
    let prompts: Vec<String> =
        labels.iter().flat_map(|label| templates.iter().map(move |template| fill(template, label))).collect();
    let count = prompts.len().min(TEXTS);
    (0..count)
        .map(|i| Ok(tokenizer.encode(&prompts[i * prompts.len() / count])?.ids))
        .collect::<Result<Vec<_>>>()
}

/// Labels for models that are given none: to have texts to calibrate with, and answers to compare.
pub(super) const NOUNS: [&str; 48] = [
    "person",
    "child",
    "cat",
    "dog",
    "bird",
    "horse",
    "cow",
    "sheep",
    "fish",
    "insect",
    "flower",
    "tree",
    "forest",
    "mountain",
    "beach",
    "river",
    "sky",
    "street",
    "house",
    "bridge",
    "car",
    "bus",
    "truck",
    "bicycle",
    "train",
    "airplane",
    "boat",
    "chair",
    "table",
    "bed",
    "lamp",
    "book",
    "phone",
    "computer",
    "clock",
    "bottle",
    "cup",
    "plate of food",
    "fruit",
    "cake",
    "shoe",
    "hat",
    "bag",
    "ball",
    "toy",
    "tool",
    "sign",
    "painting",
];

/// A picture of [`SIDES`] in RGB: octaves of interpolated noise whose amplitude halves with their wavelength, the
/// spectrum of photographs.
fn synthetic(seed: u64) -> Vec<u8> {
    let (width, height) = (SIDES.0 as usize, SIDES.1 as usize);
    let mut values = vec![128.0f32; 3 * width * height];
    for octave in 0..6u32 {
        let cell = width as f32 / f32::from(2u16 << octave);
        let amplitude = 90.0 / f32::from(1u16 << octave);
        for (i, value) in values.iter_mut().enumerate() {
            let (pixel, channel) = (i / 3, i % 3);
            let (x, y) = ((pixel % width) as f32 / cell, (pixel / width) as f32 / cell);
            // Channels share half of their structure, as colours do.
            let own = lattice(seed * 97 + u64::from(octave) * 7 + channel as u64 + 1, x, y);
            let shared = lattice(seed * 97 + u64::from(octave) * 7 + 5, x, y);
            *value += amplitude * (0.4 * own + 0.6 * shared);
        }
    }
    values.into_iter().map(|value| value.clamp(0.0, 255.0) as u8).collect()
}

/// Noise in -1..=1 on the integer lattice, bilinear in between.
fn lattice(seed: u64, x: f32, y: f32) -> f32 {
    let noise = |x: u64, y: u64| {
        let mut h = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        h = (h ^ (h >> 31)).wrapping_add(y.wrapping_mul(0x94d0_49bb_1331_11eb));
        h = (h ^ (h >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (h >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let (x0, y0) = (x.floor(), y.floor());
    let (fx, fy) = (x - x0, y - y0);
    let (x0, y0) = (x0 as u64, y0 as u64);
    let top = noise(x0, y0) * (1.0 - fx) + noise(x0 + 1, y0) * fx;
    let bottom = noise(x0, y0 + 1) * (1.0 - fx) + noise(x0 + 1, y0 + 1) * fx;
    top * (1.0 - fy) + bottom * fy
}
