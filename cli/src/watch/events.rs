//! From scores over time to events, and nothing else: no clock, no file, no picture. What is live, what is replayed and
//! what is calibrated goes through here.

/// Frame times are rounded: so many seconds are no difference.
const ROUNDING: f64 = 1e-6;
/// A smoothed score this close to the last one has arrived there.
const ARRIVED: f64 = 1e-3;

/// Between which scores a label stays what it is (hysteresis).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Thresholds {
    /// A label enters when its score reaches this,
    pub(crate) enter: f32,
    /// and leaves when it falls below this.
    pub(crate) leave: f32,
}

/// Durations in seconds, the same for all labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Timing {
    /// Time constant of the exponential mean over scores.
    pub(crate) smoothing: f64,
    /// How long a score must be beyond the threshold.
    pub(crate) min_duration: f64,
    /// How long after it left a label does not enter again.
    pub(crate) cool_down: f64,
}

/// A label enters or leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Event {
    /// Index of the label.
    pub(crate) label: usize,
    pub(crate) entered: bool,
    /// The smoothed score.
    pub(crate) score: f32,
    /// Seconds, as they were given.
    pub(crate) time: f64,
    /// The frame that was looked at last.
    pub(crate) frame: u64,
    /// It leaves because nothing comes any more.
    pub(crate) at_end: bool,
}

/// The exponential mean of a score over time. What lies between two steps counts as the later score, so that the result
/// depends on time and not on how many frames there were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Smoother {
    value: Option<f64>,
}

impl Smoother {
    /// The mean after `elapsed` seconds with `score`; the first score is taken as it is.
    pub(crate) fn step(&mut self, score: f32, elapsed: f64, smoothing: f64) -> f32 {
        let score = f64::from(score);
        let value = match self.value {
            Some(value) if smoothing > 0.0 => value + (score - value) * -(-elapsed / smoothing).exp_m1(),
            _ => score,
        };
        self.value = Some(value);
        value as f32
    }
}

/// Whether a label is there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Switch {
    pub(crate) inside: bool,
    /// Since when its score has been beyond the threshold.
    beyond_since: Option<f64>,
    left: Option<f64>,
}

impl Switch {
    /// Whether it enters (true) or leaves (false) with this score at this time.
    pub(crate) fn step(
        &mut self,
        thresholds: &Thresholds,
        timing: &Timing,
        time: f64,
        score: f32,
    ) -> Option<bool> {
        let beyond = match self.inside {
            true => score < thresholds.leave,
            false => score >= thresholds.enter && !self.cools_down(timing, time),
        };
        if !beyond {
            self.beyond_since = None;
            return None;
        }
        let since = *self.beyond_since.get_or_insert(time);
        if time - since + ROUNDING < timing.min_duration {
            return None;
        }
        self.beyond_since = None;
        self.inside = !self.inside;
        if !self.inside {
            self.left = Some(time);
        }
        Some(self.inside)
    }

    fn cools_down(&self, timing: &Timing, time: f64) -> bool {
        self.left.is_some_and(|left| time - left + ROUNDING < timing.cool_down)
    }
}

/// What is known of a label.
#[derive(Clone, Copy, Debug)]
struct Label {
    /// `None`: it is only there to compare others with.
    thresholds: Option<Thresholds>,
    smoother: Smoother,
    switch: Switch,
}

/// All labels over time.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    timing: Timing,
    labels: Vec<Label>,
    time: Option<f64>,
}

impl Events {
    /// No label is there yet. One without thresholds has no events.
    pub(crate) fn new(timing: Timing, thresholds: impl IntoIterator<Item = Option<Thresholds>>) -> Events {
        let label =
            |thresholds| Label { thresholds, smoother: Smoother::default(), switch: Switch::default() };
        Events { timing, labels: thresholds.into_iter().map(label).collect(), time: None }
    }

    /// From now on the labels have these `scores`, one for each; `frame` is where they come from. Time does not run
    /// backwards: an earlier one counts as the last. Allocates nothing.
    pub(crate) fn step(&mut self, time: f64, frame: u64, scores: &[f32], emit: &mut dyn FnMut(Event)) {
        let time = self.time.map_or(time, |last| time.max(last));
        let elapsed = self.time.map_or(0.0, |last| time - last);
        self.time = Some(time);
        for (index, (label, &score)) in self.labels.iter_mut().zip(scores).enumerate() {
            let Some(thresholds) = label.thresholds else { continue };
            let score = label.smoother.step(score, elapsed, self.timing.smoothing);
            if let Some(entered) = label.switch.step(&thresholds, &self.timing, time, score) {
                emit(Event { label: index, entered, score, time, frame, at_end: false });
            }
        }
    }

    /// Nothing comes any more: what is there leaves.
    pub(crate) fn finish(&mut self, time: f64, frame: u64, emit: &mut dyn FnMut(Event)) {
        for index in 0..self.labels.len() {
            self.remove(index, time, frame, emit);
        }
    }

    fn remove(&mut self, index: usize, time: f64, frame: u64, emit: &mut dyn FnMut(Event)) {
        let time = self.time.map_or(time, |last| time.max(last));
        let label = &mut self.labels[index];
        if std::mem::take(&mut label.switch.inside) {
            let score = label.smoother.value.unwrap_or_default() as f32;
            emit(Event { label: index, entered: false, score, time, frame, at_end: true });
        }
    }

    /// Whether more time with the same `scores` changes nothing: no duration is running, no mean on its way.
    pub(crate) fn is_settled(&self, scores: &[f32]) -> bool {
        let time = self.time.unwrap_or_default();
        self.labels.iter().zip(scores).all(|(label, &score)| {
            let Some(thresholds) = label.thresholds else { return true };
            let arrived = label.smoother.value.is_none_or(|value| (value - f64::from(score)).abs() < ARRIVED);
            let waits = label.switch.cools_down(&self.timing, time) && score >= thresholds.enter;
            arrived && label.switch.beyond_since.is_none() && !waits
        })
    }

    /// Other labels from now on: `before` says which of the labels until now a new one was. What is there of the labels
    /// that are gone leaves.
    pub(crate) fn relabel(
        &mut self,
        thresholds: Vec<Option<Thresholds>>,
        before: &[Option<usize>],
        frame: u64,
        emit: &mut dyn FnMut(Event),
    ) {
        let time = self.time.unwrap_or_default();
        for index in 0..self.labels.len() {
            let kept = before
                .iter()
                .zip(&thresholds)
                .any(|(before, thresholds)| *before == Some(index) && thresholds.is_some());
            if !kept {
                self.remove(index, time, frame, emit);
            }
        }
        let mut labels = Events::new(self.timing, thresholds).labels;
        for (label, before) in labels.iter_mut().zip(before) {
            if let Some(old) = before.and_then(|before| self.labels.get(before)) {
                (label.smoother, label.switch) = (old.smoother, old.switch);
            }
        }
        self.labels = labels;
    }

    /// Whether the label is there.
    #[cfg(test)]
    fn is_inside(&self, label: usize) -> bool {
        self.labels.get(label).is_some_and(|label| label.switch.inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Timing = Timing { smoothing: 0.0, min_duration: 0.0, cool_down: 0.0 };
    const HALF: Option<Thresholds> = Some(Thresholds { enter: 0.6, leave: 0.4 });

    /// What happens with these scores of one label, at `rate` frames per second: frames, and whether it entered.
    fn events(timing: Timing, rate: f64, scores: &[f32]) -> Vec<(u64, bool)> {
        let (mut events, mut found) = (Events::new(timing, [HALF]), Vec::new());
        for (frame, &score) in scores.iter().enumerate() {
            let mut emit = |event: Event| found.push((event.frame, event.entered));
            events.step(frame as f64 / rate, frame as u64, &[score], &mut emit);
        }
        found
    }

    #[test]
    fn between_the_thresholds_nothing_changes() {
        let scores = [0.5, 0.59, 0.6, 0.5, 0.41, 0.4, 0.399, 0.5, 0.59, 0.7];
        assert_eq!(events(PLAIN, 1.0, &scores), [(2, true), (6, false), (9, true)]);
    }

    #[test]
    fn a_state_must_last() {
        let timing = Timing { min_duration: 0.3, ..PLAIN };
        // Two frames of ten per second are no 0.3 s, and what is interrupted starts again.
        let scores = [0.0, 0.9, 0.9, 0.9, 0.0, 0.9, 0.9, 0.9, 0.9, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(events(timing, 10.0, &scores), [(8, true), (16, false)]);
    }

    #[test]
    fn a_label_that_left_stays_away_while_it_cools_down() {
        let timing = Timing { cool_down: 0.5, ..PLAIN };
        let scores = [0.9, 0.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.0];
        assert_eq!(events(timing, 10.0, &scores), [(0, true), (1, false), (6, true), (7, false)]);
        // The time above the threshold counts from the end of the cooling on.
        let timing = Timing { min_duration: 0.1, ..timing };
        let scores = [0.9, 0.9, 0.0, 0.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9];
        assert_eq!(events(timing, 10.0, &scores), [(1, true), (3, false), (9, true)]);
    }

    #[test]
    fn the_mean_follows_the_exponential_and_not_the_number_of_frames() {
        let after = |steps: u32| {
            let mut smoother = Smoother::default();
            smoother.step(0.0, 0.0, 2.0);
            (0..steps).map(|_| smoother.step(1.0, 3.0 / f64::from(steps), 2.0)).last().unwrap()
        };
        let right = 1.0 - (-1.5f32).exp();
        for steps in [1, 2, 30, 1000] {
            assert!((after(steps) - right).abs() < 1e-6, "{steps}: {} and not {right}", after(steps));
        }
        let timing = Timing { smoothing: 1.0, ..PLAIN };
        // From 0 to 1: 0.6 is reached after -ln(0.4) = 0.92 s, and from there 0.4 after another 0.41 s.
        let scores: Vec<f32> = (0..30).map(|i| if (1..=10).contains(&i) { 1.0 } else { 0.0 }).collect();
        assert_eq!(events(timing, 10.0, &scores), [(10, true), (15, false)]);
    }

    #[test]
    fn time_that_runs_backwards_counts_as_standing_still() {
        let timing = Timing { min_duration: 1.0, ..PLAIN };
        let (mut events, mut found) = (Events::new(timing, [HALF]), Vec::new());
        for (time, frame) in [(10.0, 0), (3.0, 1), (10.9, 2), (11.0, 3)] {
            events.step(time, frame, &[0.9], &mut |event| found.push((event.frame, event.time)));
        }
        assert_eq!(found, [(3, 11.0)]);
    }

    #[test]
    fn labels_are_independent_and_some_are_only_for_comparison() {
        let (mut events, mut found) = (Events::new(PLAIN, [HALF, None, HALF]), Vec::new());
        for (frame, scores) in [[0.9, 0.9, 0.0], [0.9, 0.0, 0.7], [0.1, 0.9, 0.7]].iter().enumerate() {
            let mut emit = |event: Event| found.push((event.label, event.frame, event.entered));
            events.step(frame as f64, frame as u64, scores, &mut emit);
        }
        assert_eq!(found, [(0, 0, true), (2, 1, true), (0, 2, false)]);
        assert!(!events.is_inside(0) && !events.is_inside(1) && events.is_inside(2));
        found.clear();
        events.finish(3.0, 2, &mut |event| found.push((event.label, event.frame, event.at_end)));
        events.finish(3.0, 2, &mut |event| found.push((event.label, event.frame, event.at_end)));
        assert_eq!(found, [(2, 2, true)]);
    }

    #[test]
    fn what_still_runs_is_not_settled() {
        let timing = Timing { smoothing: 0.0, min_duration: 1.0, cool_down: 3.0 };
        let mut events = Events::new(timing, [HALF]);
        let mut step = |time, score| {
            events.step(time, 0, &[score], &mut |_| ());
            events.is_settled(&[score])
        };
        assert!(step(0.0, 0.0));
        assert!(!step(1.0, 0.9), "it has begun to enter");
        assert!(step(2.0, 0.9), "it is in");
        assert!(!step(3.0, 0.1), "it has begun to leave");
        assert!(step(4.0, 0.1), "it is out");
        assert!(!step(5.0, 0.9), "it waits for the end of the cooling");
        let mut slow = Events::new(Timing { smoothing: 1.0, ..PLAIN }, [HALF]);
        slow.step(0.0, 0, &[0.0], &mut |_| ());
        slow.step(1.0, 0, &[0.3], &mut |_| ());
        assert!(!slow.is_settled(&[0.3]));
        slow.step(9.0, 0, &[0.3], &mut |_| ());
        assert!(slow.is_settled(&[0.3]));
    }

    #[test]
    fn labels_that_are_kept_keep_their_state() {
        let mut events = Events::new(PLAIN, [HALF, HALF, HALF]);
        events.step(0.0, 7, &[0.9, 0.9, 0.0], &mut |_| ());
        let mut found = Vec::new();
        // The new labels: the old second, one that is new.
        events.relabel(vec![HALF, HALF], &[Some(1), None], 8, &mut |event| found.push(event));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].label, found[0].entered, found[0].frame), (0, false, 8));
        assert!(events.is_inside(0) && !events.is_inside(1));
        found.clear();
        events.step(1.0, 9, &[0.9, 0.9], &mut |event| found.push(event));
        assert_eq!(found.iter().map(|event| event.label).collect::<Vec<_>>(), [1]);
    }

    /// Days of frames: no state is lost, no time drifts.
    #[test]
    fn two_million_frames_miss_no_exit() {
        let timing = Timing { smoothing: 0.2, min_duration: 0.1, cool_down: 0.0 };
        let (mut events, mut at) = (Events::new(timing, [HALF]), Vec::new());
        for frame in 0..2_000_000u64 {
            let score = if frame / 1000 % 2 == 1 { 0.9 } else { 0.1 };
            events.step(frame as f64 / 25.0, frame, &[score], &mut |event| at.push(event.frame));
        }
        assert_eq!(at.len(), 1999);
        let delays: Vec<u64> = at.iter().map(|frame| frame % 1000).collect();
        assert!(delays.iter().all(|delay| (delays[0]..=delays[0] + 1).contains(delay)), "{:?}", &delays[..9]);
    }
}
