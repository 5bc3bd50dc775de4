//! The fixtures of CLIP and SigLIP through the runtime, both towers, stage by stage, against the float64 reference of the
//! library that wrote them; every precision, every instruction set of this machine. The limits are
//! those of `common/limits.rs`.

use ocelli::nn::Stage;
use ocelli::score::normalize;
use ocelli::vision::Layer;
use ocelli::{ImageEncoder, Input, Model, TextEncoder, Watch};
use ocelli_tests::{
    Expected, Limits, PAIRS, Tower, batch_encoder, isas, limits, packed, relative, text_encoder, worst_cosine,
};

#[test]
fn every_stage_agrees_with_the_library() {
    let directory = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    for fixture in PAIRS {
        let expected = Expected::of(fixture);
        for precision in ocelli_tests::PRECISIONS {
            let model = Model::open(packed(directory.path(), fixture, precision)).unwrap();
            for isa in isas() {
                let mut encoders = (batch_encoder(&model, isa, 2, 3, None), text_encoder(&model, isa, 2));
                let towers = [Tower::Image, Tower::Text].map(|tower| limits(fixture, tower, precision, isa));
                check(&mut encoders, &model, &expected, &towers, &mut |what| {
                    failures.push(format!("{fixture} {precision:?} {isa}: {what}"));
                });
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

fn check(
    (images, texts): &mut (ImageEncoder, TextEncoder),
    model: &Model,
    expected: &Expected,
    [limits, of_texts]: &[Limits; 2],
    fail: &mut dyn FnMut(String),
) {
    let config = model.file().config();
    let dim = images.embed_dim();
    let count = expected.shape("pixel_values")[0];
    let pixels = expected.f32("pixel_values");
    let mut embeddings = vec![0.0; count * dim];
    let mut stages = 0;
    let mut look = |stage, values: &[f32]| {
        let name = match stage {
            Stage::Embeddings => "vision.embeddings".to_owned(),
            Stage::PreNorm => "vision.pre_norm".to_owned(),
            Stage::Block(i) => format!("vision.block.{i}"),
            Stage::FinalNorm => "vision.final_norm".to_owned(),
            Stage::Pooled => "vision.pooled".to_owned(),
            Stage::Projected => "image_embeds_raw".to_owned(),
        };
        stages += 1;
        if stage == Stage::FinalNorm && expected.find(&name).is_none() {
            // transformers' CLIP norms the class token alone.
            return;
        }
        let error = relative(values, &expected.f32(&name));
        if error.is_nan() || error > limits.stage {
            fail(format!("{name} is off by {error:.2e}"));
        }
    };
    let watch = Watch::stages(&mut look);
    images.encode_watched(Input::Planar(&pixels), Layer::Projected, &mut embeddings, watch).unwrap();
    let pre_norm = u32::from(expected.find("vision.pre_norm").is_some());
    assert_eq!(stages, 4 + pre_norm + config.vision.tower.depth, "every stage was shown");

    let mut texts = check_texts(texts, model, expected, of_texts, fail);
    for (name, found, limits) in
        [("image_embeds_raw", &embeddings, limits), ("text_embeds_raw", &texts, of_texts)]
    {
        let reference = expected.f32(name);
        let (error, cosine) = (relative(found, &reference), worst_cosine(found, &reference, dim));
        if error.is_nan() || error > limits.stage || cosine < limits.cosine {
            fail(format!("{name} is off by {error:.2e}, cosine {cosine:.6}"));
        }
    }
    embeddings.chunks_exact_mut(dim).for_each(normalize);
    texts.chunks_exact_mut(dim).for_each(normalize);
    check_scores(model, &embeddings, &texts, expected, limits, fail);
}

/// The text tower's stages; gives the embeddings, not normalised.
fn check_texts(
    encoder: &mut TextEncoder,
    model: &Model,
    expected: &Expected,
    limits: &Limits,
    fail: &mut dyn FnMut(String),
) -> Vec<f32> {
    let config = &model.file().config().text;
    let mut texts = Vec::new();
    let mut text = vec![0.0; encoder.embed_dim()];
    for (i, ids) in expected.texts(config.padded != 0).iter().enumerate() {
        let mut stages = 0;
        let mut look = |stage, values: &[f32]| {
            stages += 1;
            let name = match stage {
                Stage::Embeddings => "text.embeddings".to_owned(),
                Stage::PreNorm => "text.pre_norm".to_owned(),
                Stage::Block(i) => format!("text.block.{i}"),
                Stage::Pooled => "text.pooled".to_owned(),
                _ => "text_embeds_raw".to_owned(),
            };
            let all = expected.f32(&name);
            // Positions after the end token are not computed.
            let reference = &all[i * (all.len() / expected.shape(&name)[0])..][..values.len()];
            let error = relative(values, reference);
            if error.is_nan() || error > limits.stage {
                fail(format!("{name} of text {i} is off by {error:.2e}"));
            }
        };
        encoder.encode_ids(ids, &mut text, Watch::stages(&mut look)).unwrap();
        let pre_norm = u32::from(expected.find("text.pre_norm").is_some());
        assert_eq!(stages, 3 + pre_norm + config.tower.depth, "every stage was shown");
        texts.extend_from_slice(&text);
    }
    texts
}

/// The text tower of SigLIP 2 NaFlex, whose image tower `parity_vision` has.
#[test]
fn naflexs_text_tower_agrees_with_the_library() {
    check_text_tower("siglip2-naflex");
}

#[test]
fn a_text_tower_alone_agrees_with_the_library() {
    check_text_tower("mclip");
}

fn check_text_tower(fixture: &str) {
    let directory = tempfile::tempdir().unwrap();
    let expected = Expected::of(fixture);
    let mut failures = Vec::new();
    for precision in ocelli_tests::PRECISIONS {
        let model = Model::open(packed(directory.path(), fixture, precision)).unwrap();
        for isa in isas() {
            let limits = limits(fixture, Tower::Text, precision, isa);
            let mut fail = |what| failures.push(format!("{precision:?} {isa}: {what}"));
            let mut encoder = text_encoder(&model, isa, 2);
            let texts = check_texts(&mut encoder, &model, &expected, &limits, &mut fail);
            let cosine = worst_cosine(&texts, &expected.f32("text_embeds_raw"), encoder.embed_dim());
            if cosine.is_nan() || cosine < limits.cosine {
                fail(format!("cosine {cosine:.6}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Logits and probabilities of every image over all texts, through a label bank.
fn check_scores(
    model: &Model,
    embeddings: &[f32],
    texts: &[f32],
    expected: &Expected,
    limits: &Limits,
    fail: &mut dyn FnMut(String),
) {
    let config = model.file().config();
    let dim = config.score.embed_dim as usize;
    let count = texts.len() / dim;
    let labels: Vec<String> = (0..count).map(|i| format!("text {i}")).collect();
    let bytes = ocelli::format::bank::write(&labels, &["{}"], dim, texts, config.checkpoint_id).unwrap();
    let bank = ocelli::format::LabelBank::new(&bytes).unwrap();
    let (logits, probabilities) = (expected.f32("logits_per_image"), expected.f32("probs"));
    let mut scored = vec![Default::default(); count];
    for (image, embedding) in embeddings.chunks(dim).enumerate() {
        ocelli::score::score(&config.score, embedding, &bank.as_bank(), &mut scored);
        let (logits, probabilities) =
            (&logits[image * count..][..count], &probabilities[image * count..][..count]);
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
        if scored[0].label != order[0] && logits[order[0]] - logits[order[1]] > limits.margin {
            fail(format!("image {image}: best text is {} instead of {}", scored[0].label, order[0]));
        }
        let Some((logit_limit, probability_limit)) = limits.scores else { continue };
        for s in &scored {
            let logit = config.score.logit_scale * s.similarity + config.score.logit_bias;
            let off = ((logit - logits[s.label]).abs(), (s.score - probabilities[s.label]).abs());
            if off.0.is_nan() || off.0 > logit_limit || off.1.is_nan() || off.1 > probability_limit {
                fail(format!("image {image}, text {}: logit and probability are off by {off:?}", s.label));
            }
        }
    }
}
