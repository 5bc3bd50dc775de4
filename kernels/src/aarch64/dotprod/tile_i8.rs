//! int8 micro-kernel from SDOT by element: 24 accumulators stay in registers, three registers hold the activations of
//! two groups of four `k`.

use super::super::asm::sdot_lane;
use crate::activations::{I8Format, TILE_ROWS};
use crate::layout::{K_GROUP, NR};
use crate::table::{AccI8, TileI8};
use core::arch::aarch64::*;

pub(in super::super) const TILE_I8: TileI8 = TileI8 {
    name: "i8_gemm_6x16c4_dotprod",
    format: I8Format::S8K4,
    run: tile_i8,
    quad: None,
    prepare: None,
};

/// # Safety
/// As [`TileI8::run`] says; the CPU has dotprod.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile_i8(k: usize, a: *const u8, b: *const i8, out: &mut AccI8) {
    let mut acc = [[vdupq_n_s32(0); NR / 4]; TILE_ROWS];
    for step in 0..k / (2 * K_GROUP) {
        // SAFETY: `k` is a multiple of 16, so two groups of the tile and of the panel start here.
        unsafe {
            let a = a.add(step * 2 * K_GROUP * TILE_ROWS).cast::<i8>();
            let b = b.add(step * 2 * K_GROUP * NR);
            let a: [int8x16_t; 3] = core::array::from_fn(|j| vld1q_s8(a.add(16 * j)));
            let first: [int8x16_t; 4] = core::array::from_fn(|j| vld1q_s8(b.add(16 * j)));
            add_row::<0>(&mut acc[0], &first, a[0]);
            add_row::<1>(&mut acc[1], &first, a[0]);
            add_row::<2>(&mut acc[2], &first, a[0]);
            add_row::<3>(&mut acc[3], &first, a[0]);
            add_row::<0>(&mut acc[4], &first, a[1]);
            add_row::<1>(&mut acc[5], &first, a[1]);
            let second: [int8x16_t; 4] = core::array::from_fn(|j| vld1q_s8(b.add(64 + 16 * j)));
            add_row::<2>(&mut acc[0], &second, a[1]);
            add_row::<3>(&mut acc[1], &second, a[1]);
            add_row::<0>(&mut acc[2], &second, a[2]);
            add_row::<1>(&mut acc[3], &second, a[2]);
            add_row::<2>(&mut acc[4], &second, a[2]);
            add_row::<3>(&mut acc[5], &second, a[2]);
        }
    }
    for (acc, out) in acc.as_flattened().iter().zip(out.as_chunks_mut::<4>().0) {
        // SAFETY: four elements to write.
        unsafe { vst1q_s32(out.as_mut_ptr(), *acc) }
    }
}

/// Adds the products of one row's four codes, in lane `LANE` of `a`, with all channels of a group.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_row<const LANE: i32>(acc: &mut [int32x4_t; NR / 4], b: &[int8x16_t; 4], a: int8x16_t) {
    for (acc, &b) in acc.iter_mut().zip(b) {
        *acc = sdot_lane::<LANE>(*acc, b, a);
    }
}
