//! Cores with SDOT.

/// Writes the 24 accumulators of a tile, v8 to v31, to `{out}`.
macro_rules! store_sums {
    () => {
        concat!(
            "stp q8, q9, [{out}]\n",
            "stp q10, q11, [{out}, #32]\n",
            "stp q12, q13, [{out}, #64]\n",
            "stp q14, q15, [{out}, #96]\n",
            "stp q16, q17, [{out}, #128]\n",
            "stp q18, q19, [{out}, #160]\n",
            "stp q20, q21, [{out}, #192]\n",
            "stp q22, q23, [{out}, #224]\n",
            "stp q24, q25, [{out}, #256]\n",
            "stp q26, q27, [{out}, #288]\n",
            "stp q28, q29, [{out}, #320]\n",
            "stp q30, q31, [{out}, #352]\n",
        )
    };
}

mod gemm_i8;
mod gemm_i8_a55;
mod scan;

pub(super) use gemm_i8::GEMM_I8;
pub(super) use gemm_i8_a55::GEMM_I8 as GEMM_I8_A55;
pub(super) use scan::SCAN_I8;
