//! What other threads have to say to the user.

use std::fmt::Arguments;
use std::sync::{Arc, Mutex, PoisonError};

/// So many messages are kept until they are asked for; more are dropped.
const MOST: usize = 32;

/// A list of messages that threads share.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(super) fn add(&self, message: Arguments<'_>) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < MOST {
            notes.push(message.to_string());
        }
    }

    /// What was said since the last time.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
