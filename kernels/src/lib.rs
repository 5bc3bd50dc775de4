//! GEMM, attention and element-wise kernels for Vision Transformers on small CPUs.
//!
//! This crate knows no model, no file and no thread, needs no `std` and never allocates. It is read in this order, in
//! which no file uses one that comes after it:
//!
//! * [`isa`]: which extensions the CPU has; an [`Isa`] is the proof.
//! * [`pack`]: how both operands of a GEMM lie in memory; [`matrix`]: views of plain f32 matrices.
//! * `table`: the contract of each kind of micro-kernel.
//! * `scalar`: the specification of every micro-kernel, and the fallback. `simd` (element-wise f32 work, written once over
//!   `pulp`), `x86_64` and `aarch64` replace what they do better, in files of the same names.
//! * [`Kernels`]: the table, filled once for an [`Isa`].
//! * [`gemm`], [`attention`], `scan`, and the methods of [`Kernels`] for everything else: the loops around the micro-kernels;
//!   portable, and safe to call with any arguments: what does not fit panics.
//!
//! int8 products accumulate exactly in i32, so every instruction set gives the scalar sums to the bit. Which memory a
//! micro-kernel may touch is settled by sizes, never by the values of its operands: whatever bytes weights hold, nothing
//! outside is read or written.
//!
//! # Words
//!
//! The words are those of BLIS (Van Zee & van de Geijn, 2015) and of gemmlowp.
//!
//! | Word | Meaning |
//! |---|---|
//! | micro-kernel | the innermost loop over `k`, for one output tile; sums stay in registers |
//! | LHS, RHS | the left operand (activations, [`pack::Lhs`]) and the right one (weights, [`Weights`]) |
//! | MR, NR | rows and columns of an output tile; int8 has [`pack::MR`], floats what their micro-kernel has; all have [`pack::NR`] |
//! | KR | consecutive `k` of one row that are read at once: 4, 8 for SMMLA, 16 for NEON, 64 for AMX |
//! | LHS panel, RHS panel | MR rows, or NR channels, of all `k`, packed |
//! | tile | MR × NR of the output |
//! | span, KC, MC | a range of `k`, its largest length, and the most rows whose sums wait between two spans |
//! | zero point | the code that stands for 0, of each row of activations its own |
//! | remainder | what rounding to int8 takes off a row of activations, packed as a row of its own |
//! | block | columns of a plain matrix that lie together ([`matrix`]), or the rows of MC |
//! | repack | to write an RHS panel again, in a form that one micro-kernel reads faster |
//! | unroll | to compute several vectors in lockstep |
//!
//! # Names of micro-kernels
//!
//! ```text
//! TYPE_gemm_MRxNR[cKR]_ISA[_INSTRUCTION]       i8_gemm_6x16c4_avxvnni_dpbusd, i8_gemm_6x16c4_dotprod_a55
//! i8_scan_ROWSxQUERIES_ISA                     i8_scan_4x2_neon
//! ```
//!
//! TYPE is the type of the weights (`i8`, `f16`, `f32`). MRxNR is the largest tile that it computes at once, which may be
//! several panels wide or high. `cKR`, for int8 only, is KR of its LHS. ISA is `scalar`, `avx2`, `avxvnni`, `avx512`,
//! `avx512vnni`, `amx`, `neon`, `dotprod`, `i8mm` or `fp16`. INSTRUCTION, on x86-64, is the one that multiplies; on AArch64 it is the
//! core that the order of instructions is for, if there is one.

#![no_std]

#[cfg(feature = "std")]
extern crate std;

pub mod attention;
pub mod gemm;
pub mod isa;
pub mod matrix;
pub mod pack;

mod alibi;
mod elementwise;
mod kernels;
mod pack_lhs;
mod peak;
mod prefetch;
mod scan;
mod table;

mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod simd;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use attention::{Attention, Operands, Tokens};
pub use gemm::{Epilogue, Gemm, GemmScratch, Remainders};
pub use isa::{Feature, Isa, IsaError};
pub use kernels::Kernels;
pub use matrix::{Mat, MatMut};
pub use pack::{Lhs, LhsFormat, LhsMut, RowScale, Weights, WeightsFloat, WeightsI8};
pub use table::{Activation, Vectorized};
