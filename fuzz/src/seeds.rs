//! Inputs to start from: made from the repository's fixtures, so that they follow the format when it changes.

use crate::checkpoint::FILES;
use crate::{Target, orientation, pack};
use ocelli::Model;
use ocelli::format::{Config, bank};
use ocelli_tools::{ConvertOptions, Precision, convert};
use std::fs::{self, read};
use std::path::{Path, PathBuf};

type Seeds = Vec<(String, Vec<u8>)>;

/// One of each family.
const FAMILIES: [&str; 11] = [
    "clip-hf",
    "siglip-hf",
    "siglip2-naflex",
    "vit-hf",
    "mae-hf",
    "timm-vit",
    "simplevit",
    "dinov2-hf",
    "dinov3-hf",
    "timm-eva02",
    "retinavit",
];

/// The folder of fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// The seeds of a target: those made here, and those kept under `seeds/`, where inputs that failed once go.
pub fn of(target: &Target) -> Seeds {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name);
    let mut seeds = (target.seeds)();
    for entry in fs::read_dir(kept).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        seeds.push((
            path.file_name().unwrap_or_default().to_string_lossy().into(),
            read(path).expect("a seed"),
        ));
    }
    seeds.sort();
    seeds
}

/// The configuration of each family, and small files made of them.
pub fn models() -> Seeds {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut seeds = Seeds::new();
    for family in FAMILIES {
        let config = small(family, folder.path());
        let bytes = pack::bytes(&config, None, folder.path()).expect("a small model");
        seeds.push((format!("{family}.ocelli"), bytes));
        seeds.push((format!("{family}.config"), bytemuck::bytes_of(&config).to_vec()));
    }
    seeds
}

/// The configuration of a family's fixture with one small block.
fn small(family: &str, folder: &Path) -> Config {
    let output = folder.join("converted.ocelli");
    convert(&ConvertOptions::new(fixtures().join(family), &output, Precision::Int8))
        .expect("fixtures can be converted");
    let model = Model::open(&output).expect("a model");
    let mut config = *model.file().config();
    config.vision.tower.depth = 1;
    if model.file().has_text() {
        (config.text.tower.depth, config.text.vocab, config.text.eos, config.text.pad) = (1, 64, 2, 1);
    }
    config
}

/// Banks of two and three labels; one whose first label has two embeddings.
pub fn banks() -> Seeds {
    let bank = |labels: &[&str], templates: &[&str], embeddings: &[f32]| {
        bank::write(labels, templates, 2, embeddings, [7; 16]).expect("a bank")
    };
    let several = [[30.0, 0.0], [30.0, 0.0], [100.0, -5.0]].map(|[scale, bias]| bank::Logit { scale, bias });
    let several = bank::write_prototypes(
        &["a", "b"],
        &["{}"],
        2,
        &[1.0, 0.0, 0.6, 0.8, 0.0, -1.0],
        (&[2, 1], &several),
        [7; 16],
    );
    vec![
        ("several".into(), several.expect("a bank")),
        ("two".into(), bank(&["a", "b"], &["{}"], &[1.0, 0.0, 0.6, 0.8])),
        ("three".into(), bank(&["é", "🐱", "a b"], &["a {}", "{}"], &[0.0, 1.0, 0.0, -1.0, 0.6, 0.8])),
    ]
}

/// The configuration files of each family with the header of its weights.
pub fn checkpoints() -> Seeds {
    let mut seeds = Seeds::new();
    for family in FAMILIES.into_iter().chain(["clip-openclip", "siglip2-fixres"]) {
        // Vision only, in int8: without a tokenizer, which would be most of the seed.
        let mut seed = vec![4];
        for (number, name) in FILES.iter().enumerate() {
            let Ok(mut bytes) = read(fixtures().join(family).join(name)) else { continue };
            if name.ends_with(".safetensors") {
                let len = u64::from_le_bytes(*bytes.first_chunk().expect("a safetensors file"));
                bytes = bytes[8..8 + len as usize].to_vec();
            }
            if bytes.len() <= 1 << 16 {
                seed.push(number as u8);
                seed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                seed.extend_from_slice(&bytes);
            }
        }
        seeds.push((family.into(), seed));
    }
    seeds
}

/// The smallest tokenizers of each kind.
pub fn tokenizers() -> Seeds {
    let spiece = read(fixtures().join("siglip-hf/spiece.model")).expect("a fixture");
    let clip = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[
        {"id":0,"content":"<|startoftext|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
        {"id":1,"content":"<|endoftext|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
        "normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},
        {"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "},{"type":"Lowercase"}]},
        "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"},
        "behavior":"Removed","invert":true},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]},
        "post_processor":{"type":"RobertaProcessing","sep":["<|endoftext|>",1],"cls":["<|startoftext|>",0],"trim_offsets":false,"add_prefix_space":false},
        "decoder":null,"model":{"type":"BPE","dropout":null,"unk_token":"<|endoftext|>","continuing_subword_prefix":"",
        "end_of_word_suffix":"</w>","fuse_unk":false,"byte_fallback":false,"vocab":{"<|startoftext|>":0,"<|endoftext|>":1,
        "a":2,"a</w>":3,"t":4,"t</w>":5,"at</w>":6,"c":7,"cat</w>":8},"merges":["a t</w>","c at</w>"]}}"#;
    let with = |door: u8, rules: u8, bytes: &[u8]| [&[door, rules], bytes].concat();
    vec![
        ("clip-model".into(), with(0, 0, clip.as_bytes())),
        ("clip-checkpoint".into(), with(1, 0, clip.as_bytes())),
        ("open-clip-checkpoint".into(), with(1, 7, clip.as_bytes())),
        ("siglip-json".into(), with(2, 1, clip.as_bytes())),
        ("spiece-cut".into(), with(3, 1, &spiece[..spiece.len().min(4000)])),
    ]
}

/// Files that PyTorch wrote, and a pickle alone.
pub fn torch() -> Seeds {
    let read = |name: &str| (name.to_string(), read(fixtures().join("torch").join(name)).expect("a fixture"));
    let files = ["state.bin", "training.pt", "protocol4.bin", "scripted.pt"].map(read);
    files.into_iter().chain([("pickle".into(), crate::torch::pickle())]).collect()
}

/// Small pictures that the decoders' tests use.
pub fn images() -> Seeds {
    let mut seeds = Seeds::new();
    let entries = ["decode", "decode/found"].map(|folder| fs::read_dir(fixtures().join(folder)));
    for entry in entries.into_iter().flat_map(|folder| folder.expect("fixtures")) {
        let path = entry.expect("an entry").path();
        // A folder is no picture.
        let Ok(bytes) = read(&path) else { continue };
        if bytes.len() < 3000 {
            seeds.push((format!("decode-{}", path.file_name().unwrap_or_default().to_string_lossy()), bytes));
        }
    }
    seeds
}

/// An orientation in each container's metadata.
pub fn orientations() -> Seeds {
    // Byte order, 42, first directory at 8; one entry: 0x0112, one SHORT, 6; no further directory.
    let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    let long = b"II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0".to_vec();
    let xmp = br#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>"#;
    let mut seeds = Seeds::new();
    for place in 0..6u8 {
        let prefixed = [b"Exif\0\0", &little[..]].concat();
        for (name, metadata) in
            [("little", &little[..]), ("big", &big), ("long", &long), ("xmp", xmp), ("prefixed", &prefixed)]
        {
            seeds.push((format!("{name}-{place}"), [&[place], metadata].concat()));
            // The picture itself must be one.
            debug_assert!(orientation::picture(place, metadata).len() > metadata.len());
        }
    }
    seeds
}

/// Two pictures of a camera's stream, whole, cut, and with the parts of an HTTP answer between them.
pub fn streams() -> Seeds {
    let (steps, picture) = ([63, 0, 2, 0], orientation::PICTURES[0]);
    let part = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n";
    let half = &picture[..picture.len() / 2];
    [
        ("whole", [&steps, picture, picture].concat()),
        ("http", [&steps, &part[..], picture, part, picture].concat()),
        ("cut", [&steps, half, picture].concat()),
    ]
    .map(|(name, stream)| (name.to_owned(), stream))
    .into()
}

/// The awkward strings that canonicalisation is compared on.
pub fn texts() -> Seeds {
    let cases = read(fixtures().join("canonical/cases.json")).expect("a fixture");
    let cases: Vec<serde_json::Value> = serde_json::from_slice(&cases).expect("JSON");
    let text = |case: &serde_json::Value| case["text"].as_str().map(|text| text.as_bytes().to_vec());
    let mut seeds: Seeds = cases
        .iter()
        .step_by(4)
        .filter_map(text)
        .enumerate()
        .map(|(i, text)| (format!("case-{i}"), text))
        .collect();
    for (name, word) in [("amp", "&amp;"), ("entity", "&ABC;"), ("end", "<|endoftext|>"), ("long", "a")] {
        seeds.push((name.into(), word.repeat(1024 / word.len()).into_bytes()));
    }
    seeds
}

/// A view of each format, with and without a part.
pub fn pixels() -> Seeds {
    let seed = |format: u8| {
        let numbers: [u16; 8] = [6, 4, 30, 6, 1, 1, 3, 2];
        let mut seed = vec![format];
        seed.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        seed.extend([3, 0, 0, 0, 120, 0]);
        seed.extend((0..200u32).map(|i| (i * 37) as u8));
        (format!("format-{format}"), seed)
    };
    (0..7).map(seed).collect()
}
