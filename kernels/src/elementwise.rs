//! Element-wise f32 operations, safe to call.

use crate::kernels::Kernels;
use crate::table::Activation;
use half::f16;

impl Kernels {
    /// LayerNorm of one row (arXiv 1607.06450): `(x − mean) / √(var + eps) · gamma + beta`, biased variance.
    ///
    /// # Panics
    /// If the lengths differ or are zero.
    pub fn layer_norm(&self, x: &[f32], gamma: &[f32], beta: &[f32], eps: f32, out: &mut [f32]) {
        let n = x.len();
        assert!(n > 0 && gamma.len() == n && beta.len() == n && out.len() == n, "LayerNorm over {n}");
        // SAFETY: the table holds only kernels whose features its `Isa` proves; the lengths agree.
        unsafe { (self.table.layer_norm)(x, gamma, beta, eps, out) }
    }

    /// `x[i] = exp((x[i] − max x) · scale)`, `scale` ≥ 0; returns the sum, by which the caller divides.
    pub fn softmax(&self, x: &mut [f32], scale: f32) -> f32 {
        // SAFETY: as in `layer_norm`; any length will do.
        unsafe { (self.table.softmax)(x, scale) }
    }

    /// Applies an activation function in place.
    pub fn activate(&self, act: Activation, x: &mut [f32]) {
        // SAFETY: as in `softmax`.
        unsafe { (self.table.activate)(act, x) }
    }

    /// Converts to f32, exactly.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn widen_f16(&self, from: &[f16], to: &mut [f32]) {
        assert_eq!(from.len(), to.len());
        // SAFETY: as in `layer_norm`.
        unsafe { (self.table.widen_f16)(from, to) }
    }

    /// Converts to f16, ties to even.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn narrow_f16(&self, from: &[f32], to: &mut [f16]) {
        assert_eq!(from.len(), to.len());
        // SAFETY: as in `layer_norm`.
        unsafe { (self.table.narrow_f16)(from, to) }
    }
}
