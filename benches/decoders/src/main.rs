//! How far JPEG decoders are from Pillow, and how long they take.
//!
//! Arguments are pairs of files: a JPEG, and the same picture as Pillow decodes it, in binary PPM
//! (`Image.open("photo.jpg").convert("RGB").save("photo.ppm")`). Each decoder runs five times over each; the best counts.

use std::error::Error;
use std::time::Instant;

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn turbo(data: &[u8]) -> Result<Vec<u8>> {
    let mut decoder = libjpeg_turbo_rs::Decoder::new(data)?;
    decoder.set_output_format(libjpeg_turbo_rs::PixelFormat::Rgb);
    Ok(decoder.decode_image()?.data)
}

fn zune(data: &[u8]) -> Result<Vec<u8>> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(data), options);
    decoder.decode().map_err(|error| format!("{error:?}").into())
}

fn jpeg_decoder(data: &[u8]) -> Result<Vec<u8>> {
    Ok(jpeg_decoder::Decoder::new(data).decode()?)
}

/// The pixels of a binary PPM of 8 bits: all behind its third line.
fn ppm(data: &[u8]) -> Result<&[u8]> {
    let header = data.split(|&byte| byte == b'\n').take(3).map(|line| line.len() + 1).sum();
    Ok(data.get(header..).ok_or("no PPM")?)
}

fn main() -> Result<()> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    println!("{:16} {:>9} {:>5} {:>7} {:>9}", "decoder", "differ", "worst", "mean", "ms per MP");
    type Decode = fn(&[u8]) -> Result<Vec<u8>>;
    let decoders: [(&str, Decode); 3] =
        [("libjpeg-turbo-rs", turbo), ("zune-jpeg", zune), ("jpeg-decoder", jpeg_decoder)];
    for (name, decode) in decoders {
        let (mut levels, mut differ, mut sum, mut worst, mut seconds) = (0, 0, 0, 0, 0.0);
        for pair in files.chunks_exact(2) {
            let (jpeg, expected) = (std::fs::read(&pair[0])?, std::fs::read(&pair[1])?);
            let mut best = f64::MAX;
            let mut found = Vec::new();
            for _ in 0..5 {
                let start = Instant::now();
                found = decode(&jpeg)?;
                best = best.min(start.elapsed().as_secs_f64());
            }
            seconds += best;
            let expected = ppm(&expected)?;
            if found.len() != expected.len() {
                return Err(format!("{}: {name} makes another size or kind of picture", pair[0]).into());
            }
            for off in found.iter().zip(expected).map(|(a, b)| u64::from(a.abs_diff(*b))) {
                levels += 1;
                differ += u64::from(off > 0);
                sum += off;
                worst = worst.max(off);
            }
        }
        println!(
            "{name:16} {:>7.2} % {worst:>5} {:>7.4} {:>9.2}",
            differ as f64 * 100.0 / levels as f64,
            sum as f64 / levels as f64,
            seconds * 1e3 / (levels as f64 / 3e6),
        );
    }
    Ok(())
}
