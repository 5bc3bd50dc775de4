//! A camera's NV12 buffer, embedded as it is: no conversion to RGB, no copy.
//!
//! ```sh
//! cargo run --release --example nv12 [MODEL]
//! ```

use ocelli::preprocess::{PixelView, YuvColor};
use ocelli::score::dot;
use ocelli::{ImageEncoder, ImageOptions, Model, Runtime, knobs};
use std::error::Error;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo.ocelli");
const WIDTH: usize = 640;
const HEIGHT: usize = 480;
/// Cameras often pad their rows.
const STRIDE: usize = 704;

/// Stands for a camera: a disc of `luma` and `chroma` (Cb, Cr) on grey, in one buffer as V4L2 gives it, the plane of Cb
/// and Cr behind that of luminance.
fn shoot(luma: u8, chroma: [u8; 2]) -> Vec<u8> {
    let mut buffer = vec![128; STRIDE * HEIGHT * 3 / 2];
    let inside =
        |x: usize, y: usize| x.abs_diff(WIDTH / 2).pow(2) + y.abs_diff(HEIGHT / 2).pow(2) < 150 * 150;
    for y in 0..HEIGHT {
        for x in (0..WIDTH).filter(|&x| inside(x, y)) {
            buffer[y * STRIDE + x] = luma;
            buffer[(HEIGHT + y / 2) * STRIDE + x / 2 * 2..][..2].copy_from_slice(&chroma);
        }
    }
    buffer
}

fn main() -> Result<(), Box<dyn Error>> {
    let model = Model::open(std::env::args().nth(1).as_deref().unwrap_or(MODEL))?;
    let runtime = Runtime::new(&knobs::runtime_options()?)?;
    let mut encoder = ImageEncoder::new(&model, &runtime, &ImageOptions::default())?;

    let mut embeddings = Vec::new();
    for (luma, chroma) in [(180, [110, 150]), (170, [112, 152]), (60, [170, 90])] {
        let buffer = shoot(luma, chroma);
        let (luma, chroma) = buffer.split_at(STRIDE * HEIGHT);
        let picture = PixelView::nv12((luma, STRIDE), (chroma, STRIDE), WIDTH as u32, HEIGHT as u32)?;
        // HD cameras use BT.709; `v4l2-ctl --get-fmt-video` tells.
        let picture = picture.with_yuv(YuvColor::Bt709);
        let mut embedding = vec![0.0; encoder.embed_dim()];
        encoder.embed_into(&picture, &mut embedding)?;
        embeddings.push(embedding);
    }
    println!("cosine of two orange discs:        {:.4}", dot(&embeddings[0], &embeddings[1]));
    println!("cosine of an orange and a blue one: {:.4}", dot(&embeddings[0], &embeddings[2]));
    Ok(())
}
