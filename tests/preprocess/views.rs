use ocelli::format::{Alpha, Filter, Resampler, ResizeMode};
use ocelli::preprocess::{FrameSpec, Packed, PixelView, YuvColor};

use super::{assert_same, config, fnv, frame, noise, pixels};

const WIDTH: u32 = 37;
const HEIGHT: u32 = 29;

/// `rows` of `row` bytes with `padding` bytes of rubbish after each but the last.
fn padded(data: &[u8], row: usize, padding: usize) -> Vec<u8> {
    let mut out: Vec<u8> = data.chunks_exact(row).flat_map(|r| [r, &vec![0xee; padding]].concat()).collect();
    out.truncate(out.len() - padding);
    out
}

fn packed(format: Packed, rgb: &[u8]) -> Vec<u8> {
    let pixel = |p: &[u8]| match format {
        Packed::Rgb => vec![p[0], p[1], p[2]],
        Packed::Bgr => vec![p[2], p[1], p[0]],
        Packed::Rgba => vec![p[0], p[1], p[2], 255],
        Packed::Bgra => vec![p[2], p[1], p[0], 255],
        Packed::Gray => vec![p[0]],
    };
    rgb.chunks_exact(3).flat_map(pixel).collect()
}

/// Every packed format, with and without padding between rows, gives the frame of the same picture in plain RGB, in
/// both orders of the passes.
#[test]
fn formats_and_strides() {
    for (height, mode) in [(HEIGHT, ResizeMode::ShortestCrop), (300, ResizeMode::Squash)] {
        let config = config(mode, Filter::Bicubic, Resampler::Pillow, 17);
        let spec = FrameSpec::new(&config, 15, 16).unwrap();
        let colour = noise(WIDTH, height);
        let gray: Vec<u8> = colour.chunks_exact(3).flat_map(|p| [p[0]; 3]).collect();
        for format in [Packed::Rgb, Packed::Bgr, Packed::Rgba, Packed::Bgra, Packed::Gray] {
            let rgb = if format == Packed::Gray { &gray } else { &colour };
            let plain = PixelView::new(Packed::Rgb, rgb, WIDTH, height, WIDTH as usize * 3).unwrap();
            let row = WIDTH as usize * format.bytes();
            for padding in [0, 1, 27] {
                let data = padded(&packed(format, rgb), row, padding);
                let view = PixelView::new(format, &data, WIDTH, height, row + padding).unwrap();
                assert_same(&pixels(&view), rgb, &format!("{format:?}"));
                assert_same(&frame(spec, &view), &frame(spec, &plain), &format!("{format:?} resized"));
            }
        }
    }
}

/// The hash is of `Image.alpha_composite(white, image)` in Pillow 13 over all pairs: alpha in rows, level in columns.
#[test]
fn alpha_on_white_equals_pillow() {
    let data: Vec<u8> = (0..=255u8).flat_map(|a| (0..=255u8).flat_map(move |v| [v, v, v, a])).collect();
    let view = PixelView::new(Packed::Rgba, &data, 256, 256, 1024).unwrap();
    let levels: Vec<u8> = pixels(&view).chunks_exact(3).map(|p| p[0]).collect();
    assert_eq!(fnv(&levels), 0x5546_cee1_5493_f6a7);
    let mut row = [0; 6];
    view.row_rgb(0, 4..6, Alpha::Drop, &mut row);
    assert_eq!(row, [4, 4, 4, 5, 5, 5]);
}

/// Limited-range primaries and greys, an odd size (chroma rounds up) and both planar layouts.
#[test]
fn camera_planes() {
    // Black, white, mid grey; then red, green and blue as BT.601 encodes them.
    let known = [
        ((16, 128, 128), [0, 0, 0]),
        ((235, 128, 128), [255, 255, 255]),
        ((126, 128, 128), [128, 128, 128]),
        ((81, 90, 240), [255, 0, 0]),
        ((145, 54, 34), [0, 255, 0]),
        ((41, 240, 110), [0, 0, 255]),
        ((0, 128, 128), [0, 0, 0]),
        ((255, 128, 128), [255, 255, 255]),
    ];
    for ((y, cb, cr), rgb) in known {
        let (luma, chroma) = ([y; 9], [cb, cr].repeat(4));
        let view = PixelView::nv12((&luma, 3), (&chroma, 4), 3, 3).unwrap();
        for (found, expected) in pixels(&view).chunks_exact(3).flatten().zip(rgb.iter().cycle()) {
            assert!(found.abs_diff(*expected) <= 1, "{y} {cb} {cr}: {found} for {expected}");
        }
    }
    let (luma, stride) = (noise(WIDTH, HEIGHT), 40);
    let (half_width, half_height) = (WIDTH.div_ceil(2) as usize, HEIGHT.div_ceil(2) as usize);
    let (blue, red): (Vec<u8>, Vec<u8>) = (noise(21, 20), noise(20, 20).into_iter().rev().collect());
    let mut chroma = vec![0; 44 * half_height];
    for y in 0..half_height {
        for x in 0..half_width {
            (chroma[y * 44 + 2 * x], chroma[y * 44 + 2 * x + 1]) = (blue[y * 21 + x], red[y * 23 + x]);
        }
    }
    let nv12 = PixelView::nv12((&luma, stride), (&chroma, 44), WIDTH, HEIGHT).unwrap();
    let i420 = PixelView::i420((&luma, stride), (&blue, 21), (&red, 23), WIDTH, HEIGHT).unwrap();
    let (rgb, other) = (pixels(&nv12), pixels(&i420));
    assert_same(&rgb, &other, "planar layouts");
    // One pixel by hand, in floating point, at an odd place.
    let (x, y) = (35, 27);
    let value = |v: u8, zero: f64| f64::from(v) - zero;
    let (l, b, r) =
        (value(luma[y * 40 + x], 16.0), value(blue[13 * 21 + 17], 128.0), value(red[13 * 23 + 17], 128.0));
    let expected = [1.164 * l + 1.596 * r, 1.164 * l - 0.392 * b - 0.813 * r, 1.164 * l + 2.017 * b];
    for (channel, expected) in expected.iter().enumerate() {
        let found = f64::from(rgb[(y * WIDTH as usize + x) * 3 + channel]);
        assert!((found - expected.clamp(0.0, 255.0)).abs() <= 1.5, "{found} for {expected}");
    }
    // A part of a row, beginning in the middle of a chroma pair.
    let mut part = [0; 9];
    nv12.row_rgb(5, 3..6, Alpha::White, &mut part);
    assert_eq!(part, rgb[(5 * WIDTH as usize + 3) * 3..][..9]);
    // And through the resize.
    let config = config(ResizeMode::ShortestCrop, Filter::Bicubic, Resampler::Pillow, 17);
    let spec = FrameSpec::new(&config, 16, 16).unwrap();
    let plain = PixelView::new(Packed::Rgb, &rgb, WIDTH, HEIGHT, WIDTH as usize * 3).unwrap();
    assert_same(&frame(spec, &nv12), &frame(spec, &plain), "NV12 resized");
}

/// Every layout of luminance and chroma and every meaning of their levels, at odd sizes and from an odd corner, against
/// the formula of the standards in floating point.
#[test]
fn camera_formats_follow_the_standards() {
    let (width, height) = (WIDTH as usize, HEIGHT as usize);
    let (half, half_rows) = (width.div_ceil(2), height.div_ceil(2));
    let luma: Vec<u8> = noise(WIDTH, HEIGHT)[..width * height].to_vec();
    let (blue, red): (Vec<u8>, Vec<u8>) =
        (noise(WIDTH, HEIGHT)[7..].to_vec(), noise(WIDTH, HEIGHT).into_iter().rev().collect());
    let interleave = |first: &[u8], second: &[u8], rows: usize| -> Vec<u8> {
        (0..half * rows).flat_map(|at| [first[at], second[at]]).collect()
    };
    // 4:2:2 has chroma in every row; the last luminance of an odd row is rubbish.
    let packed = |luma_first: bool| -> Vec<u8> {
        let pair = |y: usize, x: usize| {
            let (a, b) = (luma[y * width + 2 * x], luma.get(y * width + 2 * x + 1).copied().unwrap_or(9));
            let (cb, cr) = (blue[y * half + x], red[y * half + x]);
            if luma_first { [a, cb, b, cr] } else { [cb, a, cr, b] }
        };
        (0..height).flat_map(|y| (0..half).flat_map(move |x| pair(y, x))).collect()
    };
    let (nv12, nv21) = (interleave(&blue, &red, half_rows), interleave(&red, &blue, half_rows));
    let (yuyv, uyvy) = (packed(true), packed(false));
    let luma_plane = (&luma[..], width);
    let views = [
        (2, PixelView::nv12(luma_plane, (&nv12, 2 * half), WIDTH, HEIGHT)),
        (2, PixelView::nv21(luma_plane, (&nv21, 2 * half), WIDTH, HEIGHT)),
        (2, PixelView::i420(luma_plane, (&blue, half), (&red, half), WIDTH, HEIGHT)),
        (1, PixelView::yuyv(&yuyv, WIDTH, HEIGHT, 4 * half)),
        (1, PixelView::uyvy(&uyvy, WIDTH, HEIGHT, 4 * half)),
    ];
    for (rows_per_chroma, view) in views {
        for (color, red_weight, blue_weight, full) in [
            (YuvColor::Bt601, 0.299, 0.114, false),
            (YuvColor::Bt601Full, 0.299, 0.114, true),
            (YuvColor::Bt709, 0.2126, 0.0722, false),
            (YuvColor::Bt709Full, 0.2126, 0.0722, true),
        ] {
            let view = view.as_ref().unwrap().with_yuv(color);
            let rgb = pixels(&view);
            let part = view.crop(3, 5, WIDTH - 3, HEIGHT - 5).unwrap();
            let corner = &pixels(&part)[..3];
            assert_eq!(corner, &rgb[(5 * width + 3) * 3..][..3], "{color:?}");
            let (black, luma_scale, chroma_scale) =
                if full { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) };
            for (at, found) in rgb.chunks_exact(3).enumerate() {
                let (x, y) = (at % width, at / width);
                let chroma = y / rows_per_chroma * half + x / 2;
                let level = (f64::from(luma[at]) - black) / luma_scale;
                let signed = |level: u8| (f64::from(level) - 128.0) / chroma_scale;
                let r = level + 2.0 * (1.0 - red_weight) * signed(red[chroma]);
                let b = level + 2.0 * (1.0 - blue_weight) * signed(blue[chroma]);
                let g = (level - red_weight * r - blue_weight * b) / (1.0 - red_weight - blue_weight);
                for (&found, expected) in found.iter().zip([r, g, b]) {
                    let expected = (expected * 255.0).clamp(0.0, 255.0);
                    assert!(
                        (f64::from(found) - expected).abs() <= 1.5,
                        "{color:?} {x},{y}: {found} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn views_that_do_not_fit_are_errors() {
    let data = [0; 100];
    let view = |width, height, stride| PixelView::new(Packed::Rgb, &data, width, height, stride);
    let problem = |result: ocelli::Result<PixelView<'_>>| result.unwrap_err().to_string();
    assert!(view(5, 6, 17).is_ok());
    assert!(problem(view(5, 7, 15)).contains("too short"));
    assert!(problem(view(5, 2, 14)).contains("stride"));
    assert!(problem(view(5, 2, usize::MAX)).contains("too short"));
    assert!(problem(view(0, 2, 15)).contains("empty"));
    assert!(problem(view(2, 0, 15)).contains("empty"));
    assert!(problem(view(65_536, 1, 200_000)).contains("65535"));
    assert!(PixelView::nv12((&data, 5), (&data, 5), 5, 5).is_err());
    assert!(PixelView::nv12((&data, 5), (&data[..17], 6), 5, 5).is_err());
    assert!(PixelView::nv12((&data[..24], 5), (&data, 6), 5, 5).is_err());
    assert!(PixelView::nv12((&data, 5), (&data, 6), 5, 5).is_ok());
    assert!(PixelView::i420((&data, 5), (&data, 3), (&data[..8], 3), 5, 5).is_err());
    assert!(PixelView::i420((&data, 5), (&data, 3), (&data, 3), 5, 5).is_ok());
    assert!(PixelView::nv21((&data, 5), (&data, 5), 5, 5).is_err());
    assert!(PixelView::yuyv(&data, 5, 5, 11).is_err());
    assert!(PixelView::yuyv(&data[..59], 5, 5, 12).is_err());
    assert!(PixelView::uyvy(&data[..60], 5, 5, 12).is_ok());
    assert!(PixelView::uyvy(&data, 5, 5, usize::MAX).is_err());
}
