//! The small CLIP of the tests keeps its promise: on 2,000 test photographs of CIFAR-10 it is as accurate as PyTorch running the
//! unquantized checkpoint, whose answers are in `predictions.csv`.

use ocelli::format::LabelBank;
use ocelli::preprocess::decode::{self, decode_file};
use ocelli::score::Scored;
use ocelli::{Classifier, Isa, Model};
use ocelli_tests::fixtures;
use ocelli_tests::image_encoder;
use std::path::Path;
use std::sync::Arc;

/// Points by which int8 may fall behind PyTorch.
const MOST_POINTS_LOST: f64 = 0.5;
/// Least agreement with PyTorch's answers, in percent.
const LEAST_AGREEMENT: f64 = 98.0;

#[test]
fn int8_is_as_accurate_as_pytorch() {
    let folder = fixtures().join("cifar10");
    let table = std::fs::read_to_string(folder.join("predictions.csv")).unwrap();
    let mut rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2000);
    if cfg!(not(target_arch = "x86_64")) {
        // An emulator is a hundred times slower; the agreement of a sample shows a broken kernel too.
        rows = rows.into_iter().step_by(40).collect();
    }
    let model = Model::open(ocelli_tests::cifar10()).unwrap();
    // One encoder per CPU, each on one thread: images are many and small.
    let share = rows.len().div_ceil(std::thread::available_parallelism().map_or(1, |n| n.get()));
    let (right, right_pytorch, same) = std::thread::scope(|scope| {
        let workers: Vec<_> =
            rows.chunks(share).map(|rows| scope.spawn(|| answers(&model, &folder, rows))).collect();
        let counts = workers.into_iter().map(|worker| worker.join().unwrap());
        counts.fold((0, 0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1, sum.2 + count.2))
    });
    let percent = |count: usize| count as f64 * 100.0 / rows.len() as f64;
    println!(
        "top-1 {:.2} %, PyTorch {:.2} %, agreement {:.2} %",
        percent(right),
        percent(right_pytorch),
        percent(same)
    );
    if rows.len() == 2000 {
        assert!(percent(right) >= percent(right_pytorch) - MOST_POINTS_LOST);
    }
    assert!(percent(same) >= LEAST_AGREEMENT, "agreement {:.2} %", percent(same));
}

/// How many images of `rows` get their right label, from us and from PyTorch, and how many the same from both.
fn answers(model: &Arc<Model>, folder: &Path, rows: &[Vec<&str>]) -> (usize, usize, usize) {
    let bank = model.file().bank().unwrap();
    let own = LabelBank::new(&bank.to_bytes()).unwrap();
    let mut classifier = Classifier::new(image_encoder(model, Isa::detect(), 1), own).unwrap();
    let mut scored = vec![Scored::default(); bank.len()];
    let (mut right, mut right_pytorch, mut same) = (0, 0, 0);
    for row in rows {
        let [image, label, pytorch, ..] = row[..] else { panic!("{row:?}") };
        let image = decode_file(folder.join(image), &decode::Options::default()).unwrap();
        classifier.classify_into(&image.view(), &mut scored).unwrap();
        let answer = bank.label(scored[0].label);
        right += usize::from(answer == label);
        right_pytorch += usize::from(pytorch == label);
        same += usize::from(answer == pytorch);
    }
    (right, right_pytorch, same)
}
