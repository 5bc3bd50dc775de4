//! Options that say when a label enters and leaves.

use super::events::{Thresholds, Timing};
use clap::builder::TypedValueParser;
use ocelli::excerpt;

/// A label leaves below this share of the score at which it enters, unless told otherwise.
const LEAVE: f32 = 2.0 / 3.0;

/// A score, for one label or for all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bound {
    label: Option<String>,
    score: f32,
}

/// When labels enter and leave.
#[derive(clap::Args)]
pub(super) struct RuleArgs {
    /// A label enters when its smoothed score reaches this; LABEL=SCORE is for one label alone; may be given several
    /// times [default: 0.6]
    #[arg(long, value_name = "[LABEL=]SCORE", value_parser = bound, allow_negative_numbers = true)]
    enter: Vec<Bound>,
    /// A label leaves when its smoothed score falls below this [default: two thirds of --enter]
    #[arg(long, value_name = "[LABEL=]SCORE", value_parser = bound, allow_negative_numbers = true)]
    leave: Vec<Bound>,
    /// Time constant of the mean over scores: after so long, 63 % of a step have arrived
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds())]
    smoothing: f64,
    /// How long a label must be above --enter until it enters, and below --leave until it leaves
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds())]
    min_duration: f64,
    /// How long a label that left does not enter again
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds())]
    cool_down: f64,
    /// A label that is only there to compare the others with: it has no events; may be given several times
    #[arg(long, value_name = "LABEL")]
    ignore: Vec<String>,
}

/// A time in seconds, from 0 to a day.
pub(super) fn seconds() -> impl TypedValueParser<Value = f64> {
    clap::builder::StringValueParser::new().try_map(|text| match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, from 0 to 86400"),
    })
}

fn bound(text: &str) -> Result<Bound, String> {
    let (label, score) = match text.rsplit_once('=') {
        Some((label, score)) => (Some(label.to_owned()), score),
        None => (None, text),
    };
    match score.trim().parse::<f32>() {
        Ok(score) if score.is_finite() => Ok(Bound { label, score }),
        _ => Err(format!("{score:?} is no score: expected a number, or LABEL=NUMBER")),
    }
}

impl RuleArgs {
    /// Durations.
    pub(super) fn timing(&self) -> Timing {
        Timing { smoothing: self.smoothing, min_duration: self.min_duration, cool_down: self.cool_down }
    }

    /// The thresholds of each label; `None` for those that have no events.
    ///
    /// # Errors
    /// A label that is not there, one that would leave above the score at which it enters, or no label with events.
    pub(super) fn thresholds(&self, labels: &[String]) -> Result<Vec<Option<Thresholds>>, String> {
        if let Some(name) = self.unknown(labels).next() {
            return Err(format!("there is no label {:?}, for which something is asked", excerpt(name)));
        }
        let thresholds = self.known_thresholds(labels)?;
        if thresholds.iter().all(Option::is_none) {
            return Err("every label is ignored (--ignore): there would be no events".into());
        }
        Ok(thresholds)
    }

    /// Labels that options name and that are not among `labels`.
    pub(super) fn unknown<'a>(&'a self, labels: &'a [String]) -> impl Iterator<Item = &'a String> {
        let named = self.enter.iter().chain(&self.leave).filter_map(|bound| bound.label.as_ref());
        named.chain(&self.ignore).filter(|name| !labels.contains(name))
    }

    /// As [`thresholds`](Self::thresholds), whatever labels the options name.
    ///
    /// # Errors
    /// A label that would leave above the score at which it enters.
    pub(super) fn known_thresholds(&self, labels: &[String]) -> Result<Vec<Option<Thresholds>>, String> {
        let given = |bounds: &[Bound], label: &str| {
            let of = |name: Option<&str>| {
                bounds.iter().rev().find(|bound| bound.label.as_deref() == name).map(|bound| bound.score)
            };
            of(Some(label)).or(of(None))
        };
        labels
            .iter()
            .map(|label| {
                if self.ignore.contains(label) {
                    return Ok(None);
                }
                let enter = given(&self.enter, label).unwrap_or(0.6);
                // Scores of models that know no probability may be below zero.
                let leave = given(&self.leave, label).unwrap_or(enter - enter.abs() * (1.0 - LEAVE));
                match leave <= enter {
                    true => Ok(Some(Thresholds { enter, leave })),
                    false => Err(format!(
                        "{:?} would leave below {leave} and enter at {enter}: --leave must not be above --enter",
                        excerpt(label)
                    )),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        rules: RuleArgs,
    }

    fn thresholds(args: &[&str]) -> Result<Vec<Option<(f32, f32)>>, String> {
        let program = Program::try_parse_from([&["x"], args].concat()).map_err(|error| error.to_string())?;
        let labels = ["cat", "a=b", "street"].map(str::to_owned);
        let found = program.rules.thresholds(&labels)?;
        Ok(found.iter().map(|label| label.map(|label| (label.enter, label.leave))).collect())
    }

    #[test]
    fn thresholds_are_for_all_or_for_one() {
        let default = Some((0.6, 0.6 - 0.6 * (1.0 - LEAVE)));
        assert_eq!(thresholds(&[]).unwrap(), [default; 3]);
        let found =
            thresholds(&["--enter", "0.5", "--enter=a=b=0.9", "--leave", "0.3", "--ignore", "street"]);
        assert_eq!(found.unwrap(), [Some((0.5, 0.3)), Some((0.9, 0.3)), None]);
        let cosines = thresholds(&["--enter", "-0.3"]).unwrap();
        assert_eq!(cosines[0], Some((-0.3, -0.3 - 0.3 * (1.0 - LEAVE))));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (args, part) in [
            (&["--enter", "dog=0.5"][..], "no label \"dog\""),
            (&["--ignore", "dog"], "no label \"dog\""),
            (&["--enter", "0.3", "--leave", "0.4"], "must not be above"),
            (&["--enter", "cat=0.3", "--leave", "cat=0.5"], "\"cat\" would leave"),
            (&["--ignore", "cat", "--ignore", "a=b", "--ignore", "street"], "every label is ignored"),
            (&["--enter", "high"], "no score"),
            (&["--enter", "nan"], "no score"),
            (&["--smoothing", "-1"], "-1"),
            (&["--smoothing=inf"], "expected seconds"),
        ] {
            let message = thresholds(args).unwrap_err();
            assert!(message.contains(part), "{args:?}: {message}");
        }
    }
}
