//! Every seed through its target, with the stable compiler.

use ocelli::format::{AlignedBytes, Bank, File};
use ocelli_fuzz::{TARGETS, seeds};
use std::time::{Duration, Instant};

/// The targets as tests, so that one failure hides no other.
macro_rules! replay {
    ($($name:ident)+) => {
        #[test]
        fn no_target_is_left_out() {
            assert!(TARGETS.iter().map(|target| target.name).eq([$(stringify!($name)),+]));
        }

        $(
            #[test]
            fn $name() {
                let target = TARGETS.iter().find(|target| target.name == stringify!($name)).unwrap();
                let seeds = seeds::of(target);
                assert!(!seeds.is_empty());
                for (name, seed) in &seeds {
                    println!("{name}");
                    let start = Instant::now();
                    (target.run)(seed);
                    // A thousand times what any of them takes: this finds a hang, it does not time the machine.
                    assert!(start.elapsed() < Duration::from_secs(60), "{name}");
                }
            }
        )+
    };
}
replay!(model bank checkpoint tokenizer image orientation text pixels mjpeg torch);

/// Bad seeds would be refused at the first check, and nothing behind it would be fuzzed.
#[test]
fn made_seeds_get_to_the_bottom() {
    for (name, seed) in seeds::models().iter().filter(|(name, _)| name.ends_with(".ocelli")) {
        File::parse(&AlignedBytes::new(seed))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .verify()
            .unwrap();
    }
    for (name, seed) in seeds::banks() {
        Bank::parse(&AlignedBytes::new(&seed)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (name, seed) in seeds::orientations() {
        let picture = ocelli_fuzz::orientation::picture(seed[0], &seed[1..]);
        ocelli::preprocess::decode::decode(&picture, &Default::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
