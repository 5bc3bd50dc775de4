//! An index of photos: find any of them by words, by other photos, or by both, on the machine that holds them.
//!
//! # The data path
//!
//! ```text
//! folders ─► walk ─► picture (bytes ─► hash, facts, frame) ─► update (encoder) ─► store: catalog + vectors
//! query (words, pictures) ─► search, duplicates ◄── store
//! ```
//!
//! Each module may use those above it in this table.
//!
//! | module | what it does |
//! |---|---|
//! | [`error`] | everything that can go wrong |
//! | [`vectors`] | one mapped, append-only file of checksummed rows |
//! | `catalog` | SQLite: which file shows which picture, and what is known of it |
//! | [`store`] | both together: what survives a crash, and how |
//! | `entries`, `content` | what is in a store, picture by picture; a picture's bytes |
//! | `maintain` | damage, and what is no longer there |
//! | [`walk`] | folders to files |
//! | [`phash`] | a picture's perceptual hash |
//! | `picture` | a file to its hash, its facts, and the frame that the model sees |
//! | `plan` | the folders compared with the catalog |
//! | [`update`] | brings a store up to date with the folders |
//! | [`query`], [`search`], [`duplicates`] | questions |
//!
//! # Words
//!
//! A *picture* is what a file's bytes show, known by their hash; a *file* is a place where it lies. A picture is embedded
//! once, however many files have it and wherever they are moved. A *row* is a picture's embedding in the files of vectors.

mod catalog;
mod content;
pub mod duplicates;
mod entries;
pub mod error;
mod maintain;
pub mod phash;
mod picture;
mod plan;
pub mod query;
pub mod search;
pub mod store;
pub mod update;
pub mod vectors;
pub mod walk;

pub use duplicates::{DuplicateOptions, Group};
pub use entries::Entry;
pub use error::{Error, Result};
pub use query::{Query, Term};
pub use search::{Filter, Hit, SearchOptions};
pub use store::{Identity, Store};
pub use update::{Event, Summary, UpdateOptions};
pub use walk::Walk;
