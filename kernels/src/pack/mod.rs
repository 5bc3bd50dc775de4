//! How the operands of a GEMM lie in memory: the single truth of the packer and of the micro-kernels.
//!
//! The right operand (RHS) is a weight matrix, packed once, when a model is converted: [`NR`] output channels form an RHS
//! panel. The left operand (LHS) are activations, packed by whatever computes them: [`MR`] rows form an LHS panel.

mod lhs;
mod rhs;
mod weights;

pub use lhs::{Lhs, LhsCodes, LhsFormat, LhsMut, MR, RowScale, float_stride};
pub use rhs::{
    K_ALIGN, K_GROUP, K_MAX_I8, NR, W7_MAX, W8_MAX, checked_packed_len, index_float, index_i8, pack_float,
    pack_i8, packed_len, padded_k, padded_n, panels,
};
pub use weights::{Weights, WeightsFloat, WeightsI8};

pub(crate) use lhs::SIGNED_OFFSET;
