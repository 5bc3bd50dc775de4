//! Cores with half-precision arithmetic.

mod tile_f16;

pub(super) use tile_f16::TILE_F16;
