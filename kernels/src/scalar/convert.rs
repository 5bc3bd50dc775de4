//! Between f16 and f32.

use half::f16;

pub(crate) fn widen_f16(from: &[f16], to: &mut [f32]) {
    from.iter().zip(to).for_each(|(from, to)| *to = from.to_f32());
}

pub(crate) fn narrow_f16(from: &[f32], to: &mut [f16]) {
    from.iter().zip(to).for_each(|(from, to)| *to = f16::from_f32(*from));
}
