//! What both towers are made of: linear layers, attention and the transformer block, on a team of threads.

mod block;
mod forward;
mod gate;
mod mean;
mod merge;
mod orders;
pub mod rope;
mod stage;

pub(crate) use block::{Course, Shape, activation, block};
pub(crate) use forward::{Forward, RowBuffer, ThreadScratch};
pub(crate) use mean::mean;
pub(crate) use merge::{MergeBuffers, MergePlan, Merger};
pub(crate) use orders::Orders;
pub(crate) use stage::show;
pub use stage::{Observer, Stage, Tap};
