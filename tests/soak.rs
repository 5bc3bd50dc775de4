//! Many frames in one process: memory, descriptors and threads stay what they were, and so do the embeddings.
//!
//! One test alone in its process, because it counts what the process has. `OCELLI_SOAK_FRAMES` sets how many frames
//! (default 500; `scripts/soak.sh` takes 20,000).

#![cfg(target_os = "linux")]

use ocelli::preprocess::{Packed, PixelView};
use ocelli::{Isa, Model};
use ocelli_tests::{batch_encoder, packed, usage};
use ocelli_tools::Precision;

/// Resident memory may vary by this much, in KiB: the system, not the program, decides when pages come and go. Under an
/// emulator (the ARM tests) the figure is that of the emulator too, which keeps translated code and huge pages of 2 MiB.
const SLACK_KIB: usize = if cfg!(target_arch = "x86_64") { 512 } else { 8192 };

#[test]
fn nothing_grows_and_every_division_gives_the_same_bits() {
    let frames: usize =
        std::env::var("OCELLI_SOAK_FRAMES").map_or(500, |frames| frames.parse().expect("a number"));
    let directory = tempfile::tempdir().unwrap();
    let model = Model::open(packed(directory.path(), "clip-hf", Precision::Int8)).unwrap();
    let pixels: Vec<u8> =
        (0..300 * 200 * 3).map(|i: u32| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    let sizes = [(300, 200), (64, 64), (37, 91), (200, 33)];
    let views = sizes.map(|(w, h)| PixelView::new(Packed::Rgb, &pixels, w, h, w as usize * 3).unwrap());

    // 20 divisions of the work, encoders made and dropped.
    let embed = |threads: usize, batch: usize| {
        let mut encoder = batch_encoder(&model, Isa::detect(), threads, batch, None);
        let dim = encoder.embed_dim();
        let mut out = vec![0.0; views.len() * dim];
        for (views, out) in views.chunks(batch).zip(out.chunks_mut(batch * dim)) {
            encoder.embed_batch_into(views, out).unwrap();
        }
        out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let expected = embed(1, 1);
    for threads in [1, 2, 3, 5, 8] {
        for batch in [1, 2, 3, 4] {
            assert_eq!(embed(threads, batch), expected, "{threads} threads, {batch} images at once");
        }
    }

    let mut encoder = batch_encoder(&model, Isa::detect(), 2, 1, None);
    let mut out = vec![0.0; encoder.embed_dim()];
    let mut frame = |i: usize| {
        encoder.embed_into(&views[i % views.len()], &mut out).unwrap();
        let bits = out.iter().map(|value| value.to_bits());
        assert!(
            bits.eq(expected.chunks_exact(out.len()).nth(i % views.len()).unwrap().iter().copied()),
            "frame {i}"
        );
    };
    (0..frames.min(100)).for_each(&mut frame);
    let before = usage(std::process::id());
    (0..frames).for_each(&mut frame);
    let after = usage(std::process::id());
    println!("{frames} frames: (KiB, threads, descriptors) {before:?}, then {after:?}");
    assert!(after.0 <= before.0 + SLACK_KIB, "resident memory grew from {} to {} KiB", before.0, after.0);
    assert_eq!((after.1, after.2), (before.1, before.2), "threads and descriptors");
}
