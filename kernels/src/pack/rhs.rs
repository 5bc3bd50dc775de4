//! The right operand of a GEMM: how weight matrices lie in memory.
//!
//! A linear layer `y = x·Wᵀ + b` has `W` of `n` output channels × `k` inputs. Its channels are cut into panels of
//! [`NR`] = 16; a panel holds, for each step along `k`, the 16 channels next to each other, so that a kernel reads
//! memory strictly forward. `k` is padded with zeros to a multiple of [`K_ALIGN`] = 16, `n` to a multiple of 16:
//!
//! ```text
//! int8:   [n/16] [k/4] [16 channels] [4 consecutive k]   64 bytes, one cache line, per group of four
//! floats: [n/16] [k]   [16 channels]
//! ```
//!
//! Groups of [`K_GROUP`] = 4 along `k` are what SDOT, `vpdpbusd`, `vpmaddubsw` and NEON's widening multiplies read as
//! they are; SMMLA, which wants eight, reads two adjacent groups through one `zip`.

/// Output channels in an RHS panel.
pub const NR: usize = 16;
/// Consecutive `k` of one channel that lie together in an int8 panel.
pub const K_GROUP: usize = 4;
/// `k` is padded with zeros to a multiple of this, so that no kernel has a tail.
pub const K_ALIGN: usize = 16;
/// Largest weight magnitude of a "w7" tensor: `vpmaddubsw` on u8 × s8 is exact up to here (2·255·64 < 2¹⁵).
pub const W7_MAX: i8 = 64;
/// Largest weight magnitude of a "w8" tensor. −128 is left out, so that the codes are symmetric.
pub const W8_MAX: i8 = 127;

/// Largest `k` of an int8 matrix: sums of so many products of any two bytes, one of them signed, fit i32
/// (2¹⁶ · 255 · 128 < 2³¹).
pub const K_MAX_I8: usize = 1 << 16;

/// `k` with its padding.
///
/// # Panics
/// If that is more than a `usize` holds.
pub const fn padded_k(k: usize) -> usize {
    k.checked_next_multiple_of(K_ALIGN).expect("k with its padding fits usize")
}

/// `n` with its padding.
///
/// # Panics
/// If that is more than a `usize` holds.
pub const fn padded_n(n: usize) -> usize {
    n.checked_next_multiple_of(NR).expect("n with its padding fits usize")
}

/// Panels of a matrix with `n` output channels.
pub const fn panels(n: usize) -> usize {
    n.div_ceil(NR)
}

/// Elements of the packed `n` × `k` matrix, padding included; the same for every element type.
///
/// # Panics
/// If there are more than a `usize` holds. [`checked_packed_len`] is for sizes that come from a file.
pub const fn packed_len(n: usize, k: usize) -> usize {
    checked_packed_len(n, k).expect("the packed matrix fits memory")
}

/// The same, or `None` if there are more than a `usize` holds.
pub const fn checked_packed_len(n: usize, k: usize) -> Option<usize> {
    match (n.checked_next_multiple_of(NR), k.checked_next_multiple_of(K_ALIGN)) {
        (Some(n), Some(k)) => n.checked_mul(k),
        _ => None,
    }
}

/// Where element (`n`, `k`) of an int8 matrix with `k_total` inputs lies.
pub const fn index_i8(n: usize, k: usize, k_total: usize) -> usize {
    (n / NR) * NR * padded_k(k_total) + (k / K_GROUP) * NR * K_GROUP + (n % NR) * K_GROUP + k % K_GROUP
}

/// Where element (`n`, `k`) of a float matrix with `k_total` inputs lies.
pub const fn index_float(n: usize, k: usize, k_total: usize) -> usize {
    (n / NR) * NR * padded_k(k_total) + k * NR + n % NR
}

/// Packs rows `first_n..` of an int8 matrix, row-major in `rows` (`k` elements each), into `packed`.
///
/// # Panics
/// If `rows` is no whole number of rows, or `packed` is shorter than the panels that they reach.
pub fn pack_i8(rows: &[i8], first_n: usize, k: usize, packed: &mut [i8]) {
    assert!(k > 0 && rows.len().is_multiple_of(k), "{} elements in rows of {k}", rows.len());
    for (row, values) in rows.chunks_exact(k).enumerate() {
        for (i, &value) in values.iter().enumerate() {
            packed[index_i8(first_n + row, i, k)] = value;
        }
    }
}

/// Packs rows `first_n..` of a float matrix, row-major in `rows` (`k` elements each), into `packed`.
///
/// # Panics
/// If `rows` is no whole number of rows, or `packed` is shorter than the panels that they reach.
pub fn pack_float<T: Copy>(rows: &[T], first_n: usize, k: usize, packed: &mut [T]) {
    assert!(k > 0 && rows.len().is_multiple_of(k), "{} elements in rows of {k}", rows.len());
    for (row, values) in rows.chunks_exact(k).enumerate() {
        for (i, &value) in values.iter().enumerate() {
            packed[index_float(first_n + row, i, k)] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_is_a_bijection_onto_the_unpadded_elements() {
        let (n, k) = (37, 21);
        let rows: [i8; 37 * 21] = core::array::from_fn(|i| (i % 251) as u8 as i8);
        let mut packed = [0i8; packed_len(37, 21)];
        let (head, tail) = rows.split_at(5 * k);
        pack_i8(head, 0, k, &mut packed);
        pack_i8(tail, 5, k, &mut packed);
        let mut floats = [0i8; packed_len(37, 21)];
        pack_float(&rows, 0, k, &mut floats);
        for i in 0..n {
            for j in 0..k {
                assert_eq!(packed[index_i8(i, j, k)], rows[i * k + j]);
                assert_eq!(floats[index_float(i, j, k)], rows[i * k + j]);
            }
        }
        // Where the file format says that they lie: [n/16][k/4][16][4], and [n/16][k][16].
        let k_pad = padded_k(k);
        for (i, j, int8, float) in [
            (0, 0, 0, 0),
            (0, 3, 3, 3 * 16),
            (1, 0, 4, 1),
            (15, 3, 63, 3 * 16 + 15),
            (0, 4, 64, 4 * 16),
            (16, 0, 16 * k_pad, 16 * k_pad),
            (35, 18, 32 * k_pad + 4 * 64 + 3 * 4 + 2, 32 * k_pad + 18 * 16 + 3),
        ] {
            assert_eq!((index_i8(i, j, k), index_float(i, j, k)), (int8, float), "({i}, {j})");
        }
        let total = |values: &[i8]| values.iter().map(|&v| i64::from(v)).sum::<i64>();
        assert_eq!((total(&packed), total(&floats)), (total(&rows), total(&rows)));
    }
}
