//! GEMM, attention and element-wise kernels for Vision Transformers on small CPUs.
//!
//! This crate knows no model, no file and no thread, needs no `std` and never allocates. It is read in this order:
//!
//! * [`isa`]: which extensions the CPU has; an [`Isa`] is the proof.
//! * [`layout`], [`weights`]: how packed weight matrices lie in memory.
//! * [`activations`]: how the left operand of a GEMM lies in memory, written row by row.
//! * [`Kernels`]: the table of function pointers, filled once for an [`Isa`].
//! * [`gemm`], [`attention`]: the loops around the table's micro-kernels; portable, safe to call.
//! * `scalar`: the specification of every micro-kernel, and the fallback. `vector` (element-wise f32 work, written
//!   once over `pulp`), `x86_64` and `aarch64` replace what they do better.
//!
//! int8 products accumulate exactly in i32, so every instruction set gives the scalar result to the bit.

#![no_std]

#[cfg(feature = "std")]
extern crate std;

pub mod activations;
pub mod attention;
pub mod gemm;
pub mod isa;
pub mod layout;
pub mod matrix;
pub mod weights;

mod peak;
mod prefetch;
mod table;

mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use activations::{RowFormat, Rows, RowsMut};
pub use attention::Attention;
pub use gemm::{Epilogue, Gemm, GemmScratch};
pub use isa::{Feature, Isa, IsaError};
pub use matrix::{Mat, MatMut};
pub use table::{Activation, Kernels};
pub use weights::{Weights, WeightsFloat, WeightsI8};
