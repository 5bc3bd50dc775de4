//! The session's buffers, sized from the model's dimensions and carved from the arena.

use crate::nn::{RowBuffer, Shape, ThreadScratch};
use crate::preprocess::{FrameSpec, ResizeMemory, ResizePlan, Tables, Window};
use crate::runtime::{Carver, Plan};
use ocelli_kernels::pack::MR;
use ocelli_kernels::pack::padded_k;
use ocelli_kernels::{GemmScratch, LhsFormat};
use std::vec::Vec;

/// Everything that sizes depend on.
#[derive(Clone, Debug)]
pub(crate) struct Dimensions {
    /// The image tower's shape at the full batch, if there is one.
    pub(crate) vision: Option<VisionDimensions>,
    /// The text tower's shape at its longest text, if there is one.
    pub(crate) text: Option<Shape>,
    /// Length of an embedding.
    pub(crate) embed_dim: usize,
    /// Classes of the model's own classifier.
    pub(crate) classes: usize,
    /// (rows, format, k) of every left operand of a GEMM.
    pub(crate) operands: Vec<(usize, LhsFormat, usize)>,
    /// Threads.
    pub(crate) threads: usize,
}

/// What the image tower adds.
#[derive(Clone, Debug)]
pub(crate) struct VisionDimensions {
    pub(crate) shape: Shape,
    pub(crate) frame: FrameSpec,
    /// How every picture is resized; `None` where it depends on the picture (NaFlex).
    pub(crate) resize: Option<ResizePlan>,
    pub(crate) memory: ResizeMemory,
    /// Room for one frame, in bytes.
    pub(crate) slot: usize,
    /// Rows and columns of patches.
    pub(crate) grid: (usize, usize),
    /// Elements of each of the two rotary tables.
    pub(crate) rotary: usize,
    /// Elements of the levels of an image pyramid; 0 without one.
    pub(crate) levels: usize,
}

/// The buffers of one call.
pub(crate) struct Buffers<'a> {
    /// Preprocessed frames, [images, height, width, 3].
    pub(crate) frames: &'a mut [u8],
    /// Coefficients and windows of the resize.
    pub(crate) tables: Tables<'a>,
    /// Source rows on their way, one part per thread.
    pub(crate) rings: &'a mut [u8],
    /// Positions, [tokens, width].
    pub(crate) positions: &'a mut [f32],
    /// Cosines and sines of rotary positions, each [patches, head_dim / 2].
    pub(crate) rotary: (&'a mut [f32], &'a mut [f32]),
    /// The levels of each image's pyramid.
    pub(crate) levels: &'a mut [f32],
    /// The residual stream, [images, tokens, width].
    pub(crate) x: &'a mut [f32],
    /// qkv and attended values, or the hidden layer.
    pub(crate) work: &'a mut [f32],
    /// One pooled vector per image.
    pub(crate) pooled: &'a mut [f32],
    /// One embedding per image.
    pub(crate) embeddings: &'a mut [f32],
    /// The mean embedding of an image's tiles.
    pub(crate) mean: &'a mut [f32],
    /// One logit per class.
    pub(crate) logits: &'a mut [f32],
    /// The left operand of the next GEMM.
    pub(crate) rows: RowBuffer<'a>,
    /// Working memory of each thread.
    pub(crate) scratch: ThreadScratch<'a>,
}

impl Dimensions {
    fn shapes(&self) -> impl Iterator<Item = &Shape> {
        self.vision.iter().map(|vision| &vision.shape).chain(&self.text)
    }

    fn largest(&self, size: impl Fn(&Shape) -> usize) -> usize {
        self.shapes().map(size).max().unwrap_or(0)
    }

    /// Every buffer in the order in which [`carve`](Self::carve) takes them.
    pub(crate) fn plan(&self) -> Plan {
        const F32: usize = size_of::<f32>();
        let mut plan = Plan::default();
        let images = self.largest(|shape| shape.images);
        let vision = self.vision.as_ref();
        plan.add("frames: preprocessed pixels", vision.map_or(0, |v| v.shape.images * v.slot));
        plan.add("resize coefficients", vision.map_or(0, |v| v.memory.coefficients * size_of::<i32>()));
        plan.add("resize windows", vision.map_or(0, |v| v.memory.windows * size_of::<Window>()));
        plan.add("resize rows, per thread", vision.map_or(0, |v| self.threads * v.memory.scratch));
        plan.add("positions", vision.map_or(0, |v| v.shape.tokens * v.shape.width * F32));
        for name in ["rotary cosines", "rotary sines"] {
            plan.add(name, vision.map_or(0, |v| v.rotary * F32));
        }
        plan.add("pyramid: normalised levels", vision.map_or(0, |v| v.shape.images * v.levels * F32));
        plan.add("x: residual stream", self.largest(|s| s.images * s.tokens * s.width) * F32);
        plan.add("work: qkv and attended, or hidden", self.largest(Shape::work_len) * F32);
        plan.add("pooled", self.largest(|s| s.images * s.width) * F32);
        plan.add("embeddings", images * self.embed_dim * F32);
        plan.add("mean of tiles", vision.map_or(0, |_| self.embed_dim * F32));
        plan.add("class logits", self.classes * F32);
        let rows = self.operands.iter().map(|(rows, format, k)| format.bytes(*rows, *k)).max();
        plan.add("rows: left operand of a GEMM", rows.unwrap_or(0));
        let scales = self.operands.iter().map(|(rows, ..)| *rows).max();
        plan.add("row scales", scales.unwrap_or(0) * F32);
        plan.add("GEMM scratch, per thread", self.threads * size_of::<GemmScratch>());
        let attention = self.largest(|s| s.attention(s.tokens).scratch_len()).next_multiple_of(16);
        plan.add("attention scratch, per thread", self.threads * attention * F32);
        let row = self.operands.iter().map(|(.., k)| padded_k(*k)).max();
        plan.add("rows of a tile, per thread", self.threads * MR * row.unwrap_or(0) * F32);
        plan
    }

    /// The buffers of `plan` in `arena`.
    pub(crate) fn carve<'a>(plan: &Plan, arena: &'a mut [u8]) -> Buffers<'a> {
        let mut carver = Carver::new(plan, arena);
        Buffers {
            frames: carver.take(),
            tables: Tables { coefficients: carver.take(), windows: carver.take() },
            rings: carver.take(),
            positions: carver.take(),
            rotary: (carver.take(), carver.take()),
            levels: carver.take(),
            x: carver.take(),
            work: carver.take(),
            pooled: carver.take(),
            embeddings: carver.take(),
            mean: carver.take(),
            logits: carver.take(),
            rows: RowBuffer::new(carver.take(), carver.take()),
            scratch: ThreadScratch::new(carver.take(), carver.take(), carver.take()),
        }
    }
}
