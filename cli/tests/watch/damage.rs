//! Streams that are short, torn, of another size, or no streams at all.

use crate::{Live, PLAIN, RECORDED, SIZE, command, example, expected, jpeg, run, scenes};
use libjpeg_turbo_rs::{PixelFormat, Subsampling, compress};
use std::fs::File;
use std::io::Write;
use std::process::Command;

const MJPEG: &[&str] = &["-", "--format", "mjpeg"];

#[test]
fn raw_frames_give_events_at_their_frames() {
    let input = scenes(&[("ship", 50), ("horse", 30), ("ship", 20)]);
    let run = run(&mut command(&[&["-"], SIZE, PLAIN, RECORDED]), &input).ok();
    let events = [
        ("ship", "enter", 0),
        ("horse", "enter", 50),
        ("ship", "leave", 50),
        ("horse", "leave", 80),
        ("ship", "enter", 80),
        ("ship", "leave", 99),
    ];
    let mut found = run.events();
    // Labels of one frame come in the model's order.
    found.sort_by(|a, b| (a.2, &a.0).cmp(&(b.2, &b.0)));
    assert_eq!(found, expected(&events));
    run.says(&["100 frames read", "100 scored, 0 unchanged, 0 dropped, 0 damaged; 6 events"]);
    assert!(
        run.out
            .lines()
            .next()
            .unwrap()
            .starts_with("{\"time\":0.0,\"label\":\"ship\",\"state\":\"enter\",\"score\":0.")
    );
    assert!(run.out.lines().last().unwrap().contains("\"frame\":99,\"reason\":\"end\""), "{}", run.out);
}

/// The scores of a frame are those that `ocelli classify` prints for the file.
#[test]
fn a_frame_scores_what_its_file_scores() {
    let mut classify = ocelli_tests::program(env!("CARGO_BIN_EXE_ocelli"));
    let output = classify.args(["classify", "--json", "-k", "1"]).arg(example("frog")).output().unwrap();
    let right: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for format in [&["--format", "mjpeg"][..], SIZE] {
        let input = if format == SIZE { scenes(&[("frog", 1)]) } else { jpeg("frog") };
        let run = run(&mut command(&[&["-"], format, PLAIN, RECORDED, &["--enter", "0.3"]]), &input).ok();
        let event: serde_json::Value = serde_json::from_str(run.out.lines().next().unwrap()).unwrap();
        assert_eq!(event["score"], right["labels"][0]["score"]);
        assert_eq!(event["label"], right["labels"][0]["label"]);
    }
}

#[test]
fn a_stream_that_ends_inside_a_frame_is_told_of() {
    let input = scenes(&[("ship", 3)]);
    let cut = run(&mut command(&[&["-"], SIZE, PLAIN, RECORDED]), &input[..2 * 3072 + 512]).ok();
    cut.says(&["512 bytes into a frame of 3072", "2 frames read", "1 damaged"]);
    assert_eq!(cut.events(), expected(&[("ship", "enter", 0), ("ship", "leave", 1)]));
}

#[test]
fn what_is_no_stream_is_an_error() {
    for (format, input) in [
        (SIZE, &b""[..]),
        (SIZE, b"short"),
        (&["--format", "mjpeg"], b""),
        (&["--format", "mjpeg"], &[0x55; 100_000]),
        (&["--format", "mjpeg"], b"\xff\xd8\xff\xe0\x00\x10JFIF"),
    ] {
        let run = run(&mut command(&[&["-"], format]), input);
        assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{}", run.err);
        run.says(&["ended before the first whole frame"]);
    }
}

#[test]
fn torn_pictures_are_left_out_and_the_next_one_is_found() {
    let (ship, horse) = (jpeg("ship"), jpeg("horse"));
    let mut input = ship.repeat(10);
    for i in 0..10 {
        // Cut at ten places, and bytes of nothing after it.
        input.extend_from_slice(&ship[..20 + i * (ship.len() - 30) / 10]);
        input.extend_from_slice(&[0x11; 7][..i % 7]);
    }
    input.extend(horse.repeat(10));
    let run = run(&mut command(&[MJPEG, PLAIN, RECORDED]), &input).ok();
    let found = run.events();
    assert!(found.contains(&("ship".into(), "enter".into(), 0)), "{found:?}");
    let horse = found.iter().find(|(label, ..)| label == "horse").unwrap();
    // One of the cut ones may have taken the next one with it, but not more.
    assert!((10..=12).contains(&horse.2), "{found:?}\n{}", run.err);
    run.says(&["it is left out"]);
    assert!(!run.err.contains(" 0 damaged"), "{}", run.err);
}

/// Bytes lost in the middle of a picture: it starts and ends as it should, and is not shown to the model.
#[test]
fn pictures_with_lost_bytes_are_left_out() {
    let ship = jpeg("ship");
    let middle = ship.len() * 3 / 4;
    let hole = [&ship[..middle], &ship[middle + 60..]].concat();
    let run = run(&mut command(&[MJPEG, PLAIN, RECORDED]), &[&ship[..], &hole, &ship].concat()).ok();
    assert_eq!(run.events(), expected(&[("ship", "enter", 0), ("ship", "leave", 2)]));
    run.says(&["frame 1: ", "left out", "2 scored", "1 damaged"]);
}

#[test]
fn a_picture_of_another_size_is_left_out_until_the_camera_means_it() {
    let other = |width: usize| {
        compress(&vec![200; width * 48 * 3], width, 48, PixelFormat::Rgb, 90, Subsampling::S444).unwrap()
    };
    let input = [jpeg("ship").repeat(2), other(64), jpeg("ship").repeat(2), other(64).repeat(5)].concat();
    let run = run(&mut command(&[MJPEG, PLAIN, RECORDED]), &input).ok();
    run.says(&["frame 2: a frame of 64x48 among those of 32x32", "10 frames read", "7 scored", "3 damaged"]);
}

#[test]
fn a_named_pipe_waits_for_its_next_writer_and_starts_with_a_whole_frame() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("camera");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let live = Live::start(&mut command(&[&[fifo.to_str().unwrap()], SIZE, PLAIN]));
    let ship = scenes(&[("ship", 5)]);
    let mut writer = File::create(&fifo).unwrap();
    writer.write_all(&ship[..4 * 3072 + 100]).unwrap();
    live.expect("ship", "enter");
    drop(writer);
    live.says("100 bytes into a frame");
    live.says("waiting for the next one");
    let mut writer = File::create(&fifo).unwrap();
    writer.write_all(&scenes(&[("horse", 5)])).unwrap();
    let mut found = [live.event(), live.event()];
    found.sort();
    assert_eq!(found, [("horse".into(), "enter".into()), ("ship".into(), "leave".into())]);
    let (out, err) = live.stop();
    assert!(out.len() == 1 && out[0].contains("\"label\":\"horse\",\"state\":\"leave\""), "{out:?}");
    assert!(err.iter().any(|line| line.contains("1 damaged")), "{err:?}");
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_would_be_right() {
    for (args, part) in [
        (&[][..], "SOURCE"),
        (&["-", "--format", "rgb24"], "--size 640x480"),
        (&["-", "--size", "32x32"], "--format"),
        (&["-", "--format", "mjpeg", "--size", "32x32"], "raw formats"),
        (&["-", "--color", "bt709"], "--color"),
        (&["-", "--format", "rgb24", "--size", "0x3"], "640x480"),
        (&["/", "--format", "rgb24", "--size", "32x32"], "folder"),
        (&["-", "--enter", "dog=2", "--ignore", "unicorn"], "unicorn"),
        (&["-", "--enter", "0.1", "--leave", "0.2"], "--leave"),
        (&["-", "--roi", "1,2,3"], "--roi"),
        (&["-", "--exec", "say 'x"], "quotation"),
        (&["-", "--exec-timeout", "3"], "--exec"),
        (&["-", "--snapshot-mb", "3"], "--snapshot"),
        (&["-", "--replay", "x"], "--replay"),
        (&["--calibrate", "x"], "--truth"),
        (&["-", "--recorded", "25", "--fps", "3"], "--fps"),
        (&["-", "--max-temp", "500"], "20..=120"),
    ] {
        let run = run(&mut command(&[args]), b"");
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{args:?}: {}", run.err);
        run.says(&[part]);
    }
    for (args, part) in
        [(&["/no/such/camera"][..], "/no/such/camera"), (&["-", "--bank", "/no/bank"], "/no/bank")]
    {
        let run = run(&mut command(&[args]), b"");
        assert_eq!((run.code, run.out.as_str()), (Some(1), ""), "{args:?}: {}", run.err);
        run.says(&[part]);
    }
}

#[test]
fn a_region_and_tiles_are_what_is_scored() {
    // Four quarters: a ship at the lower right, grey elsewhere.
    let mut wide = vec![128u8; 64 * 64 * 3];
    for (y, row) in scenes(&[("ship", 1)]).chunks_exact(96).enumerate() {
        wide[((32 + y) * 64 + 32) * 3..][..96].copy_from_slice(row);
    }
    let size = &["-", "--format", "rgb24", "--size", "64x64"];
    let best = |more: &[&str]| {
        let run = run(&mut command(&[size, PLAIN, RECORDED, more]), &wide).ok();
        run.events().first().map(|event| event.0.clone())
    };
    assert_eq!(best(&["--roi", "50%,50%,50%,50%"]).as_deref(), Some("ship"));
    assert_eq!(best(&["--roi", "32,32,32,32"]).as_deref(), Some("ship"));
    assert_ne!(best(&["--roi", "0,0,32,32"]).as_deref(), Some("ship"));
    let outside = run(&mut command(&[size, RECORDED, &["--roi", "60,60,32,32"]]), &wide);
    outside.says(&["--roi in a frame of 64x64", "0 scored", "1 damaged"]);
    // With tiles the ship is seen in its own size, as one of five views.
    let tiles = run(
        &mut command(&[size, RECORDED, PLAIN, &["--any-res", "2x2", "--enter", "0.01", "--leave", "0"]]),
        &wide,
    );
    let whole = run(&mut command(&[size, RECORDED, PLAIN, &["--enter", "0.01", "--leave", "0"]]), &wide);
    assert!(tiles.code == Some(0) && whole.code == Some(0));
    assert_ne!(tiles.out, whole.out);
}
