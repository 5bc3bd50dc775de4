//! `ocelli profile`.

use crate::{FULL, VISION, ocelli, run};
use ocelli_kernels::LhsFormat;
use serde_json::Value;
use std::fs;

#[test]
fn profile_times_and_embeds_given_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let (pixels, out) = (folder.path().join("pixels.f32"), folder.path().join("embeddings.f32"));
    let image_len = 3 * 64 * 64;
    let values = (0..3 * image_len).flat_map(|i| ((i * 29 % 201) as f32 / 100.0 - 1.0).to_le_bytes());
    fs::write(&pixels, values.collect::<Vec<u8>>()).unwrap();
    let profile = |threads: &str| {
        let mut command = ocelli!["profile", "-m", *FULL, "--iters", "2", "--json", "-t", threads];
        let result = run(command.arg("--pixels").arg(&pixels).arg("--embeddings-out").arg(&out)).ok();
        assert!(result.out.starts_with("{\"ms\":[") && result.err.is_empty(), "{}", result.out);
        let report = result.json().remove(0);
        assert_eq!(result.out.lines().count(), 1);
        assert_eq!(report["ms"].as_array().unwrap().len(), 2);
        assert!(report["load_ms"].as_f64().unwrap() > 0.0);
        assert_eq!(report["threads"], threads.parse::<u32>().unwrap());
        assert!(!report["kernels"].as_str().unwrap().is_empty());
        if cfg!(target_os = "linux") {
            assert!(report["rss_mb"].as_f64().unwrap() > 1.0, "{}", report["rss_mb"]);
        }
        let names: Vec<_> = report["ops"].as_array().unwrap().iter().map(|op| op["op"].clone()).collect();
        assert!(names.contains(&"qkv".into()) && names.contains(&"attention".into()), "{names:?}");
        fs::read(&out).unwrap()
    };
    let embeddings = profile("1");
    assert_eq!(embeddings.len(), 3 * 32 * 4);
    assert_ne!(embeddings[..128], embeddings[128..256]);
    assert_eq!(embeddings, profile("3"));

    let text = run(&mut ocelli!["profile", "-m", *VISION, "--iters", "1"]).ok().out;
    assert!(text.contains("p50") && text.lines().any(|line| line.starts_with("fc1 ")), "{text}");

    fs::write(&pixels, f32::INFINITY.to_le_bytes().repeat(image_len)).unwrap();
    run(&mut ocelli!["profile", "-m", *VISION, "--pixels", pixels]).fails(&["pixels.f32", "value 0 is inf"]);
    fs::write(&pixels, [0; 1000]).unwrap();
    run(&mut ocelli!["profile", "--pixels", pixels]).fails(&["pixels.f32", "found 1000", "whole number"]);
    let missing = folder.path().join("missing/out.f32");
    run(&mut ocelli!["profile", "--iters", "1", "--embeddings-out", missing]).fails(&["missing/out.f32"]);
}

/// The report's line of operation `name`.
fn op<'r>(report: &'r Value, name: &str) -> &'r Value {
    let mut ops = report["ops"].as_array().unwrap().iter();
    ops.find(|op| op["op"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn profile_counts_what_is_multiplied_and_moved_per_image() {
    let profile = |batch: &str| {
        let mut command =
            ocelli!["profile", "-m", *VISION, "--json", "-t", "1", "--iters", "3", "--batch", batch];
        run(&mut command).ok().json().remove(0)
    };
    let info = run(&mut ocelli!["info", "--json", "-m", *VISION]).ok().json().remove(0);
    let tower = &info["architecture"]["vision"];
    let number = |key: &str| tower[key].as_u64().unwrap() as usize;
    let (width, depth, mlp) = (number("width"), number("depth"), number("mlp_width"));
    let tokens = (64 / number("patch")).pow(2) + number("prefix_tokens");
    let matrix = |n: usize, k: usize| 4 * (n * k + n);
    let rows = |count: usize, k: usize| LhsFormat::F32.bytes(count, k);

    let [one, four] = ["1", "4"].map(profile);
    for (report, images) in [(&one, 1), (&four, 4)] {
        assert_eq!(report["batch"], images);
        // Weights once per call, activations of every image.
        let qkv = depth * (matrix(3 * width, width) / images + rows(tokens, width) + 4 * tokens * 3 * width);
        assert_eq!(op(report, "qkv")["bytes"], qkv);
        // Only the class token leaves the last block; the residual stream is read and written.
        let seen = (depth - 1) * tokens + 1;
        let fc2 = depth * matrix(width, mlp) / images + rows(seen, mlp) + 2 * 4 * seen * width;
        assert_eq!(op(report, "fc2")["bytes"], fc2);
        let attention = 4 * width * (2 * (depth - 1) * tokens + 2 * depth * tokens + 2);
        assert_eq!(op(report, "attention")["bytes"], attention);
        let hidden = 4 * seen * mlp + rows(seen, mlp);
        assert_eq!(op(report, "quantize hidden")["bytes"], hidden);
        let pixels = 4 * 3 * 64 * 64;
        assert_eq!(op(report, "patch rows")["bytes"], pixels + rows(tokens - 1, pixels / 4 / (tokens - 1)));

        let value = |op: &Value, key: &str| op[key].as_f64().unwrap();
        assert_eq!(op(report, "qkv")["calls"], depth as f64);
        let us = value(op(report, "qkv"), "us");
        let kmacs = value(op(report, "qkv"), "gmacs") * us;
        let expected = (depth * tokens * 3 * width * width) as f64 / 1e3;
        // GMAC/s have three decimals, of which an emulated machine uses the last two.
        let rounding = 0.0005 * us;
        assert!((kmacs - expected).abs() < 0.001 * expected + rounding, "{kmacs} kMAC, {expected} expected");

        let mut over = Vec::new();
        for op in report["ops"].as_array().unwrap() {
            let (us, bound, beyond) = (value(op, "us"), value(op, "bound_us"), value(op, "over_bound_us"));
            assert!((us - bound - beyond).abs() < 0.01, "{op}");
            let moving = value(op, "bytes") / 1e3 / value(report, "memory_gb_per_s");
            let computing = op["percent_of_peak"].as_f64().map_or(0.0, |percent| us * percent / 1e2);
            assert!(
                (bound - moving.max(computing)).abs() < 0.01 * bound + 0.01,
                "{op}: {moving}, {computing}"
            );
            over.push((beyond, op["op"].as_str().unwrap()));
        }
        let most: Vec<_> =
            report["most_over_bound"].as_array().unwrap().iter().map(|op| op.as_str().unwrap()).collect();
        let beyond = |name: &str| over.iter().find(|(_, op)| *op == name).unwrap().0;
        assert!(most.len() == 3 && most.is_sorted_by(|a, b| beyond(a) >= beyond(b)), "{most:?}");
        // Times are rounded to nanoseconds.
        let least = beyond(most[2]) + 0.001;
        assert!(over.iter().all(|(us, name)| *us <= least || most.contains(name)), "{most:?} of {over:?}");
    }
}

#[test]
fn profile_says_where_a_photos_time_goes() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png", "c.png"] {
        image::RgbImage::from_fn(120, 80, |x, y| image::Rgb([x as u8, y as u8, 7]))
            .save(folder.path().join(name))
            .unwrap();
    }
    fs::write(folder.path().join("broken.jpg"), "no picture").unwrap();
    let profile =
        || ocelli!["profile", "-m", *VISION, "--iters", "1", "-t", "1", "--pipeline", folder.path()];
    let result = run(profile().arg("--json"));
    assert!(result.code == Some(0) && result.err.contains("broken.jpg"), "{}", result.err);
    let pipeline = result.json().remove(0)["pipeline"].take();
    assert_eq!((&pipeline["photos"], &pipeline["megapixels"]), (&3.into(), &0.01.into()));
    let number =
        |value: &Value| value.as_f64().filter(|&ms| ms > 0.0).unwrap_or_else(|| panic!("{pipeline}"));
    let ms = |name: &str| number(&pipeline["ms"][name]);
    let sum = ms("decode") + ms("preprocess") + ms("encode");
    assert!((ms("total") - sum).abs() < 0.01 && number(&pipeline["of_encoder"]) < 3.0, "{pipeline}");
    assert!(number(&pipeline["overlapped_ms"]) < 20.0 * sum, "{pipeline}");
    let text = run(&mut profile()).out;
    assert!(
        text.contains("3 photos of 0.0 megapixels") && text.contains("% of the encoder's own rate"),
        "{text}"
    );
    let missing = folder.path().join("none");
    run(&mut ocelli!["profile", "-m", *VISION, "--iters", "1", "--pipeline", missing])
        .fails(&["none", "no picture"]);
}
