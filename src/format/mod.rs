//! The packed file, `.ocelli`.

mod config;

pub use config::*;
