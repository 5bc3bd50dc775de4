//! Where the time goes: one timer per operation, in a fixed array. [`Peaks`](crate::runtime::Peaks)
//! is what the machine could do.

use core::ops::AddAssign;
use core::time::Duration;
use std::time::Instant;

/// An operation that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`name` says what each is")]
pub enum Op {
    Resize,
    PatchRows,
    PatchEmbed,
    TokenEmbed,
    Norm,
    Qkv,
    Rotate,
    Attention,
    AttentionRows,
    Out,
    Merge,
    Fc1,
    Gate,
    HiddenRows,
    Fc2,
    Project,
}

impl Op {
    /// Every operation, in the order of the data path.
    pub const ALL: [Op; 16] = [
        Op::Resize,
        Op::PatchRows,
        Op::PatchEmbed,
        Op::TokenEmbed,
        Op::Norm,
        Op::Qkv,
        Op::Rotate,
        Op::Attention,
        Op::AttentionRows,
        Op::Out,
        Op::Merge,
        Op::Fc1,
        Op::Gate,
        Op::HiddenRows,
        Op::Fc2,
        Op::Project,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Resize => "resize",
            Op::PatchRows => "patch rows",
            Op::PatchEmbed => "patch embed",
            Op::TokenEmbed => "token embed",
            Op::Norm => "norm + quantize",
            Op::Qkv => "qkv",
            Op::Rotate => "rotate q and k",
            Op::Attention => "attention",
            Op::AttentionRows => "quantize attention",
            Op::Out => "attention out",
            Op::Merge => "merge tokens",
            Op::Fc1 => "fc1 + activation",
            Op::Gate => "gate",
            Op::HiddenRows => "quantize hidden",
            Op::Fc2 => "fc2",
            Op::Project => "pool + project",
        }
    }
}

/// What an operation has to do at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// int8 multiply-accumulates, without padding.
    pub macs_i8: u64,
    /// Multiply-accumulates of floats, without padding.
    pub macs_float: u64,
    /// Bytes of weights read and of activations read and written, each once per call as the plan moves them. The few KB
    /// of LayerNorm's parameters and of positions are left out.
    pub bytes: u64,
}

impl Work {
    /// Moving `bytes`, without multiplications.
    pub const fn moved(bytes: usize) -> Work {
        Work { macs_i8: 0, macs_float: 0, bytes: bytes as u64 }
    }

    /// Multiply-accumulates of both kinds.
    pub const fn macs(&self) -> u64 {
        self.macs_i8 + self.macs_float
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.macs_i8 += other.macs_i8;
        self.macs_float += other.macs_float;
        self.bytes += other.bytes;
    }
}

/// What one operation has cost so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpTime {
    /// How often it ran.
    pub calls: u64,
    /// Wall-clock time.
    pub time: Duration,
    /// What it did in that time.
    pub work: Work,
}

/// Timers for every [`Op`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Profile {
    ops: [OpTime; Op::ALL.len()],
}

impl Profile {
    /// Calls `run`, which does `work`, and books both its time and its work under `op`.
    pub fn time<T>(&mut self, op: Op, work: Work, run: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = run();
        let entry = &mut self.ops[op as usize];
        entry.calls += 1;
        entry.time += start.elapsed();
        entry.work += work;
        result
    }

    /// What `op` has cost since the last [`clear`](Self::clear).
    pub fn op(&self, op: Op) -> OpTime {
        self.ops[op as usize]
    }

    /// What all operations did since then.
    pub fn work(&self) -> Work {
        let mut all = Work::default();
        self.ops.iter().for_each(|op| all += op.work);
        all
    }

    /// Starts again from zero.
    pub fn clear(&mut self) {
        *self = Profile::default();
    }
}
