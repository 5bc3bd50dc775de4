//! Images to labels with scores.

use crate::arguments::{read, slice_mut, write};
use crate::bank::{OcelliBank, check_label, copy_label};
use crate::handles::{self, Resource};
use crate::image::OcelliImage;
use crate::image_encoder::{OcelliImageOptions, make};
use crate::model::OcelliModel;
use crate::runtime::OcelliRuntime;
use crate::status::{Failure, OcelliStatus, Result, guard};
use ocelli::Classifier;
use ocelli::score::Scored;
use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

/// An image encoder and the labels that it scores against. Calls of several threads take turns.
pub struct OcelliClassifier(Mutex<Scorer>);

struct Scorer {
    classifier: Classifier,
    /// One per label.
    scored: Vec<Scored>,
}

impl Resource for OcelliClassifier {
    const KIND: &'static str = "a classifier";
}

/// One label's result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct OcelliScore {
    /// Index of the label.
    pub label: usize,
    /// Probability: over all labels (softmax) or of this one alone (sigmoid); the cosine where the model knows none.
    pub score: f32,
    /// Cosine of the angle between image and label; of a class of the model's own classifier, its logit.
    pub similarity: f32,
}

/// Runs `work` with the classifier, when no other thread has it.
fn with<T>(classifier: *const OcelliClassifier, work: impl FnOnce(&mut Scorer) -> Result<T>) -> Result<T> {
    let classifier = handles::get(classifier)?;
    let mut scorer = classifier.0.lock().unwrap_or_else(PoisonError::into_inner);
    work(&mut scorer)
}

/// Takes all memory for the image tower, and copies `bank`. A `bank` of null takes the classes of the model's own classifier
/// or, if it has none, the labels in it. `options` may be null.
///
/// # Safety
/// `options` is null or can be read; `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_classifier_new(
    model: *const OcelliModel,
    runtime: *const OcelliRuntime,
    options: *const OcelliImageOptions,
    bank: *const OcelliBank,
    out: *mut *mut OcelliClassifier,
) -> OcelliStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        let encoder = unsafe { make(model, runtime, options) }?;
        let own = encoder.model().file().bank().map(ocelli::format::LabelBank::from);
        let classifier = match bank.is_null() {
            false => Classifier::new(encoder, handles::get(bank)?.0.clone())?,
            true => match own.filter(|_| encoder.classes() == 0) {
                Some(bank) => Classifier::new(encoder, bank)?,
                None => Classifier::of_classes(encoder)?,
            },
        };
        let scored = vec![Scored::default(); classifier.labels().len()];
        let scorer = OcelliClassifier(Mutex::new(Scorer { classifier, scored }));
        // SAFETY: the caller's promise.
        unsafe { handles::give(scorer, out) }
    })
}

/// Frees the handle. Null is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_classifier_free(classifier: *mut OcelliClassifier) -> OcelliStatus {
    guard(|| handles::free(classifier))
}

/// Scores `image` against all labels and writes the best of them, best first, to `out` of `len` elements, and how many these
/// are (`len`, or all labels if they are fewer) to `count`, which may be null. Allocates nothing.
///
/// # Safety
/// `image` is null or can be read; `out` is null or has `len` elements; `count` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_classifier_classify(
    classifier: *const OcelliClassifier,
    image: *const OcelliImage,
    out: *mut OcelliScore,
    len: usize,
    count: *mut usize,
) -> OcelliStatus {
    guard(|| {
        with(classifier, |Scorer { classifier, scored }| {
            // SAFETY: the caller's promise.
            let view = unsafe { read(image, "the image")?.view() }?;
            // SAFETY: the caller's promise.
            let out = unsafe { slice_mut(out, len, "the place for the scores") }?;
            if out.is_empty() {
                let problem = "the place for the scores has no elements";
                return Err(Failure::new(OcelliStatus::OCELLI_BUFFER_SIZE, problem));
            }
            classifier.classify_into(&view, scored)?;
            for (out, &Scored { label, similarity, score }) in out.iter_mut().zip(&*scored) {
                *out = OcelliScore { label, score, similarity };
            }
            if !count.is_null() {
                // SAFETY: the caller's promise.
                unsafe { write(count, len.min(scored.len()), "the place for the number") }?;
            }
            Ok(())
        })
    })
}

/// Writes the number of labels to `out`.
///
/// # Safety
/// `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_classifier_len(
    classifier: *const OcelliClassifier,
    out: *mut usize,
) -> OcelliStatus {
    guard(|| {
        let len = with(classifier, |scorer| Ok(scorer.scored.len()))?;
        // SAFETY: the caller's promise.
        unsafe { write(out, len, "the place for the result") }
    })
}

/// Copies label `index` as ocelli_bank_label does.
///
/// # Safety
/// `buffer` is null or has `len` bytes; `needed` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_classifier_label(
    classifier: *const OcelliClassifier,
    index: usize,
    buffer: *mut c_char,
    len: usize,
    needed: *mut usize,
) -> OcelliStatus {
    guard(|| {
        with(classifier, |scorer| {
            let labels = scorer.classifier.labels();
            check_label(index, labels.len())?;
            // SAFETY: the caller's promise.
            unsafe { copy_label(labels.name(index), buffer, len, needed) }
        })
    })
}
