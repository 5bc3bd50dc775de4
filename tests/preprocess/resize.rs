use ocelli::format::{Filter, Resampler, ResizeMode};
use ocelli::preprocess::{FrameSpec, Packed, PixelView, ResizePlan, Resizer, Tables, Window};

use super::{Bench, assert_same, config, fixture, fnv, frame, kernels, noise, open, pixels};

#[test]
fn resize_goldens_are_bit_exact() {
    let mut compared = 0;
    for entry in std::fs::read_dir(fixture("resize")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix(".png") else { continue };
        let mut parts = name.split('_');
        let (image, size) = (parts.next().unwrap(), parts.next().unwrap().parse().unwrap());
        let config = match parts.collect::<Vec<_>>().join("_").as_str() {
            "shortest_bicubic_crop_pil" => {
                config(ResizeMode::ShortestCrop, Filter::Bicubic, Resampler::Pillow, size)
            }
            "squash_bilinear_tv" => {
                config(ResizeMode::Squash, Filter::Bilinear, Resampler::Torchvision, size)
            }
            other => panic!("unknown golden {other}"),
        };
        let source = open(&format!("images/{image}.png"));
        let expected = pixels(&open(&format!("resize/{file}")).view());
        assert_same(&frame(FrameSpec::new(&config, size, size).unwrap(), &source.view()), &expected, name);
        compared += 1;
    }
    assert_eq!(compared, 12);
}

#[test]
fn pillow_runs_the_vertical_pass_first_on_tall_pictures() {
    let config = config(ResizeMode::Squash, Filter::Bicubic, Resampler::Pillow, 0);
    let source = noise(60, 200);
    let view = PixelView::new(Packed::Rgb, &source, 60, 200, 180).unwrap();
    let spec = FrameSpec::new(&config, 80, 55).unwrap();
    let expected = pixels(&open("resize_random/noise_60x200_to_55x80_pil.png").view());
    assert_same(&frame(spec, &view), &expected, "vertical first");
    // The picture tells the two orders apart: with torchvision's order it comes out otherwise.
    let torchvision = FrameSpec { resampler: Resampler::Torchvision, ..spec };
    let other = frame(torchvision, &view);
    assert!(other.iter().zip(&expected).any(|(a, b)| a.abs_diff(*b) > 5));
}

/// Sizes, filters, crops, margins of black, extremes: hashes of what the libraries made of the same noise.
#[test]
fn random_sizes_equal_the_libraries() {
    let cases = String::from_utf8(super::read("resize_random/cases.txt")).unwrap();
    for line in cases.lines() {
        let (spec, width, height, hash) = parse(line);
        let source = noise(width, height);
        let view = PixelView::new(Packed::Rgb, &source, width, height, width as usize * 3).unwrap();
        assert_eq!(fnv(&frame(spec, &view)), hash, "{line}");
    }
    assert_eq!(cases.lines().count(), 176);
}

/// Resampler, filter, mode, rounding, source size, shortest, frame height and width, hash.
fn parse(line: &str) -> (FrameSpec, u32, u32, u64) {
    use ocelli::format::CropRounding;
    let fields: Vec<_> = line.split(' ').collect();
    let number = |index: usize| fields[index].parse::<u32>().unwrap();
    let mode = if fields[2] == "crop" { ResizeMode::ShortestCrop } else { ResizeMode::Squash };
    let filter = if fields[1] == "bicubic" { Filter::Bicubic } else { Filter::Bilinear };
    let resampler = if fields[0] == "pillow" { Resampler::Pillow } else { Resampler::Torchvision };
    let mut config = config(mode, filter, resampler, number(6));
    if fields[3] == "even" {
        config.crop_rounding = CropRounding::HalfEven as u32;
    }
    let spec = FrameSpec::new(&config, number(7), number(8)).unwrap();
    (spec, number(4), number(5), u64::from_str_radix(fields[9], 16).unwrap())
}

#[test]
fn any_split_into_ranges_gives_the_same_frame() {
    // Horizontal first, vertical first, enlarging, and a padded frame.
    for (width, height, mode, shortest) in [
        (200, 151, ResizeMode::ShortestCrop, 40),
        (90, 700, ResizeMode::Squash, 0),
        (9, 7, ResizeMode::ShortestCrop, 40),
        (77, 60, ResizeMode::ShortestCrop, 13),
    ] {
        let source = noise(width, height);
        let view = PixelView::new(Packed::Rgb, &source, width, height, width as usize * 3).unwrap();
        let config = config(mode, Filter::Bicubic, Resampler::Pillow, shortest);
        let mut bench = Bench::new(FrameSpec::new(&config, 33, 35).unwrap(), 1000);
        let whole = bench.frame(&view, 1);
        for parts in [2, 3, 7, 33] {
            assert_same(&bench.frame(&view, parts), &whole, &format!("{width} x {height} in {parts} parts"));
        }
    }
}

/// One resizer, planned for every picture, sees sizes in turn: what it remembers must not leak into the next.
#[test]
fn one_plan_serves_the_extremes() {
    let config = config(ResizeMode::ShortestCrop, Filter::Bicubic, Resampler::Pillow, 224);
    let spec = FrameSpec::new(&config, 224, 224).unwrap();
    let mut bench = Bench::new(spec, 65_535);
    let bytes = bench.scratch.len() + 4 * bench.coefficients.len() + 8 * bench.windows.len();
    assert!(bytes < 4 << 20, "{bytes} bytes");
    for (width, height) in [(1, 1), (1, 20_000), (20_000, 1), (65_535, 2), (2, 65_535), (300, 200), (1, 1)] {
        let source = noise(width, height);
        let view = PixelView::new(Packed::Rgb, &source, width, height, width as usize * 3).unwrap();
        assert_same(&bench.frame(&view, 2), &frame(spec, &view), &format!("{width} x {height}"));
    }
    // Of a strip one pixel wide the frame shows the very middle: here the edge between dark and bright.
    let strip: Vec<u8> = (0..20_000u32 * 3).map(|i| if i / 3 < 10_000 { 10 } else { 250 }).collect();
    let view = PixelView::new(Packed::Rgb, &strip, 1, 20_000, 3).unwrap();
    let out = bench.frame(&view, 1);
    assert_eq!((out[0], out[out.len() - 1]), (10, 250));
    assert!(out[..112 * 224 * 3].iter().all(|&v| v < 130) && out[112 * 224 * 3..].iter().all(|&v| v >= 130));
}

/// The widest and the tallest picture at the hardest reduction stand for the largest of all, which would fill 4 GB.
#[test]
fn the_largest_sides_fit_the_plan() {
    for filter in [Filter::Bilinear, Filter::Bicubic] {
        for resampler in [Resampler::Pillow, Resampler::Torchvision] {
            let config = config(ResizeMode::Squash, filter, resampler, 0);
            let mut bench = Bench::new(FrameSpec::new(&config, 3, 5).unwrap(), 65_535);
            for (width, height) in [(65_535, 3), (3, 65_535)] {
                let source = vec![77; width as usize * height as usize];
                let view = PixelView::new(Packed::Gray, &source, width, height, width as usize).unwrap();
                assert!(bench.frame(&view, 1).iter().all(|&level| level.abs_diff(77) <= 1));
            }
        }
    }
}

#[test]
fn wrong_use_is_an_error() {
    let config = config(ResizeMode::Squash, Filter::Bicubic, Resampler::Pillow, 0);
    let spec = FrameSpec::new(&config, 8, 8).unwrap();
    let plan = ResizePlan::new(spec, 16).unwrap();
    let mut resizer = Resizer::new(plan, kernels());
    let mut coefficients = vec![0; plan.coefficients_len()];
    let mut windows = vec![Window::default(); plan.windows_len()];
    let mut tables = Tables { coefficients: &mut coefficients, windows: &mut windows };
    let (data, mut out, mut scratch) = (vec![0; 17 * 17 * 3], [0; 192], vec![0; plan.scratch_len()]);
    let small = PixelView::new(Packed::Rgb, &data, 16, 16, 48).unwrap();
    let other = PixelView::new(Packed::Rgb, &data, 16, 15, 48).unwrap();
    let large = PixelView::new(Packed::Rgb, &data, 17, 17, 51).unwrap();

    let error = resizer.resize_rows(&small, &tables, 0..8, &mut scratch, &mut out).unwrap_err().to_string();
    assert!(error.contains("not prepared"), "{error}");
    let error = resizer.prepare(&large, &mut tables).unwrap_err().to_string();
    assert!(error.contains("larger") && error.contains("16") && error.contains("17"), "{error}");
    resizer.prepare(&small, &mut tables).unwrap();
    assert!(resizer.resize_rows(&other, &tables, 0..8, &mut scratch, &mut out).is_err());
    assert!(resizer.resize_rows(&small, &tables, 0..9, &mut scratch, &mut out).is_err());
    assert!(resizer.resize_rows(&small, &tables, 0..7, &mut scratch, &mut out).is_err());
    assert!(resizer.resize_rows(&small, &tables, 0..8, &mut scratch[1..], &mut out).is_err());
    resizer.resize_rows(&small, &tables, 0..8, &mut scratch, &mut out).unwrap();
    let mut short = Tables { coefficients: &mut [], windows: &mut windows };
    assert!(Resizer::new(plan, kernels()).prepare(&small, &mut short).is_err());
    assert!(ResizePlan::new(spec, 0).is_err() && ResizePlan::new(spec, 65_536).is_err());
    let unknown = ocelli::format::PreprocessConfig { filter: 9, ..config };
    assert!(FrameSpec::new(&unknown, 8, 8).unwrap_err().to_string().contains("filter"));
    assert!(FrameSpec::new(&config, 0, 8).is_err());
}

/// Squashed to a square, of which the centre is cut, as transformers' DeiTImageProcessor does it (5.24, Pillow's backend):
/// even and odd margins.
#[test]
fn a_centre_is_cut_from_a_squashed_picture() {
    for (square, height, width) in [(80, 65, 62), (79, 62, 64)] {
        let config = config(ResizeMode::SquashCrop, Filter::Bicubic, Resampler::Pillow, square);
        let spec = FrameSpec::new(&config, height, width).unwrap();
        for name in ["landscape", "portrait"] {
            let source = open(&format!("images/{name}.png"));
            let golden = format!("squash_crop/{name}_{square}_to_{height}x{width}.png");
            assert_same(&frame(spec, &source.view()), &pixels(&open(&golden).view()), &golden);
        }
    }
}

/// A crop larger than the resized picture is padded with black, as transformers' CLIPImageProcessor (4.57, Pillow's
/// backend) does it: one side or both, even and odd margins.
#[test]
fn a_crop_larger_than_the_picture_is_padded() {
    for (name, shortest) in [("landscape", 47), ("portrait", 48), ("landscape", 30), ("portrait", 31)] {
        let config = config(ResizeMode::ShortestCrop, Filter::Bicubic, Resampler::Pillow, shortest);
        let spec = FrameSpec::new(&config, 64, 65).unwrap();
        let source = open(&format!("images/{name}.png"));
        let expected = open(&format!("resize_padded/{name}_{shortest}_to_65x64.png"));
        assert_same(&frame(spec, &source.view()), &pixels(&expected.view()), &format!("{name} {shortest}"));
    }
}
