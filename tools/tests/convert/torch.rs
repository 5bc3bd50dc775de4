//! Files that `torch.save` and TorchScript wrote (`tests/oracles/torch_files.py`), and damaged ones.

use super::common::*;
use super::variants::converted;
use ocelli_tools::source::Tensors;
use std::fs;
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    fixture("torch").join(name)
}

fn names(name: &str) -> Vec<String> {
    let tensors = Tensors::open(&[file(name)]).unwrap();
    tensors.names().map(String::from).collect()
}

#[test]
fn every_tensor_has_the_values_that_torch_saved() {
    let tensors = Tensors::open(&[file("state.bin")]).unwrap();
    let expected = load(&file("expected.safetensors"));
    assert!(tensors.names().eq(expected.keys()));
    for (name, expected) in &expected {
        let info = tensors.get(name).unwrap();
        assert_eq!(info.shape, expected.shape, "{name}");
        let values = expected.values();
        let mut found = vec![0.0; values.len()];
        if name == "count" {
            assert_eq!(info.dtype, safetensors::Dtype::I64);
            assert!(tensors.read(name, 0..1, &mut found).unwrap_err().to_string().contains("I64"));
            continue;
        }
        tensors.read(name, 0..values.len(), &mut found).unwrap();
        assert_eq!(found, values, "{name}");
    }
    // A part of a tensor that is a part of a storage.
    let (mut part, rows) = ([0.0; 4], expected["rows"].values());
    tensors.read("rows", 4..8, &mut part).unwrap();
    assert_eq!(part, rows[4..8]);
}

#[test]
fn wrapped_and_scripted_states_have_plain_names() {
    assert_eq!(names("training.pt"), ["bias", "weight"]);
    assert_eq!(names("protocol4.bin"), ["bias", "weight"]);
    assert_eq!(names("scripted.pt"), ["inner.linear.bias", "inner.linear.weight", "scale"]);
}

#[test]
fn a_checkpoint_of_torch_becomes_the_same_model() {
    let (config, tensors, _) = converted(OPEN_SIGLIP, |_| ());
    let mut copy = Copy::of(OPEN_SIGLIP);
    copy.tensors.clear();
    fs::copy(file("open-clip-siglip.bin"), copy.path("open_clip_pytorch_model.bin")).unwrap();
    let report = copy.convert(ocelli_tools::Precision::Fp32, false).unwrap();
    let bytes = ocelli::format::AlignedBytes::read(&copy.output()).unwrap();
    let model = ocelli::format::File::parse(&bytes).unwrap();
    let found: Vec<_> = model.tensors().map(|t| (t.name().to_string(), t.entry().checksum)).collect();
    assert_eq!(found, tensors);
    assert_eq!(model.config().score.logit_bias, config.score.logit_bias);
    assert!(report.files.iter().any(|file| file.name == "open_clip_pytorch_model.bin"));
    // safetensors come first where both are there.
    copy.tensors = Copy::of(OPEN_SIGLIP).tensors;
    copy.save();
    let report = copy.convert(ocelli_tools::Precision::Fp32, false).unwrap();
    assert!(report.files.iter().any(|file| file.name == "open_clip_model.safetensors"));
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    for (name, parts) in [
        ("legacy.bin", &["legacy.bin", "no ZIP archive", "torch.load('legacy.bin'"][..]),
        ("object.bin", &["object.bin", "fractions.Fraction", "python -c"]),
        ("model.pt", &["model.pt", "torch.nn.modules.linear.Linear"]),
        ("across.bin", &["across", "[4, 6]", "steps [1, 4]", "contiguous"]),
    ] {
        let error = Tensors::open(&[file(name)]).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{name}: {part:?} is not in: {error}");
        }
    }
}

/// Cut off anywhere, or with any bit wrong: an error, or tensors that lie inside the file.
#[test]
fn no_damage_leads_out_of_the_file() {
    let good = fs::read(file("state.bin")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.bin");
    let (mut refused, mut read) = (0, 0);
    let mut check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let Ok(tensors) = Tensors::open(std::slice::from_ref(&path)) else {
            refused += 1;
            return;
        };
        for name in tensors.names() {
            let count: usize = tensors.get(name).unwrap().shape.iter().product();
            assert!(count <= bytes.len(), "{name}: {count}");
            read += usize::from(tensors.read(name, 0..count, &mut vec![0.0; count]).is_ok());
        }
    };
    let step = if cfg!(target_arch = "x86_64") { 5 } else { 149 };
    (0..good.len()).step_by(step).for_each(|end| check(&good[..end]));
    for bit in (0..8 * good.len()).step_by(step) {
        let mut damaged = good.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        check(&damaged);
    }
    assert!(refused > 1000 / step && read > 1000 / step, "{refused} refused, {read} tensors read");
}
