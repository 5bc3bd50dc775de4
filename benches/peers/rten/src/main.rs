//! `rten-runner MODEL.onnx PIXELS.f32 EMBEDDINGS.f32 ITERATIONS`: embeds every 3 × 224 × 224 image, then times the
//! first; prints milliseconds as JSON. `RTEN_NUM_THREADS` sets the threads.

use rten::{ModelOptions, ValueOrView};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, model, pixels, embeddings, iterations] = &args[..] else {
        return Err("usage: rten-runner MODEL.onnx PIXELS.f32 EMBEDDINGS.f32 ITERATIONS".into());
    };
    let ms_since = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    let pixels = std::fs::read(pixels)?;
    let images: Vec<NdTensor<f32, 4>> = pixels
        .chunks_exact(4 * 3 * 224 * 224)
        .map(|image| {
            let values: Vec<f32> =
                image.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            NdTensor::from_data([1, 3, 224, 224], values)
        })
        .collect();

    let loading = Instant::now();
    // Packed once at load: slower to open, faster per image.
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(model)?;
    let embed = |image: &NdTensor<f32, 4>| -> Result<NdTensor<f32, 2>, Box<dyn Error>> {
        Ok(model.run_one(ValueOrView::from(image.view()), None)?.try_into()?)
    };
    embed(&images[0])?;
    let load_ms = ms_since(loading);

    let mut bytes = Vec::new();
    for image in &images {
        bytes.extend(embed(image)?.iter().flat_map(|value| value.to_le_bytes()));
    }
    std::fs::write(embeddings, bytes)?;
    let mut times = Vec::new();
    for _ in 0..iterations.parse()? {
        let start = Instant::now();
        embed(&images[0])?;
        times.push(ms_since(start));
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse()?;
    println!(r#"{{"load_ms": {load_ms}, "ms": {times:?}, "rss_mb": {}}}"#, kib * 1.024 / 1e3);
    Ok(())
}
