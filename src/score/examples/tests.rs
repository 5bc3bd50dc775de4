//! Banks from made-up embeddings, whose right answers can be told from their angles.

use super::*;
use crate::score::{Scored, score};
use bytemuck::Zeroable;
use std::string::ToString;

const ID: [u8; 16] = [7; 16];

fn config(kind: Scoring) -> Config {
    let mut config = Config::zeroed();
    config.checkpoint_id = ID;
    (config.score.kind, config.score.embed_dim) = (kind as u32, 2);
    (config.score.logit_scale, config.score.logit_bias) = (100.0, -10.0);
    config
}

fn at(degrees: f32) -> [f32; 2] {
    // Any length: embeddings come as the model gives them.
    [3.0 * degrees.to_radians().cos(), 3.0 * degrees.to_radians().sin()]
}

/// Examples of labels at angles, in degrees.
fn examples(kind: Scoring, labels: &[(&str, &[f32])]) -> Examples {
    let mut examples = Examples::new(&config(kind));
    for (label, angles) in labels {
        angles.iter().for_each(|&degrees| examples.add(label, &at(degrees)).unwrap());
    }
    examples
}

/// The best label at an angle, with its score.
fn best(kind: Scoring, bank: &LabelBank, degrees: f32) -> (String, f32) {
    let (mut embedding, bank) = (at(degrees), bank.as_bank());
    normalize(&mut embedding);
    let mut out = std::vec![Scored::default(); bank.len()];
    score(&config(kind).score, &embedding, &bank, &mut out);
    (bank.label(out[0].label).into(), out[0].score)
}

#[test]
fn a_label_is_the_mean_of_its_pictures() {
    let examples =
        examples(Scoring::Embedding, &[("right", &[10.0, -10.0, 20.0, -20.0]), ("up", &[80.0, 100.0])]);
    let (bank, left_out) = examples.bank(1).unwrap();
    let means: Vec<_> = (0..2).flat_map(|label| bank.as_bank().prototypes(label)).collect();
    for (mean, right) in means.iter().zip([[1.0, 0.0], [0.0, 1.0]]) {
        assert!(mean.embedding.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-6), "{mean:?}");
        assert_eq!(mean.logit, Some(left_out.logit));
    }
    assert_eq!((left_out.judged, left_out.right), (6, 6));
    assert!(left_out.confusions.is_empty() && left_out.alone.is_empty() && left_out.logit.bias == 0.0);
    let (label, score) = best(Scoring::Embedding, &bank, 30.0);
    assert!(label == "right" && (0.5..1.0).contains(&score), "{score}");
    assert!(best(Scoring::Embedding, &bank, 0.0).1 > score);
}

#[test]
fn the_picture_that_is_judged_does_not_judge() {
    // With itself in its mean, the one at 45.5 degrees would be nearer to "right", at 22.75, than to "up" at 68.5.
    let (_, left_out) =
        examples(Scoring::Embedding, &[("right", &[0.0, 45.5]), ("up", &[68.0, 69.0])]).bank(1).unwrap();
    let confusion = Confusion { label: 0, taken_for: 1, pictures: 1 };
    assert_eq!((left_out.judged, left_out.right, &left_out.confusions[..]), (4, 3, &[confusion][..]));
}

#[test]
fn several_prototypes_tell_apart_what_one_mean_cannot() {
    let labels: [(&str, &[f32]); 2] =
        [("poles", &[88.0, 90.0, 92.0, -88.0, -90.0, -92.0]), ("equator", &[-2.0, 0.0, 2.0, 4.0])];
    let examples = examples(Scoring::Embedding, &labels);
    let (one, several) = (examples.bank(1).unwrap(), examples.bank(2).unwrap());
    assert!(several.1.right == 10 && one.1.right < 10, "{one:?} {several:?}");
    assert_eq!(several.0.as_bank().prototypes(0).len(), 2);
    for degrees in [80.0, -80.0] {
        assert_eq!(best(Scoring::Embedding, &several.0, degrees).0, "poles");
    }
    // The nearest prototypes lie at 90 and at 3 degrees, and scores are those of labels: a half each where both are near.
    let (label, score) = best(Scoring::Embedding, &several.0, 48.0);
    assert!(label == "poles" && (0.45..0.6).contains(&score), "{score}");
}

#[test]
fn single_pictures_are_told_and_still_make_a_bank() {
    let (bank, left_out) = examples(Scoring::Embedding, &[("a", &[0.0]), ("b", &[90.0])]).bank(3).unwrap();
    assert_eq!(
        (left_out.judged, &left_out.alone[..], left_out.logit.scale),
        (0, &[0, 1][..], UNFITTED_SCALE)
    );
    assert_eq!(best(Scoring::Embedding, &bank, 10.0).0, "a");
    // A bias can't be guessed.
    for kind in [Scoring::Softmax, Scoring::Sigmoid] {
        let mut examples = examples(kind, &[("a", &[0.0]), ("b", &[90.0])]);
        examples.add_words(&words(kind).as_bank()).unwrap();
        assert!(examples.bank(1).unwrap_err().to_string().contains("single picture"));
    }
}

/// "cat" at 180 degrees, "dog" at 270: words are far from pictures.
fn words(_: Scoring) -> LabelBank {
    let bytes = bank::write(&["cat", "dog"], &["a {}"], 2, &[-1.0, 0.0, 0.0, -1.0], ID).unwrap();
    LabelBank::new(&bytes).unwrap()
}

#[test]
fn pictures_and_words_go_together() {
    for kind in [Scoring::Softmax, Scoring::Sigmoid] {
        // Pictures of "mine" lie around 95 degrees, 85 from the word "cat".
        let mut examples = examples(kind, &[("mine", &[94.5, 94.7, 94.9, 95.1, 95.3, 95.5])]);
        examples.add_words(&words(kind).as_bank()).unwrap();
        let (bank, left_out) = examples.bank(1).unwrap();
        assert_eq!(bank.as_bank().labels().collect::<Vec<_>>(), ["mine", "cat", "dog"]);
        assert_eq!(bank.as_bank().templates().collect::<Vec<_>>(), ["a {}"]);
        assert_eq!((left_out.judged, left_out.right), (6, 6), "{kind:?}");
        assert_eq!(left_out.logit.scale, 100.0);
        assert_eq!(best(kind, &bank, 95.0).0, "mine", "{kind:?}");
        assert_eq!(best(kind, &bank, 150.0).0, "cat", "{kind:?}");
    }
    // A label with both: one label, two embeddings.
    let mut both = examples(Scoring::Softmax, &[("cat", &[100.0, 101.0])]);
    both.add_words(&words(Scoring::Softmax).as_bank()).unwrap();
    let (bank, _) = both.bank(1).unwrap();
    assert_eq!(bank.as_bank().labels().collect::<Vec<_>>(), ["cat", "dog"]);
    assert_eq!(bank.as_bank().prototypes(0).len(), 2);
    // Words alone are scored as ever.
    let mut alone = Examples::new(&config(Scoring::Softmax));
    alone.add_words(&words(Scoring::Softmax).as_bank()).unwrap();
    let (alone, left_out) = alone.bank(1).unwrap();
    assert_eq!(left_out.judged, 0);
    let direct = best(Scoring::Softmax, &words(Scoring::Softmax), 200.0);
    assert_eq!(best(Scoring::Softmax, &alone, 200.0), direct);
    assert!(both.add_words(&alone.as_bank()).unwrap_err().to_string().contains("words are needed"));
}

#[test]
fn what_is_no_example_is_refused() {
    let mut examples = Examples::new(&config(Scoring::Embedding));
    assert!(examples.bank(1).is_err(), "no label");
    assert!(examples.add("a", &[1.0]).unwrap_err().to_string().contains("1 values; this model's have 2"));
    for none in [[0.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
        assert!(examples.add("a", &none).unwrap_err().to_string().contains("no direction"));
    }
    assert!(examples.add(" ", &[1.0, 0.0]).is_err());
    // None of them left a label behind.
    assert!(examples.bank(1).is_err());
    examples.add("a", &[1.0, 0.0]).unwrap();
    assert!(examples.bank(0).is_err());
    // Opposite pictures have no mean.
    examples.add("a", &[-1.0, 0.0]).unwrap();
    let (bank, _) = examples.bank(1).unwrap();
    assert_eq!(bank.as_bank().embeddings(), [1.0, 0.0]);
}
