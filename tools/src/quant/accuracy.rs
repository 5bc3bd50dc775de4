//! What was measured on a packed model, as it stands in its PROVENANCE.

use super::calibration::Kind;
use super::measure::{Cosine, Cosines, Tower};
use super::merge::Merged;
use super::repair::Repair;
use serde::{Deserialize, Serialize};

/// The pictures and texts that a promise was measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Whether the pictures were the user's or made up.
    pub kind: Kind,
    /// First 16 bytes of the SHA-256 over the pictures' hashes, in hexadecimal.
    pub hash: String,
    /// Pictures that repairs were fitted to.
    pub fitted_images: usize,
    /// Other pictures, which the figures are measured on; the same ones where there is only one.
    pub judged_images: usize,
    /// Texts that repairs were fitted to.
    pub fitted_texts: usize,
    /// Other texts, which the figures are measured on.
    pub judged_texts: usize,
}

/// One repair that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The repair; `None` for the plain int8 model before any.
    pub repair: Option<Repair>,
    /// What it changed: places, matrices or biases.
    pub changed: usize,
    /// The whole model with it.
    pub cosine: Cosines,
    /// The towers in which it stayed: those that got better.
    pub kept: Vec<Tower>,
}

/// One matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Canonical name.
    pub name: String,
    /// Element type.
    pub dtype: String,
    /// Signal-to-noise ratio of its product by itself, on the f32 model's activations, in decibels.
    pub snr_db: Option<f64>,
    /// Its share of the tower's multiply-accumulates in matrices.
    pub share: f64,
}

/// What a packed model promises: measured against the f32 model, both with the runtime's own kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccuracyReport {
    /// What it was measured on.
    pub calibration: Measured,
    /// The mean cosine that was asked for.
    pub target_cosine: Option<f64>,
    /// Whether the measured means reach it.
    pub holds: bool,
    /// Cosine of picture embeddings.
    pub image_cosine: Option<Cosine>,
    /// Cosine of text embeddings.
    pub text_cosine: Option<Cosine>,
    /// Share of pictures whose best label (or class) is the f32 model's.
    pub top1_agreement: Option<f64>,
    /// Labels (or classes) that were chosen from.
    pub labels: usize,
    /// max|a − b| / max|b| between this machine's kernels and the scalar reference, on one embedding: below 10⁻⁶, or as
    /// large as int8's own noise where f32 rounds differently and an activation gets another code.
    pub kernel_error: f64,
    /// Share of the image tower's multiply-accumulates in matrices that are int8 (the text tower's, without one).
    pub int8_macs: f64,
    /// Time that the matrices are predicted to take next to all of them in int8.
    pub predicted_time: f64,
    /// How tokens of images are merged, if they are. The cosine of pictures is measured with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merging: Option<Merged>,
    /// What was tried.
    pub steps: Vec<Step>,
    /// Every matrix.
    pub layers: Vec<Layer>,
}

impl AccuracyReport {
    /// The promise in a packed file's provenance, if it makes one.
    pub fn of(provenance: &str) -> Option<AccuracyReport> {
        let json: serde_json::Value = serde_json::from_str(provenance).ok()?;
        serde_json::from_value(json.get("promise")?.clone()).ok()
    }

    /// For people, one fact per line.
    pub fn render(&self) -> String {
        use std::fmt::Write;
        let mut out = String::new();
        let line = |out: &mut String, name: &str, value: String| {
            let _ = writeln!(out, "{name:<16}{value}");
        };
        let Measured { kind, hash, fitted_images, judged_images, fitted_texts, judged_texts } =
            &self.calibration;
        let kind = match kind {
            Kind::Photos => "pictures",
            Kind::Synthetic => "made-up pictures (no --calibrate folder was given: photos tell more)",
        };
        line(
            &mut out,
            "calibration",
            format!(
                "{kind} {hash}: {fitted_images} images and {fitted_texts} texts fitted, {judged_images} and \
                 {judged_texts} measured"
            ),
        );
        for (name, cosine) in [("image cosine", self.image_cosine), ("text cosine", self.text_cosine)] {
            if let Some(Cosine { mean, min }) = cosine {
                line(&mut out, name, format!("mean {mean:.5}, min {min:.5}"));
            }
        }
        if let Some(agreement) = self.top1_agreement {
            line(
                &mut out,
                "top-1 agreement",
                format!("{:.2} % over {} labels", agreement * 100.0, self.labels),
            );
        }
        line(&mut out, "kernel error", format!("{:.1e} against the scalar reference", self.kernel_error));
        line(
            &mut out,
            "int8 MACs",
            format!("{:.1} %, predicted time {:.3} of all int8", self.int8_macs * 100.0, self.predicted_time),
        );
        if let Some(merged) = &self.merging {
            line(&mut out, "tokens merged", merged.describe());
        }
        if let Some(target) = self.target_cosine {
            let verdict = if self.holds { "holds" } else { "is NOT reached" };
            line(&mut out, "target", format!("mean cosine {target}: {verdict}"));
        }
        for step in &self.steps {
            let name = step.repair.map_or("plain int8", Repair::name);
            let cosine =
                |cosine: Option<Cosine>| cosine.map_or("-".into(), |cosine| format!("{:.5}", cosine.mean));
            let kept = match (step.repair, step.kept.as_slice()) {
                (None, _) => "",
                (_, []) => "  not kept",
                (_, [Tower::Vision]) => "  kept for images",
                (_, [Tower::Text]) => "  kept for texts",
                _ => "  kept",
            };
            line(
                &mut out,
                &format!("  {name}"),
                format!(
                    "image {}  text {}  changed {}{kept}",
                    cosine(step.cosine.image),
                    cosine(step.cosine.text),
                    step.changed
                ),
            );
        }
        out
    }
}
