//! One image through the whole image tower on one thread, normalised pixels to embedding, between the markers.
//!
//! ```text
//! encoder_region MODEL.ocelli
//! ```
//!
//! Prints the multiply-accumulates of that image. `OCELLI_ISA` chooses the kernels.

use ocelli::vision::Layer;
use ocelli::{ImageEncoder, ImageOptions, Input, Model, Runtime, RuntimeOptions, knobs};
use ocelli_arm_count::{start, stop};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: encoder_region MODEL.ocelli")?;
    let model = Model::open(&path)?;
    let runtime = Runtime::new(&RuntimeOptions::default().isa(knobs::isa()?))?;
    let mut encoder = ImageEncoder::new(&model, &runtime, &ImageOptions::default())?;
    let vision = &model.file().config().vision;
    let len = 3 * vision.height as usize * vision.width as usize;
    let pixels: Vec<f32> = (0..len).map(|i| (i * 37 % 255) as f32 / 127.0 - 1.0).collect();
    let mut embedding = vec![0.0; encoder.embed_dim()];
    encoder.profile_mut().clear();

    start();
    encoder.encode(Input::Planar(&pixels), Layer::Projected, &mut embedding)?;
    stop();

    let macs = encoder.profile_mut().work().macs();
    println!("{macs} MACs, {} blocks, {}", vision.tower.depth, runtime.kernels().isa());
    Ok(())
}
