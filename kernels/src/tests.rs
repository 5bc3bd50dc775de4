//! One runner for every kernel on every instruction set of this machine, against references that share no code with
//! what they check. Each test collects all failures before it fails.

mod attention;
mod gemm;
mod gemm_i8;
mod matrix;
mod micro_float;
mod micro_i8;
mod names;
mod refusals;
mod remainders;
mod scan;
mod vectorized;

use std::string::String;
use std::vec::Vec;

/// Collects failures, so that one run names every kernel and shape that is wrong.
#[derive(Default)]
struct Failures(Vec<String>);

impl Failures {
    fn check(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.0.push(what());
        }
    }

    /// Panics with the first failures, if there are any.
    fn report(self) {
        let shown: Vec<&str> = self.0.iter().take(20).map(String::as_str).collect();
        assert!(shown.is_empty(), "{} failures:\n{}", self.0.len(), shown.join("\n"));
    }
}

/// Unit roundoff of f32.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;
