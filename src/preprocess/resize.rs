//! The exact resize: bit-equal to Pillow 13's and torchvision's 8-bit resampling, in the caller's memory.
//!
//! Only what the frame shows is computed. In the usual order (horizontal pass first) source rows are resampled as the
//! vertical window reaches them, into a ring that holds one window; where Pillow runs the vertical pass first (the
//! height shrinks by more than twice what the width does), one row of full width lies between the passes. Any range of
//! frame rows can be made on its own, so threads share a picture by rows and the result does not depend on the split.

#![forbid(unsafe_code)]

use core::ops::Range;

use ocelli_kernels::{Kernels, Vectorized};

use super::PixelView;
use super::coefficients::{Pass, Window, fill};
use super::frame::{FrameSpec, Geometry};
use super::pixels::wrong;
use super::resize_plan::ResizePlan;
use crate::Result;
use crate::format::Resampler;

/// The memory of a [`Resizer`]'s tables, columns first, then rows. Contents are its own business.
#[derive(Debug)]
pub struct Tables<'m> {
    /// At least [`ResizePlan::coefficients_len`].
    pub coefficients: &'m mut [i32],
    /// At least [`ResizePlan::windows_len`].
    pub windows: &'m mut [Window],
}

/// Resizes pictures into frames. It remembers the size that its tables were last made for.
#[derive(Clone, Debug)]
pub struct Resizer {
    plan: ResizePlan,
    kernels: Kernels,
    current: Option<Current>,
}

/// What was derived from the size of the source.
#[derive(Clone, Copy, Debug)]
struct Current {
    geometry: Geometry,
    columns: Pass,
    rows: Pass,
    vertical_first: bool,
}

/// The windows and coefficients of one pass.
#[derive(Clone, Copy)]
struct Kernel<'t> {
    windows: &'t [Window],
    coefficients: &'t [i32],
    pass: Pass,
}

impl<'t> Kernel<'t> {
    /// Window and coefficients of resized pixel `index`.
    #[inline(always)]
    fn at(&self, index: usize) -> (Window, &'t [i32]) {
        let window = self.windows[index];
        (window, &self.coefficients[index * self.pass.taps..][..window.len as usize])
    }

    /// The source pixels that all windows together cover: windows never run backwards.
    fn span(&self) -> Range<usize> {
        self.windows[0].start as usize..self.windows[self.windows.len() - 1].end()
    }
}

impl Resizer {
    /// A resizer whose tables are not made yet. Its loops run with the instructions that `kernels` use.
    pub fn new(plan: ResizePlan, kernels: Kernels) -> Self {
        Resizer { plan, kernels, current: None }
    }

    /// The plan it was made with.
    pub fn plan(&self) -> &ResizePlan {
        &self.plan
    }

    /// Whether the tables were made for this frame and for pictures of the size of `view`.
    pub fn is_for(&self, spec: &FrameSpec, view: &PixelView<'_>) -> bool {
        self.plan.spec == *spec && self.current.is_some_and(|current| current.geometry.fits(view))
    }

    /// Makes `tables` ready for pictures of the size of `view`. Nothing happens if the last call was for the same
    /// size, so every call and every [`Resizer::resize_rows`] must be given the same memory, untouched in between.
    ///
    /// # Errors
    /// A picture larger than planned; tables shorter than planned.
    pub fn prepare(&mut self, view: &PixelView<'_>, tables: &mut Tables<'_>) -> Result<Geometry> {
        if let Some(current) = self.current.filter(|current| current.geometry.fits(view)) {
            return Ok(current.geometry);
        }
        let (plan, spec) = (&self.plan, &self.plan.spec);
        let side = view.width().max(view.height());
        if side > plan.max_side {
            return Err(wrong(
                "the picture is larger than was planned for, in pixels per side",
                plan.max_side as usize,
                side as usize,
            ));
        }
        for (needed, found) in
            [(plan.coefficients_len(), tables.coefficients.len()), (plan.windows_len(), tables.windows.len())]
        {
            if found < needed {
                return Err(wrong("the resize tables are too short, in elements", needed, found));
            }
        }
        self.current = None;
        let geometry = spec.geometry(view.width(), view.height());
        let (column_windows, row_windows) = tables.windows.split_at_mut(spec.width as usize);
        let (columns, rows) = tables.coefficients.split_at_mut(plan.taps.0 * spec.width as usize);
        let columns = fill(&geometry.columns, spec.filter, spec.resampler, columns, column_windows);
        let rows = fill(&geometry.rows, spec.filter, spec.resampler, rows, row_windows);
        let shrink = |axis: super::Axis| i64::from(axis.source) - axis.resized as i64;
        let (wide, high) = (shrink(geometry.columns), shrink(geometry.rows));
        let vertical_first = spec.resampler == Resampler::Pillow && high > 0 && high > 2 * wide;
        self.current = Some(Current { geometry, columns, rows, vertical_first });
        Ok(geometry)
    }

    /// Computes the frame rows `rows` of `view` into `out`, `rows.len() · width · 3` bytes of RGB. `scratch` is one
    /// thread's, at least [`ResizePlan::scratch_len`] bytes; its contents do not matter.
    ///
    /// # Errors
    /// Tables that were not prepared for this size; rows outside the frame; a buffer of the wrong length.
    pub fn resize_rows(
        &self,
        view: &PixelView<'_>,
        tables: &Tables<'_>,
        rows: Range<usize>,
        scratch: &mut [u8],
        out: &mut [u8],
    ) -> Result<()> {
        let (plan, spec) = (&self.plan, &self.plan.spec);
        let Some(current) = self.current.filter(|current| current.geometry.fits(view)) else {
            return Err(wrong("the resize tables were not prepared for this size", 1, 0));
        };
        if rows.start > rows.end || rows.end > spec.height as usize {
            return Err(wrong("rows beyond the frame were asked for", spec.height as usize, rows.end));
        }
        let row_bytes = spec.width as usize * 3;
        if out.len() != rows.len() * row_bytes {
            return Err(wrong(
                "the output has the wrong length, in bytes",
                rows.len() * row_bytes,
                out.len(),
            ));
        }
        if scratch.len() < plan.scratch_len() {
            return Err(wrong(
                "the resize scratch is too short, in bytes",
                plan.scratch_len(),
                scratch.len(),
            ));
        }
        let covered = current.geometry.rows.covered();
        let first = rows.start.clamp(covered.start, covered.end);
        let last = rows.end.clamp(first, covered.end);
        let (above, rest) = out.split_at_mut((first.max(rows.start).min(rows.end) - rows.start) * row_bytes);
        let (inside, below) = rest.split_at_mut((last - first) * row_bytes);
        above.fill(0);
        below.fill(0);
        let picture = first - covered.start..last - covered.start;
        let width = spec.width as usize;
        let (columns, vertical) = tables.coefficients.split_at(plan.taps.0 * width);
        let kernel = |windows, coefficients, pass| Kernel { windows, coefficients, pass };
        let (column_windows, row_windows) = tables.windows.split_at(width);
        self.kernels.vectorized(Rows {
            current: &current,
            spec,
            columns: kernel(
                &column_windows[..current.geometry.columns.count as usize],
                columns,
                current.columns,
            ),
            vertical: kernel(&row_windows[..current.geometry.rows.count as usize], vertical, current.rows),
            view,
            rows: picture,
            scratch,
            out: inside,
        });
        Ok(())
    }
}

/// One call's work. The compiler makes a copy of it for each instruction set, which is why all of it is inlined.
struct Rows<'c> {
    current: &'c Current,
    spec: &'c FrameSpec,
    columns: Kernel<'c>,
    vertical: Kernel<'c>,
    view: &'c PixelView<'c>,
    /// Rows of the resized picture, counted from the first in the frame.
    rows: Range<usize>,
    scratch: &'c mut [u8],
    out: &'c mut [u8],
}

impl Vectorized for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        if self.current.vertical_first { self.vertical_first() } else { self.horizontal_first() }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn horizontal_first(self) {
        let Rows { columns, vertical, view, spec, .. } = self;
        let (span, covered) = (columns.span(), bytes(self.current.geometry.columns.covered()));
        let (source, ring) = self.scratch.split_at_mut(span.len() * 3);
        let mut next = 0;
        for (out, index) in self.out.chunks_exact_mut(spec.width as usize * 3).zip(self.rows) {
            let (window, coefficients) = vertical.at(index);
            // The ring holds the latest `taps` rows, and no window is longer.
            for y in next.max(window.start as usize)..window.end() {
                let to = &mut ring[y % vertical.pass.taps * covered.len()..][..covered.len()];
                match view.rgb_slice(y, span.clone()) {
                    Some(row) => horizontal(columns, row, to),
                    None => {
                        view.row_rgb(y, span.clone(), spec.alpha, source);
                        horizontal(columns, source, to);
                    }
                }
            }
            next = window.end();
            out[..covered.start].fill(0);
            out[covered.end..].fill(0);
            for (block, out) in out[covered.clone()].chunks_mut(BLOCK).enumerate() {
                let mut sums = [1 << (vertical.pass.precision - 1); BLOCK];
                for (y, &coefficient) in (window.start as usize..).zip(coefficients) {
                    let row = &ring[y % vertical.pass.taps * covered.len() + block * BLOCK..][..out.len()];
                    accumulate(&mut sums, row, coefficient);
                }
                round(&sums, vertical.pass.precision, out);
            }
        }
    }

    #[inline(always)]
    fn vertical_first(self) {
        let Rows { columns, vertical, view, spec, .. } = self;
        let (span, covered) = (columns.span(), bytes(self.current.geometry.columns.covered()));
        let between = &mut self.scratch[..span.len() * 3];
        let mut converted = [0; BLOCK];
        for (out, index) in self.out.chunks_exact_mut(spec.width as usize * 3).zip(self.rows) {
            let (window, coefficients) = vertical.at(index);
            for (block, to) in between.chunks_mut(BLOCK).enumerate() {
                let left = span.start + block * (BLOCK / 3);
                let part = left..left + to.len() / 3;
                let mut sums = [1 << (vertical.pass.precision - 1); BLOCK];
                for (y, &coefficient) in (window.start as usize..).zip(coefficients) {
                    let row = match view.rgb_slice(y, part.clone()) {
                        Some(row) => row,
                        None => {
                            let row = &mut converted[..to.len()];
                            view.row_rgb(y, part.clone(), spec.alpha, row);
                            row
                        }
                    };
                    accumulate(&mut sums, row, coefficient);
                }
                round(&sums, vertical.pass.precision, to);
            }
            out[..covered.start].fill(0);
            out[covered.end..].fill(0);
            horizontal(columns, between, &mut out[covered.clone()]);
        }
    }
}

/// Bytes that the vertical pass treats at a time: whole pixels, whole vectors, and sums that stay in the first cache.
const BLOCK: usize = 768;

/// Pixels whose products the horizontal pass adds side by side.
const LANES: usize = 8;

fn bytes(pixels: Range<usize>) -> Range<usize> {
    pixels.start * 3..pixels.end * 3
}

/// Resamples one row. `source` begins at the first pixel of the first window.
#[inline(always)]
fn horizontal(kernel: Kernel<'_>, source: &[u8], out: &mut [u8]) {
    let base = kernel.windows[0].start;
    for (index, out) in out.chunks_exact_mut(3).enumerate() {
        let (window, coefficients) = kernel.at(index);
        let pixels = &source[(window.start - base) as usize * 3..][..coefficients.len() * 3];
        let (wide, narrow) = coefficients.as_chunks::<LANES>();
        let (wide_pixels, narrow_pixels) = pixels.split_at(wide.len() * LANES * 3);
        let mut lanes = [[0i32; LANES]; 3];
        for (coefficients, pixels) in wide.iter().zip(wide_pixels.as_chunks::<{ LANES * 3 }>().0) {
            for channel in 0..3 {
                for lane in 0..LANES {
                    lanes[channel][lane] += coefficients[lane] * i32::from(pixels[3 * lane + channel]);
                }
            }
        }
        let mut sums = lanes.map(|lanes| lanes.iter().sum::<i32>() + (1 << (kernel.pass.precision - 1)));
        for (&coefficient, pixel) in narrow.iter().zip(narrow_pixels.as_chunks::<3>().0) {
            for channel in 0..3 {
                sums[channel] += coefficient * i32::from(pixel[channel]);
            }
        }
        round(&sums, kernel.pass.precision, out);
    }
}

#[inline(always)]
fn accumulate(sums: &mut [i32], row: &[u8], coefficient: i32) {
    for (sum, &level) in sums.iter_mut().zip(row) {
        *sum += coefficient * i32::from(level);
    }
}

#[inline(always)]
fn round(sums: &[i32], precision: u32, out: &mut [u8]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = (sum >> precision).clamp(0, 255) as u8;
    }
}
