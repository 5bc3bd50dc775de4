//! AVX-512 F: one register holds a panel's 16 channels.

mod dequant;
mod tile_f32;

pub(super) use dequant::dequant;
pub(super) use tile_f32::TILE_F32;
