//! Cores with SMMLA.

mod tile_i8;

pub(super) use tile_i8::TILE_I8;
