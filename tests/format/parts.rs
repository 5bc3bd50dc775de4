//! The part table: what it says is what the reader demands, what the runtime reads, and what the documentation shows.

use super::*;
use bytemuck::Zeroable;
use ocelli::format::parts::{Form, Part, Size, TEXT, TowerParts, VISION, When};
use ocelli::model::{Projection, TextWeights, VisionWeights};

/// A model of two small towers that have every part there is: with positions, so without ALiBi.
pub(crate) fn everything() -> Config {
    let mut config = Config::zeroed();
    let tower = TowerConfig {
        width: 8,
        depth: 2,
        heads: 2,
        head_dim: 4,
        mlp_width: 24,
        act: Act::Gelu as u32,
        norm_eps: 1e-5,
        pooling: Pooling::AttentionHead as u32,
        features: 0,
        project_hidden: 6,
        merge_most: 0,
        merge_first: 0,
        merge_power: 0,
        reserved: [0; 3],
    };
    config.vision.tower = TowerConfig { features: VISION.features(), ..tower };
    let features = TEXT.features() & !feature::ALIBI;
    config.text.tower = TowerConfig { features, pooling: Pooling::Last as u32, ..tower };
    let vision = &mut config.vision;
    (vision.patch, vision.height, vision.width, vision.prefix_tokens) = (4, 16, 12, 4);
    (vision.position, vision.interpolation) = (Position::Learned as u32, Interpolation::Fixed as u32);
    (vision.grid_rows, vision.grid_cols, vision.position_prefix) = (4, 3, 1);
    (config.text.vocab, config.text.context) = (5, 7);
    let preprocess = &mut config.preprocess;
    preprocess.mode = ResizeMode::Squash as u32;
    preprocess.filter = Filter::Bicubic as u32;
    preprocess.resampler = Resampler::Pillow as u32;
    preprocess.crop_rounding = CropRounding::Down as u32;
    preprocess.alpha = Alpha::White as u32;
    preprocess.std = [1.0; 3];
    config.score.kind = Scoring::Classifier as u32;
    (config.score.embed_dim, config.score.logit_scale, config.score.classes) = (10, 1.0, 3);
    config
}

fn specs(config: &Config) -> Vec<TensorSpec> {
    let mut list = Vec::new();
    for_each_tensor(config, &mut |spec| {
        list.push(spec);
        Ok::<(), ()>(())
    })
    .unwrap();
    list
}

/// A file with this configuration and these tensors, all zero, whether they fit together or not.
fn file_of(config: &Config, tensors: &[TensorSpec]) -> AlignedBytes {
    let (mut strings, mut entries, mut end) = (String::new(), Vec::new(), 0);
    for spec in tensors {
        let (layout, n, k) = (spec.kind.layout(), spec.n as u32, spec.k as u32);
        let place = Placement::new(Dtype::F32, layout, n, k, end).unwrap();
        let mut entry = TensorEntry::zeroed();
        (entry.name_offset, entry.name_len) = (strings.len() as u32, spec.name.as_str().len() as u32);
        (entry.dtype, entry.layout, entry.n, entry.k) = (Dtype::F32 as u32, layout as u32, n, k);
        (entry.data_offset, entry.data_len) = place.data;
        entry.checksum = xxh3_64(&vec![0; place.data.1 as usize]);
        strings += spec.name.as_str();
        entries.push(entry);
        end = place.end;
    }
    let labels = vec!["x"; config.score.classes as usize].join("\n");
    let parts: [(SectionKind, &[u8]); 6] = [
        (SectionKind::Config, bytemuck::bytes_of(config)),
        (SectionKind::Tensors, bytemuck::cast_slice(&entries)),
        (SectionKind::Strings, strings.as_bytes()),
        (SectionKind::Provenance, b"{}"),
        (SectionKind::Labels, labels.as_bytes()),
        (SectionKind::Data, &vec![0; end as usize]),
    ];
    let (mut bytes, mut sections) = (vec![0; HEADER], Vec::new());
    for (kind, part) in parts.into_iter().filter(|(_, part)| !part.is_empty()) {
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        let (offset, len) = (bytes.len() as u64, part.len() as u64);
        sections.push(SectionEntry { kind: kind as u32, reserved: 0, offset, len, checksum: 0 });
        bytes.extend_from_slice(part);
    }
    bytes[..HEADER].copy_from_slice(bytemuck::bytes_of(&Header::new(&sections)));
    let mut bytes = AlignedBytes::new(&bytes);
    reseal(&mut bytes);
    bytes
}

#[test]
fn the_runtime_reads_every_part() {
    let config = everything();
    let bytes = file_of(&config, &specs(&config));
    let file = File::parse(&bytes).unwrap();
    file.verify().unwrap();
    let vision = VisionWeights::new(file).unwrap();
    assert!(vision.blocks.iter().all(|block| block.mlp_norm.is_some() && !block.fc2.bias.is_empty()));
    assert_eq!((vision.blocks.len(), vision.prefix_tokens(8)), (2, 4));
    assert_eq!(vision.position.map(<[f32]>::len), Some(13 * 8));
    let head = vision.head.unwrap();
    assert_eq!((head.query.len(), head.kv.weights.n(), head.fc1.weights.n()), (8, 16, 24));
    assert_eq!(vision.blocks[1].fc1.weights.n(), 48);
    let text = TextWeights::new(file).unwrap();
    assert_eq!((text.token_embed.n(), text.position.unwrap().n(), text.blocks.len()), (5, 7, 2));
    assert!(text.pre_norm.is_some() && text.final_norm.is_some());
    let Projection { pooler, fc1, project } = text.projection;
    let sizes =
        [pooler, fc1, project].map(|linear| linear.map(|linear| (linear.weights.n(), linear.weights.k())));
    assert_eq!(sizes, [Some((8, 8)), Some((6, 8)), Some((10, 6))]);
}

#[test]
fn alibi_takes_the_place_of_a_texts_positions() {
    let mut config = everything();
    config.text.tower.features |= feature::ALIBI;
    let tensors = specs(&config);
    assert!(tensors.iter().all(|spec| spec.name.as_str() != "text.position"));
    let bytes = file_of(&config, &tensors);
    assert!(TextWeights::new(File::parse(&bytes).unwrap()).unwrap().position.is_none());
}

/// Every bit alone, and every part with a condition of its own, with and without.
#[test]
fn the_runtime_reads_every_combination() {
    let mut read = 0;
    for bit in 0..32 {
        let bit = 1u32 << bit;
        for set in [false, true] {
            let mut config = everything();
            for tower in [&mut config.vision.tower, &mut config.text.tower] {
                tower.features = if set { bit } else { tower.features & !bit };
            }
            config.text.tower.features &= TEXT.features();
            if config.text.tower.features & (feature::FINAL_NORM | feature::POST_NORM) == 0 {
                config.text.tower.features |= feature::FINAL_NORM;
            }
            for tower in [&mut config.vision.tower, &mut config.text.tower] {
                tower.project_hidden = if tower.has(feature::PROJECT) { 6 } else { 0 };
            }
            if set {
                (config.vision.tower.pooling, config.vision.prefix_tokens) = (Pooling::MeanAll as u32, 1);
                (config.score.embed_dim, config.score.kind) = (8, Scoring::Embedding as u32);
                (config.vision.position, config.vision.interpolation) =
                    (Position::None as u32, Interpolation::Computed as u32);
                (config.vision.grid_rows, config.vision.grid_cols, config.vision.position_prefix) = (0, 0, 0);
            } else {
                config.score.embed_dim = if bit == feature::PROJECT { 8 } else { 10 };
            }
            let classifies = config.vision.tower.has(feature::CLASSIFIER);
            config.score.kind = if classifies { Scoring::Classifier } else { Scoring::Embedding } as u32;
            config.score.classes = if classifies { 3 } else { 0 };
            if config.validate().is_err() {
                continue;
            }
            let bytes = file_of(&config, &specs(&config));
            let file = File::parse(&bytes).unwrap();
            VisionWeights::new(file).unwrap();
            TextWeights::new(file).unwrap();
            read += 1;
        }
    }
    // Bits of no part (15 of 32) are refused when set and change nothing when clear; so are a bias without its
    // projection, and a projection's bias alone.
    assert!(read >= 14 + 15 + 16, "{read}");
}

#[test]
fn a_missing_extra_or_transposed_tensor_is_refused_by_name() {
    let config = everything();
    let list = specs(&config);
    let refused = |tensors: &[TensorSpec], name: &str, expected: &str| {
        let message = error_of(&file_of(&config, tensors));
        assert!(message.contains(&format!("tensor {name}")) && message.contains(expected), "{message}");
    };
    for (i, spec) in list.iter().enumerate() {
        let name = spec.name.as_str();
        let mut without = list.clone();
        without.remove(i);
        refused(&without, name, "missing");
        let mut twice = list.clone();
        twice.insert(i + 1, *spec);
        refused(&twice, name, "not one that the configuration demands");
        let mut taller = list.clone();
        taller[i].n += 1;
        refused(&taller, name, "rows");
        if spec.kind != Kind::Vector && spec.n != spec.k {
            let mut turned = list.clone();
            (turned[i].n, turned[i].k) = (spec.k, spec.n);
            refused(&turned, name, "rows");
        }
    }
    let mut swapped = list.clone();
    swapped.swap(0, 1);
    assert!(error_of(&file_of(&config, &swapped)).contains("vision.patch_norm"));
}

#[test]
fn a_bit_that_a_tower_cannot_have_or_lacks_is_refused() {
    let refused = |edit: &dyn Fn(&mut Config), field: &str, expected: &str| {
        let mut config = everything();
        edit(&mut config);
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains(field) && message.contains(expected), "{message}");
    };
    for bit in (0..32).map(|bit| 1u32 << bit) {
        if VISION.features() & bit == 0 {
            refused(&|c| c.vision.tower.features |= bit, "vision.tower.features", "that this version knows");
        }
        if TEXT.features() & bit == 0 {
            refused(&|c| c.text.tower.features |= bit, "text.tower.features", "that this version knows");
        }
    }
    let norms = feature::FINAL_NORM | feature::POST_NORM;
    refused(&|c| c.text.tower.features &= !norms, "text.tower.features", "a norm at the end");
    refused(
        &|c| c.text.tower.features &= !feature::PROJECT,
        "text.tower.project_hidden",
        "without a projection",
    );
    let towers: [fn(&mut Config) -> &mut TowerConfig; 2] = [|c| &mut c.vision.tower, |c| &mut c.text.tower];
    for tower in towers {
        refused(&|c| tower(c).project_hidden = 16385, "tower.project_hidden", "at most 16384");
    }
    let alone = |c: &mut Config| {
        c.text.tower.features &= !feature::PROJECT;
        c.text.tower.project_hidden = 0;
    };
    refused(&alone, "text.tower.features", "without its layer");
    // Every bit is used by a tower, and has a name.
    assert_eq!(
        VISION.features() | TEXT.features(),
        feature::NAMES.iter().fold(0, |bits, (bit, _)| bits | bit)
    );
    assert_eq!(feature::names(VISION.features()).count(), 18);
}

/// A row of the documentation.
fn row(tower: &TowerParts, part: &Part) -> String {
    let bits = |bits: u32| {
        let name = feature::names(bits).next().unwrap();
        format!("`{}`", name.to_uppercase().replace(' ', "_"))
    };
    let when = |when: When| match when {
        When::Always => "always".into(),
        When::Has(bit) => bits(bit),
        When::HasNot(bit) => format!("unless {}", bits(bit)),
        When::AttentionHead => "pooling by an attention head".into(),
        When::HasRegisters => "more prefix tokens than the class token".into(),
        When::HasPositions => "learned positions, pyramids".into(),
        When::ProjectsTwice => "a projection of two layers".into(),
    };
    let (form, shape, bias) = match part.form {
        Form::Norm(size) => ("norm", size.to_string(), String::new()),
        Form::Linear(n, k, bias) => ("linear", format!("{n} × {k}"), when(bias)),
        Form::Vector(size) => ("vector", size.to_string(), String::new()),
        Form::Positions(rows) => ("positions", format!("{rows} × {}", Size::Width), String::new()),
        Form::Tokens(rows) => ("tokens", format!("{rows} × {}", Size::Width), String::new()),
    };
    let in_block = tower.block.iter().any(|other| other.name == part.name);
    let prefix = if in_block { "{tower}.block.{i}".into() } else { tower.name.to_string() };
    let (name, when) = (part.name, when(part.when));
    format!("//! | `{prefix}.{name}` | {form} | {shape} | {when} | {bias} | {} |", part.note)
        .replace("|  |", "| |")
        .replace("|  |", "| |")
}

#[test]
fn the_documentation_shows_the_table() {
    let before = VISION.before.iter().map(|part| row(&VISION, part));
    let text = TEXT.before.iter().map(|part| row(&TEXT, part));
    let block = VISION.block.iter().map(|part| row(&VISION, part));
    let after = VISION.after.iter().map(|part| row(&VISION, part));
    let rows =
        before.chain(text).chain(block).chain(after).chain(TEXT.after.iter().map(|part| row(&TEXT, part)));
    let table = rows.collect::<Vec<_>>().join("\n");
    let page = include_str!("../../src/format/schema.rs");
    assert!(page.contains(&table), "src/format/schema.rs should show:\n{table}");
}
