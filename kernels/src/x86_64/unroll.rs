//! Unrolling of the loop over `k`.

/// Calls `step` for 0..k, four times in each turn of the loop: counting takes slots from the multiplications.
#[inline(always)]
pub(super) fn unrolled(k: usize, mut step: impl FnMut(usize)) {
    const TURN: usize = 4;
    let whole = k - k % TURN;
    for first in (0..whole).step_by(TURN) {
        (first..first + TURN).for_each(&mut step);
    }
    (whole..k).for_each(step);
}
