//! Fixed 2-D sine-cosine positions, not learned and not stored: for column x, row y and `D` channels,
//! `[sin(x·ω), cos(x·ω), sin(y·ω), cos(y·ω)]` with `D/4` frequencies ω each, x first.
//!
//! | | ωⱼ, j = 0..D/4 | source |
//! |---|---|---|
//! | [`simple_vit`] | `T^(−j / (D/4 − 1))` | vit-pytorch `posemb_sincos_2d` (arXiv 2205.01580) |
//! | [`mae`] | `T^(−j / (D/4))` | MAE's `get_2d_sincos_pos_embed` (arXiv 2111.06377) as transformers stores it |

/// vit-pytorch's convention: the last frequency is exactly `1/temperature`.
///
/// # Panics
/// If `out` is not [grid.0 · grid.1, width].
pub fn simple_vit(temperature: f64, grid: (usize, usize), width: usize, out: &mut [f32]) {
    fill(temperature, (width / 4 - 1) as f64, grid, width, out);
}

/// MAE's convention.
///
/// # Panics
/// If `out` is not [grid.0 · grid.1, width].
pub fn mae(temperature: f64, grid: (usize, usize), width: usize, out: &mut [f32]) {
    fill(temperature, (width / 4) as f64, grid, width, out);
}

fn fill(temperature: f64, steps: f64, grid: (usize, usize), width: usize, out: &mut [f32]) {
    assert_eq!(out.len(), grid.0 * grid.1 * width, "positions");
    let quarter = width / 4;
    for (i, row) in out.chunks_exact_mut(width).enumerate() {
        let (y, x) = ((i / grid.1) as f64, (i % grid.1) as f64);
        for j in 0..quarter {
            let omega = temperature.powf(-(j as f64) / steps);
            let parts = [(x * omega).sin(), (x * omega).cos(), (y * omega).sin(), (y * omega).cos()];
            for (part, value) in parts.into_iter().enumerate() {
                row[part * quarter + j] = value as f32;
            }
        }
    }
}
