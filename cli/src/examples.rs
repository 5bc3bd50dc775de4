//! Labels from folders of pictures.

use crate::args::Opened;
use crate::console::{Console, Failure};
use crate::decoders::{each_decoded, preprocessors};
use crate::inputs;
use ocelli::format::{Bank, LabelBank};
use ocelli::preprocess::decode;
use ocelli::preprocess::decode::Limits;
use ocelli::score::{Examples, LeftOut, normalize};
use ocelli::vision::Layer;
use ocelli::{Error, ImageEncoder, ImageOptions, Result, knobs, printable};
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

/// Most bytes of embeddings that are held at once.
const MOST_BYTES: usize = 1 << 30;
/// Confusions that are shown.
const SHOWN: usize = 5;

/// Options that name example pictures.
#[derive(clap::Args)]
pub(crate) struct ExampleArgs {
    /// A folder with a folder of pictures for each label, named as the label: labels are recognised by these pictures.
    /// Pictures in folders further down belong to the label too; hidden ones are passed over
    #[arg(long, value_name = "DIR", conflicts_with = "bank")]
    examples: Option<PathBuf>,
    /// Most embeddings per label: the pictures of a label are put in so many groups, and the group that is nearest counts.
    /// For labels that look different from case to case
    #[arg(long, value_name = "K", default_value_t = 1, requires = "examples", value_parser = clap::value_parser!(u16).range(1..))]
    prototypes: u16,
}

/// A bank made with pictures.
pub(crate) struct Taught {
    pub(crate) bank: LabelBank,
    left_out: LeftOut,
    /// Some pictures could not be read.
    pub(crate) incomplete: bool,
}

impl ExampleArgs {
    /// Whether there are examples.
    pub(crate) fn given(&self) -> bool {
        self.examples.is_some()
    }

    /// The bank of all example pictures and, if there are any, of `words`.
    pub(crate) fn teach(
        &self,
        words: Option<&Bank<'_>>,
        opened: &Opened,
        console: &Console,
    ) -> Result<Taught, Failure> {
        let folder = self.examples.clone().unwrap_or_default();
        let labels = inputs::folders(&folder, console)?;
        let options = ImageOptions::default().limits(knobs::limits()?);
        let encoder = ImageEncoder::new(&opened.model, &opened.runtime, &options);
        let mut encoder = encoder.map_err(|error| opened.blame(error))?;
        let count: usize = labels.iter().map(|(_, inputs)| inputs.len()).sum();
        let most = MOST_BYTES / (size_of::<f32>() * encoder.embed_dim());
        if count > most {
            let message = format!("{count} pictures are too many: at most {most} are held in memory at once");
            return Err(Error::Message(message).in_file(&folder).into());
        }
        let mut decoding = decode::Options::default();
        if let Some(max_pixels) = knobs::max_pixels()? {
            decoding.limits = Limits::new(max_pixels);
        }
        let mut preprocessors = preprocessors(&encoder);
        let mut examples = Examples::new(opened.model.config());
        if let Some(words) = words {
            examples.add_words(words)?;
        }
        let mut embedding = vec![0.0; encoder.embed_dim()];
        let mut incomplete = false;
        console.start(count);
        for (label, inputs) in labels {
            let mut read = 0;
            each_decoded(inputs, &decoding, &mut preprocessors, console, |decoded| -> Result<()> {
                let added = decoded.and_then(|decoded| {
                    decoded
                        .preprocess(&mut encoder)
                        .and_then(|_| {
                            encoder.encode(ocelli::Input::Frames(1), Layer::Projected, &mut embedding)
                        })
                        .and_then(|()| {
                            normalize(&mut embedding);
                            examples.add(&label, &embedding)
                        })
                        .map_err(|error| error.in_file(decoded.input.path()))
                });
                match added {
                    Ok(()) => read += 1,
                    Err(error) => {
                        console.complain(&error);
                        incomplete = true;
                    }
                }
                console.step(1);
                Ok(())
            })?;
            if read == 0 {
                let message = "none of this label's pictures can be used".to_owned();
                return Err(Error::Message(message).in_file(folder.join(&label)).into());
            }
        }
        console.done();
        let (bank, left_out) = examples.bank(self.prototypes.into())?;
        Ok(Taught { bank, left_out, incomplete })
    }
}

/// [`LeftOut`] in JSON.
#[derive(Serialize)]
pub(crate) struct Report {
    leave_one_out: LeaveOneOut,
}

#[derive(Serialize)]
struct LeaveOneOut {
    judged: usize,
    right: usize,
    /// Share of the judged pictures; null if there are none.
    accuracy: Option<f64>,
    /// The most frequent first; all of them.
    confusions: Vec<Confusion>,
    /// Labels with a single picture and no words.
    not_judged: Vec<String>,
    scale: f32,
    bias: f32,
}

#[derive(Serialize)]
struct Confusion {
    label: String,
    taken_for: String,
    pictures: usize,
}

impl Taught {
    /// How well the pictures are told apart, for JSON.
    pub(crate) fn report(&self) -> Report {
        let bank = self.bank.as_bank();
        let LeftOut { judged, right, confusions, alone, logit } = &self.left_out;
        let confusions = confusions.iter().map(|confusion| Confusion {
            label: bank.label(confusion.label).into(),
            taken_for: bank.label(confusion.taken_for).into(),
            pictures: confusion.pictures,
        });
        Report {
            leave_one_out: LeaveOneOut {
                judged: *judged,
                right: *right,
                accuracy: (*judged > 0).then(|| *right as f64 / *judged as f64),
                confusions: confusions.collect(),
                not_judged: alone.iter().map(|&label| bank.label(label).into()).collect(),
                scale: logit.scale,
                bias: logit.bias,
            },
        }
    }

    /// The same for people.
    pub(crate) fn text(&self) -> String {
        let LeaveOneOut { judged, right, accuracy, confusions, not_judged, .. } = self.report().leave_one_out;
        let mut text = String::new();
        let mut line =
            |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("strings take everything");
        if let Some(accuracy) = accuracy {
            let percent = accuracy * 100.0;
            line(format_args!("leave-one-out: {right} of {judged} pictures get their label, {percent:.1} %"));
        }
        for Confusion { label, taken_for, pictures } in confusions.iter().take(SHOWN) {
            let (label, taken_for) = (printable(label), printable(taken_for));
            line(format_args!("  {pictures:>4}  {label}, taken for {taken_for}"));
        }
        if confusions.len() > SHOWN {
            line(format_args!("  and {} more kinds of mistakes", confusions.len() - SHOWN));
        }
        for label in not_judged {
            let label = printable(&label);
            line(format_args!("not judged, because there is a single picture of it: {label}"));
        }
        text
    }
}
