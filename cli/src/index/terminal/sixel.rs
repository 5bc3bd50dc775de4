//! Sixels: pictures in bands of six rows, a line for each colour in a band.

use super::Thumbnail;
use color_quant::NeuQuant;
use std::fmt::Write;

/// Colours of a picture: as many as every terminal that shows sixels has, but the oldest.
const COLOURS: usize = 256;
/// The colours are chosen by about so many pixels.
const SAMPLES: usize = 20_000;

/// The thumbnail between the characters that begin and end sixels.
pub(super) fn encode(Thumbnail { width, height, pixels }: &Thumbnail) -> String {
    let (palette, indices) = quantized(pixels);
    // Pixels that are not drawn stay as they are (P2 = 1); pixels are square, then width and height.
    let mut text = format!("\x1bP0;1;0q\"1;1;{width};{height}");
    for (number, colour) in palette.iter().enumerate() {
        let [r, g, b] = colour.map(|x| (u32::from(x) * 100 + 127) / 255);
        put(&mut text, format_args!("#{number};2;{r};{g};{b}"));
    }
    for band in indices.chunks(6 * width) {
        // For each colour that occurs, the rows of every column that have it, lowest bit on top.
        let mut layers: Vec<Option<Vec<u8>>> = vec![None; palette.len()];
        for (row, indices) in band.chunks(*width).enumerate() {
            for (x, &colour) in indices.iter().enumerate() {
                let layer = layers[colour].get_or_insert_with(|| vec![0; *width]);
                layer[x] |= 1 << row;
            }
        }
        for (colour, layer) in layers.iter().enumerate() {
            let Some(layer) = layer else { continue };
            put(&mut text, format_args!("#{colour}"));
            for run in layer.chunk_by(|a, b| a == b) {
                let sixel = char::from(b'?' + run[0]);
                match run.len() {
                    n @ ..4 => text.extend(std::iter::repeat_n(sixel, n)),
                    n => put(&mut text, format_args!("!{n}{sixel}")),
                }
            }
            // Back to the left edge.
            text.push('$');
        }
        text.push('-');
    }
    text + "\x1b\\"
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("strings take everything");
}

/// Colours, and for each pixel which of them it has.
fn quantized(pixels: &[u8]) -> (Vec<[u8; 3]>, Vec<usize>) {
    let (pixels, _) = pixels.as_chunks::<3>();
    let mut palette = pixels.to_vec();
    palette.sort_unstable();
    palette.dedup();
    if palette.len() <= COLOURS {
        let find = |pixel| palette.binary_search(pixel).expect("every colour is in it");
        let indices = pixels.iter().map(find).collect();
        return (palette, indices);
    }
    let rgba: Vec<[u8; 4]> = pixels.iter().map(|&[r, g, b]| [r, g, b, 255]).collect();
    let step = (pixels.len() / SAMPLES).clamp(1, 30) as i32;
    let quantizer = NeuQuant::new(step, COLOURS, rgba.as_flattened());
    let palette = quantizer.color_map_rgb().as_chunks::<3>().0.to_vec();
    (palette, rgba.iter().map(|pixel| quantizer.index_of(pixel)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_picture_is_written_as_the_manual_has_it() {
        let (red, blue) = ([255, 0, 0], [0, 0, 255]);
        // Seven rows: the last is in a band of its own.
        let mut pixels = vec![red; 5 * 7];
        pixels[5] = blue;
        let thumbnail = Thumbnail { width: 5, height: 7, pixels: pixels.into_flattened() };
        let expected = "\x1bP0;1;0q\"1;1;5;7#0;2;0;0;100#1;2;100;0;0#0A!4?$#1|!4~$-#1!5@$-\x1b\\";
        assert_eq!(encode(&thumbnail), expected);
    }
}
