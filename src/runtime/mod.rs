//! Memory and threads, settled before the first frame: every buffer is named, sized and placed in one [`Arena`], and
//! the [`Team`] is made.

#[expect(unsafe_code, reason = "owns raw memory")]
mod arena;
#[expect(unsafe_code, reason = "asks the system where threads may run")]
mod cores;
mod cpu;
mod layout;
#[expect(unsafe_code, reason = "hands a borrowed closure to its threads")]
mod team;

pub use arena::{ALIGN, Arena};
pub use cores::{cpus, default_threads};
pub use cpu::{Cpu, describe};
pub use layout::{Buffer, Carver, Plan};
pub use team::{MAX_THREADS, Team};
