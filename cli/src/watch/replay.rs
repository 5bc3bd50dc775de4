//! Recorded scores to events, with other thresholds.

use super::events::{Event, Events};
use super::output::EventLine;
use super::record::{Entry, Recording};
use super::rules::RuleArgs;
use crate::console::{Console, Failure};
use ocelli::{Error, printable};
use std::path::Path;
use std::process::ExitCode;

/// Prints the events that the recording in `path` has under `rules`. Times are seconds from the start of the recording.
pub(super) fn run(path: &Path, rules: &RuleArgs, console: &Console) -> Result<ExitCode, Failure> {
    let mut recording = Recording::open(path)?;
    let mut labels: Vec<String> = Vec::new();
    let mut events: Option<Events> = None;
    let (mut found, mut last, mut frames) = (Vec::<Event>::new(), (0, 0.0), 0u64);
    while let Some(entry) = recording.next()? {
        match entry {
            Entry::Labels(new) => {
                if events.is_none() {
                    rules.thresholds(&new).map_err(Failure::Usage)?;
                }
                let thresholds = rules.known_thresholds(&new).map_err(Failure::Usage)?;
                match &mut events {
                    None => events = Some(Events::new(rules.timing(), thresholds)),
                    Some(events) => {
                        let before: Vec<Option<usize>> =
                            new.iter().map(|label| labels.iter().position(|old| old == label)).collect();
                        events.relabel(thresholds, &before, last.0, &mut |event| found.push(event));
                        print(&mut found, &labels, console)?;
                    }
                }
                labels = new;
            }
            Entry::Frame(frame, time) => {
                (last, frames) = ((frame, time), frames + 1);
                if let Some(events) = &mut events {
                    events.step(time, frame, recording.scores(), &mut |event| found.push(event));
                    print(&mut found, &labels, console)?;
                }
            }
        }
    }
    let Some(mut events) = events.filter(|_| frames > 0) else {
        return Err(Error::Message("there is no frame in this recording".into()).in_file(path).into());
    };
    events.finish(last.1, last.0, &mut |event| found.push(event));
    print(&mut found, &labels, console)?;
    console.tell(format_args!(
        "{}: {frames} frames, {:.1} s, {} labels",
        printable(&path.display().to_string()),
        last.1,
        labels.len()
    ));
    Ok(ExitCode::SUCCESS)
}

fn print(found: &mut Vec<Event>, labels: &[String], console: &Console) -> Result<(), Failure> {
    for event in found.drain(..) {
        console.print_json(&EventLine::new(&event, event.time, &labels[event.label]))?;
    }
    Ok(())
}
