//! One image through the whole image tower on one thread, normalised pixels to embedding, between the markers.
//!
//! ```text
//! encoder_region MODEL.ocelli
//! ```
//!
//! Prints the multiply-accumulates of that image. `OCELLI_ISA` chooses the kernels.

use ocelli::{Model, Options, Session, knobs};
use ocelli_arm_count::{start, stop};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: encoder_region MODEL.ocelli")?;
    let model = Model::open(&path)?;
    let options = Options { isa: knobs::isa()?, text: false, ..Options::default() };
    let mut session = Session::new(&model, &options)?;
    let vision = &model.file().config().vision;
    let len = 3 * vision.height as usize * vision.width as usize;
    let pixels: Vec<f32> = (0..len).map(|i| (i * 37 % 255) as f32 / 127.0 - 1.0).collect();
    let mut embedding = vec![0.0; session.embed_dim()];
    session.profile_mut().clear();

    start();
    session.embed_pixels_into(&pixels, &mut embedding)?;
    stop();

    let macs = session.profile_mut().work().macs();
    println!("{macs} MACs, {} blocks, {}", vision.tower.depth, session.kernels().isa());
    Ok(())
}
