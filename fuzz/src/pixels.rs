//! Pixel views: sizes, strides and buffers that do not fit each other.

use crate::image::frames;
use crate::input::Input;
use ocelli::format::Alpha;
use ocelli::preprocess::{Packed, PixelView};

/// Format, sizes, strides and a part, then the pixels.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let format = input.u8();
    let (width, height) = (u32::from(input.u16()), u32::from(input.u16()));
    let strides = [input.u16(), input.u16()].map(|stride| match stride {
        u16::MAX => usize::MAX,
        stride => stride.into(),
    });
    let [left, top, part_width, part_height] = [(); 4].map(|()| u32::from(input.u16()));
    let (how, cut) = (input.u32(), usize::from(input.u16()));
    let pixels = input.0;
    let (first, second) = pixels.split_at(cut.min(pixels.len()));
    let packed = [Packed::Rgb, Packed::Bgr, Packed::Rgba, Packed::Bgra, Packed::Gray];
    let view = match packed.get(usize::from(format % 7)) {
        Some(&format) => PixelView::new(format, pixels, width, height, strides[0]),
        None if format % 7 == 5 => PixelView::nv12((first, strides[0]), (second, strides[1]), width, height),
        None => {
            let (blue, red) = second.split_at(second.len() / 2);
            PixelView::i420((first, strides[0]), (blue, strides[1]), (red, strides[1]), width, height)
        }
    };
    let Ok(view) = view else { return };
    look(&view, how);
    if let Ok(part) = view.crop(left, top, part_width, part_height) {
        look(&part, how);
    }
}

/// Reads every pixel, and resizes what is not too long to do so.
fn look(view: &PixelView<'_>, how: u32) {
    let (width, height) = (view.width() as usize, view.height() as usize);
    let mut row = vec![0; 3 * width];
    for y in 0..height {
        view.row_rgb(y, 0..width, Alpha::White, &mut row);
        if let Some(slice) = view.rgb_slice(y, 0..width) {
            assert_eq!(slice, row);
        }
    }
    if width * height <= 1 << 16 {
        frames(view, how);
    }
}
