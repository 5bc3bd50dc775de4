//! A model file that somebody overwrites while it is open: wrong numbers or an error, and nothing worse.

use ocelli::format::Limits;
use ocelli::preprocess::{Packed, PixelView};
use ocelli::score::Scored;
use ocelli::{Classifier, ImageEncoder, ImageOptions, Model, Result, TextEncoder};
use ocelli_kernels::Isa;
use ocelli_tests::{PRECISIONS, packed, runtime};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// `len` bytes that look random (xorshift64), the same for the same `seed`.
fn noise(mut seed: u64, len: usize) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    (0..len.div_ceil(8)).flat_map(|_| next()).take(len).collect()
}

/// Overwrites the file in place; cut off, it would end the process.
fn overwrite(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// Encoders on one runtime for everything that a model has.
struct Encoders {
    images: ImageEncoder,
    texts: Option<TextEncoder>,
    classifier: Option<Classifier>,
}

impl Encoders {
    fn new(model: &Arc<Model>, isa: Isa) -> Encoders {
        let (runtime, options) = (runtime(isa, 2), ImageOptions::default());
        let images = || ImageEncoder::new(model, &runtime, &options).unwrap();
        Encoders {
            texts: model.text().map(|_| TextEncoder::new(model, &runtime, &Limits::default()).unwrap()),
            classifier: Classifier::of_classes(images()).ok(),
            images: images(),
        }
    }

    /// What everything gives for one picture and one text, as bits.
    fn run(&mut self) -> Vec<Result<Vec<u32>>> {
        let pixels = noise(7, 90 * 70 * 3);
        let view = PixelView::new(Packed::Rgb, &pixels, 90, 70, 270).unwrap();
        let bits = |out: &[f32]| out.iter().map(|value| value.to_bits()).collect();
        let mut out = vec![0.0; self.images.embed_dim()];
        let mut results = vec![self.images.embed_into(&view, &mut out).map(|()| bits(&out))];
        if let Some(texts) = &mut self.texts {
            results.push(texts.embed_into("a photo of a dog", &mut out).map(|_| bits(&out)));
        }
        if let Some(classifier) = &mut self.classifier {
            let mut scored = vec![Scored::default(); classifier.labels().len()];
            let result = classifier.classify_into(&view, &mut scored);
            results.push(result.map(|()| scored.iter().map(|label| label.score.to_bits()).collect()));
        }
        results
    }
}

#[test]
fn a_file_overwritten_while_it_is_open_gives_wrong_numbers_or_an_error() {
    let directory = tempfile::tempdir().unwrap();
    // An emulator is a hundred times slower, and what is tried is not the instruction set.
    let emulated = cfg!(not(target_arch = "x86_64"));
    let fixtures = ["clip-hf", "siglip2-naflex", "siglip-hf", "retinavit", "vit-hf", "timm-eva02"];
    for fixture in &fixtures[..if emulated { 2 } else { fixtures.len() }] {
        let precisions = if emulated { &PRECISIONS[2..3] } else { &PRECISIONS[..] };
        for &precision in precisions {
            let path = packed(directory.path(), fixture, precision);
            let original = std::fs::read(&path).unwrap();
            for isa in [Isa::SCALAR, Isa::detect()] {
                let (mapped, copied) = (Model::open(&path).unwrap(), Model::read(&path).unwrap());
                let (mut of_map, mut of_copy) = (Encoders::new(&mapped, isa), Encoders::new(&copied, isa));
                let expected: Vec<_> = of_map.run().into_iter().map(Result::unwrap).collect();
                let random = [0x5eed, 0xace5].map(|seed| noise(seed, original.len()));
                // All ones are NaN in every float, and the largest code; zeros make every scale 0.
                let same = [0xff, 0].map(|byte| vec![byte; original.len()]);
                for (round, bytes) in random.iter().chain(&same).enumerate() {
                    overwrite(&path, bytes);
                    let case = format!("{fixture} {precision:?} {isa}, round {round}");
                    // The encoder from before, and one made now, which computes its positions from what it finds.
                    for encoders in [&mut of_map, &mut Encoders::new(&mapped, isa)] {
                        for (result, expected) in encoders.run().iter().zip(&expected) {
                            assert!(!matches!(result, Ok(bits) if bits == expected), "{case}: not seen");
                        }
                    }
                    assert!(mapped.check_weights(2).is_err(), "{case}: damage not found");
                    assert!(Model::open(&path).is_err(), "{case}: opened");
                    for encoders in [&mut of_copy, &mut Encoders::new(&copied, isa)] {
                        let results: Vec<_> = encoders.run().into_iter().map(Result::unwrap).collect();
                        assert_eq!(results, expected, "{case}: the copy changed");
                    }
                    copied.check_weights(2).unwrap();
                }
                overwrite(&path, &original);
                let restored: Vec<_> = of_map.run().into_iter().map(Result::unwrap).collect();
                // Positions that were computed when the encoder was made are the encoder's own.
                assert_eq!(restored, expected, "{fixture} {precision:?} {isa}: restored");
            }
        }
    }
}

/// Kibibytes that this process has of the file at `path`, through maps.
#[cfg(target_os = "linux")]
fn resident(path: &Path) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    let lines = maps.lines().filter(|line| {
        // A map's own line has no colon after its first word.
        if !line.split(' ').next().unwrap_or_default().ends_with(':') {
            inside = line.ends_with(path.to_str().unwrap());
        }
        inside && line.starts_with("Rss:")
    });
    lines.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}

/// A service on a small board checks a file before it uses it, without needing memory for all of it.
#[test]
#[cfg(target_os = "linux")]
fn checked_weights_are_not_kept_in_memory() {
    // As the system names it.
    let path = ocelli_tests::repository().join("models/demo.ocelli").canonicalize().unwrap();
    let model = Model::open(&path).unwrap();
    let whole = std::fs::metadata(&path).unwrap().len() / 1024;
    model.file().verify().unwrap();
    let read = resident(&path);
    assert!(read * 2 > whole, "{read} of {whole} KiB: what is read is not seen");
    model.check_weights(1).unwrap();
    let after = resident(&path);
    assert!(after * 20 < whole, "{after} of {whole} KiB");
    // They are still there.
    model.file().verify().unwrap();
}
