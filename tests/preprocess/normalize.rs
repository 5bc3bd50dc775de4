use ocelli::format::{Filter, Resampler, ResizeMode};
use ocelli::preprocess::normalize::patch_grid;
use ocelli::preprocess::{
    FrameSpec, PixelView, normalization_table, write_patch_row, write_patch_row_planar,
};
use safetensors::SafeTensors;

use super::{config, frame, open, read};

/// Planar normalised pixels `[3][64][64]` of one picture, by the preprocessing of `clip-hf`.
fn clip_pixels(view: &PixelView<'_>, resampler: Resampler) -> Vec<f32> {
    let config = config(ResizeMode::ShortestCrop, Filter::Bicubic, resampler, 64);
    let table = normalization_table(&config);
    let frame = frame(FrameSpec::new(&config, 64, 64).unwrap(), view);
    let channel = |c: usize| frame.chunks_exact(3).map(move |pixel| usize::from(pixel[c]));
    (0..3).flat_map(|c| channel(c).map(move |byte| table[c][byte])).collect()
}

fn expected(name: &str) -> Vec<f32> {
    let file = read("clip-hf/expected.safetensors");
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let values = tensors.tensor(name).unwrap().data().chunks_exact(4);
    values.map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect()
}

/// Both backends of transformers, from PNG to pixel values: torchvision's to the last bit; the Pillow backend
/// rescales and normalises in two steps, so there the levels agree and the last bits of f32 may not.
#[test]
fn pixel_values_of_both_backends() {
    for (name, resampler, limit) in
        [("pixel_values", Resampler::Torchvision, 0.0), ("pixel_values_pil", Resampler::Pillow, 3e-7)]
    {
        let mut found = Vec::new();
        for image in ["portrait", "landscape", "gray"] {
            found.extend(clip_pixels(&open(&format!("images/{image}.png")).view(), resampler));
        }
        let expected = expected(name);
        assert_eq!(found.len(), expected.len());
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= limit, "{name}: {worst}");
    }
}

#[test]
fn pixel_values_of_a_jpeg() {
    let found = clip_pixels(&open("images/photo.jpg").view(), Resampler::Torchvision);
    assert_eq!(found, expected("jpeg.pixel_values"));
}

#[test]
fn patch_rows_are_row_column_channel_and_drop_the_rest() {
    let config = config(ResizeMode::Squash, Filter::Bilinear, Resampler::Pillow, 0);
    let table = normalization_table(&config);
    let (height, width, patch) = (11, 14, 4);
    let frame: Vec<u8> = (0..height * width * 3).map(|i| (i * 7 % 256) as u8).collect();
    let mut planar = vec![0.0; height * width * 3];
    for (i, &byte) in frame.iter().enumerate() {
        planar[i % 3 * height * width + i / 3] = table[i % 3][usize::from(byte)];
    }
    let (rows, columns) = patch_grid(height, width, patch);
    assert_eq!((rows, columns), (2, 3));
    let (mut row, mut same) = ([0.0; 48], [0.0; 48]);
    for index in 0..rows * columns {
        write_patch_row(&frame, width, patch, index, &table, &mut row);
        write_patch_row_planar(&planar, height, width, patch, index, &mut same);
        assert_eq!(row, same);
        for (i, &value) in row.iter().enumerate() {
            let (y, x) = (index / 3 * 4 + i / 12, index % 3 * 4 + i / 3 % 4);
            assert_eq!(value, table[i % 3][usize::from(frame[(y * width + x) * 3 + i % 3])]);
        }
    }
}
