//! How much memory the [exact resize](super::resize) works in.

#![forbid(unsafe_code)]

use super::MAX_SIDE;
use super::coefficients::max_taps;
use super::frame::FrameSpec;
use super::pixels::wrong;
#[cfg(doc)]
use super::resize::Tables;
use crate::Result;
use crate::format::ResizeMode;

/// How much working memory the resize needs, for every picture with sides up to `max_side`.
#[derive(Clone, Copy, Debug)]
pub struct ResizePlan {
    pub(super) spec: FrameSpec,
    pub(super) max_side: u32,
    /// Most coefficients per frame column and per frame row.
    pub(super) taps: (usize, usize),
}

/// Sizes of the buffers that a resize works in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResizeMemory {
    /// Elements of [`Tables::coefficients`].
    pub coefficients: usize,
    /// Elements of [`Tables::windows`].
    pub windows: usize,
    /// Bytes of scratch for each thread.
    pub scratch: usize,
}

impl ResizePlan {
    /// A plan for pictures of exactly `width` × `height` pixels.
    ///
    /// # Errors
    /// A side outside 1..=[`MAX_SIDE`].
    pub fn for_picture(spec: FrameSpec, width: u32, height: u32) -> Result<Self> {
        let plan = ResizePlan::new(spec, width.max(height))?;
        let geometry = spec.geometry(width, height);
        let taps = |axis: super::Axis| max_taps(spec.filter, axis.scale()).min(axis.source as usize);
        Ok(ResizePlan { taps: (taps(geometry.columns), taps(geometry.rows)), ..plan })
    }

    /// The sizes of all buffers.
    pub fn memory(&self) -> ResizeMemory {
        ResizeMemory {
            coefficients: self.coefficients_len(),
            windows: self.windows_len(),
            scratch: self.scratch_len(),
        }
    }

    /// A plan for pictures of 1 to `max_side` pixels per side.
    ///
    /// # Errors
    /// `max_side` outside 1..=[`MAX_SIDE`].
    pub fn new(spec: FrameSpec, max_side: u32) -> Result<Self> {
        if !(1..=MAX_SIDE).contains(&max_side) {
            return Err(wrong("the largest side is out of range", MAX_SIDE as usize, max_side as usize));
        }
        // The long side shrinks no more than the short one: truncation never takes it below `shortest`.
        let taps = |resized: u32| max_taps(spec.filter, f64::from(max_side) / f64::from(resized));
        let taps = match spec.mode {
            ResizeMode::ShortestCrop | ResizeMode::SquashCrop => (taps(spec.shortest), taps(spec.shortest)),
            ResizeMode::Squash | ResizeMode::Naflex => (taps(spec.width), taps(spec.height)),
        };
        Ok(ResizePlan { spec, max_side, taps })
    }

    /// What the frame is.
    pub fn spec(&self) -> &FrameSpec {
        &self.spec
    }

    /// Elements of [`Tables::coefficients`].
    pub fn coefficients_len(&self) -> usize {
        self.taps.0 * self.spec.width as usize + self.taps.1 * self.spec.height as usize
    }

    /// Elements of [`Tables::windows`].
    pub fn windows_len(&self) -> usize {
        self.spec.width as usize + self.spec.height as usize
    }

    /// Bytes of scratch for each thread: a source row, and a ring of rows as wide as the frame.
    pub fn scratch_len(&self) -> usize {
        self.max_side as usize * 3 + self.taps.1 * self.spec.width as usize * 3
    }
}
