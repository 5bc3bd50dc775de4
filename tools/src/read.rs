//! From a checkpoint's tensors to the rows that a packed file demands.

use crate::families::{BatchNorm, Origin, Part, Transform};
use crate::source::{SourceType, Tensors};
use crate::{Error, Result};
use ocelli::format::{Kind, TensorSpec};
use std::ops::Range;

/// Checks that every tensor of `origin` is there, with the shape that `demand` needs and a type that can be read.
///
/// # Errors
/// The first that is not, by name.
pub(crate) fn check(tensors: &Tensors, demand: &TensorSpec, origin: &Origin) -> Result<()> {
    let (rows, k) = (demand.n / origin.parts.len(), demand.k);
    // First, since the other shapes follow from the input's.
    if let Transform::Applied { input, bias } = &origin.transform {
        check_shape(tensors, demand, input, &[inputs(tensors, origin).unwrap_or(rows)])?;
        if let Some((name, first)) = bias {
            let len = tensors.get(name).map_or(0, |info| info.shape.iter().product());
            check_shape(tensors, demand, name, &[len.max(first + demand.n)])?;
        }
    }
    for part in &origin.parts {
        match part {
            Part::Zeros | Part::Sinusoids(_) => {}
            // A slice's tensor has more rows; how many is the other parts' business.
            Part::Slice(name, first) => {
                let all =
                    tensors.get(name).and_then(|info| squeezed(&info.shape).first().copied()).unwrap_or(0);
                let least = first + rows;
                let shape = if demand.kind == Kind::Vector && !is_applied(origin) {
                    vec![all.max(least)]
                } else {
                    vec![all.max(least), inputs(tensors, origin).unwrap_or(k)]
                };
                check_shape(tensors, demand, name, &shape)?;
            }
            Part::Tensor(name) => {
                let shape = match (&origin.transform, demand.kind) {
                    (Transform::Convolution { side }, Kind::Matrix) => {
                        vec![rows, k / (side * side), *side, *side]
                    }
                    (Transform::Transposed, _) => vec![k, rows],
                    (Transform::Applied { .. }, _) => vec![rows, inputs(tensors, origin).unwrap_or(rows)],
                    (_, Kind::Vector) => vec![rows],
                    _ => vec![rows, k],
                };
                check_shape(tensors, demand, name, &shape)?;
            }
        }
    }
    if let Some(scale) = &origin.scale {
        check_shape(tensors, demand, scale, &[demand.n])?;
    }
    for name in origin.batch_norm.iter().flat_map(BatchNorm::names) {
        check_shape(tensors, demand, &name, &[demand.n])?;
    }
    if let Some(plus) = &origin.plus {
        let rows = tensors.get(plus).and_then(|info| info.shape.first()).map_or(1, |&rows| rows.max(1));
        check_shape(tensors, demand, plus, &[rows, k])?;
    }
    Ok(())
}

fn is_applied(origin: &Origin) -> bool {
    matches!(origin.transform, Transform::Applied { .. })
}

/// Length of the vector that a linear layer is applied to.
fn inputs(tensors: &Tensors, origin: &Origin) -> Option<usize> {
    match &origin.transform {
        Transform::Applied { input, .. } => tensors.get(input).map(|info| info.shape.iter().product()),
        _ => None,
    }
}

/// A shape without leading dimensions of 1.
fn squeezed(shape: &[usize]) -> &[usize] {
    let ones = shape.iter().take_while(|&&side| side == 1).count();
    &shape[ones.min(shape.len().saturating_sub(1))..]
}

fn check_shape(tensors: &Tensors, demand: &TensorSpec, name: &str, expected: &[usize]) -> Result<()> {
    let info = tensors
        .get(name)
        .ok_or_else(|| Error::tensor(name, format!("is missing (it becomes {})", demand.name)))?;
    if info.shape != expected && squeezed(&info.shape) != squeezed(expected) {
        let found = &info.shape;
        return Err(Error::tensor(
            name,
            format!("has shape {found:?}, but the configuration says {expected:?}"),
        ));
    }
    if SourceType::new(info.dtype).is_none() {
        let problem = format!("has type {:?}: only F32, F16 and BF16 can be converted", info.dtype);
        return Err(Error::tensor(name, problem));
    }
    Ok(())
}

/// Reads `rows` of a demanded tensor, whose origin passed [`check`], into `out`.
///
/// # Errors
/// A file cannot be read, or a value is not finite.
pub(crate) fn read_rows(
    tensors: &Tensors,
    demand: &TensorSpec,
    origin: &Origin,
    rows: Range<usize>,
    out: &mut [f32],
) -> Result<()> {
    let (k, part_rows) = (demand.k, demand.n / origin.parts.len());
    let (mut row, mut rest) = (rows.start, &mut *out);
    while row < rows.end {
        let (part, first) = (row / part_rows, row % part_rows);
        let count = (part_rows - first).min(rows.end - row);
        let (now, later) = rest.split_at_mut(count * k);
        read_part(tensors, demand, origin, &origin.parts[part], first..first + count, now)?;
        (row, rest) = (row + count, later);
    }
    if let Some(name) = &origin.scale {
        let mut factors = vec![0.0; rows.len()];
        tensors.read(name, rows.clone(), &mut factors)?;
        for (row, factor) in out.chunks_exact_mut(k).zip(factors) {
            row.iter_mut().for_each(|value| *value *= factor);
        }
    }
    if let Some(name) = &origin.plus {
        let mut plus = vec![0.0; k];
        tensors.read(name, 0..k, &mut plus)?;
        for row in out.chunks_exact_mut(k) {
            row.iter_mut().zip(&plus).for_each(|(value, plus)| *value += plus);
        }
    }
    match &origin.batch_norm {
        Some(norm) => fold(tensors, demand, norm, rows, out),
        None => Ok(()),
    }
}

/// Folds a batch norm into `rows` of a layer's matrix, or into the norm's own bias.
fn fold(
    tensors: &Tensors,
    demand: &TensorSpec,
    norm: &BatchNorm,
    rows: Range<usize>,
    out: &mut [f32],
) -> Result<()> {
    let [mut weight, mut variance, mut mean] = [0; 3].map(|_| vec![0.0; rows.len()]);
    for (name, values) in norm.names().iter().zip([&mut weight, &mut variance, &mut mean]) {
        tensors.read(name, rows.clone(), values)?;
    }
    for (i, row) in out.chunks_exact_mut(demand.k).enumerate() {
        let factor = f64::from(weight[i]) / (f64::from(variance[i]) + BatchNorm::EPS).sqrt();
        for value in row {
            *value = match demand.kind {
                Kind::Vector => f64::from(*value) - f64::from(mean[i]) * factor,
                _ => f64::from(*value) * factor,
            } as f32;
        }
    }
    Ok(())
}

/// Reads rows of one part.
fn read_part(
    tensors: &Tensors,
    demand: &TensorSpec,
    origin: &Origin,
    part: &Part,
    rows: Range<usize>,
    out: &mut [f32],
) -> Result<()> {
    let k = demand.k;
    let (name, start) = match part {
        Part::Zeros => {
            out.fill(0.0);
            return Ok(());
        }
        Part::Sinusoids(first) => {
            out.chunks_exact_mut(k).zip(rows).for_each(|(row, i)| sinusoids(*first as usize + i, row));
            return Ok(());
        }
        Part::Tensor(name) => (name, 0),
        Part::Slice(name, start) => (name, *start),
    };
    let (first, end) = (start + rows.start, start + rows.end);
    match &origin.transform {
        Transform::Rows => tensors.read(name, first * k..end * k, out),
        Transform::TimesRoot(n) => {
            tensors.read(name, first * k..end * k, out)?;
            let factor = f64::from(*n).sqrt();
            out.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
            Ok(())
        }
        Transform::Convolution { side } => {
            tensors.read(name, first * k..end * k, out)?;
            if demand.kind == Kind::Matrix {
                channels_last(out, *side, k);
            }
            Ok(())
        }
        Transform::Transposed => {
            let n = demand.n / origin.parts.len();
            let mut across = vec![0.0; rows.len()];
            for input in 0..k {
                tensors.read(name, input * n + first..input * n + end, &mut across)?;
                across.iter().enumerate().for_each(|(row, value)| out[row * k + input] = *value);
            }
            Ok(())
        }
        Transform::Applied { input, bias } => {
            let inputs = inputs(tensors, origin).unwrap_or(0);
            let (mut vector, mut row) = (vec![0.0; inputs], vec![0.0; inputs]);
            tensors.read(input, 0..inputs, &mut vector)?;
            match bias {
                Some((name, at)) => tensors.read(name, at + rows.start..at + rows.end, out)?,
                None => out.fill(0.0),
            }
            for (i, out) in (first..end).zip(out) {
                tensors.read(name, i * inputs..(i + 1) * inputs, &mut row)?;
                let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
                *out = (row.iter().zip(&vector).map(product).sum::<f64>() + f64::from(*out)) as f32;
            }
            Ok(())
        }
    }
}

/// Sines and cosines of one position, in the steps of the library's f32.
fn sinusoids(position: usize, row: &mut [f32]) {
    let half = row.len() / 2;
    let step = -(10_000f64.ln() / (half - 1) as f64) as f32;
    let (sines, cosines) = row.split_at_mut(half);
    for (j, (sine, cosine)) in sines.iter_mut().zip(cosines).enumerate() {
        let angle = position as f32 * (j as f32 * step).exp();
        (*sine, *cosine) = (f64::from(angle).sin() as f32, f64::from(angle).cos() as f32);
    }
}

/// Each row of `k` from (channel, pixel) to (pixel, channel).
fn channels_last(rows: &mut [f32], side: usize, k: usize) {
    let pixels = side * side;
    let mut row = vec![0.0; k];
    for values in rows.chunks_exact_mut(k) {
        row.copy_from_slice(values);
        for (pixel, channels) in values.chunks_exact_mut(k / pixels).enumerate() {
            for (channel, value) in channels.iter_mut().enumerate() {
                *value = row[channel * pixels + pixel];
            }
        }
    }
}
