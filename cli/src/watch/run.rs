//! The loop: frames in, events out, until the stream ends or somebody says so.

use super::Args;
use super::events::{Event, Events, Thresholds};
use super::gate::Gate;
use super::heat::Heat;
use super::mailbox::{Frame, Mailbox, Taken};
use super::notify::Manager;
use super::output::{Outputs, Picture};
use super::pictures::{Kind, Pictures};
use super::record::Recorder;
use super::scorer::{Looked, Scorer};
use super::signals::Signals;
use super::source::Source;
use super::stats::Stats;
use crate::args::Opened;
use crate::console::{Console, Failure};
use crate::label_args;
use crate::sensors;
use ocelli::format::Scoring;
use ocelli::preprocess::Tiles;
use ocelli::{Error, Result, excerpt, knobs};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the loop waits before it looks at everything else.
const TICK: Duration = Duration::from_millis(100);
const NOTHING_CAME: &str = "the stream ended before the first whole frame: is there a JPEG picture in it? Raw frames need \
                            --format and the right --size";
/// So many messages about frames may come at once; later one each time that this passes.
const MESSAGES: (u32, Duration) = (20, Duration::from_secs(10));

pub(super) fn run(args: &Args, console: &Console) -> Result<ExitCode, Failure> {
    let signals = Signals::new()?;
    let sysfs = knobs::sysfs()?;
    if args.max_temp.is_some() && sensors::hottest(&sysfs).is_none() {
        let looked = sysfs.join("class/thermal");
        return Err(
            Error::Message(format!("--max-temp: no temperature is told in {}", looked.display())).into()
        );
    }
    let heat = args.max_temp.map(|limit| Heat::new(limit.into(), sysfs));
    let opened = args.model.open()?;
    let scorer = scorer(args, &opened, console)?;
    let path = args.camera.as_deref().unwrap_or(Path::new("-"));
    let source = Source::of(args, path, args.resize.decoding(scorer.encoder())?)?;
    let labels = scorer.names();
    let thresholds = args.rules.thresholds(&labels).map_err(Failure::Usage)?;
    let outputs = Outputs::open(&args.output, &with_events(&labels, &thresholds), console)?;
    let recorder = args.record.as_ref().map(|path| Recorder::start(path, &labels, console)).transpose()?;
    let kind = source.kind;
    if source.is_live_file() {
        console.warn(format_args!(
            "{}: a file is read as fast as it can be, and most of its frames are dropped: --recorded FPS scores all",
            path.display()
        ));
    }
    let mailbox = source.start()?;
    let mut watch = Watch {
        args,
        console,
        opened: &opened,
        events: Events::new(args.rules.timing(), thresholds),
        scorer,
        labels,
        pictures: Pictures::new(kind),
        coded: !matches!(kind, Kind::Raw(_)),
        recorder,
        outputs,
        heat,
        found: Vec::with_capacity(16),
        start: Instant::now(),
        stepped: Instant::now(),
        last: None,
        shown: false,
        may_still_say: MESSAGES.0,
        said: Instant::now(),
        stats: Stats::new(),
    };
    console.tell(format_args!("watching {} for {} labels", path.display(), watch.labels.len()));
    let manager = Manager::from_environment();
    manager.tell("READY=1\nSTATUS=waiting for frames");
    let result = watch.until_the_end(&mailbox, &signals, manager);
    mailbox.close();
    watch.close(&mailbox, result)
}

/// The classifier that `args` ask for, and what decides which frames it gets.
fn scorer(args: &Args, opened: &Opened, console: &Console) -> Result<Scorer> {
    let encoder = args.frames.encoder(opened)?;
    let classifier = label_args::classifier(encoder, args.bank.as_deref(), &args.labels, opened, console)?;
    let alone = opened.model.config().score.kind == Scoring::Sigmoid as u32;
    if classifier.labels().len() == 1 && !alone {
        console.warn(format_args!(
            "one label alone always has 100 %, whatever the frames show: give others to compare it with (--ignore)"
        ));
    }
    let any_res = args.frames.any_res.map(|(rows, columns)| Tiles { rows, columns });
    let gate = (args.gate > 0).then(|| Gate::new(args.gate.into()));
    Ok(Scorer::new(classifier, args.roi, any_res, gate, args.refresh))
}

/// Labels, and whether they have events.
fn with_events(labels: &[String], thresholds: &[Option<Thresholds>]) -> Vec<(String, bool)> {
    labels.iter().cloned().zip(thresholds.iter().map(Option::is_some)).collect()
}

struct Watch<'a> {
    args: &'a Args,
    console: &'a Console,
    opened: &'a Opened,
    scorer: Scorer,
    events: Events,
    labels: Vec<String>,
    pictures: Pictures,
    /// Whether frames are picture files.
    coded: bool,
    recorder: Option<Recorder>,
    outputs: Outputs<'a>,
    heat: Option<Heat>,
    found: Vec<Event>,
    start: Instant,
    /// When time last went on for the events.
    stepped: Instant,
    /// The frame that was looked at last,
    last: Option<Frame>,
    /// and whether it can be shown.
    shown: bool,
    /// So many messages about frames may still come, and when that became more.
    may_still_say: u32,
    said: Instant,
    stats: Stats,
}

impl Watch<'_> {
    fn until_the_end(
        &mut self,
        mailbox: &Mailbox,
        signals: &Signals,
        mut manager: Manager,
    ) -> Result<(), Failure> {
        let (mut due, mut arrived, mut stalled) = (Instant::now(), Instant::now(), false);
        let every = self.args.fps.map(|fps| Duration::from_secs_f64(1.0 / fps));
        let mut back = None;
        loop {
            if signals.stop() {
                manager.tell("STOPPING=1");
                return Ok(());
            }
            if signals.reload() {
                self.reload(&manager)?;
            }
            manager.alive();
            self.tell(mailbox);
            let now = Instant::now();
            if self.too_hot() || now < due {
                let pause = if now < due { TICK.min(due - now) } else { TICK };
                thread::sleep(pause);
                self.idle()?;
                continue;
            }
            // The frame that is kept for its picture goes back when the next one is there.
            if back.is_none() {
                back = self.last.take();
            }
            match mailbox.take(&mut back, TICK) {
                Taken::Frame(frame) => {
                    if std::mem::take(&mut stalled) {
                        self.console.tell(format_args!("frames come again"));
                        self.outputs.available(true);
                    }
                    arrived = frame.arrived;
                    if let Some(every) = every {
                        due = (due + every).max(now);
                    }
                    self.frame(frame)?;
                }
                Taken::Nothing => {
                    self.last = back.take();
                    if !stalled && arrived.elapsed().as_secs_f64() > self.args.stall {
                        stalled = true;
                        self.console.warn(format_args!("no frame for {:.0} s", self.args.stall));
                        manager.tell("STATUS=no frames");
                        self.outputs.available(false);
                    }
                    self.idle()?;
                }
                Taken::End(result) => {
                    self.last = back.take();
                    manager.tell("STOPPING=1");
                    result?;
                    // A signal to all of a service ends the camera too.
                    let stopped = signals.stop();
                    return match mailbox.counts().read {
                        0 if !stopped => Err(Error::Message(NOTHING_CAME.into()).into()),
                        _ => Ok(()),
                    };
                }
            }
        }
    }

    /// Seconds of `frame`, or of now: since the start, or of a recording.
    fn time_of(&self, frame: &Frame) -> f64 {
        match self.args.recorded {
            Some(fps) => frame.index as f64 / fps,
            None => self.seconds(frame.arrived),
        }
    }

    fn seconds(&self, at: Instant) -> f64 {
        // As a recording has them, so that its events are the same.
        (at.saturating_duration_since(self.start).as_secs_f64() * 1e6).round() / 1e6
    }

    /// Scores `frame`, if it has changed, and tells what happens. A frame that cannot be used is told of and left out.
    fn frame(&mut self, frame: Frame) -> Result<(), Failure> {
        let (begin, time, first) = (Instant::now(), self.time_of(&frame), self.pictures.decoded_size());
        let looked = self.pictures.open(&frame).and_then(|view| self.scorer.look(&view, time));
        let (took, shown) = (begin.elapsed(), looked.is_ok());
        match looked {
            Err(error) => {
                self.stats.refused += 1;
                let error = match &frame.file {
                    Some(path) => error.in_file(path),
                    None => Error::Message(format!("frame {}: {error}; it is left out", frame.index)),
                };
                if self.may_say() {
                    self.console.complain(&error);
                }
            }
            Ok(Looked::Scored) => {
                self.stats.scored += 1;
                self.stats.scoring.add(took);
                self.record(frame.index, time, true);
                self.step(frame.index, time);
            }
            Ok(Looked::Unchanged) => {
                self.stats.unchanged += 1;
                self.stats.skipping.add(took);
                self.record(frame.index, time, false);
                self.step(frame.index, time);
            }
        }
        if let (true, None, Some((width, height))) = (self.coded, first, self.pictures.decoded_size()) {
            let kib = u64::from(width) * u64::from(height) * 3 / 1024;
            self.console.tell(format_args!(
                "frames of {width}x{height}; decoding takes {kib} KiB and more for each, and gives them back"
            ));
        }
        let arrived = frame.arrived;
        (self.last, self.shown) = (Some(frame), shown);
        self.stepped = Instant::now();
        let events = self.found.len();
        self.emit()?;
        (0..events).for_each(|_| self.stats.latency.add(arrived.elapsed()));
        Ok(())
    }

    fn step(&mut self, frame: u64, time: f64) {
        let found = &mut self.found;
        self.events.step(time, frame, self.scorer.scores(), &mut |event| found.push(event));
    }

    /// No new frame: time goes on where something depends on it. A recording has no other time than its frames'.
    fn idle(&mut self) -> Result<(), Failure> {
        let live = self.args.recorded.is_none() && self.scorer.has_scores();
        if !live || self.stepped.elapsed() < TICK || self.events.is_settled(self.scorer.scores()) {
            return Ok(());
        }
        self.stepped = Instant::now();
        let (frame, time) = (self.last.as_ref().map_or(0, |frame| frame.index), self.seconds(self.stepped));
        self.record(frame, time, false);
        self.step(frame, time);
        self.emit()
    }

    /// A recording that cannot be written ends, not what it records.
    fn record(&mut self, frame: u64, time: f64, scored: bool) {
        let Some(recorder) = &mut self.recorder else { return };
        if let Err(error) = recorder.frame(frame, time, scored.then(|| self.scorer.scores())) {
            self.console.complain(&error);
            self.console.warn(format_args!("the recording ends here"));
            self.recorder = None;
        }
    }

    /// Tells of what was found.
    fn emit(&mut self) -> Result<(), Failure> {
        for event in self.found.drain(..) {
            self.stats.events += 1;
            let time = match self.args.recorded {
                Some(_) => event.time,
                None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            };
            let picture = self.last.as_ref().filter(|_| self.shown).and_then(|frame| {
                let view = self.pictures.again(frame).ok()?;
                Some(Picture { file: self.coded.then_some(frame.bytes.as_slice()), view })
            });
            self.outputs.emit(&event, time, &self.labels[event.label], picture)?;
        }
        Ok(())
    }

    /// Reads the labels again. If that fails, those until now stay.
    fn reload(&mut self, manager: &Manager) -> Result<(), Failure> {
        let begin = Instant::now();
        let read = scorer(self.args, self.opened, self.console).and_then(|scorer| {
            let labels = scorer.names();
            let thresholds = self.args.rules.known_thresholds(&labels).map_err(Error::Message)?;
            Ok((scorer, labels, thresholds))
        });
        let (scorer, labels, thresholds) = match read {
            Ok(read) => read,
            Err(error) => {
                self.console.complain(&error);
                self.console.warn(format_args!("the labels stay as they were"));
                return Ok(());
            }
        };
        for name in self.args.rules.unknown(&labels) {
            self.console.warn(format_args!("there is no label {:?} any more", excerpt(name)));
        }
        let before: Vec<Option<usize>> =
            labels.iter().map(|label| self.labels.iter().position(|old| old == label)).collect();
        let with_events = with_events(&labels, &thresholds);
        let (frame, found) = (self.last.as_ref().map_or(0, |frame| frame.index), &mut self.found);
        self.events.relabel(thresholds, &before, frame, &mut |event| found.push(event));
        // What leaves has a name only until now.
        self.emit()?;
        (self.scorer, self.labels) = (scorer, labels);
        self.outputs.relabel(&with_events);
        if let Some(Err(error)) = self.recorder.as_mut().map(|recorder| recorder.labels(&self.labels)) {
            self.console.complain(&error);
            self.recorder = None;
        }
        let (count, ms) = (self.labels.len(), begin.elapsed().as_millis());
        self.console.tell(format_args!("the labels were read again: {count}, in {ms} ms"));
        manager.tell(&format!("STATUS=watching for {count} labels"));
        Ok(())
    }

    fn too_hot(&mut self) -> bool {
        let Some(heat) = &mut self.heat else { return false };
        let (hot, changed) = heat.look();
        if let Some(celsius) = changed {
            let what = if hot { "too hot: nothing is scored" } else { "cool enough: scoring goes on" };
            self.console.warn(format_args!("{celsius:.0} degrees Celsius, {what}"));
        }
        hot
    }

    /// Prints what the reader, programs and brokers have to say.
    fn tell(&mut self, mailbox: &Mailbox) {
        self.outputs.tell();
        for note in mailbox.notes() {
            if self.may_say() {
                self.console.warn(format_args!("{note}"));
            }
        }
    }

    /// Whether there may be another message about frames: a broken camera must not fill the log.
    fn may_say(&mut self) -> bool {
        if self.said.elapsed() > MESSAGES.1 {
            self.said = Instant::now();
            self.may_still_say = (self.may_still_say + 1).min(MESSAGES.0);
        }
        let may = self.may_still_say > 0;
        self.may_still_say -= u32::from(may);
        may
    }

    /// What is there leaves, everybody is told, and what was done is summed up.
    fn close(mut self, mailbox: &Mailbox, result: Result<(), Failure>) -> Result<ExitCode, Failure> {
        let result = result.and_then(|()| {
            let frame = self.last.as_ref().map_or(0, |frame| frame.index);
            let time = match (self.args.recorded, &self.last) {
                (Some(_), Some(frame)) => self.time_of(frame),
                _ => self.seconds(Instant::now()),
            };
            let found = &mut self.found;
            self.events.finish(time, frame, &mut |event| found.push(event));
            self.emit()
        });
        for note in mailbox.notes() {
            self.console.warn(format_args!("{note}"));
        }
        if let Some(Err(error)) = self.recorder.take().map(Recorder::finish) {
            self.console.complain(&error);
        }
        self.outputs.close();
        self.console.tell(format_args!("{}", self.stats.frames(mailbox.counts())));
        self.console.tell(format_args!("{}", self.stats.times()));
        result.map(|()| ExitCode::SUCCESS)
    }
}
