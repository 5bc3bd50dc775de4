//! Spherical k-means (Dhillon and Modha, Machine Learning 42, 2001): embeddings of one label in groups by their cosines.

use super::{dot, normalize};
use std::vec::Vec;

/// Groups settle long before.
const MOST_ROUNDS: usize = 50;

/// The group of each of `points`, [points, dim], all of length 1: numbers from 0 on, at most `k` of them and none without
/// points. The same points in the same order give the same groups.
pub(super) fn groups(points: &[f32], dim: usize, k: usize) -> Vec<usize> {
    let mut centres = spread(points, dim, k);
    let nearest = |centres: &[f32]| -> Vec<usize> {
        points.chunks_exact(dim).map(|point| closest(point, centres, dim).0).collect()
    };
    let mut groups = nearest(&centres);
    for _ in 0..MOST_ROUNDS {
        for (group, centre) in centres.chunks_exact_mut(dim).enumerate() {
            let members = points.chunks_exact(dim).zip(&groups).filter(|&(_, &of)| of == group);
            let sum = sum(members.map(|(point, _)| point), dim);
            // A group that has lost its points keeps its centre.
            if sum.iter().any(|&value| value != 0.0) {
                centre.copy_from_slice(&sum);
                normalize(centre);
            }
        }
        let next = nearest(&centres);
        if next == groups {
            break;
        }
        groups = next;
    }
    let mut used = groups.clone();
    used.sort_unstable();
    used.dedup();
    groups.iter().map(|group| used.binary_search(group).unwrap_or_default()).collect()
}

/// Up to `k` points far from each other: the one nearest to the mean of all, then always the one that is farthest from
/// those before (Gonzalez, Theoretical Computer Science 38, 1985).
fn spread(points: &[f32], dim: usize, k: usize) -> Vec<f32> {
    let mean = sum(points.chunks_exact(dim), dim);
    let (first, _) = closest(&mean, points, dim);
    let mut centres = points[first * dim..][..dim].to_vec();
    while centres.len() < k * dim {
        let distance = |point: &[f32]| 1.0 - closest(point, &centres, dim).1;
        let (mut farthest, mut most) = (None, 1e-6);
        for point in points.chunks_exact(dim) {
            let away = distance(point);
            if away > most {
                (farthest, most) = (Some(point), away);
            }
        }
        // The rest are copies of those before.
        let Some(point) = farthest else { break };
        centres.extend_from_slice(point);
    }
    centres
}

/// The row of `rows` with the largest inner product with `point`, the first of equals, and that product.
fn closest(point: &[f32], rows: &[f32], dim: usize) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (i, row) in rows.chunks_exact(dim).enumerate() {
        let product = dot(point, row);
        if product > best.1 {
            best = (i, product);
        }
    }
    best
}

/// The sum of `points`.
pub(super) fn sum<'p>(points: impl Iterator<Item = &'p [f32]>, dim: usize) -> Vec<f32> {
    let mut sum = std::vec![0.0; dim];
    for point in points {
        sum.iter_mut().zip(point).for_each(|(sum, value)| *sum += value);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_circle(degrees: &[f32]) -> Vec<f32> {
        degrees.iter().flat_map(|d| [d.to_radians().cos(), d.to_radians().sin()]).collect()
    }

    #[test]
    fn points_that_are_near_each_other_are_one_group() {
        let points = on_circle(&[0.0, 90.0, 5.0, 200.0, 85.0, 195.0]);
        let found = groups(&points, 2, 3);
        assert_eq!((found[0], found[1], found[3]), (found[2], found[4], found[5]));
        assert!(found[0] != found[1] && found[1] != found[3] && found[0] != found[3]);
        assert_eq!(found, groups(&points, 2, 3));
        assert_eq!(groups(&points, 2, 1), [0; 6]);
    }

    #[test]
    fn there_are_never_more_groups_than_different_points() {
        let mut found = groups(&on_circle(&[10.0, 10.0, 80.0]), 2, 5);
        assert_eq!(found[0], found[1]);
        found.sort_unstable();
        assert_eq!(found, [0, 0, 1]);
        // Opposite points: their mean has no direction.
        let mut opposite = groups(&on_circle(&[0.0, 180.0]), 2, 2);
        opposite.sort_unstable();
        assert_eq!(opposite, [0, 1]);
    }
}
