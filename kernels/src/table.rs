//! The table of micro-kernels, filled once for an [`Isa`], and their safe faces.

use crate::activations::{I8Format, RowFormat, TILE_ROWS};
use crate::isa::Isa;
use crate::layout::{K_ALIGN, NR};
use crate::scalar;
use crate::weights::Weights;
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
}

/// Sums of one int8 tile, `TILE_ROWS` × `NR`, row-major.
pub(crate) type AccI8 = [i32; TILE_ROWS * NR];
/// One dequantized tile, `TILE_ROWS` × `NR`, row-major.
pub(crate) type TileOut = [f32; TILE_ROWS * NR];

/// Two tiles by two panels; see [`TileI8::quad`].
pub(crate) type QuadI8 = unsafe fn(k: usize, a: [*const u8; 2], b: [*const i8; 2], acc: &mut [AccI8; 4]);
/// A tile by two panels; see [`TileFloat::pair`].
pub(crate) type PairFloat<T> =
    unsafe fn(k: usize, a: *const T, lda: usize, rows: usize, b: [*const T; 2], c: *mut f32, ldc: usize);

/// An int8 micro-kernel: `acc[r][c] = Σₖ a[r][k] · b[c][k]`, exact.
#[derive(Clone, Copy)]
pub(crate) struct TileI8 {
    pub(crate) name: &'static str,
    /// What it reads on the left.
    pub(crate) format: I8Format,
    /// What its sums contain of the sum of the weights: `128` if `vpdpbusd` read codes made unsigned, else 0.
    pub(crate) excess: i32,
    /// (`k`, tile of activations, panel of weights, sums). `k` is a multiple of `K_ALIGN`, at most `KC_I8`; the tile and
    /// the panel hold `k` steps; the pointers need no alignment beyond their element's.
    pub(crate) run: unsafe fn(k: usize, a: *const u8, b: *const i8, acc: &mut AccI8),
    /// Two tiles by two panels at once, for a CPU whose registers hold that many sums: tile by tile, panel by panel.
    pub(crate) quad: Option<QuadI8>,
    /// (`k`, panel, `prepared`): what `run` reads in place of a panel, made once for all tiles, in `PREPARED` bytes that
    /// are aligned to 64.
    pub(crate) prepare: Option<unsafe fn(k: usize, b: *const i8, prepared: *mut i8)>,
}

/// Most bytes that a prepared panel takes.
pub(crate) const PREPARED: usize = 48 * 1024;

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
pub(crate) struct TileFloat<T> {
    pub(crate) name: &'static str,
    /// Rows that it computes at once; at most `MAX_TILE_ROWS`.
    pub(crate) tile_rows: usize,
    /// Steps along k after which a GEMM goes to the next rows, so that the panels stay in cache; `KC_FLOAT` for f32.
    pub(crate) k_block: usize,
    /// (`k`, `a`, `lda`, `rows`, `b`, `c`, `ldc`). `1 <= rows <= tile_rows`, `a` has `rows` rows of `k` elements,
    /// `lda` apart; `b` has `k` rows of `NR`; `c` has `tile_rows` rows of `NR`, `ldc` apart, all of which may be
    /// written: those past `rows` with anything. `k` is a multiple of [`Element::K_MULTIPLE`].
    pub(crate) run:
        unsafe fn(k: usize, a: *const T, lda: usize, rows: usize, b: *const T, c: *mut f32, ldc: usize),
    /// The same for two panels at once, `c` having rows of `2·NR`.
    pub(crate) pair: Option<PairFloat<T>>,
}

impl<T: Element> TileFloat<T> {
    /// Panels that it multiplies at once.
    pub(crate) fn panels(&self) -> usize {
        if self.pair.is_some() { 2 } else { 1 }
    }

    /// `c[r][j] += Σ a[r][k]·b[k][j]` for `rows` rows and the panels `b`, which lie side by side in `c`.
    ///
    /// # Panics
    /// If the slices do not hold that.
    #[expect(clippy::too_many_arguments, reason = "a matrix product has so many sizes")]
    pub(crate) fn multiply(
        &self,
        k: usize,
        a: &[T],
        lda: usize,
        rows: usize,
        b: &[&[T]],
        c: &mut [f32],
        ldc: usize,
    ) {
        assert!((1..=self.tile_rows).contains(&rows) && k.is_multiple_of(T::K_MULTIPLE));
        // Sizes that overflow saturate: no slice is so long.
        let reach =
            |rows: usize, stride: usize, last: usize| (rows - 1).saturating_mul(stride).saturating_add(last);
        assert!(a.len() >= reach(rows, lda, k) && c.len() >= reach(self.tile_rows, ldc, b.len() * NR));
        assert!(b.iter().all(|b| b.len() / NR >= k));
        // SAFETY: only the table's tiles are called, whose features `isa` proves; the sizes were just checked.
        unsafe {
            if let (Some(pair), [b0, b1]) = (self.pair, b) {
                return pair(k, a.as_ptr(), lda, rows, [b0.as_ptr(), b1.as_ptr()], c.as_mut_ptr(), ldc);
            }
            for (panel, b) in b.iter().enumerate() {
                (self.run)(k, a.as_ptr(), lda, rows, b.as_ptr(), c.as_mut_ptr().add(panel * NR), ldc);
            }
        }
    }
}

impl<T: Element> TileFloat<T> {
    /// The same for all of `panels`, `panel_len` elements each.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    pub(crate) fn multiply_all(
        &self,
        k: usize,
        a: &[T],
        lda: usize,
        rows: usize,
        panels: &[T],
        panel_len: usize,
        c: &mut [f32],
        ldc: usize,
    ) {
        let step = self.panels();
        for (i, panels) in panels.chunks(step * panel_len).enumerate() {
            let c = &mut c[i * step * NR..];
            match panels.split_at(panel_len) {
                (only, []) => self.multiply(k, a, lda, rows, &[only], c, ldc),
                (first, second) => self.multiply(k, a, lda, rows, &[first, second], c, ldc),
            }
        }
    }
}

/// The most rows that a float micro-kernel computes at once.
pub(crate) const MAX_TILE_ROWS: usize = 12;

/// What dequantization multiplies and adds: `y[r][c] = (acc[r][c] − excess · sums[c]) · rows[r] · cols[c] + bias[c]`.
pub(crate) struct Dequant<'a> {
    pub(crate) excess: i32,
    pub(crate) sums: &'a [i32; NR],
    pub(crate) row_scales: &'a [f32; TILE_ROWS],
    pub(crate) col_scales: &'a [f32; NR],
    pub(crate) bias: &'a [f32; NR],
}

/// `out = y`, or `out += y` if `add`, for the first `rows` rows of a tile; `out` has rows of NR, `stride` apart.
pub(crate) type DequantTile =
    unsafe fn(acc: &AccI8, by: &Dequant<'_>, rows: usize, add: bool, out: *mut f32, stride: usize);

/// (format, `rows` rows of `width`, a multiple of 16, 1/scale of each, `width` steps of a tile).
pub(crate) type QuantizeTile = unsafe fn(
    format: I8Format,
    x: *const f32,
    width: usize,
    rows: usize,
    inverses: &[f32; TILE_ROWS],
    out: &mut [u8],
);

/// (x, gamma, beta, eps, out), all of one length.
pub(crate) type LayerNorm = unsafe fn(&[f32], &[f32], &[f32], f32, &mut [f32]);

/// The kernels chosen for one instruction set. Cheap to copy; make it once per session.
#[derive(Clone, Copy)]
pub struct Kernels {
    pub(crate) isa: Isa,
    pub(crate) tile_i8: TileI8,
    pub(crate) tile_f32: TileFloat<f32>,
    /// Native half-precision arithmetic, where the CPU has it; otherwise f16 panels are widened once.
    pub(crate) tile_f16: Option<TileFloat<f16>>,
    pub(crate) dequant: DequantTile,
    pub(crate) quantize_tile: QuantizeTile,
    pub(crate) abs_max_rows: unsafe fn(x: &[f32], width: usize, peaks: &mut [[f32; NR]; TILE_ROWS]),
    pub(crate) layer_norm: LayerNorm,
    /// `x[i] = exp((x[i] − max x) · scale)`; the sum of these.
    pub(crate) softmax: unsafe fn(x: &mut [f32], scale: f32) -> f32,
    pub(crate) activate: unsafe fn(act: Activation, x: &mut [f32]),
    pub(crate) widen_f16: unsafe fn(from: &[f16], to: &mut [f32]),
    pub(crate) narrow_f16: unsafe fn(from: &[f32], to: &mut [f16]),
}

impl Kernels {
    /// The best kernels for `isa`.
    pub fn new(isa: Isa) -> Kernels {
        let kernels = Kernels {
            isa,
            tile_i8: scalar::TILE_I8,
            tile_f32: scalar::TILE_F32,
            tile_f16: None,
            dequant: scalar::dequant,
            quantize_tile: scalar::quantize_tile,
            abs_max_rows: scalar::abs_max_rows,
            layer_norm: scalar::layer_norm,
            softmax: scalar::softmax,
            activate: scalar::activate,
            widen_f16: scalar::widen_f16,
            narrow_f16: scalar::narrow_f16,
        };
        // Each ISA replaces what it does better, and only for features that `isa` proves.
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        let kernels = crate::vector::select(isa, kernels);
        #[cfg(target_arch = "x86_64")]
        let kernels = crate::x86_64::select(isa, kernels);
        #[cfg(target_arch = "aarch64")]
        let kernels = crate::aarch64::select(isa, kernels);
        kernels
    }

    /// The instruction set that these kernels use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The name of the micro-kernel that multiplies by `weights`.
    pub fn gemm_name(&self, weights: &Weights<'_>) -> &'static str {
        match (weights, &self.tile_f16) {
            (Weights::I8(_), _) => self.tile_i8.name,
            (Weights::F16(_), Some(tile)) => tile.name,
            (Weights::F16(_) | Weights::F32(_), _) => self.tile_f32.name,
        }
    }

    /// The name of the micro-kernel that attention multiplies with.
    pub fn attention_name(&self) -> &'static str {
        self.tile_f32.name
    }

    /// The format in which the GEMM by `weights` reads its left operand.
    pub fn row_format(&self, weights: &Weights<'_>) -> RowFormat {
        match weights {
            Weights::I8(_) => RowFormat::I8(self.tile_i8.format),
            Weights::F16(_) if self.tile_f16.is_some() => RowFormat::F16,
            Weights::F16(_) | Weights::F32(_) => RowFormat::F32,
        }
    }

    /// LayerNorm of one row (arXiv 1607.06450): `(x − mean) / √(var + eps) · gamma + beta`, biased variance.
    ///
    /// # Panics
    /// If the lengths differ or are zero.
    pub fn layer_norm(&self, x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, out: &mut [f32]) {
        let n = x.len();
        assert!(n > 0 && gamma.len() == n && beta.len() == n && out.len() == n, "LayerNorm over {n}");
        // SAFETY: the table holds only kernels whose features `isa` proves; the lengths agree.
        unsafe { (self.layer_norm)(x, gamma, beta, eps, out) }
    }

    /// `x[i] = exp((x[i] − max x) · scale)`, `scale` ≥ 0; returns the sum, by which the caller divides.
    pub fn softmax(&self, x: &mut [f32], scale: f32) -> f32 {
        // SAFETY: as in `layer_norm`; any length will do.
        unsafe { (self.softmax)(x, scale) }
    }

    /// Applies an activation function in place.
    pub fn activate(&self, act: Activation, x: &mut [f32]) {
        // SAFETY: as in `softmax`.
        unsafe { (self.activate)(act, x) }
    }

    /// Raises `peaks[r][i]` to the largest magnitude of row r of `x` at columns i, i + 16, ...; rows of `width`, at most
    /// `TILE_ROWS` of them.
    pub(crate) fn abs_max_rows(&self, x: &[f32], width: usize, peaks: &mut [[f32; NR]; TILE_ROWS]) {
        assert!(width.is_multiple_of(NR) && x.len() <= TILE_ROWS * width);
        // SAFETY: as in `layer_norm`; whole rows of whole vectors.
        unsafe { (self.abs_max_rows)(x, width, peaks) }
    }

    /// Converts to f32, exactly.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn widen_f16(&self, from: &[f16], to: &mut [f32]) {
        assert_eq!(from.len(), to.len());
        // SAFETY: as in `layer_norm`.
        unsafe { (self.widen_f16)(from, to) }
    }

    /// Converts to f16, ties to even.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn narrow_f16(&self, from: &[f32], to: &mut [f16]) {
        assert_eq!(from.len(), to.len());
        // SAFETY: as in `layer_norm`.
        unsafe { (self.narrow_f16)(from, to) }
    }

    /// `code = round_half_even(x · inverse)` of at most `TILE_ROWS` rows of `width`, as `width` steps of a tile in `out`.
    /// Codes of missing rows are arbitrary.
    pub(crate) fn quantize_tile(
        &self,
        format: I8Format,
        x: &[f32],
        width: usize,
        inverses: &[f32; TILE_ROWS],
        out: &mut [u8],
    ) {
        let rows = x.len() / width;
        assert!((1..=TILE_ROWS).contains(&rows) && width.is_multiple_of(K_ALIGN));
        assert_eq!(out.len(), TILE_ROWS * width * format.bytes());
        // SAFETY: as in `layer_norm`; `x` has `rows` rows of whole vectors, `out` room for every code.
        unsafe { (self.quantize_tile)(format, x.as_ptr(), width, rows, inverses, out) }
    }
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kernels")
            .field("isa", &self.isa)
            .field("i8", &self.tile_i8.name)
            .field("f16", &self.tile_f16.as_ref().map_or("widened", |tile| tile.name))
            .field("f32", &self.tile_f32.name)
            .finish_non_exhaustive()
    }
}
