//! Repairs on the fixture with outlier channels, through the runtime.

use super::calibration::Calibration;
use super::measure::Embeddings;
use super::observe::observe;
use super::repair::{Repair, Repairer};
use super::smooth::{self, Site};
use super::{
    AccuracyReport, Canonical, Cosine, Labels, Precision, QuantizeOptions, Recipe, Step, Tower, plan,
};
use crate::ConvertOptions;
use crate::convert::Opened;
use crate::progress::Silent;
use ocelli::format::{Dtype, Kind};
use ocelli::knobs;
use ocelli_kernels::Kernels;
use std::ops::Range;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(name)
}

/// Calls `work` with the fixture's model; drafts go to a temporary folder.
fn with_model<T>(work: impl FnOnce(&Canonical<'_>) -> T) -> T {
    with_changed(|_, _, _| (), work)
}

/// The same with tensors changed: `change` gets a name, its rows and their values.
fn with_changed<T>(
    change: impl Fn(&str, Range<usize>, &mut [f32]) + Sync,
    work: impl FnOnce(&Canonical<'_>) -> T,
) -> T {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.ocelli");
    let mut options = ConvertOptions::new(fixture("clip-hf-outliers"), &output, Precision::Auto);
    options.model.tokenizer = Some(fixture("clip-hf"));
    with_checkpoint(&options, change, work)
}

/// The same with another checkpoint.
fn with_checkpoint<T>(
    options: &ConvertOptions,
    change: impl Fn(&str, Range<usize>, &mut [f32]) + Sync,
    work: impl FnOnce(&Canonical<'_>) -> T,
) -> T {
    let output = options.output.clone();
    let opened = Opened::new(options).unwrap();
    let source = opened.source();
    let names: Vec<String> =
        opened.canonical(&source, &output).demands.iter().map(|demand| demand.name.as_str().into()).collect();
    let changed = |i: usize, rows: Range<usize>, out: &mut [f32]| {
        source(i, rows.clone(), out)?;
        change(&names[i], rows, out);
        Ok(())
    };
    work(&opened.canonical(&changed, &output))
}

fn planned(canonical: &Canonical<'_>, options: &QuantizeOptions) -> crate::Result<(Recipe, AccuracyReport)> {
    let labels = Labels { templates: &["a photo of a {}"], ..Labels::default() };
    plan(canonical, Precision::Auto, options, labels, &Silent).map(|(recipe, report, _)| (recipe, report))
}

fn options() -> QuantizeOptions {
    QuantizeOptions { pictures: Some(fixture("cifar10")), ..QuantizeOptions::default() }
}

#[test]
fn smoothing_changes_no_bit_of_the_f32_model() {
    with_model(|canonical| assert_smoothing_is_exact(canonical, 8));
}

/// In a post-norm tower only what leads from v to attention's output may be rescaled: of the text tower one place in each
/// of its two blocks, beside three in each of the image tower's two.
#[test]
fn smoothing_leaves_the_norms_of_a_post_norm_tower_alone() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.ocelli");
    let options = ConvertOptions::new(fixture("dual-dinov2-bert"), &output, Precision::Auto);
    // A channel of v that is large in every token, which is worth rescaling.
    let large = |name: &str, rows: Range<usize>, values: &mut [f32]| {
        if name == "text.block.1.qkv.bias" && rows.contains(&70) {
            values[70 - rows.start] = 300.0;
        }
    };
    with_checkpoint(&options, large, |canonical| {
        let sites = smooth::sites(canonical);
        let names = |site: &Site| {
            let of = |i: usize| canonical.demands[i].name.as_str().to_string();
            (site.producers.iter().map(|(i, _)| of(*i)).collect::<Vec<_>>(), of(site.consumer))
        };
        let text: Vec<_> =
            sites.iter().map(names).filter(|(_, consumer)| consumer.starts_with("text")).collect();
        assert_eq!((sites.len(), text.len()), (8, 2));
        assert!(text.iter().all(|(producers, consumer)| {
            producers.iter().all(|name| name.contains(".qkv.")) && consumer.ends_with(".out.weight")
        }));
        let rescaled = assert_smoothing_is_exact(canonical, 1);
        assert!(rescaled.contains(&canonical.find("text.block.1.out.weight").unwrap()), "{rescaled:?}");
    });
}

/// Smooths, and compares embeddings bit by bit. `least` places must be worth it; gives the matrices that read them.
fn assert_smoothing_is_exact(canonical: &Canonical<'_>, least: usize) -> Vec<usize> {
    let f32_recipe = Recipe::plain(&canonical.demands, Precision::Fp32);
    let exact = canonical.draft(f32_recipe, None).unwrap().model;
    let calibration = Calibration::new(&exact, Some(&fixture("images")), 4, &[], &["{}"]).unwrap();
    let inputs = observe(canonical, &exact, &calibration, &mut || ()).unwrap();
    let mut repairer = Repairer { canonical, inputs, kernels: Kernels::new(knobs::isa().unwrap()) };
    let mut smoothed = Recipe::plain(&canonical.demands, Precision::Auto);
    let before = repairer.inputs.clone();
    let rescaled = repairer.smooth(&mut smoothed).unwrap();
    assert!(rescaled.len() >= least, "{} places", rescaled.len());
    for (treatment, demand) in smoothed.tensors.iter_mut().zip(&canonical.demands) {
        treatment.dtype = Dtype::F32;
        let factors = treatment.rows.iter().chain(&treatment.columns).flatten();
        assert!(factors.clone().all(|factor| factor.log2().fract() == 0.0));
        assert!(demand.kind != Kind::Matrix || treatment.codes.is_none());
    }
    let model = canonical.draft(smoothed, None).unwrap().model;
    let of = |model| Embeddings::of(model, &calibration, usize::MAX, usize::MAX).unwrap();
    let (right, found) = (of(&exact), of(&model));
    assert_eq!(right.images, found.images);
    assert_eq!(right.texts, found.texts);
    // Taking it back restores the inputs to the bit, too.
    repairer.undo_smooth(&rescaled);
    for (inputs, before) in repairer.inputs.iter().zip(&before) {
        assert_eq!((&inputs.sample, &inputs.peak), (&before.sample, &before.peak));
    }
    rescaled.iter().map(|(consumer, _)| *consumer).collect()
}

#[test]
fn repairs_keep_the_outlier_fixture_int8_and_never_make_it_worse() {
    with_model(|canonical| {
        let (_, plain) = planned(canonical, &QuantizeOptions { repairs: Vec::new(), ..options() }).unwrap();
        let (_, repaired) =
            planned(canonical, &QuantizeOptions { repairs: Repair::ALL.to_vec(), ..options() }).unwrap();
        let mean = |promise: &AccuracyReport| promise.image_cosine.unwrap().mean;
        assert!(mean(&repaired) >= mean(&plain), "{} and {}", mean(&repaired), mean(&plain));
        assert!(repaired.holds && mean(&repaired) >= 0.995);
        assert!(repaired.text_cosine.unwrap().mean >= 0.995);
        assert!(repaired.int8_macs >= 0.8, "{}", repaired.int8_macs);
        // Every repair that was tried is on record, with what it led to.
        assert_eq!(repaired.steps[0].repair, None);
        assert!(repaired.steps.iter().any(|step| step.repair == Some(Repair::Smooth)));
        let quiet = repaired.layers.iter().filter(|layer| layer.snr_db.is_some_and(|snr| snr > 20.0));
        assert_eq!(quiet.count(), repaired.layers.len());
    });
}

#[test]
fn smoothing_is_kept_where_channels_of_a_norm_are_outliers() {
    // Two channels of every norm in the image tower 512 times larger, and read by weights as much smaller.
    let outliers = |name: &str, rows: Range<usize>, values: &mut [f32]| {
        let Some(part) = name.strip_prefix("vision.block.").and_then(|name| name.split_once('.')) else {
            return;
        };
        let width = 64;
        for channel in [3, 17] {
            match part.1 {
                "norm1.weight" | "norm1.bias" | "norm2.weight" | "norm2.bias" if rows.contains(&channel) => {
                    values[channel - rows.start] *= 512.0;
                }
                "qkv.weight" | "fc1.weight" => {
                    values.chunks_exact_mut(width).for_each(|row| row[channel] /= 512.0);
                }
                _ => {}
            }
        }
    };
    with_changed(outliers, |canonical| {
        let qkv = canonical.find("vision.block.0.qkv.weight").unwrap();
        assert_eq!(canonical.demands[qkv].k, 64);
        let (_, promise) =
            planned(canonical, &QuantizeOptions { repairs: vec![Repair::Smooth], ..options() }).unwrap();
        let [plain, smoothed] = &promise.steps[..] else { panic!("{:?}", promise.steps) };
        let loss = |step: &Step| 1.0 - step.cosine.image.unwrap().mean;
        assert!(loss(plain) > 0.01 && loss(smoothed) < 0.001, "{} -> {}", loss(plain), loss(smoothed));
        assert_eq!((smoothed.kept.as_slice(), promise.int8_macs > 0.9), (&[Tower::Vision][..], true));
    });
}

#[test]
fn a_high_target_raises_the_layers_that_matter_and_the_plan_repeats() {
    with_model(|canonical| {
        let options = QuantizeOptions { target: Some(0.999_985), repairs: vec![Repair::Half], ..options() };
        let (recipe, promise) = planned(canonical, &options).unwrap();
        let (again, _) = planned(canonical, &options).unwrap();
        let types = |recipe: &Recipe| recipe.tensors.iter().map(|t| t.dtype).collect::<Vec<_>>();
        assert_eq!(types(&recipe), types(&again));
        let raised =
            promise.layers.iter().filter(|layer| layer.name.contains(".block.") && layer.dtype == "f16");
        assert!(promise.holds && raised.count() > 0 && promise.int8_macs > 0.3, "{promise:?}");
        assert!(promise.predicted_time > 1.0 && promise.predicted_time < 3.0);
    });
}

#[test]
fn a_time_budget_is_spent_on_accuracy_and_kept() {
    with_model(|canonical| {
        let half = |time_budget| {
            let options = QuantizeOptions { time_budget, repairs: vec![Repair::Half], ..options() };
            planned(canonical, &options).unwrap().1
        };
        let (without, with) = (half(None), half(Some(1.4)));
        assert!(without.holds && without.steps.len() == 1, "{without:?}");
        assert!(with.predicted_time > without.predicted_time && with.predicted_time <= 1.4, "{with:?}");
        let mean = |cosine: Option<Cosine>| cosine.unwrap().mean;
        assert!(mean(with.image_cosine) > mean(without.image_cosine), "{with:?} {without:?}");
        // What makes a tower no better is not kept.
        assert!(mean(with.text_cosine) >= mean(without.text_cosine), "{with:?} {without:?}");
    });
}

#[test]
fn a_target_out_of_reach_is_an_error_that_says_what_was_reached() {
    with_model(|canonical| {
        let options = QuantizeOptions { target: Some(1.0), repairs: vec![Repair::Clip], ..options() };
        let message = planned(canonical, &options).unwrap_err().to_string();
        assert!(message.contains("was not written") && message.contains("--allow-below-target"), "{message}");
        let (_, promise) =
            planned(canonical, &QuantizeOptions { allow_below_target: true, ..options }).unwrap();
        assert!(!promise.holds && promise.target_cosine == Some(1.0));
    });
}

#[test]
fn one_picture_or_none_is_enough_and_the_promise_says_so() {
    with_model(|canonical| {
        let (_, one) = planned(canonical, &QuantizeOptions { images: 1, ..options() }).unwrap();
        assert_eq!((one.calibration.fitted_images, one.calibration.judged_images), (1, 1));
        let (_, none) = planned(canonical, &QuantizeOptions { pictures: None, ..options() }).unwrap();
        assert_eq!(none.calibration.kind, super::CalibrationKind::Synthetic);
        assert!(none.render().contains("made-up") && !one.render().contains("made-up"));
        assert!(none.holds && none.calibration.hash != one.calibration.hash);
        // A promise survives its way through the file.
        let json = format!("{{\"promise\": {}}}", serde_json::to_string(&none).unwrap());
        assert_eq!(AccuracyReport::of(&json), Some(none));
    });
}
