//! Writes the checkpoint of a CLIP ViT-B/16 image tower with random weights and as many blocks as one likes, for
//! measurements that need its shapes only.
//!
//! ```text
//! random_clip DIRECTORY BLOCKS
//! ```

use serde_json::{Value, json};
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

const WIDTH: usize = 768;
const EMBED_DIM: usize = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: random_clip DIRECTORY BLOCKS";
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [directory, blocks] = &args[..] else { return Err(usage.into()) };
    let (directory, blocks) = (PathBuf::from(directory), blocks.parse::<usize>().map_err(|_| usage)?);
    fs::create_dir_all(&directory)?;
    let config = json!({
        "model_type": "clip_vision_model", "architectures": ["CLIPVisionModelWithProjection"],
        "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": blocks,
        "num_attention_heads": 12, "image_size": 224, "patch_size": 16, "num_channels": 3,
        "projection_dim": EMBED_DIM, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
    });
    fs::write(directory.join("config.json"), config.to_string())?;
    let preprocess = json!({
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": true, "size": {"shortest_edge": 224}, "resample": 3,
        "do_center_crop": true, "crop_size": {"height": 224, "width": 224},
        "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_convert_rgb": true,
        "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    });
    fs::write(directory.join("preprocessor_config.json"), preprocess.to_string())?;

    let list = tensors(blocks);
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in &list {
        let bytes = 4 * shape.iter().product::<usize>();
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [end, end + bytes]});
        header.insert(name.clone(), entry);
        end += bytes;
    }
    let header = Value::from(header).to_string();
    let mut file = BufWriter::new(File::create(directory.join("model.safetensors"))?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for (name, shape) in &list {
        // Gains around 1, matrices that keep the size of what goes through them.
        let inputs: usize = shape.iter().skip(1).product();
        let gain = name.contains("norm") && name.ends_with("weight");
        let spread = if gain { 0.25 } else { 1.7 / (inputs as f32).sqrt().max(10.0) };
        for _ in 0..shape.iter().product() {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let unit = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            file.write_all(&(f32::from(u8::from(gain)) + unit * spread).to_le_bytes())?;
        }
    }
    file.flush()?;
    Ok(())
}

/// Names and shapes of every tensor, as transformers saves them.
fn tensors(blocks: usize) -> Vec<(String, Vec<usize>)> {
    let mut list = vec![
        ("vision_model.embeddings.class_embedding".to_owned(), vec![WIDTH]),
        ("vision_model.embeddings.patch_embedding.weight".into(), vec![WIDTH, 3, 16, 16]),
        ("vision_model.embeddings.position_embedding.weight".into(), vec![197, WIDTH]),
        ("visual_projection.weight".into(), vec![EMBED_DIM, WIDTH]),
    ];
    let mut module = |name: String, shape: Vec<usize>| {
        list.push((format!("vision_model.{name}.bias"), vec![shape[0]]));
        list.push((format!("vision_model.{name}.weight"), shape));
    };
    module("pre_layrnorm".into(), vec![WIDTH]);
    module("post_layernorm".into(), vec![WIDTH]);
    for layer in 0..blocks {
        let mut part = |name: &str, shape| module(format!("encoder.layers.{layer}.{name}"), shape);
        for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            part(&format!("self_attn.{name}"), vec![WIDTH, WIDTH]);
        }
        part("mlp.fc1", vec![4 * WIDTH, WIDTH]);
        part("mlp.fc2", vec![WIDTH, 4 * WIDTH]);
        part("layer_norm1", vec![WIDTH]);
        part("layer_norm2", vec![WIDTH]);
    }
    list
}
