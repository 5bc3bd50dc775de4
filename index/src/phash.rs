//! A perceptual hash of 64 bits: whether the low frequencies of a picture's brightness are above or below their median
//! (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2.1).
//!
//! Two versions of one photo, resized, compressed again or cropped a little, differ in few bits; two different photos in
//! about half of them.

use ocelli::format::Alpha;
use ocelli::preprocess::PixelView;
use std::f32::consts::PI;

/// Rows and columns that the picture is averaged to.
const SIDE: usize = 32;
/// Rows and columns of frequencies.
const LOW: usize = 8;

/// The perceptual hash of `picture`.
pub fn phash(picture: &PixelView<'_>) -> u64 {
    bits(&frequencies(&brightness(picture)))
}

/// The number of bits in which two hashes differ, of 64.
pub fn distance(a: u64, b: u64) -> u32 {
    (a ^ b).count_ones()
}

/// The mean brightness of each of [`SIDE`]² equal parts, row by row; Rec. 601.
fn brightness(picture: &PixelView<'_>) -> [f32; SIDE * SIDE] {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (mut sums, mut counts) = ([0u64; SIDE * SIDE], [0u64; SIDE * SIDE]);
    let mut rgb = vec![0; 3 * width];
    // A picture with fewer rows or columns than parts is read several times.
    let times = |side: usize| if side < SIDE { SIDE.div_ceil(side) } else { 1 };
    let (across, down) = (times(width), times(height));
    for y in 0..height * down {
        picture.row_rgb(y / down, 0..width, Alpha::White, &mut rgb);
        let row = y * SIDE / (height * down) * SIDE;
        for x in 0..width * across {
            let [r, g, b] = rgb.as_chunks::<3>().0[x / across].map(u64::from);
            let part = row + x * SIDE / (width * across);
            sums[part] += 299 * r + 587 * g + 114 * b;
            counts[part] += 1000;
        }
    }
    std::array::from_fn(|part| sums[part] as f32 / counts[part].max(1) as f32)
}

/// The lowest [`LOW`]² coefficients of the two-dimensional DCT-II.
fn frequencies(brightness: &[f32; SIDE * SIDE]) -> [f32; LOW * LOW] {
    let cosine =
        |frequency: usize, at: usize| (PI / SIDE as f32 * (at as f32 + 0.5) * frequency as f32).cos();
    let table: [[f32; SIDE]; LOW] = std::array::from_fn(|u| std::array::from_fn(|x| cosine(u, x)));
    let mut rows = [[0.0; LOW]; SIDE];
    for (row, levels) in rows.iter_mut().zip(brightness.chunks_exact(SIDE)) {
        *row =
            std::array::from_fn(|u| levels.iter().zip(table[u]).map(|(level, cosine)| level * cosine).sum());
    }
    std::array::from_fn(|at| {
        let (v, u) = (at / LOW, at % LOW);
        rows.iter().zip(table[v]).map(|(row, cosine)| row[u] * cosine).sum()
    })
}

/// A bit for each coefficient that is above the median of all but the first, which is the mean brightness.
fn bits(frequencies: &[f32; LOW * LOW]) -> u64 {
    let mut sorted = frequencies[1..].to_vec();
    sorted.sort_by(f32::total_cmp);
    let median = sorted[sorted.len() / 2];
    frequencies.iter().enumerate().fold(0, |bits, (at, &x)| bits | u64::from(x > median) << at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocelli::preprocess::Packed;

    /// A picture of soft blobs that depend on `seed`, `width` × `height`.
    fn picture(seed: f32, width: usize, height: usize, level: f32) -> Vec<u8> {
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
                let wave =
                    (u * 7.0 + seed).sin() + (v * 5.0 + 2.0 * seed).cos() + ((u + v) * 11.0 * seed).sin();
                pixels.extend([(110.0 + level + 30.0 * wave) as u8; 3]);
            }
        }
        pixels
    }

    fn hash(pixels: &[u8], width: usize, height: usize) -> u64 {
        phash(&PixelView::new(Packed::Rgb, pixels, width as u32, height as u32, 3 * width).unwrap())
    }

    #[test]
    fn versions_are_near_and_others_far() {
        let at = |seed, width, height, level| hash(&picture(seed, width, height, level), width, height);
        for seed in [0.3, 1.1, 2.9] {
            let large = at(seed, 640, 480, 0.0);
            assert!(distance(large, at(seed, 160, 120, 0.0)) <= 2);
            assert!(distance(large, at(seed, 640, 480, 20.0)) <= 2);
            assert!(distance(large, at(seed, 64, 48, 0.0)) <= 8);
            for other in [0.7, 2.0] {
                assert!(distance(large, at(other, 640, 480, 0.0)) >= 16);
            }
        }
        assert_eq!(distance(0b1011, 0b0110), 3);
    }

    #[test]
    fn small_and_flat_pictures_have_a_hash() {
        for (width, height) in [(1, 1), (1, 500), (500, 1), (31, 33)] {
            let flat = vec![90; 3 * width * height];
            hash(&flat, width, height);
        }
    }

    #[test]
    fn the_transform_is_a_dct() {
        let mut brightness = [0.0; SIDE * SIDE];
        for (at, level) in brightness.iter_mut().enumerate() {
            *level = (PI / SIDE as f32 * ((at % SIDE) as f32 + 0.5) * 3.0).cos();
        }
        let found = frequencies(&brightness);
        for (at, &x) in found.iter().enumerate() {
            let expected = if at == 3 { 16.0 * 32.0 } else { 0.0 };
            assert!((x - expected).abs() < 1e-2, "{at}: {x}");
        }
    }
}
