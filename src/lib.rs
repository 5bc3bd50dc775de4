//! CLIP and Vision Transformers on small CPUs: images and texts to embeddings, and images to labels, from one
//! memory-mapped file, without heap allocation per frame.
//!
//! A model is a packed file (`.ocelli`), which `ocelli-pack` makes of a checkpoint: weights in the layout of the kernels
//! (int8, fp16 or fp32), and everything else that decides a result: preprocessing, tokenizer, activation, scale of scores.
//!
//! # The data path
//!
//! ```text
//! file ─► format ─► model ─► runtime ─► preprocess ─► nn, vision ─► score
//!                                       text ───────► nn ─────────►
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`format`] | the packed file and the label bank: read and validated; `no_std` |
//! | [`model`] | an open file, its weights mapped |
//! | [`runtime`] | threads, kernels, and the plan of an encoder's memory |
//! | [`preprocess`] | pixels (RGB, BGR, grey, NV12, ...) to the frame that the model sees, resized as Pillow does it; picture files |
//! | [`nn`] | the transformer block, of both towers |
//! | [`vision`], [`text`] | what only the image tower and only the text tower have |
//! | [`score`] | embeddings to labels with scores |
//! | [`encoder`] | joins them: [`ImageEncoder`], [`TextEncoder`], [`Classifier`], [`Preprocessor`] |
//! | [`profile`], [`knobs`] | where the time goes; environment variables |
//!
//! The arithmetic is in the crate `ocelli-kernels`, chosen for the CPU when a [`Runtime`] is made.
//!
//! # Example
//!
#![cfg_attr(feature = "std", doc = "```")]
#![cfg_attr(not(feature = "std"), doc = "```ignore")]
//! use ocelli::format::LabelBank;
//! use ocelli::preprocess::{Packed, PixelView};
//! use ocelli::score::Scored;
//! use ocelli::{Classifier, ImageEncoder, ImageOptions, Model, Runtime, RuntimeOptions};
//!
//! # fn main() -> ocelli::Result<()> {
//! let model = Model::open(concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo.ocelli"))?;
//! let runtime = Runtime::new(&RuntimeOptions::default().threads(2))?;
//! let mut encoder = ImageEncoder::new(&model, &runtime, &ImageOptions::default())?;
//!
//! // A picture, borrowed: here 64 x 48 pixels of blue, in rows of 192 bytes.
//! let pixels = [30, 90, 200].repeat(64 * 48);
//! let picture = PixelView::new(Packed::Rgb, &pixels, 64, 48, 3 * 64)?;
//!
//! let mut embedding = vec![0.0; encoder.embed_dim()];
//! encoder.embed_into(&picture, &mut embedding)?; // of length 1
//!
//! // The labels that are in the model. Others: `LabelBank::open`, `TextEncoder::embed_labels`.
//! let bank = LabelBank::from(model.file().bank().expect("the demo model has labels"));
//! let mut classifier = Classifier::new(encoder, bank)?;
//! let mut scores = vec![Scored::default(); classifier.labels().len()];
//! classifier.classify_into(&picture, &mut scores)?; // best first
//! println!("{}: {:.1} %", classifier.labels().name(scores[0].label), 100.0 * scores[0].score);
//! # assert!((embedding.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
//! # assert!((scores.iter().map(|scored| scored.score).sum::<f32>() - 1.0).abs() < 1e-5);
//! # assert!(scores.is_sorted_by(|a, b| a.score >= b.score));
//! # fn can_go_to_another_thread<T: Send>() {}
//! # can_go_to_another_thread::<(ImageEncoder, ocelli::TextEncoder, Classifier, ocelli::Preprocessor)>();
//! # fn can_be_shared<T: Send + Sync>() {}
//! # can_be_shared::<(std::sync::Arc<Model>, Runtime)>();
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` has a picture file, a camera in RGB with preprocessing on a second thread, a camera in NV12, and few-shot
//! classification.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `std` (default) | everything but the reader of packed files, which is all that there is without it (`no_std`, no `alloc`) |
//! | `decode` | `preprocess::decode`: JPEG, PNG, WebP, GIF, TIFF and BMP files |
//! | `text` | tokenizers: `TextEncoder::embed_into` and `embed_labels`. Token ids can be embedded without it |
//! | `write` | `atomic`: files written beside their destination, synced and renamed |
//!
//! # Threads and ownership
//!
//! [`Model::open`] gives an `Arc<Model>`. A [`Runtime`] has the threads; clones of it share them, and what one encoder
//! computes, others of the same runtime wait for. Encoders share the model and own everything else: they have no
//! lifetime parameter, are `Send`, and take `&mut self`. So for two cameras at once make two encoders of one model, each with
//! a runtime of its own. The result is the same to the bit for every number of threads and images in a batch.
//!
//! An encoder takes its memory when it is made ([`ImageEncoder::plan`] lists it). From then on embedding or
//! classifying a picture allocates nothing on any thread. Decoding a picture file and tokenizing a text do allocate.
//!
//! A [`Preprocessor`] works on the thread that calls it, needs no runtime, and fills a [`Frame`](encoder::Frame) that
//! [`ImageEncoder::set_frame`] takes, so that the next picture is resized while the one before is encoded.
//!
//! # Errors and hostile files
//!
//! Everything that can fail returns an [`Error`], which says what was wrong, what would be right, and where; inside a file it
//! names the file. Files may come from strangers: they are validated before use, what they may cost is held against
//! [`Limits`](format::Limits) before memory is taken, and no safe call is undefined behaviour.
//!
//! [`Model::open`] maps the weights. All else is copied and checked first, so a file that is overwritten meanwhile gives
//! wrong embeddings, and one that is cut off ends the process with SIGBUS. Replace model files by renaming, or use
//! [`Model::read`], which copies everything.

#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "write")]
pub mod atomic;
pub mod error;
pub mod format;

#[cfg(feature = "std")]
pub mod encoder;
#[cfg(feature = "std")]
pub mod knobs;
#[cfg(feature = "std")]
pub mod model;
#[cfg(feature = "std")]
pub mod nn;
#[cfg(feature = "std")]
pub mod preprocess;
#[cfg(feature = "std")]
mod printable;
#[cfg(feature = "std")]
pub mod profile;
#[cfg(feature = "std")]
pub mod runtime;
#[cfg(feature = "std")]
pub mod score;
#[cfg(feature = "std")]
pub mod text;
#[cfg(feature = "std")]
pub mod vision;

#[cfg(feature = "std")]
pub use encoder::{Classifier, ImageEncoder, ImageOptions, Input, Labels, Preprocessor, TextEncoder, Watch};
pub use error::{Error, Name, PictureFault, Result};
#[cfg(feature = "std")]
pub use model::Model;
#[cfg(feature = "std")]
pub use ocelli_kernels::Isa;
#[cfg(feature = "std")]
pub use printable::{excerpt, is_unprintable, printable};
#[cfg(feature = "std")]
pub use runtime::{Runtime, RuntimeOptions};

/// The README's Rust code, compiled.
#[cfg(all(doctest, feature = "decode"))]
#[doc = include_str!("../README.md")]
struct Readme;
