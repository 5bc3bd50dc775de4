//! The loops of the exact resize. Their arithmetic is the same on every instruction set, so they are written once, as
//! loops that a compiler vectorises, and compiled for each.

use crate::resample::{Pass, Resampling};

/// Pixels whose products are added side by side.
const LANES: usize = 8;

#[inline(always)]
pub(crate) fn resize_row(axis: &Resampling<'_>, source: &[u8], out: &mut [u8]) {
    let base = axis.windows.first().map_or(0, |window| window.start);
    for (index, out) in out.chunks_exact_mut(3).enumerate() {
        let (window, coefficients) = axis.at(index);
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
        let mut sums = lanes.map(|lanes| lanes.iter().sum::<i32>() + axis.pass.half());
        for (&coefficient, pixel) in narrow.iter().zip(narrow_pixels.as_chunks::<3>().0) {
            for channel in 0..3 {
                sums[channel] += coefficient * i32::from(pixel[channel]);
            }
        }
        resize_round(&sums, axis.pass, out);
    }
}

#[inline(always)]
pub(crate) fn resize_add(sums: &mut [i32], row: &[u8], coefficient: i32) {
    for (sum, &level) in sums.iter_mut().zip(row) {
        *sum += coefficient * i32::from(level);
    }
}

#[inline(always)]
pub(crate) fn resize_round(sums: &[i32], pass: Pass, out: &mut [u8]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = (sum >> pass.precision).clamp(0, 255) as u8;
    }
}
