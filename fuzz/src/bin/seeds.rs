//! Writes the seeds of every target: `cargo run --bin seeds -- FOLDER` makes FOLDER/TARGET/SEED.

use ocelli_fuzz::{TARGETS, seeds};
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: seeds FOLDER"));
    for target in &TARGETS {
        let place = folder.join(target.name);
        std::fs::create_dir_all(&place)?;
        for (name, seed) in seeds::of(target) {
            std::fs::write(place.join(name), seed)?;
        }
    }
    Ok(())
}
