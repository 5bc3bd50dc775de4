//! Where frames wait: always the newest one, so that a slow model drops frames instead of falling behind; or, for
//! recordings, each of them.

use ocelli::Result;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One is filled, one waits, one is looked at.
const FRAMES: usize = 3;

/// A frame's bytes as they came, in memory that is used again.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    /// Which of the source's frames it is, from 0.
    pub(crate) index: u64,
    /// When its last byte was there.
    pub(crate) arrived: Instant,
    /// The file that it was read from.
    pub(crate) file: Option<PathBuf>,
}

/// What a look into the mailbox finds.
#[derive(Debug)]
pub(crate) enum Taken {
    Frame(Frame),
    /// No new one in time.
    Nothing,
    /// Nothing comes any more.
    End(Result<()>),
}

/// What has happened to frames.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Read whole.
    pub(crate) read: u64,
    /// Replaced by newer ones before they were looked at.
    pub(crate) dropped: u64,
    /// Cut off or torn; not among those that were read.
    pub(crate) damaged: u64,
}

#[derive(Debug)]
struct State {
    free: Vec<Frame>,
    ready: Option<Frame>,
    end: Option<Result<()>>,
    counts: Counts,
    /// What the reader has to say.
    notes: Vec<String>,
    closed: bool,
}

/// Between the thread that reads and the one that looks.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
    every: bool,
}

/// What the reader says is kept until it is asked for, but not more than so many messages.
const NOTES: usize = 16;

impl Mailbox {
    /// Frames of at most `capacity` bytes fit without more memory. With `every`, no frame is dropped: the source waits.
    pub(crate) fn new(capacity: usize, every: bool) -> Mailbox {
        let frame =
            || Frame { bytes: Vec::with_capacity(capacity), index: 0, arrived: Instant::now(), file: None };
        let state = State {
            free: (0..FRAMES).map(|_| frame()).collect(),
            ready: None,
            end: None,
            counts: Counts::default(),
            notes: Vec::new(),
            closed: false,
        };
        Mailbox { state: Mutex::new(state), changed: Condvar::new(), every }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reader: a frame to fill; `None` when nobody looks any more.
    pub(crate) fn blank(&self) -> Option<Frame> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(frame) = state.free.pop() {
                return Some(frame);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reader: `frame` is whole.
    pub(crate) fn post(&self, mut frame: Frame) {
        let mut state = self.lock();
        while self.every && state.ready.is_some() && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        frame.index = state.counts.read;
        frame.arrived = Instant::now();
        state.counts.read += 1;
        if let Some(old) = state.ready.replace(frame) {
            state.counts.dropped += 1;
            state.free.push(old);
        }
        self.changed.notify_all();
    }

    /// Reader: `frame` was not needed.
    pub(crate) fn give_back(&self, frame: Frame) {
        self.lock().free.push(frame);
        self.changed.notify_all();
    }

    /// Reader: bytes were no whole frame.
    pub(crate) fn damaged(&self, why: std::fmt::Arguments<'_>) {
        let mut state = self.lock();
        state.counts.damaged += 1;
        note(&mut state, why);
    }

    /// Reader: something that the user should know.
    pub(crate) fn note(&self, message: std::fmt::Arguments<'_>) {
        note(&mut self.lock(), message);
    }

    /// Reader: nothing comes any more.
    pub(crate) fn end(&self, result: Result<()>) {
        self.lock().end = Some(result);
        self.changed.notify_all();
    }

    /// The newest frame, if one comes in time. The one that was taken before is given `back`.
    pub(crate) fn take(&self, back: &mut Option<Frame>, timeout: Duration) -> Taken {
        let until = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(frame) = state.ready.take() {
                if let Some(frame) = back.take() {
                    state.free.push(frame);
                }
                self.changed.notify_all();
                return Taken::Frame(frame);
            }
            if let Some(result) = state.end.take() {
                return Taken::End(result);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What has happened until now.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// What the reader has said since the last time.
    pub(crate) fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().notes)
    }

    /// Nobody looks any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

fn note(state: &mut State, message: std::fmt::Arguments<'_>) {
    if state.notes.len() < NOTES {
        state.notes.push(message.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn post(mailbox: &Mailbox, byte: u8) {
        let mut frame = mailbox.blank().unwrap();
        frame.bytes.clear();
        frame.bytes.push(byte);
        mailbox.post(frame);
    }

    fn taken(mailbox: &Mailbox, back: &mut Option<Frame>) -> Option<(u8, u64)> {
        match mailbox.take(back, Duration::from_millis(1)) {
            Taken::Frame(frame) => {
                let found = (frame.bytes[0], frame.index);
                *back = Some(frame);
                Some(found)
            }
            Taken::Nothing | Taken::End(_) => None,
        }
    }

    #[test]
    fn the_newest_frame_is_taken_and_the_memory_is_used_again() {
        let (mailbox, mut back) = (Mailbox::new(8, false), None);
        assert_eq!(taken(&mailbox, &mut back), None);
        post(&mailbox, 0);
        assert_eq!(taken(&mailbox, &mut back), Some((0, 0)));
        (1..100).for_each(|byte| post(&mailbox, byte));
        assert_eq!(taken(&mailbox, &mut back), Some((99, 99)));
        assert_eq!(mailbox.counts(), Counts { read: 100, dropped: 98, damaged: 0 });
        assert_eq!(taken(&mailbox, &mut back), None);
        mailbox.end(Ok(()));
        assert!(matches!(mailbox.take(&mut back, Duration::from_secs(9)), Taken::End(Ok(()))));
    }

    #[test]
    fn of_a_recording_every_frame_is_taken() {
        let mailbox = Arc::new(Mailbox::new(8, true));
        let writer = Arc::clone(&mailbox);
        let thread = std::thread::spawn(move || {
            (0..50).for_each(|byte| post(&writer, byte));
            writer.end(Ok(()));
        });
        let (mut back, mut found) = (None, Vec::new());
        loop {
            match mailbox.take(&mut back, Duration::from_secs(9)) {
                Taken::Frame(frame) => {
                    found.push(frame.bytes[0]);
                    back = Some(frame);
                }
                Taken::End(_) => break,
                Taken::Nothing => panic!("nothing came"),
            }
        }
        thread.join().unwrap();
        assert_eq!(found, (0..50).collect::<Vec<u8>>());
        assert_eq!(mailbox.counts().dropped, 0);
    }

    #[test]
    fn a_reader_that_nobody_listens_to_ends() {
        let mailbox = Arc::new(Mailbox::new(8, true));
        let writer = Arc::clone(&mailbox);
        let thread = std::thread::spawn(move || {
            while let Some(frame) = writer.blank() {
                writer.post(frame);
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        mailbox.close();
        thread.join().unwrap();
    }

    #[test]
    fn messages_are_bounded() {
        let mailbox = Mailbox::new(8, false);
        (0..1000).for_each(|i| mailbox.damaged(format_args!("{i}")));
        assert_eq!(mailbox.notes().len(), NOTES);
        assert_eq!((mailbox.notes().len(), mailbox.counts().damaged), (0, 1000));
    }
}
