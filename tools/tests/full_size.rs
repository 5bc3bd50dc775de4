//! A CLIP ViT-B/16 of full size with random weights: the time, memory and disk of its conversion, what the runtime
//! needs for it, and how close the precisions are to each other on a photo and a text.
#![cfg(unix)]

use ocelli::format::Limits;
use ocelli::preprocess::decode::{self, decode_file};
use ocelli::{ImageEncoder, ImageOptions, Model, Runtime, RuntimeOptions, TextEncoder, Watch};
use std::sync::Arc;

use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// KiB of address space that a conversion may take: all the memory of the smallest board.
const CONVERSION_KIB: u64 = 512 * 1024;

/// A tower of a checkpoint.
struct Tower {
    prefix: &'static str,
    width: usize,
    positions: usize,
    norms: [&'static str; 2],
}

const TOWERS: [Tower; 2] = [
    Tower { prefix: "vision_model", width: 768, positions: 197, norms: ["pre_layrnorm", "post_layernorm"] },
    Tower { prefix: "text_model", width: 512, positions: 77, norms: ["final_layer_norm", ""] },
];
const EMBED_DIM: usize = 512;
const DEPTH: usize = 12;

/// Names and shapes of every tensor, as transformers saves them.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut list = vec![
        ("logit_scale".to_owned(), vec![]),
        ("vision_model.embeddings.class_embedding".into(), vec![768]),
        ("vision_model.embeddings.patch_embedding.weight".into(), vec![768, 3, 16, 16]),
        ("text_model.embeddings.token_embedding.weight".into(), vec![49408, 512]),
        ("visual_projection.weight".into(), vec![EMBED_DIM, 768]),
        ("text_projection.weight".into(), vec![EMBED_DIM, 512]),
    ];
    for Tower { prefix, width, positions, norms } in TOWERS {
        list.push((format!("{prefix}.embeddings.position_embedding.weight"), vec![positions, width]));
        let mut module = |name: &str, shape: Vec<usize>| {
            list.push((format!("{prefix}.{name}.bias"), vec![shape[0]]));
            list.push((format!("{prefix}.{name}.weight"), shape));
        };
        norms.into_iter().filter(|norm| !norm.is_empty()).for_each(|norm| module(norm, vec![width]));
        for layer in 0..DEPTH {
            let mut part = |name: &str, shape| module(&format!("encoder.layers.{layer}.{name}"), shape);
            for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                part(&format!("self_attn.{name}"), vec![width, width]);
            }
            part("mlp.fc1", vec![4 * width, width]);
            part("mlp.fc2", vec![width, 4 * width]);
            part("layer_norm1", vec![width]);
            part("layer_norm2", vec![width]);
        }
    }
    list
}

/// Nearly normal random numbers that repeat (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The sum of four uniform numbers has a variance of 4/12.
        let sum: u64 = (0..4).map(|i| (self.0 >> (16 * i)) & 0xffff).sum();
        (sum as f32 / 65536.0 - 2.0) * 3f32.sqrt()
    }
}

/// Whether a tensor holds the gains of a LayerNorm, which are positive.
fn is_gain(name: &str) -> bool {
    name.contains("norm") && name.ends_with("weight")
}

/// The standard deviation of a tensor's values. Queries and keys are scaled so that attention is not uniform, the others
/// so that the residual stream neither dies out nor explodes.
fn deviation(name: &str, shape: &[usize]) -> f32 {
    let inputs: usize = shape.iter().skip(1).product();
    if is_gain(name) {
        0.25
    } else if name.ends_with("bias") {
        0.1
    } else if name.contains("embeddings") && !name.contains("patch") {
        0.5
    } else {
        let gain = if name.contains("q_proj") || name.contains("k_proj") { 1.3 } else { 1.0 };
        gain / (inputs as f32).sqrt()
    }
}

/// Appends a tensor's values.
fn write_tensor(file: &mut impl Write, name: &str, shape: &[usize], random: &mut Random) -> io::Result<()> {
    let deviation = deviation(name, shape);
    let gain = is_gain(name);
    for _ in 0..shape.iter().product() {
        let value = random.next() * deviation;
        file.write_all(&(if gain { value.exp() } else { value }).to_le_bytes())?;
    }
    Ok(())
}

/// Writes the checkpoint's folder; returns the bytes of the image tower's weights.
fn write_checkpoint(directory: &Path) -> u64 {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/clip-hf");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(fixture.join(name), directory.join(name)).unwrap();
    }
    let preprocess = "preprocessor_config.json";
    let mut json: Value = serde_json::from_slice(&fs::read(fixture.join(preprocess)).unwrap()).unwrap();
    json["size"] = json!({"shortest_edge": 224});
    json["crop_size"] = json!({"height": 224, "width": 224});
    fs::write(directory.join(preprocess), json.to_string()).unwrap();
    let tower = |width, heads| {
        json!({
            "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": DEPTH,
            "num_attention_heads": heads, "image_size": 224, "patch_size": 16, "eos_token_id": 49407,
        })
    };
    let config = json!({
        "model_type": "clip", "projection_dim": EMBED_DIM,
        "vision_config": tower(768, 12), "text_config": tower(512, 8),
    });
    fs::write(directory.join("config.json"), config.to_string()).unwrap();

    let list = tensors();
    let (mut header, mut end, mut vision) = (serde_json::Map::new(), 0, 0);
    for (name, shape) in &list {
        let bytes = 4 * shape.iter().product::<usize>() as u64;
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [end, end + bytes]});
        header.insert(name.clone(), entry);
        end += bytes;
        vision += if name.starts_with("vis") { bytes } else { 0 };
    }
    assert!(end > 590_000_000, "{end} bytes are no ViT-B/16");
    let header = Value::from(header).to_string();
    let mut file =
        BufWriter::with_capacity(1 << 20, File::create(directory.join("model.safetensors")).unwrap());
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (name, shape) in &list {
        write_tensor(&mut file, name, shape, &mut random).unwrap();
    }
    file.into_inner().unwrap();
    vision
}

/// Runs `ocelli-pack convert` within [`CONVERSION_KIB`].
fn convert(checkpoint: &Path, precision: &str, options: &[&str]) -> PathBuf {
    let path = checkpoint.join(format!("{precision}.ocelli"));
    let script = format!("ulimit -v {CONVERSION_KIB}; exec \"$0\" convert \"$@\"");
    let start = Instant::now();
    let output = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_ocelli-pack"), "--precision", precision, "-o"])
        .arg(&path)
        .arg(checkpoint)
        .args(options)
        .output()
        .unwrap();
    let took = start.elapsed();
    assert!(output.status.success(), "{precision}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(took < Duration::from_secs(120), "{precision}: the conversion took {took:?}");
    eprintln!("{precision} {options:?}: converted in {took:.1?}, {} MiB", size(&path) / MIB);
    path
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn runtime() -> Runtime {
    Runtime::new(&RuntimeOptions::default().threads(2)).unwrap()
}

/// The photo's embedding, and the arena's bytes.
fn embed_photo(model: &Arc<Model>) -> (Vec<f32>, usize) {
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/astronaut.jpg");
    let photo = decode_file(photo, &decode::Options::default()).unwrap();
    let mut encoder = ImageEncoder::new(model, &runtime(), &ImageOptions::default()).unwrap();
    let mut embedding = vec![0.0; EMBED_DIM];
    encoder.embed_into(&photo.view(), &mut embedding).unwrap();
    (embedding, encoder.plan().bytes())
}

fn embed_text(model: &Arc<Model>) -> Vec<f32> {
    let mut encoder = TextEncoder::new(model, &runtime(), &Limits::default()).unwrap();
    let tokens = encoder.tokenizer().unwrap().encode("a photo of an astronaut").unwrap();
    let mut embedding = vec![0.0; EMBED_DIM];
    encoder.encode_ids(&tokens.ids, &mut embedding, Watch::default()).unwrap();
    embedding
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The least time of several, in which files are in memory.
fn opening(path: &Path) -> Duration {
    let open = || {
        let start = Instant::now();
        Model::open(path).unwrap();
        start.elapsed()
    };
    (0..5).map(|_| open()).min().unwrap()
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "takes minutes under an emulator")]
fn a_full_size_clip_converts_and_runs_within_its_limits() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let weights = write_checkpoint(directory.path());
    eprintln!("checkpoint written in {:.1?}", start.elapsed());

    // Files go as soon as they are used: the next one takes their room.
    let path = convert(directory.path(), "fp32", &["--vision-only"]);
    let (photo, _) = embed_photo(&Model::open(&path).unwrap());
    fs::remove_file(path).unwrap();

    let path = convert(directory.path(), "fp16", &[]);
    let model = Model::open(&path).unwrap();
    let (half, text) = (embed_photo(&model).0, embed_text(&model));
    drop(model);
    fs::remove_file(path).unwrap();
    assert!(cosine(&half, &photo) >= 0.999, "fp16: cosine {}", cosine(&half, &photo));

    let path = convert(directory.path(), "int8", &[]);
    let model = Model::open(&path).unwrap();
    let similarity = cosine(&embed_text(&model), &text);
    assert!(similarity >= 0.99, "int8 text: cosine {similarity}");
    let (both, _) = embed_photo(&model);
    drop(model);
    fs::remove_file(path).unwrap();

    let path = convert(directory.path(), "int8", &["--vision-only"]);
    assert!(size(&path) * 10 <= weights * 3, "{} bytes for {weights} of weights", size(&path));
    let opening = opening(&path);
    assert!(opening < Duration::from_millis(10), "opening took {opening:?}");
    let (embedding, arena) = embed_photo(&Model::open(&path).unwrap());
    assert!(arena < 20_000_000, "an arena of {arena} bytes");
    assert_eq!(embedding, both, "the text tower changes nothing for images");
    let similarity = cosine(&embedding, &photo);
    assert!(similarity >= 0.99, "int8: cosine {similarity}");
    assert!(similarity < 0.999_999, "cosine {similarity}: these are no int8 weights");
    eprintln!("opened in {opening:?}, arena {arena} bytes, int8 cosine {similarity:.5}");
}
