//! The memory of an encoder: which buffers there are, and how large. Each struct is laid out by one function, which
//! both plans and carves ([`Place`]).

use crate::nn::{MergeBuffers, MergePlan, RowBuffer, Shape, ThreadScratch};
use crate::preprocess::{FrameSpec, ResizeMemory, ResizePlan, Tables};
use crate::runtime::Place;
use ocelli_kernels::LhsFormat;
use ocelli_kernels::pack::{MR, padded_k};
use std::vec::Vec;

/// What the sizes of a tower's buffers follow from.
#[derive(Clone, Debug)]
pub(crate) struct TowerSizes {
    /// At the full batch. Of texts: the most, of so many tokens that all have as many as may go together.
    pub(crate) shape: Shape,
    /// f32 elements of the working memory, and of attention's on each thread.
    pub(crate) work: usize,
    pub(crate) scratch: usize,
    /// (rows, format, k) of every left operand of a GEMM.
    pub(crate) operands: Vec<(usize, LhsFormat, usize)>,
    /// Bytes of the orders of its weights.
    pub(crate) orders: usize,
    /// Threads.
    pub(crate) threads: usize,
}

/// The working memory of a tower.
pub(crate) struct TowerBuffers<'a> {
    /// The residual stream, [images, tokens, width].
    pub(crate) x: &'a mut [f32],
    /// qkv and attended values, or the hidden layer.
    pub(crate) work: &'a mut [f32],
    /// One pooled vector per image.
    pub(crate) pooled: &'a mut [f32],
    /// The left operand of the next GEMM.
    pub(crate) rows: RowBuffer<'a>,
    /// In which orders the int8 kernel takes the weights.
    pub(crate) orders: &'a mut [u8],
    /// Working memory of each thread.
    pub(crate) scratch: ThreadScratch<'a>,
}

impl TowerSizes {
    /// Takes the tower's buffers from `place`.
    pub(crate) fn lay_out<'a>(&self, place: &mut impl Place<'a>) -> TowerBuffers<'a> {
        let TowerSizes { shape, work, scratch, operands, orders, threads } = self;
        let most = |size: &dyn Fn(&(usize, LhsFormat, usize)) -> usize| operands.iter().map(size).max();
        let rows = most(&|(rows, format, k)| format.bytes(*rows, *k)).unwrap_or(0);
        let scales = most(&|(rows, ..)| *rows).unwrap_or(0);
        let widest = most(&|(.., k)| padded_k(*k)).unwrap_or(0);
        let attention = scratch.next_multiple_of(16);
        TowerBuffers {
            x: place.take("x: residual stream", shape.images * shape.tokens * shape.width),
            work: place.take("work: qkv and attended, or hidden", *work),
            pooled: place.take("pooled", shape.images * shape.width),
            rows: RowBuffer::new(
                place.take("rows: left operand of a GEMM", rows),
                place.take("row scales", scales),
            ),
            orders: place.take("orders of int8 weights", *orders),
            scratch: ThreadScratch::new(
                place.take("GEMM scratch, per thread", *threads),
                place.take("attention scratch, per thread", threads * attention),
                place.take("rows of a tile, per thread", threads * MR * widest),
            ),
        }
    }
}

/// What the sizes of an image encoder's buffers follow from.
#[derive(Clone, Debug)]
pub(crate) struct ImageSizes {
    pub(crate) tower: TowerSizes,
    pub(crate) frames: FrameSizes,
    /// Elements of each of the two rotary tables.
    pub(crate) rotary: usize,
    /// Elements of the levels of an image pyramid; 0 without one.
    pub(crate) levels: usize,
    /// How tokens are merged, if they are.
    pub(crate) merge: Option<MergePlan>,
    /// Length of an embedding.
    pub(crate) embed_dim: usize,
    /// Classes of the model's own classifier.
    pub(crate) classes: usize,
}

/// How pictures become frames, and what that takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameSizes {
    pub(crate) spec: FrameSpec,
    /// How every picture is resized; `None` where it depends on the picture (NaFlex).
    pub(crate) resize: Option<ResizePlan>,
    pub(crate) memory: ResizeMemory,
    /// Room for one frame, in bytes.
    pub(crate) slot: usize,
    /// Rows and columns of patches.
    pub(crate) grid: (usize, usize),
}

/// The buffers of an image encoder.
pub(crate) struct ImageBuffers<'a> {
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
    /// Where tokens are merged; empty where they are not.
    pub(crate) merge: MergeBuffers<'a>,
    /// One embedding per image.
    pub(crate) embeddings: &'a mut [f32],
    /// The mean embedding of an image's tiles.
    pub(crate) mean: &'a mut [f32],
    /// One logit per class.
    pub(crate) logits: &'a mut [f32],
    pub(crate) tower: TowerBuffers<'a>,
}

impl ImageSizes {
    /// Takes the encoder's buffers from `place`.
    pub(crate) fn lay_out<'a>(&self, place: &mut impl Place<'a>) -> ImageBuffers<'a> {
        let Shape { images, tokens, width, .. } = self.tower.shape;
        let FrameSizes { memory, slot, .. } = self.frames;
        ImageBuffers {
            frames: place.take("frames: preprocessed pixels", images * slot),
            tables: Tables {
                coefficients: place.take("resize coefficients", memory.coefficients),
                windows: place.take("resize windows", memory.windows),
            },
            rings: place.take("resize rows, per thread", self.tower.threads * memory.scratch),
            positions: place.take("positions", tokens * width),
            rotary: (place.take("rotary cosines", self.rotary), place.take("rotary sines", self.rotary)),
            levels: place.take("pyramid: normalised levels", images * self.levels),
            merge: {
                let rows = self.merge.map_or(0, |_| images * tokens);
                let even = self.merge.map_or(0, |plan| plan.even());
                let work = self.merge.map_or(0, |plan| plan.work_len(self.tower.shape.head_dim));
                MergeBuffers {
                    sizes: place.take("merging: patches of each token", rows),
                    logs: place.take("merging: their logarithms", rows),
                    work: place.take("merging: keys and their products", work),
                    nearest: place.take("merging: nearest tokens", even),
                    alike: place.take("merging: how near they are", even),
                    order: place.take("merging: their order", even),
                }
            },
            embeddings: place.take("embeddings", images * self.embed_dim),
            mean: place.take("mean of tiles", self.embed_dim),
            logits: place.take("class logits", self.classes),
            tower: self.tower.lay_out(place),
        }
    }
}
