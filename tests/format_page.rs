//! docs/FORMAT.md is true: a reader in Python, written from it, reads what ocelli reads, and the offsets of all fields
//! of CONFIG stand in it.

use ocelli::Model;
use ocelli::format::Config;
use ocelli_tests::packed;
use ocelli_tools::Precision;
use serde_json::{Value, json};
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;

/// What tests/oracles/read_ocelli.py says about a file, and the values that it reads; `None` without Python.
fn read_with_python(path: &Path, values: &Path) -> Option<(Value, Vec<f32>)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracles/read_ocelli.py");
    let output = match Command::new("python3").arg(script).arg(path).arg("--values").arg(values).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: python3 cannot be run ({error})");
            return None;
        }
    };
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    let values = std::fs::read(values).unwrap();
    let values = values.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    Some((serde_json::from_slice(&output.stdout).unwrap(), values))
}

#[test]
fn a_reader_written_from_the_page_reads_every_value() {
    let directory = tempfile::tempdir().unwrap();
    for (fixture, precision) in [
        ("siglip-hf", Precision::Int8),
        ("clip-openclip", Precision::Fp16),
        ("dinov3-hf", Precision::Int8w7),
        ("timm-eva02", Precision::Fp32),
        ("open-clip-pe", Precision::Int8),
        ("open-clip-eva02", Precision::Fp16),
        ("retinavit", Precision::Int8),
        ("dual-dinov2-bert", Precision::Fp32),
        ("openclip-xlmr", Precision::Int8),
    ] {
        let path = packed(directory.path(), fixture, precision);
        let Some((report, values)) = read_with_python(&path, &directory.path().join("values")) else {
            return;
        };
        let model = Model::open(&path).unwrap();
        let (mut listed, mut at) = (report["tensors"].as_array().unwrap().iter(), 0);
        for tensor in model.file().tensors() {
            let (name, n, k) = (tensor.name(), tensor.n(), tensor.k());
            let expected = json!([name, tensor.dtype().name(), tensor.layout().name(), n, k]);
            assert_eq!(listed.next(), Some(&expected), "{fixture}");
            for row in 0..n {
                for column in 0..k {
                    let (found, expected) = (values[at], tensor.get(row, column));
                    assert_eq!(found.to_bits(), expected.to_bits(), "{fixture}: {name} ({row}, {column})");
                    at += 1;
                }
            }
        }
        assert!(listed.next().is_none() && at == values.len(), "{fixture}: more tensors");
        assert_eq!(
            report["config"]["vision.tower.width"],
            model.file().config().vision.tower.width,
            "{fixture}"
        );
        let found: Vec<f64> = serde_json::from_value(report["config"]["preprocess.std"].clone()).unwrap();
        assert_eq!(found, model.file().config().preprocess.std.map(f64::from), "{fixture}");
    }
}

macro_rules! offsets {
    ($($($field:ident).+),+ $(,)?) => {
        [$((concat!($(".", stringify!($field)),+), offset_of!(Config, $($field).+))),+]
    };
}

#[test]
fn the_page_names_every_field_of_the_configuration_at_its_offset() {
    let offsets = offsets![
        vision.tower.width,
        vision.tower.depth,
        vision.tower.heads,
        vision.tower.head_dim,
        vision.tower.mlp_width,
        vision.tower.act,
        vision.tower.norm_eps,
        vision.tower.pooling,
        vision.tower.features,
        vision.tower.project_hidden,
        vision.tower.merge_most,
        vision.tower.merge_first,
        vision.tower.merge_power,
        vision.tower.reserved,
        vision.patch,
        vision.height,
        vision.width,
        vision.prefix_tokens,
        vision.position,
        vision.grid_rows,
        vision.grid_cols,
        vision.interpolation,
        vision.position_prefix,
        vision.rope,
        vision.rope_theta,
        vision.rope_rows,
        vision.rope_cols,
        vision.sincos_temperature,
        vision.max_patches,
        vision.pyramid_stride,
        vision.pyramid,
        vision.pool_heads,
        vision.pool_mlp_width,
        text.tower.width,
        text.tower.depth,
        text.tower.heads,
        text.tower.head_dim,
        text.tower.mlp_width,
        text.tower.act,
        text.tower.norm_eps,
        text.tower.pooling,
        text.tower.features,
        text.tower.project_hidden,
        text.tower.merge_most,
        text.tower.merge_first,
        text.tower.merge_power,
        text.tower.reserved,
        text.vocab,
        text.context,
        text.causal,
        text.eos,
        text.pad,
        text.padded,
        text.canonical,
        text.reserved,
        preprocess.mode,
        preprocess.filter,
        preprocess.resampler,
        preprocess.crop_rounding,
        preprocess.alpha,
        preprocess.shortest,
        preprocess.mean,
        preprocess.std,
        preprocess.reserved,
        score.kind,
        score.embed_dim,
        score.logit_scale,
        score.logit_bias,
        score.classes,
        score.reserved,
        checkpoint_id,
    ];
    let page = include_str!("../docs/FORMAT.md");
    let start = page.find("## CONFIG").unwrap();
    let section = &page[start..start + page[start..].find("### Enums").unwrap()];
    let rows: Vec<&str> = section.lines().filter(|line| line.contains(" | `")).collect();
    assert_eq!(rows.len(), offsets.len());
    for (row, (field, offset)) in rows.iter().zip(offsets) {
        let expected = format!("| {offset} | `{}` |", field.replace(' ', "").trim_start_matches('.'));
        assert!(row.starts_with(&expected), "{expected} is missing: {row}");
    }
    assert!(section.contains(&format!("{} bytes", size_of::<Config>())));
}
