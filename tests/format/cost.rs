//! What models cost: published ones pass, hostile ones are refused with the reason.

use super::parts::everything;
use super::*;
use ocelli::{ImageEncoder, ImageOptions};
use std::error::Error as _;

/// An image tower: width, depth, heads, MLP width, patch, side.
fn image_model([width, depth, heads, mlp_width, patch, side]: [u32; 6]) -> Config {
    let mut config = everything();
    let vision = &mut config.vision;
    vision.tower.features &= !feature::GATED_MLP;
    vision.tower = TowerConfig { width, depth, heads, head_dim: width / heads, mlp_width, ..vision.tower };
    (vision.patch, vision.height, vision.width, vision.prefix_tokens) = (patch, side, side, 1);
    (vision.grid_rows, vision.grid_cols) = (side / patch, side / patch);
    config.score.embed_dim = width;
    config
}

fn refused(cost: Cost, what: &str) {
    let error = cost.check(&Limits::default()).unwrap_err();
    let message = error.to_string();
    let Error::TooCostly { limit, found, .. } = error else { panic!("{message}") };
    assert!(message.contains(what) && message.contains("OCELLI_MAX_COST"), "{message}");
    // The factor that the message names lets this number pass.
    let factor = u32::try_from(found.div_ceil(limit)).unwrap();
    let raised = cost.check(&Limits::default().times(factor));
    assert!(raised.map_or_else(|error| !error.to_string().contains(what), |()| true), "{message}");
}

#[test]
fn published_models_pass_at_their_size_and_at_twice_its_side() {
    let models = [
        ("ViT-B/16", [768, 12, 12, 3072, 16, 224]),
        ("ViT-L/14@336", [1024, 24, 16, 4096, 14, 336]),
        ("ViT-bigG/14", [1664, 48, 16, 8192, 14, 224]),
        ("EVA-02-L/14@448", [1024, 24, 16, 2736, 14, 448]),
        ("SigLIP so400m@384", [1152, 27, 16, 4304, 14, 384]),
        ("DINOv2-g/14@518", [1536, 40, 24, 4096, 14, 518]),
        ("DINOv3 ViT-7B/16@256", [4096, 40, 32, 8192, 16, 256]),
    ];
    for (name, model) in models {
        let config = image_model(model);
        let cost = Cost::of_images(&config, None, 1, 4).unwrap();
        // Blocks alone, without padding.
        let [width, depth, _, mlp_width, ..] = model.map(u64::from);
        let blocks = depth * cost.tokens * (width * (4 * width + 2 * mlp_width) + 2 * cost.tokens * width);
        let ratio = cost.macs as f64 / blocks as f64;
        assert!((1.0..1.15).contains(&ratio), "{name}: {ratio:.3} times {blocks} MACs");
        cost.check(&Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let twice = Cost::of_images(&config, Some((2 * model[5], 2 * model[5])), 1, 4).unwrap();
        twice.check(&Limits::default()).unwrap_or_else(|error| panic!("{name}, twice the side: {error}"));
        let batch = Cost::of_images(&config, None, 8, 4).unwrap();
        assert!(batch.macs == cost.macs && batch.arena_bytes > 2 * cost.arena_bytes, "{name}");
    }
    let mut naflex = image_model([1152, 27, 16, 4304, 16, 256]);
    (naflex.vision.max_patches, naflex.preprocess.mode) = (1024, ResizeMode::Naflex as u32);
    let cost = Cost::of_images(&naflex, None, 8, 4).unwrap();
    assert_eq!(cost.tokens, 1025);
    cost.check(&Limits::default()).unwrap();
    let mut text = everything();
    text.text.tower =
        TowerConfig { width: 1280, depth: 32, heads: 20, head_dim: 64, mlp_width: 5120, ..text.text.tower };
    text.text.context = 77;
    Cost::of_text(&text, 4).unwrap().check(&Limits::default()).unwrap();
}

#[test]
fn small_files_that_ask_for_days_are_refused() {
    let cost = |model| Cost::of_images(&image_model(model), None, 1, 1).unwrap();
    // 65,025 tokens of eight channels.
    refused(cost([8, 1, 1, 8, 1, 255]), "65026 tokens");
    refused(cost([64, 256, 64, 64, 2, 64]), "256 transformer blocks");
    refused(cost([1024, 1, 1024, 64, 16, 64]), "1024 attention heads");
    refused(cost([4096, 120, 256, 16384, 8, 512]), "multiply-accumulates for one image");
    refused(cost([2048, 1, 16, 65536, 8, 1000]), "bytes of working memory");
    let mut naflex = image_model([4096, 1, 16, 65536, 128, 256]);
    (naflex.vision.max_patches, naflex.preprocess.mode) = (16_000, ResizeMode::Naflex as u32);
    refused(Cost::of_images(&naflex, None, 1, 1).unwrap(), "bytes of working memory");
    // A column of 65,536 positions for a row of 8,192 patches.
    let mut stretched = image_model([1024, 1, 16, 1024, 1, 64]);
    (stretched.vision.grid_rows, stretched.vision.grid_cols) = (65_536, 1);
    refused(Cost::of_images(&stretched, Some((1, 8192)), 1, 1).unwrap(), "for its positions");
    // A pyramid of two fine levels at a stride of one pixel.
    let mut pyramid = image_model([1024, 1, 16, 64, 64, 240]);
    pyramid.vision.position = Position::ScaledAverage as u32;
    (pyramid.vision.pyramid_stride, pyramid.vision.pyramid) = (1, [240, 190, 0, 0, 0, 0]);
    let tokens = Cost::of_images(&pyramid, None, 1, 1).unwrap();
    assert_eq!(tokens.tokens, 1 + 177 * 177 + 127 * 127);
    refused(tokens, "tokens");
    // A resize to a side of one pixel before a crop of 8,192: coefficients for every source pixel, each time.
    let mut crop = image_model([64, 1, 4, 64, 128, 8192]);
    (crop.preprocess.mode, crop.preprocess.shortest) = (ResizeMode::ShortestCrop as u32, 1);
    refused(Cost::of_images(&crop, None, 1, 1).unwrap(), "bytes of working memory");
    // More threads and images than any machine holds.
    let many = Cost::of_images(&image_model([768, 12, 12, 3072, 16, 224]), None, usize::MAX >> 1, usize::MAX)
        .unwrap();
    assert!(many.check(&Limits::default()).is_err());
}

#[test]
fn errors_have_a_source() {
    let missing = ocelli::Model::open("no/such/file.ocelli").unwrap_err();
    let inside = missing.source().expect("what is wrong in the file");
    assert!(inside.source().is_some_and(|io| io.is::<std::io::Error>()), "{inside}");
}

#[test]
fn the_shortest_side_keeps_its_ratio_to_the_crop() {
    let mut config = image_model([64, 1, 1, 64, 16, 224]);
    for (shortest, sides) in
        [(256, [(224, 256), (448, 512), (300, 343), (1, 1)]), (0, [(224, 0), (448, 0), (1, 0), (8192, 0)])]
    {
        config.preprocess.shortest = shortest;
        for (side, expected) in sides {
            assert_eq!(config.shortest(side, side / 2 + 1), expected, "{shortest} at {side}");
        }
    }
}

/// The estimate is at least what an encoder takes, and not far from it.
#[test]
fn the_memory_of_the_fixtures_is_as_estimated() {
    let fixtures =
        ["clip-hf", "siglip-hf", "siglip2-naflex", "dinov3-hf", "retinavit", "timm-eva02", "open-clip-pe"];
    for fixture in fixtures {
        let folder = tempfile::tempdir().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
        let mut options = ConvertOptions::new(path, folder.path().join("model.ocelli"), Precision::Fp32);
        options.model.vision_only = true;
        convert(&options).unwrap();
        let model = ocelli::Model::open(&options.output).unwrap();
        // At a size of many patches, their products are most of the memory.
        let (mut config, mut merged) = (*model.file().config(), Some((1, 1, Some((480, 480)))));
        merged = merged.filter(|_| fixture == "siglip-hf");
        for (batch, threads, size) in [(1, 1, None), (16, 3, None)].into_iter().chain(merged) {
            let merging = size.map(|_| Merging { most: 2, first: 0, power: 0 });
            config.vision.tower.set_merging(merging.unwrap_or_default());
            let options = ImageOptions::default().batch(batch).image_size(size).merging(merging);
            let runtime = ocelli_tests::runtime(ocelli::Isa::detect(), threads);
            let encoder = ImageEncoder::new(&model, &runtime, &options).unwrap();
            let taken = encoder.plan().bytes() as f64;
            let estimated = Cost::of_images(&config, size, batch, threads).unwrap().arena_bytes;
            let ratio = estimated as f64 / taken;
            assert!((1.0..1.5).contains(&ratio), "{fixture}, {batch} images: {estimated} of {taken} bytes");
        }
    }
}

#[test]
fn every_number_may_reach_its_limit_and_no_more() {
    let limits = Limits { tokens: 1, blocks: 2, heads: 3, macs: 4, position_macs: 5, arena_bytes: 6 };
    let cost = Cost { tokens: 1, blocks: 2, heads: 3, macs: 4, position_macs: 5, arena_bytes: 6 };
    cost.check(&limits).unwrap();
    for (i, limit) in [1, 2, 3, 4, 5, 6].into_iter().enumerate() {
        for more in [1, 100] {
            let mut cost = cost;
            let numbers: [&mut u64; 6] = [
                &mut cost.tokens,
                &mut cost.blocks,
                &mut cost.heads,
                &mut cost.macs,
                &mut cost.position_macs,
                &mut cost.arena_bytes,
            ];
            *numbers.into_iter().nth(i).unwrap() += more;
            let found = cost.check(&limits);
            assert!(
                matches!(found, Err(Error::TooCostly { limit: l, found: f, .. }) if l == limit && f == limit + more),
                "{found:?}"
            );
        }
    }
}
