//! `vpdpbusd`: four u8 × s8 products added to an i32 in one instruction, exact for any weights.

mod tile_i8;

pub(super) use tile_i8::{TILE_I8_AVX, TILE_I8_AVX512};
