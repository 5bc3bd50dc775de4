//! Which instruction-set extensions this CPU has, and the proof of it.
//!
//! An [`Isa`] is a set of [`Feature`]s that can only be made from what the CPU reports (without `std`: from what the build
//! target promises) or from a subset of that. So holding one is the proof that its instructions may run.
//! [`Kernels::new`](crate::Kernels::new) takes one and is the only place where micro-kernels are chosen.

use core::fmt;

/// An extension that some kernel is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Feature {
    /// x86-64: AVX2 with FMA and F16C (Haswell, Zen and later).
    Avx2 = 1 << 0,
    /// x86-64: `vpdpbusd` on 256-bit registers (Alder Lake, Zen 5 and later).
    AvxVnni = 1 << 1,
    /// x86-64: AVX-512 F/BW/CD/DQ/VL with `vpdpbusd` (Ice Lake, Zen 4 and later).
    Avx512Vnni = 1 << 2,
    /// x86-64: AMX-INT8, matrix multiplication in tile registers (Sapphire Rapids and later, Linux). A process has to ask
    /// the system for the tiles' state, which the first detection does.
    Amx = 1 << 7,
    /// AArch64: Advanced SIMD, present on every ARMv8-A core (Cortex-A53, A72: Pi 3, Pi 4, Zero 2 W).
    Neon = 1 << 3,
    /// AArch64: SDOT (Cortex-A55, A76: Pi 5, RK3588).
    Dotprod = 1 << 4,
    /// AArch64: SMMLA (Cortex-A510, A710, Neoverse V1 and later).
    I8mm = 1 << 5,
    /// AArch64: half-precision arithmetic (Cortex-A55, A76 and later) for attention behind int8 weights, which round far more.
    Fp16Attention = 1 << 8,
    /// AArch64: half-precision arithmetic for f16 weights too. Only by request: it doubles their speed, and rounds their
    /// activations to half precision.
    Fp16 = 1 << 6,
}

impl Feature {
    /// Every feature, weakest first.
    pub const ALL: [Feature; 9] = [
        Feature::Avx2,
        Feature::AvxVnni,
        Feature::Avx512Vnni,
        Feature::Amx,
        Feature::Neon,
        Feature::Dotprod,
        Feature::I8mm,
        Feature::Fp16Attention,
        Feature::Fp16,
    ];

    /// The name used by `OCELLI_ISA` and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Feature::Avx2 => "avx2",
            Feature::AvxVnni => "avxvnni",
            Feature::Avx512Vnni => "avx512vnni",
            Feature::Amx => "amx",
            Feature::Neon => "neon",
            Feature::Dotprod => "dotprod",
            Feature::I8mm => "i8mm",
            Feature::Fp16Attention => "fp16attention",
            Feature::Fp16 => "fp16",
        }
    }

    /// The feature that kernels of this one also use.
    const fn base(self) -> Option<Feature> {
        match self {
            Feature::Avx2 | Feature::Neon => None,
            Feature::AvxVnni | Feature::Avx512Vnni => Some(Feature::Avx2),
            Feature::Amx => Some(Feature::Avx512Vnni),
            Feature::Dotprod | Feature::I8mm | Feature::Fp16Attention => Some(Feature::Neon),
            Feature::Fp16 => Some(Feature::Fp16Attention),
        }
    }

    /// The feature with all that it builds on, as bits of an [`Isa`].
    const fn with_bases(self) -> u32 {
        let (mut set, mut base) = (self as u32, self.base());
        while let Some(feature) = base {
            set |= feature as u32;
            base = feature.base();
        }
        set
    }

    /// Whether the feature has to be asked for by name, because it costs accuracy.
    pub const fn on_request(self) -> bool {
        matches!(self, Feature::Fp16)
    }

    fn is_detected(self) -> bool {
        #[cfg(all(target_arch = "x86_64", feature = "std"))]
        return match self {
            Feature::Avx2 => {
                std::is_x86_feature_detected!("avx2")
                    && std::is_x86_feature_detected!("fma")
                    && std::is_x86_feature_detected!("f16c")
                    // pulp's V3 token stands for all of x86-64-v3.
                    && std::is_x86_feature_detected!("bmi1")
                    && std::is_x86_feature_detected!("bmi2")
                    && std::is_x86_feature_detected!("lzcnt")
                    && std::is_x86_feature_detected!("popcnt")
            }
            Feature::AvxVnni => std::is_x86_feature_detected!("avxvnni"),
            Feature::Avx512Vnni => {
                std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512vl")
                    // pulp's V4 token stands for all of x86-64-v4.
                    && std::is_x86_feature_detected!("avx512cd")
                    && std::is_x86_feature_detected!("avx512dq")
                    && std::is_x86_feature_detected!("avx512vnni")
            }
            Feature::Amx => crate::x86_64::has_amx(),
            _ => false,
        };
        #[cfg(all(target_arch = "aarch64", feature = "std"))]
        return match self {
            Feature::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Feature::Dotprod => std::arch::is_aarch64_feature_detected!("dotprod"),
            Feature::I8mm => std::arch::is_aarch64_feature_detected!("i8mm"),
            Feature::Fp16Attention | Feature::Fp16 => std::arch::is_aarch64_feature_detected!("fp16"),
            _ => false,
        };
        // Without std there is nothing to ask: only what the build target promises.
        #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), feature = "std")))]
        return match self {
            Feature::Neon => cfg!(target_feature = "neon"),
            Feature::Dotprod => cfg!(target_feature = "dotprod"),
            Feature::I8mm => cfg!(target_feature = "i8mm"),
            Feature::Fp16Attention | Feature::Fp16 => cfg!(target_feature = "fp16"),
            Feature::Avx2 => {
                cfg!(all(
                    target_feature = "avx2",
                    target_feature = "fma",
                    target_feature = "f16c",
                    target_feature = "bmi1",
                    target_feature = "bmi2",
                    target_feature = "lzcnt",
                    target_feature = "popcnt"
                ))
            }
            Feature::AvxVnni => cfg!(target_feature = "avxvnni"),
            Feature::Avx512Vnni => cfg!(all(
                target_feature = "avx512f",
                target_feature = "avx512bw",
                target_feature = "avx512vl",
                target_feature = "avx512cd",
                target_feature = "avx512dq",
                target_feature = "avx512vnni"
            )),
            // The system has to be asked for the tiles, whatever the target promises.
            Feature::Amx => false,
        };
    }
}

/// A set of extensions that this CPU certainly has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(u32);

/// Why a requested instruction set can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsaError<'a> {
    /// No feature has this name.
    Unknown(&'a str),
    /// This CPU lacks the feature.
    Missing(Feature),
}

impl fmt::Display for IsaError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IsaError::Unknown(name) => {
                write!(f, "unknown instruction set '{name}'; known are scalar")?;
                Feature::ALL.iter().try_for_each(|feature| write!(f, ", {}", feature.name()))
            }
            IsaError::Missing(feature) => write!(f, "this CPU has no {}", feature.name()),
        }
    }
}

impl core::error::Error for IsaError<'_> {}

impl Isa {
    /// No extension at all: the portable reference kernels.
    pub const SCALAR: Isa = Isa(0);

    /// Everything that this CPU has.
    pub fn available() -> Isa {
        let detected = Feature::ALL.into_iter().filter(|f| f.is_detected()).fold(0, |set, f| set | f as u32);
        let whole = |feature: &Feature| feature.with_bases() & !detected == 0;
        Isa(Feature::ALL.into_iter().filter(whole).fold(0, |set, f| set | f as u32))
    }

    /// What to use unless somebody asks for something else: everything that this CPU has, without the features that
    /// cost accuracy ([`Feature::on_request`]).
    pub fn detect() -> Isa {
        let costly = Feature::ALL.into_iter().filter(|f| f.on_request()).fold(0, |set, f| set | f as u32);
        Isa(Isa::available().0 & !costly)
    }

    /// The features named in `names`, joined by `+` (`"neon+dotprod"`, `"avx2"`, `"scalar"`), each with what it
    /// builds on. A leading `+` (`"+fp16"`) adds them to what [`detect`](Self::detect) gives.
    ///
    /// # Errors
    /// A name that is unknown, or a feature that this CPU lacks.
    pub fn select(names: &str) -> Result<Isa, IsaError<'_>> {
        let available = Isa::available();
        let (mut set, names) =
            names.strip_prefix('+').map_or((Isa::SCALAR, names), |names| (Isa::detect(), names));
        for name in names.split('+').map(str::trim).filter(|&name| name != "scalar") {
            let feature =
                Feature::ALL.into_iter().find(|f| f.name() == name).ok_or(IsaError::Unknown(name))?;
            if !available.has(feature) {
                return Err(IsaError::Missing(feature));
            }
            set.0 |= feature.with_bases();
        }
        Ok(set)
    }

    /// Whether `feature` is in the set.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & feature as u32 != 0
    }

    /// The features of the set, weakest first.
    pub fn features(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |&f| self.has(f))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Isa::SCALAR {
            return f.write_str("scalar");
        }
        for (i, feature) in self.features().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { "+" }, feature.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_accuracy_is_there_by_request_only() {
        let (all, default) = (Isa::available(), Isa::detect());
        assert!(default.features().all(|feature| all.has(feature) && !feature.on_request()));
        for feature in all.features() {
            assert_eq!(default.has(feature), !feature.on_request());
            let added = std::format!("+{}", feature.name());
            assert_eq!(Isa::select(&added), Ok(Isa(default.0 | feature as u32)), "{added}");
        }
        assert_eq!(Isa::select("+scalar"), Ok(default));
        assert_eq!(Isa::select("scalar"), Ok(Isa::SCALAR));
        assert_eq!(Isa::select("+bogus"), Err(IsaError::Unknown("bogus")));
        assert_eq!(Isa::select(""), Err(IsaError::Unknown("")));
    }
}
