//! Fuzz targets: one function `run(&[u8])` for each door through which foreign bytes come in, and seeds for it.
//!
//! A target may refuse its input or answer. It must not panic, touch memory that is not its own, hang, or take memory
//! without bound. `scripts/fuzz.sh` runs all of them under libFuzzer with AddressSanitizer; `cargo test` in this folder
//! replays the seeds with the stable compiler; and a target is also a program that runs the files it is given:
//! `cargo run --bin model -- crash-1234`.

pub mod bank;
pub mod checkpoint;
pub mod image;
mod input;
pub mod mjpeg;
pub mod model;
pub mod orientation;
pub mod pack;
pub mod pixels;
pub mod seeds;
pub mod text;
pub mod tokenizer;
pub mod torch;

/// A target by its name.
pub struct Target {
    /// As in `cargo fuzz run NAME`.
    pub name: &'static str,
    /// Feeds it one input.
    pub run: fn(&[u8]),
    /// Inputs to start from, with names; those under `seeds/NAME` come on top.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}

/// All targets.
pub const TARGETS: [Target; 10] = [
    Target { name: "model", run: model::run, seeds: seeds::models },
    Target { name: "bank", run: bank::run, seeds: seeds::banks },
    Target { name: "checkpoint", run: checkpoint::run, seeds: seeds::checkpoints },
    Target { name: "tokenizer", run: tokenizer::run, seeds: seeds::tokenizers },
    Target { name: "image", run: image::run, seeds: seeds::images },
    Target { name: "orientation", run: orientation::run, seeds: seeds::orientations },
    Target { name: "text", run: text::run, seeds: seeds::texts },
    Target { name: "pixels", run: pixels::run, seeds: seeds::pixels },
    Target { name: "mjpeg", run: mjpeg::run, seeds: seeds::streams },
    Target { name: "torch", run: torch::run, seeds: seeds::torch },
];

/// The whole of a target's program: libFuzzer's entry point, or a `main` that runs the files named as arguments.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        // What a target makes once is not the first input's time.
        libfuzzer_sys::fuzz_target!(init: $crate::$name::run(&[]), |data: &[u8]| $crate::$name::run(data));

        #[cfg(not(fuzzing))]
        fn main() {
            for path in std::env::args_os().skip(1) {
                eprintln!("{}", path.display());
                $crate::$name::run(&std::fs::read(path).expect("a file to run"));
            }
        }
    };
}
