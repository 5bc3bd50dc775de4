//! Where events go: stdout, the folder of snapshots, a program, a broker.

#[cfg(feature = "mqtt")]
use super::broker::Broker;
use super::events::Event;
use super::exec::{Runner, Template, Values};
#[cfg(feature = "mqtt")]
use super::mqtt::Mqtt;
use super::notes::Notes;
use super::snapshot::{self, Snapshots};
use crate::console::{Console, Failure, json_line};
use crate::files::path_bytes;
use ocelli::Result;
use ocelli::preprocess::PixelView;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// An event as a line of JSON.
#[derive(Serialize)]
pub(super) struct EventLine<'a> {
    /// Seconds: since 1970, or since a recording's start.
    time: f64,
    label: &'a str,
    state: &'static str,
    score: f32,
    frame: u64,
    /// Why it leaves although its score did not fall.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_bytes: Option<String>,
}

impl<'a> EventLine<'a> {
    pub(super) fn new(event: &Event, time: f64, label: &'a str) -> EventLine<'a> {
        EventLine {
            // Milliseconds are the last digits.
            time: (time * 1e3).round() / 1e3,
            label,
            state: if event.entered { "enter" } else { "leave" },
            score: event.score,
            frame: event.frame,
            reason: event.at_end.then_some("end"),
            snapshot: None,
            snapshot_bytes: None,
        }
    }
}

/// Options that say what an event does.
#[derive(clap::Args)]
pub(super) struct OutputArgs {
    /// Write the frame of each event into this folder, as a JPEG; made if there is none
    #[arg(long, value_name = "DIR")]
    snapshot: Option<PathBuf>,
    /// Most snapshots in the folder: the oldest ones go
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000), requires = "snapshot")]
    snapshot_count: u32,
    /// Most megabytes of snapshots in the folder: the oldest ones go
    #[arg(long, value_name = "MB", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000), requires = "snapshot")]
    snapshot_mb: u32,
    /// Run this program for each event, one at a time: words and quotes as in a shell, but no shell. {label}, {state},
    /// {score}, {time}, {frame}, {snapshot} and {json} stand for the event's values
    #[arg(long, value_name = "COMMAND", value_parser = Template::parse)]
    exec: Option<Template>,
    /// How long it may run; then it is killed, with what it has started
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400), requires = "exec")]
    exec_timeout: u32,
    /// Tell an MQTT broker: mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC
    #[cfg(feature = "mqtt")]
    #[arg(long, value_name = "URL", value_parser = Broker::parse)]
    mqtt: Option<Broker>,
    /// Read the broker's password from this file, so that it is in no list of processes
    #[cfg(feature = "mqtt")]
    #[arg(long, value_name = "FILE", requires = "mqtt")]
    mqtt_password_file: Option<PathBuf>,
    /// Where Home Assistant looks for new sensors; empty for nowhere
    #[cfg(feature = "mqtt")]
    #[arg(long, value_name = "TOPIC", default_value = "homeassistant", requires = "mqtt")]
    mqtt_discovery: String,
}

/// Where events go.
pub(super) struct Outputs<'c> {
    console: &'c Console,
    snapshots: Option<Snapshots>,
    runner: Option<Runner>,
    #[cfg(feature = "mqtt")]
    mqtt: Option<Mqtt>,
    notes: Notes,
}

impl<'c> Outputs<'c> {
    /// `labels` with whether they have events.
    ///
    /// # Errors
    /// A folder that cannot be made, a password that cannot be read.
    pub(super) fn open(
        args: &OutputArgs,
        labels: &[(String, bool)],
        console: &'c Console,
    ) -> Result<Outputs<'c>> {
        let notes = Notes::default();
        let bytes = u64::from(args.snapshot_mb) * 1_000_000;
        let open = |folder: &PathBuf| Snapshots::open(folder, args.snapshot_count as usize, bytes);
        let snapshots = args.snapshot.as_ref().map(open).transpose()?;
        let limit = Duration::from_secs(args.exec_timeout.into());
        let start = |template: &Template| Runner::start(template.clone(), limit, &notes);
        let runner = args.exec.as_ref().map(start).transpose()?;
        #[cfg(feature = "mqtt")]
        let mqtt = match args.mqtt.clone() {
            Some(mut broker) => {
                if let Some(path) = &args.mqtt_password_file {
                    broker.read_password(path)?;
                }
                let discovery = Some(args.mqtt_discovery.as_str()).filter(|prefix| !prefix.is_empty());
                Some(Mqtt::start(&broker, discovery, labels.iter().cloned(), &notes)?)
            }
            None => None,
        };
        #[cfg(not(feature = "mqtt"))]
        let _ = labels;
        Ok(Outputs {
            console,
            snapshots,
            runner,
            #[cfg(feature = "mqtt")]
            mqtt,
            notes,
        })
    }

    /// Tells everybody of `event` at `time`. Only a stdout that is closed or full is an error; what else fails is said.
    pub(super) fn emit(
        &mut self,
        event: &Event,
        time: f64,
        label: &str,
        picture: Option<Picture<'_>>,
    ) -> Result<(), Failure> {
        let mut line = EventLine::new(event, time, label);
        if let (Some(snapshots), Some(picture)) = (&mut self.snapshots, picture) {
            let saved =
                picture.jpeg().and_then(|jpeg| snapshots.save(label, line.state, event.frame, jpeg.as_ref()));
            match saved {
                Ok(path) => {
                    line.snapshot = Some(path.display().to_string());
                    line.snapshot_bytes = path_bytes(&path);
                }
                Err(error) => self.console.complain(&error),
            }
        }
        let json = json_line(&line)?;
        self.console.write(&json)?;
        let json = String::from_utf8_lossy(&json);
        if let Some(runner) = &self.runner {
            runner.run(&values(&line, json.trim_end()));
        }
        #[cfg(feature = "mqtt")]
        if let Some(mqtt) = &self.mqtt {
            mqtt.event(label, event.entered, json.trim_end());
        }
        Ok(())
    }

    /// Whether the source gives frames.
    pub(super) fn available(&self, available: bool) {
        #[cfg(feature = "mqtt")]
        if let Some(mqtt) = &self.mqtt {
            mqtt.available(available);
        }
        #[cfg(not(feature = "mqtt"))]
        let _ = available;
    }

    /// Other labels from now on, with whether they have events.
    pub(super) fn relabel(&self, labels: &[(String, bool)]) {
        #[cfg(feature = "mqtt")]
        if let Some(mqtt) = &self.mqtt {
            mqtt.relabel(labels.iter().cloned());
        }
        #[cfg(not(feature = "mqtt"))]
        let _ = labels;
    }

    /// Prints what the threads of programs and brokers have to say.
    pub(super) fn tell(&self) {
        self.notes.take().iter().for_each(|note| self.console.warn(format_args!("{note}")));
    }

    /// Ends what runs, and waits for it, but not for long.
    pub(super) fn close(mut self) {
        self.runner = None;
        #[cfg(feature = "mqtt")]
        {
            self.mqtt = None;
        }
        self.tell();
    }
}

fn values(line: &EventLine<'_>, json: &str) -> Values {
    vec![
        ("label", line.label.to_owned()),
        ("state", line.state.to_owned()),
        ("score", line.score.to_string()),
        ("time", line.time.to_string()),
        ("frame", line.frame.to_string()),
        ("snapshot", line.snapshot.clone().unwrap_or_default()),
        ("json", json.to_owned()),
    ]
}

/// The frame of an event.
#[derive(Clone, Copy)]
pub(super) struct Picture<'a> {
    /// The picture file that it came as, if it did.
    pub(super) file: Option<&'a [u8]>,
    /// Its pixels.
    pub(super) view: PixelView<'a>,
}

impl<'a> Picture<'a> {
    /// As a JPEG: as it came if it is one.
    fn jpeg(&self) -> Result<std::borrow::Cow<'a, [u8]>> {
        match self.file.filter(|file| file.starts_with(&[0xff, 0xd8, 0xff])) {
            Some(file) => Ok(file.into()),
            None => snapshot::jpeg_of(&self.view).map(Into::into),
        }
    }
}
