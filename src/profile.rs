//! Where the time goes: one timer per operation, in a fixed array.

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
    Fc1,
    Gate,
    HiddenRows,
    Fc2,
    Project,
}

impl Op {
    /// Every operation, in the order of the data path.
    pub const ALL: [Op; 15] = [
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
            Op::Fc1 => "fc1 + activation",
            Op::Gate => "gate",
            Op::HiddenRows => "quantize hidden",
            Op::Fc2 => "fc2",
            Op::Project => "pool + project",
        }
    }
}

/// What one operation has cost so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpTime {
    /// How often it ran.
    pub calls: u64,
    /// Wall-clock time.
    pub time: Duration,
    /// Multiply-accumulates, without padding.
    pub macs: u64,
}

/// Timers for every [`Op`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Profile {
    ops: [OpTime; Op::ALL.len()],
}

impl Profile {
    /// Runs `work` and books its time, and `macs`, under `op`.
    pub fn time<T>(&mut self, op: Op, macs: u64, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let entry = &mut self.ops[op as usize];
        entry.calls += 1;
        entry.time += start.elapsed();
        entry.macs += macs;
        result
    }

    /// What `op` has cost since the last [`clear`](Self::clear).
    pub fn op(&self, op: Op) -> OpTime {
        self.ops[op as usize]
    }

    /// Starts again from zero.
    pub fn clear(&mut self) {
        *self = Profile::default();
    }
}
