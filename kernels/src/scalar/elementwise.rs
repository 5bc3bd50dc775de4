//! Element-wise f32 operations.

use crate::pack::NR;
use crate::table::{Activation, RowRange};

pub(crate) fn range_rows(x: &[f32], width: usize, stride: usize, ranges: &mut [RowRange]) {
    for block in x.chunks(stride) {
        for (x, RowRange { low, high, finite }) in block.chunks_exact(width).zip(&mut *ranges) {
            for x in x.as_chunks::<NR>().0 {
                for (i, x) in x.iter().enumerate() {
                    low[i] = low[i].min(*x);
                    high[i] = high[i].max(*x);
                    finite[i] += x * 0.0;
                }
            }
        }
    }
}

pub(crate) fn layer_norm(x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = x.iter().sum::<f32>() / n;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n;
    let inverse = 1.0 / libm::sqrtf(variance + eps);
    for (((out, x), gamma), beta) in out.iter_mut().zip(x).zip(gamma).zip(beta) {
        *out = (x - mean) * inverse * gamma + beta;
    }
}

pub(crate) fn softmax(x: &mut [f32], scale: f32) -> f32 {
    let max = x.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
    let mut sum = 0.0;
    for x in x {
        *x = libm::expf((*x - max) * scale);
        sum += *x;
    }
    sum
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

pub(crate) fn activate(act: Activation, x: &mut [f32]) {
    for x in x {
        let v = *x;
        *x = match act {
            Activation::QuickGelu => v * sigmoid(1.702 * v),
            Activation::Gelu => 0.5 * v * (1.0 + libm::erff(v * core::f32::consts::FRAC_1_SQRT_2)),
            // tanh(u) = 2·sigmoid(2u) − 1, with u = √(2/π)·(x + 0.044715·x³)
            Activation::GeluTanh => v * sigmoid(2.0 * 0.797_884_6 * (v + 0.044715 * v * v * v)),
            Activation::Silu => v * sigmoid(v),
            Activation::Relu if v < 0.0 => 0.0,
            Activation::Relu => v,
        };
    }
}
