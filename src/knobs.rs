//! Every environment variable that ocelli reads, in one place.

use crate::error::{Error, Result};
use crate::format::Limits;
use crate::printable::excerpt;
use crate::runtime::{MAX_THREADS, RuntimeOptions, all_cortex_a55, default_threads};
use ocelli_kernels::Isa;
use std::path::PathBuf;
use std::string::String;

/// An environment variable: name and meaning.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// Instruction sets to use.
pub const ISA: Knob = Knob {
    name: "OCELLI_ISA",
    meaning: "instruction sets to use, joined by +: scalar, avx2, avxvnni, avx512vnni, amx, neon, dotprod, i8mm, fp16; \
              a leading + adds to the default, which is all that the CPU has but fp16: half-precision arithmetic \
              (+fp16) needs half the instructions for fp16 weights and rounds activations too",
};

/// The core that kernels are for.
pub const CORE: Knob = Knob {
    name: "OCELLI_CORE",
    meaning: "cortex-a55: kernels for that core, any: for all others; the results are the same (default: cortex-a55 where \
              all CPUs that this process may use are such)",
};

/// Threads to use.
pub const THREADS: Knob = Knob {
    name: "OCELLI_THREADS",
    meaning: "threads where a command is not given --threads (default: one for each CPU that this process may use)",
};

/// Whether weights are verified at start.
pub const VERIFY: Knob = Knob {
    name: "OCELLI_VERIFY",
    meaning: "0 skips the check of the weights' checksums when the command opens a model, which reads the whole file \
              (default: 1)",
};

/// How much a model may cost.
pub const MAX_COST: Knob = Knob {
    name: "OCELLI_MAX_COST",
    meaning: "a whole number by which all limits on what a model may cost (tokens, blocks, heads, arithmetic, memory) are \
              multiplied (default: 1)",
};

/// The model where none is named.
pub const MODEL: Knob = Knob {
    name: "OCELLI_MODEL",
    meaning: "the model of commands that are not given --model (default: the demo model)",
};

/// Largest picture to decode.
pub const MAX_PIXELS: Knob = Knob {
    name: "OCELLI_MAX_PIXELS",
    meaning: "largest picture that is decoded, in pixels, width times height (default: 64000000); decoding takes at most \
              10 bytes of memory for each of them",
};

/// Where the sensors are.
pub const SYSFS: Knob = Knob {
    name: "OCELLI_SYSFS",
    meaning: "the folder where clocks and temperatures are read, as Linux' sysfs has them; for containers that have it \
              elsewhere (default: /sys)",
};

/// All of them.
pub const ALL: [Knob; 8] = [MODEL, ISA, CORE, THREADS, VERIFY, MAX_COST, MAX_PIXELS, SYSFS];

impl Knob {
    /// The variable's value, if it is set and not empty.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn get(&self) -> Result<Option<String>> {
        match std::env::var(self.name) {
            Ok(value) if value.is_empty() => Ok(None),
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(self.refuse("what is not UTF-8", "text")),
        }
    }

    /// The error for a `value` that cannot be used.
    fn refuse(&self, value: &str, expected: impl Into<String>) -> Error {
        Error::Setting { name: self.name, value: excerpt(value).into(), expected: expected.into() }
    }
}

/// The instruction set that [`ISA`] asks for, or [`Isa::detect`].
///
/// # Errors
/// An unknown name, or one that this CPU lacks.
pub fn isa() -> Result<Isa> {
    let Some(names) = ISA.get()? else { return Ok(Isa::detect()) };
    Isa::select(&names)
        .map_err(|error| ISA.refuse(&names, std::format!("instruction sets of this CPU: {error}")))
}

/// The number of threads that [`THREADS`] asks for, or [`default_threads`].
///
/// # Errors
/// Not a number from 1 to [`MAX_THREADS`].
pub fn threads() -> Result<usize> {
    match THREADS.get()? {
        Some(value) => value
            .parse()
            .ok()
            .filter(|n| (1..=MAX_THREADS).contains(n))
            .ok_or_else(|| THREADS.refuse(&value, std::format!("1 to {MAX_THREADS} threads"))),
        None => Ok(default_threads().min(MAX_THREADS)),
    }
}

/// The [`Limits`], multiplied by what [`MAX_COST`] says.
///
/// # Errors
/// Not a whole number from 1.
pub fn limits() -> Result<Limits> {
    match MAX_COST.get()? {
        Some(value) => match value.parse() {
            Ok(factor) if factor > 0 => Ok(Limits::default().times(factor)),
            _ => Err(MAX_COST.refuse(&value, "a whole number from 1")),
        },
        None => Ok(Limits::default()),
    }
}

/// Whether [`VERIFY`] asks for verified weights.
///
/// # Errors
/// Neither 0 nor 1.
pub fn verify() -> Result<bool> {
    match VERIFY.get()?.as_deref() {
        None | Some("1") => Ok(true),
        Some("0") => Ok(false),
        Some(value) => Err(VERIFY.refuse(value, "0 or 1")),
    }
}

/// Whether kernels are for the Cortex-A55: as [`CORE`] says, or where all CPUs are such.
///
/// # Errors
/// Neither of the two words.
pub fn cortex_a55() -> Result<bool> {
    match CORE.get()?.as_deref() {
        None => Ok(all_cortex_a55()),
        Some("cortex-a55") => Ok(true),
        Some("any") => Ok(false),
        Some(value) => Err(CORE.refuse(value, "cortex-a55 or any")),
    }
}

/// Threads, instruction sets and the core as [`THREADS`], [`ISA`] and [`CORE`] say.
///
/// # Errors
/// One of them has an unusable value.
pub fn runtime_options() -> Result<RuntimeOptions> {
    Ok(RuntimeOptions::default().threads(threads()?).isa(isa()?).cortex_a55(cortex_a55()?))
}

/// The largest picture, in pixels, that [`MAX_PIXELS`] allows, if it is set.
///
/// # Errors
/// Not a number above zero.
pub fn max_pixels() -> Result<Option<u64>> {
    let Some(value) = MAX_PIXELS.get()? else { return Ok(None) };
    let pixels = value.parse().ok().filter(|&pixels| pixels > 0);
    pixels.ok_or_else(|| MAX_PIXELS.refuse(&value, "a number of pixels above 0")).map(Some)
}

/// The folder where the sensors are, as [`SYSFS`] names it, or `/sys`.
///
/// # Errors
/// Not UTF-8.
pub fn sysfs() -> Result<PathBuf> {
    Ok(SYSFS.get()?.unwrap_or_else(|| "/sys".into()).into())
}
