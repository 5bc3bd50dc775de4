//! A camera loop: a second thread resizes the next picture while this one encodes the one before. Two frames go round
//! between them through channels, and nothing is allocated per picture.
//!
//! ```sh
//! cargo run --release --example camera_rgb [MODEL]
//! ```

use ocelli::encoder::Frame;
use ocelli::preprocess::{Packed, PixelView};
use ocelli::{ImageEncoder, ImageOptions, Model, Preprocessor, Runtime, knobs};
use std::error::Error;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo.ocelli");
const PICTURES: usize = 200;
const WIDTH: usize = 640;
const HEIGHT: usize = 480;

/// Stands for a camera: a bright column that moves.
fn shoot(number: usize, pixels: &mut [u8]) {
    for row in pixels.chunks_exact_mut(3 * WIDTH) {
        row.fill(40);
        row[3 * (number % WIDTH)..][..3].fill(250);
    }
}

/// Fills the frames that come back from the encoder.
fn camera(
    mut preprocessor: Preprocessor,
    empty: &Receiver<Frame>,
    full: &SyncSender<Frame>,
) -> ocelli::Result<()> {
    let mut pixels = vec![0; 3 * WIDTH * HEIGHT];
    for number in 0..PICTURES {
        let Ok(mut frame) = empty.recv() else { break };
        shoot(number, &mut pixels);
        let picture = PixelView::new(Packed::Rgb, &pixels, WIDTH as u32, HEIGHT as u32, 3 * WIDTH)?;
        preprocessor.preprocess(&picture, &mut frame)?;
        if full.send(frame).is_err() {
            break;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let model = Model::open(std::env::args().nth(1).as_deref().unwrap_or(MODEL))?;
    let (runtime, options) = (Runtime::new(&knobs::runtime_options()?)?, ImageOptions::default());
    let mut encoder = ImageEncoder::new(&model, &runtime, &options)?;
    let preprocessor = Preprocessor::new(&model, knobs::isa()?, &options)?;
    let mut embedding = vec![0.0; encoder.embed_dim()];

    let (give_back, empty) = sync_channel(2);
    let (full, filled) = sync_channel(2);
    give_back.send(preprocessor.frame())?;
    give_back.send(preprocessor.frame())?;
    let start = Instant::now();
    let shooting = thread::spawn(move || camera(preprocessor, &empty, &full));
    let mut encoded = 0;
    for frame in filled {
        encoder.set_frame(0, &frame)?;
        // The camera may have stopped already.
        let _ = give_back.send(frame);
        encoder.encode(ocelli::Input::Frames(1), ocelli::vision::Layer::Projected, &mut embedding)?;
        encoded += 1;
    }
    shooting.join().expect("the camera's thread does not panic")?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{encoded} pictures of {WIDTH} x {HEIGHT}, {:.1} per second", f64::from(encoded) / seconds);
    Ok(())
}
