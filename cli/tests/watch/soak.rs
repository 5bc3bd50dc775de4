//! A day of frames: memory, threads and descriptors stay what they were, and no exit is missed.
//!
//! `OCELLI_SOAK_WATCH_FRAMES` sets how many (`scripts/watch-soak.sh` takes 200,000).

use crate::{Live, RECORDED, SIZE, command, event, jpeg, scenes};
use std::io::Write;

/// Frames of a scene.
const SCENE: usize = 40;
/// Resident memory may vary by so many KiB: the system decides when pages come and go. An emulator's own memory comes
/// on top.
const SLACK_KIB: usize = if cfg!(target_arch = "x86_64") { 1 << 10 } else { 48 << 10 };

/// Ship and horse by turns, each `SCENE` frames; all that is there enters once and leaves once in each scene.
fn soak(frames: usize, format: &[&str], photos: [Vec<u8>; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    let more = [
        "--snapshot",
        pictures.to_str().unwrap(),
        "--snapshot-count",
        "20",
        "--record",
        "/dev/null",
        "--min-duration",
        "0.1",
        "--smoothing",
        "0.05",
        "--enter",
        "0.5",
        "--leave",
        "0.3",
    ];
    let mut live = Live::start(&mut command(&[&["-"], format, RECORDED, &more]));
    let count = frames / SCENE / 2 * 2;
    let block: Vec<Vec<u8>> = photos.iter().map(|photo| photo.repeat(SCENE)).collect();
    let mut before = None;
    for scene in 0..count {
        live.child.stdin.as_mut().unwrap().write_all(&block[scene % 2]).unwrap();
        if scene == count / 4 {
            before = Some(ocelli_tests::usage(live.child.id()));
        }
    }
    let (before, after) = (before.unwrap(), ocelli_tests::usage(live.child.id()));
    println!("{frames} frames: KiB, threads, descriptors {before:?}, then {after:?}");
    drop(live.child.stdin.take());
    let events: Vec<_> = live.out.iter().map(|line| event(&line)).collect();
    assert!(live.child.wait().unwrap().success());
    let err: Vec<String> = live.err.iter().collect();
    println!("{}", err.join("\n"));
    for (index, label) in ["ship", "horse"].into_iter().enumerate() {
        for state in ["enter", "leave"] {
            let at: Vec<u64> = events
                .iter()
                .filter(|event| event.0 == label && event.1 == state)
                .map(|event| event.2)
                .collect();
            assert_eq!(at.len(), count / 2, "{label} {state}");
            // No drift: at the same frame of each scene; the last one leaves at the end.
            let offset = |frame: &u64| (frame + (SCENE * (2 - index)) as u64) % (2 * SCENE) as u64;
            let (first, last) = (offset(&at[0]), at.len() - 1);
            assert!(at[..last].iter().all(|frame| offset(frame) == first), "{label} {state}: {:?}", &at[..4]);
        }
    }
    assert!(std::fs::read_dir(&pictures).unwrap().count() <= 20);
    assert!(after.0 <= before.0 + SLACK_KIB, "memory grew: {before:?} {after:?}");
    assert_eq!(after.1, before.1, "threads");
    // One more may be open for the snapshot that is being written just then.
    assert!(after.2.abs_diff(before.2) <= 1, "descriptors: {before:?} {after:?}");
}

fn frames() -> usize {
    let short = if cfg!(target_arch = "x86_64") { 8_000 } else { 800 };
    std::env::var("OCELLI_SOAK_WATCH_FRAMES").map_or(short, |text| text.parse().expect("a number"))
}

#[test]
fn raw_frames_for_a_day() {
    soak(frames(), SIZE, [scenes(&[("ship", 1)]), scenes(&[("horse", 1)])]);
}

#[test]
fn jpeg_frames_for_a_day() {
    soak(frames() / 4, &["--format", "mjpeg"], [jpeg("ship"), jpeg("horse")]);
}
