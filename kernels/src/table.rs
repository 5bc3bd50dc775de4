//! What a micro-kernel is: the contract of each kind, and the table with one of each.
//!
//! The contracts lie below the micro-kernels (`scalar`, `simd`, `x86_64`, `aarch64`), which fill a [`Table`], and below
//! [`Kernels`](crate::Kernels), which chooses one and makes it safe to call.

use crate::pack::{K_ALIGN, LhsCodes, MR, NR, RowScale};
use half::f16;

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(1.702 x)` (Hendrycks & Gimpel, arXiv 1606.08415; OpenAI's CLIP).
    QuickGelu,
    /// `x/2 · (1 + erf(x/√2))` (arXiv 1606.08415).
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))` (arXiv 1606.08415; SigLIP).
    GeluTanh,
    /// `x · sigmoid(x)` (arXiv 1702.03118; the gate of SwiGLU).
    Silu,
    /// `max(x, 0)` (NLLB).
    Relu,
}

/// Steps along `k` that f32 is multiplied by at once: an RHS panel of so many takes 16 KB.
pub(crate) const KC_F32: usize = 256;
/// Most steps along `k` that int8 is multiplied by at once. An RHS panel of so many takes 12 KB, and from 15 to 24 KB
/// where it is repacked: of the smallest L1, 32 KB, that leaves enough for an LHS panel.
pub(crate) const KC_I8: usize = 768;
/// Most rows that a float micro-kernel computes at once.
pub(crate) const MR_MAX: usize = 12;
/// Most bytes that a repacked RHS panel takes.
pub(crate) const REPACKED_BYTES: usize = 32 * 1024;
/// Most bytes of the order of a span of an RHS panel.
pub(crate) const ORDER_BYTES: usize = 512;

/// The i32 sums of one output tile, `MR` × `NR`, row-major.
pub(crate) type AccI8 = [i32; MR * NR];

/// How an int8 micro-kernel is called. `k` is a multiple of `K_ALIGN`, more than 0 and at most `KC_I8`; panels hold `k`
/// steps, an RHS panel in the form that [`MicroKernelI8::repack`] gives it, if there is such; the pointers need no alignment
/// beyond their element's.
#[derive(Clone, Copy)]
pub(crate) enum RunI8 {
    /// (`k`, LHS panel, RHS panel, sums).
    Tile(RunI8Tile),
    /// One tile, or (`k`, two LHS panels, two RHS panels, `next`, `add`, sums) four at once, for a CPU whose registers hold so
    /// many sums. The sums of LHS panel i by RHS panel j are `acc[2i + j]`; those that are there are added to if `add`. The
    /// `k` bytes from each `next` on are only asked for early: any address will do.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no other CPU has one"))]
    Tiles2x2(RunI8Tile, RunI8By2x2),
    /// (`k`, rows, their distance, how many, two RHS panels, those after them, `add`, sums): many rows at once, for a CPU whose tiles are
    /// higher than an LHS panel. The LHS is `LhsCodes::S8Rows`: rows one after the other, at least 1, of which bytes up to
    /// the next multiple of 64 past `k` may be read. `sums[j]` are the sums of RHS panel j, rows of `NR`; those that are
    /// there are added to if `add`. The two RHS panels may be the same, their sums may not. Those after them are only asked for
    /// early: any address will do.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no other CPU has one"))]
    Rows(RunI8Rows),
}

/// See [`RunI8::Tile`].
pub(crate) type RunI8Tile = unsafe fn(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8);
/// See [`RunI8::Tiles2x2`].
pub(crate) type RunI8By2x2 = unsafe fn(
    k: usize,
    a: [*const u8; 2],
    b: [*const i8; 2],
    next: [*const u8; 2],
    add: bool,
    acc: &mut [AccI8; 4],
);
/// See [`RunI8::Rows`].
pub(crate) type RunI8Rows = unsafe fn(
    k: usize,
    a: *const u8,
    lda: usize,
    rows: usize,
    b: [*const i8; 2],
    next: [*const u8; 2],
    add: bool,
    sums: [*mut i32; 2],
);
/// (`k`, `a`, `lda`, `rows`, two RHS panels, `c`, `ldc`): see [`MicroKernelFloat::run_1x2`].
pub(crate) type RunFloatBy1x2<T> =
    unsafe fn(k: usize, a: *const T, lda: usize, rows: usize, b: [*const T; 2], c: *mut f32, ldc: usize);

/// An int8 micro-kernel: `acc[r][c] = Σₖ a[r][k] · b[c][k]`, exact in i32 for activations within ±127 and any weights.
#[derive(Clone, Copy)]
pub(crate) struct MicroKernelI8 {
    /// By the grammar in the crate's documentation.
    pub(crate) name: &'static str,
    /// How it reads the codes of an LHS panel.
    pub(crate) lhs: LhsCodes,
    /// What those codes are larger by: 128 where they are unsigned, else 0. It adds to the zero points of the rows.
    pub(crate) offset: i32,
    pub(crate) run: RunI8,
    /// What `repack` must know of an RHS panel, if that is worth being found once for all GEMMs.
    pub(crate) order: Option<OrderI8>,
    /// (`k`, RHS panel, its order, `repacked`): writes the RHS panel in the form in which `run` reads it, once for all LHS
    /// panels, into `REPACKED_BYTES` bytes that are aligned to 64. The order is as long as `order` says, else empty;
    /// whatever it holds, no access goes outside.
    pub(crate) repack: Option<RepackI8>,
}

impl MicroKernelI8 {
    /// RHS panels that it multiplies at once.
    pub(crate) const fn panels(&self) -> usize {
        match self.run {
            RunI8::Tile(_) => 1,
            RunI8::Tiles2x2(..) | RunI8::Rows(_) => 2,
        }
    }
}

/// (`k`, RHS panel, its order, `repacked`): see [`MicroKernelI8::repack`].
pub(crate) type RepackI8 = unsafe fn(k: usize, b: *const i8, order: &[u8], repacked: *mut i8);

/// The order in which a micro-kernel takes the weights of an RHS panel.
#[derive(Clone, Copy)]
pub(crate) struct OrderI8 {
    /// Its length for a panel of `k` steps, at most `ORDER_BYTES`.
    pub(crate) bytes: fn(k: usize) -> usize,
    /// (`k`, RHS panel, order): finds a good one.
    pub(crate) find: unsafe fn(k: usize, b: *const i8, order: &mut [u8]),
    /// The same for one GEMM: finds any, quickly.
    pub(crate) find_soon: unsafe fn(k: usize, b: *const i8, order: &mut [u8]),
}

/// Rows that a scan multiplies at once.
pub(crate) const SCAN_ROWS: usize = 4;

/// (`k`, rows, queries, sums) of `Q` queries: see [`MicroKernelScan`].
pub(crate) type RunScan<const Q: usize> = unsafe fn(
    k: usize,
    rows: [*const i8; SCAN_ROWS],
    queries: [*const i8; Q],
    sums: &mut [[i32; SCAN_ROWS]; Q],
);

/// A scan micro-kernel: `sums[q][r] = Σₖ queries[q][k] · rows[r][k]`, exact in i32 for queries within ±127 and any rows.
///
/// Rows and queries have `k` codes each, a multiple of `K_ALIGN`, more than 0 and at most `K_MAX_I8`; the pointers need no
/// alignment, and several may be the same.
#[derive(Clone, Copy)]
pub(crate) struct MicroKernelScan {
    /// By the grammar in the crate's documentation.
    pub(crate) name: &'static str,
    /// By one query.
    pub(crate) run_4x1: RunScan<1>,
    /// By two queries.
    pub(crate) run_4x2: RunScan<2>,
}

/// An element of float operands.
pub(crate) trait Element: bytemuck::Pod {
    /// What `k` must be a multiple of for its micro-kernels.
    const K_MULTIPLE: usize;
}

impl Element for f32 {
    const K_MULTIPLE: usize = 1;
}

impl Element for f16 {
    const K_MULTIPLE: usize = K_ALIGN;
}

/// A float micro-kernel: `c[r][j] += Σₖ a[r][k] · b[k][j]` for `r < rows`, `j < NR`.
#[derive(Clone, Copy)]
pub(crate) struct MicroKernelFloat<T> {
    /// By the grammar in the crate's documentation.
    pub(crate) name: &'static str,
    /// Rows that it computes at once; at most `MR_MAX`.
    pub(crate) mr: usize,
    /// Steps along `k` after which a GEMM goes to the next rows, so that the RHS panels stay in L1.
    pub(crate) kc: usize,
    /// (`k`, `a`, `lda`, `rows`, `b`, `c`, `ldc`). `1 <= rows <= mr`, `a` has `rows` rows of `k` elements, `lda` apart;
    /// `b` has `k` rows of `NR`; `c` has `mr` rows of `NR`, `ldc` apart, all of which may be written: those past `rows`
    /// with anything. `k` is a multiple of [`Element::K_MULTIPLE`].
    pub(crate) run:
        unsafe fn(k: usize, a: *const T, lda: usize, rows: usize, b: *const T, c: *mut f32, ldc: usize),
    /// The same for two RHS panels at once, `c` having rows of `2·NR`.
    pub(crate) run_1x2: Option<RunFloatBy1x2<T>>,
}

/// What dequantization multiplies and adds:
/// `y[r][c] = (acc[r][c] − lhs[r].zero_point · rhs_sums[c]) · lhs[r].scale · rhs_scales[c] + bias[c]`.
pub(crate) struct DequantizeBy<'a> {
    /// Of the codes as the micro-kernel reads them, its offset included.
    pub(crate) lhs: &'a [RowScale; MR],
    /// The sum of each channel's codes.
    pub(crate) rhs_sums: &'a [i32; NR],
    pub(crate) rhs_scales: &'a [f32; NR],
    pub(crate) bias: &'a [f32; NR],
}

/// `out = y`, or `out += y` if `add`, for the first `rows` rows of a tile; `out` has rows of NR, `stride` apart.
pub(crate) type DequantizeTile =
    unsafe fn(acc: &AccI8, by: &DequantizeBy<'_>, rows: usize, add: bool, out: *mut f32, stride: usize);

/// How a row of f32 becomes codes: `code = round_half_even(x · inverse) + zero_point`, kept within ±127.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct QuantizeBy {
    /// 1/scale.
    pub(crate) inverse: f32,
    /// The code of 0.
    pub(crate) zero_point: i32,
}

/// (codes, `rows` rows of `width`, a multiple of 16, how each becomes codes, `width` steps of an LHS panel, `stride`). `out`
/// has the bytes that [`LhsCodes::reach`] says; `stride` is the distance of the panel's rows if they lie one after the other.
pub(crate) type QuantizePanel = unsafe fn(
    codes: LhsCodes,
    x: *const f32,
    width: usize,
    rows: usize,
    by: &[QuantizeBy; MR],
    out: &mut [u8],
    stride: usize,
);

/// What a row's values lie between, in parts: element i is of columns i, i + 16, ... The range of each holds 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct RowRange {
    pub(crate) low: [f32; NR],
    pub(crate) high: [f32; NR],
    /// 0, or NaN once a value was NaN or infinite: comparisons alone would pass over it.
    pub(crate) finite: [f32; NR],
}

/// (x, gamma, beta, eps, out), all of one length.
pub(crate) type LayerNorm = unsafe fn(&[f32], &[f32], &[f32], f32, &mut [f32]);

/// A loop over registers whose rate is the peak of the CPU.
#[derive(Clone, Copy)]
pub(crate) struct Peak {
    /// Its instructions.
    pub(crate) name: &'static str,
    /// Multiply-accumulates of one iteration.
    pub(crate) macs: u64,
    /// Runs for so many iterations, at least one.
    pub(crate) run: unsafe fn(iterations: u64),
}

/// One micro-kernel of each kind. All of them need the features of the [`Isa`](crate::Isa) for which they were chosen,
/// besides what their own contract says.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) gemm_i8: MicroKernelI8,
    pub(crate) gemm_f32: MicroKernelFloat<f32>,
    /// Half-precision arithmetic, where the CPU has it; without it f16 RHS panels are widened once.
    pub(crate) gemm_f16: Option<MicroKernelFloat<f16>>,
    /// What multiplies attention behind int8 weights, where the CPU calculates in half precision; else `gemm_f32` does.
    pub(crate) attention_f16: Option<MicroKernelFloat<f16>>,
    pub(crate) scan_i8: MicroKernelScan,
    pub(crate) dequantize_tile: DequantizeTile,
    pub(crate) quantize_panel: QuantizePanel,
    /// Widens `ranges[r]` by row r of `x`: of each block of rows of `width`, a multiple of 16, which begin `stride` apart.
    pub(crate) range_rows: unsafe fn(x: &[f32], width: usize, stride: usize, ranges: &mut [RowRange]),
    pub(crate) layer_norm: LayerNorm,
    /// `x[i] = exp((x[i] − max x) · scale)`; the sum of these.
    pub(crate) softmax: unsafe fn(x: &mut [f32], scale: f32) -> f32,
    pub(crate) activate: unsafe fn(act: Activation, x: &mut [f32]),
    /// Both slices have one length.
    pub(crate) widen_f16: unsafe fn(from: &[f16], to: &mut [f32]),
    /// Both slices have one length.
    pub(crate) narrow_f16: unsafe fn(from: &[f32], to: &mut [f16]),
    pub(crate) peak_i8: Peak,
    pub(crate) peak_f32: Peak,
}

/// Work in plain loops that a compiler vectorises, in integers or otherwise with the same bits for every vector width: it
/// needs no micro-kernel of its own, only to be compiled for each instruction set.
pub trait Vectorized {
    /// The result.
    type Output;

    /// Does the work. Must be `#[inline(always)]`, and so must everything in it that is to be vectorised.
    fn run(self) -> Self::Output;
}
