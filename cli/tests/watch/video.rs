//! Real video: made by ffmpeg from the photos, encoded, decoded, and watched through a pipe. Needs ffmpeg and, for one
//! test, GStreamer.

use crate::{PLAIN, RECORDED, command, example, has};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SIDE: &str = "256x256";

/// A video of 25 frames per second: `filter` joins the photos, each of which lasts `seconds`.
fn video(folder: &Path, photos: &[&str], seconds: u32, filter: &str) -> PathBuf {
    let path = folder.join("video.mkv");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y"]);
    for photo in photos {
        ffmpeg.args(["-loop", "1", "-framerate", "25", "-t", &seconds.to_string(), "-i"]).arg(example(photo));
    }
    // Photos of 32 x 32 pixels as a camera of 256 x 256 would see them.
    let scaled: String = (0..photos.len())
        .map(|i| format!("[{i}:v]scale=256:256:flags=bicubic,format=yuv420p,setsar=1[p{i}];"))
        .collect();
    ffmpeg.args(["-filter_complex", &format!("{scaled}{filter}"), "-map", "[out]"]);
    ffmpeg.args(["-c:v", "mpeg4", "-q:v", "3", "-g", "50"]).arg(&path);
    assert!(ffmpeg.status().unwrap().success(), "ffmpeg made no video");
    path
}

/// The events of the video at `path` when ffmpeg decodes it to `format`.
fn events(path: &Path, format: &str, rules: &[&str]) -> (Vec<(String, String, u64)>, String) {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(path);
    let pixels = match format {
        "mjpeg" => vec!["-f", "mjpeg", "-q:v", "2"],
        "yuyv" => vec!["-f", "rawvideo", "-pix_fmt", "yuyv422"],
        "yuv420" => vec!["-f", "rawvideo", "-pix_fmt", "yuv420p"],
        format => vec!["-f", "rawvideo", "-pix_fmt", format],
    };
    let mut ffmpeg = ffmpeg.args(pixels).arg("-").stdout(Stdio::piped()).spawn().unwrap();
    let size: &[&str] = if format == "mjpeg" { &[] } else { &["--size", SIDE] };
    let mut watch = command(&[&["-", "--format", format], size, RECORDED, rules]);
    let output = watch.stdin(ffmpeg.stdout.take().unwrap()).output().unwrap();
    assert!(ffmpeg.wait().unwrap().success());
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{format}: {err}");
    (String::from_utf8(output.stdout).unwrap().lines().map(crate::event).collect(), err)
}

/// The frame at which a label does something for the first time.
#[track_caller]
fn first(events: &[(String, String, u64)], label: &str, state: &str) -> u64 {
    let found = events.iter().find(|event| event.0 == label && event.1 == state);
    found.unwrap_or_else(|| panic!("no {state} of {label} in {events:?}")).2
}

/// Of frames between `from` and `to`, within two of them: what an encoder makes of a cut is not exact.
#[track_caller]
fn within(frame: u64, from: u64, to: u64, what: &str) {
    assert!(
        (from.saturating_sub(2)..=to + 2).contains(&frame),
        "{what} at frame {frame}, not {from} to {to}"
    );
}

#[test]
fn cuts_are_found_at_their_frames_in_every_format() {
    if !has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = video(folder.path(), &["ship", "frog", "horse"], 2, "[p0][p1][p2]concat=n=3:v=1:a=0[out]");
    // Without colour a frog is no frog: of grey levels only the frames are counted.
    let formats = ["nv12", "mjpeg", "yuv420", "yuyv", "rgb24", "bgr24"];
    // An emulator takes its time.
    let few = if cfg!(target_arch = "x86_64") { formats.len() } else { 2 };
    for format in &formats[..few] {
        let (found, err) = events(&path, format, PLAIN);
        for (label, enter, leave) in [("ship", 0, 50), ("frog", 50, 100), ("horse", 100, 149)] {
            within(first(&found, label, "enter"), enter, enter, &format!("{format}: {label} enters"));
            within(first(&found, label, "leave"), leave, leave, &format!("{format}: {label} leaves"));
        }
        assert!(err.contains("150 frames read") && err.contains("0 damaged"), "{format}: {err}");
    }
    let (_, err) = events(&path, "gray", PLAIN);
    assert!(err.contains("150 frames read") && err.contains("0 damaged"), "{err}");
    // The rules shift events by what they say: 0.4 s and the mean over 0.2 s.
    let (found, _) = events(
        &path,
        "yuv420",
        &["--smoothing", "0.2", "--min-duration", "0.4", "--enter", "0.5", "--leave", "0.3"],
    );
    within(first(&found, "ship", "enter"), 10, 10, "the ship enters");
    let frog = first(&found, "frog", "enter");
    assert!((60..=70).contains(&frog), "the frog enters at {frog}");
    // The gate passes over what stands still, and changes no event of cuts.
    let (gated, err) = events(
        &path,
        "yuv420",
        &["--smoothing", "0", "--min-duration", "0", "--enter", "0.5", "--leave", "0.3"],
    );
    for (label, enter) in [("ship", 0), ("frog", 50), ("horse", 100)] {
        within(first(&gated, label, "enter"), enter, enter, label);
    }
    let scored: u64 = err.split(": ").find_map(|part| part.split_once(" scored")).unwrap().0.parse().unwrap();
    assert!(scored <= 15, "{scored} of 150 frames were scored");
}

#[test]
fn fades_and_pans_change_what_is_there_on_their_way() {
    if !has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // From second 2 to second 3.
    let path =
        video(folder.path(), &["ship", "frog"], 4, "[p0][p1]xfade=transition=fade:duration=1:offset=2[out]");
    let (found, err) = events(&path, "yuv420", PLAIN);
    within(first(&found, "ship", "enter"), 0, 0, "the ship enters");
    within(first(&found, "ship", "leave"), 50, 75, "the ship leaves");
    within(first(&found, "frog", "enter"), 50, 75, "the frog enters");
    assert!(err.contains("150 frames read"), "{err}");
    // One beside the other, and a camera that turns from the one to the other from second 1 to second 3.
    let pan = "[p0][p1]hstack[both];[both]crop=256:256:'clip((t-1)/2,0,1)*256':0[out]";
    let path = video(folder.path(), &["ship", "horse"], 4, pan);
    let (found, _) = events(&path, "nv12", PLAIN);
    within(first(&found, "ship", "enter"), 0, 0, "the ship enters");
    within(first(&found, "ship", "leave"), 25, 75, "the ship leaves");
    within(first(&found, "horse", "enter"), 25, 76, "the horse enters");
    // At the end it is the horse that is there.
    let last: Vec<_> = found.iter().filter(|event| event.2 == 99 && event.1 == "leave").collect();
    assert_eq!(last.len(), 1, "{found:?}");
    assert_eq!(last[0].0, "horse");
}

/// A camera that is slower than its video says nothing of it: ffmpeg gives frames at the pace of the video (`-re`), and
/// the time of an event is that of the clock.
#[test]
fn a_live_video_is_followed_in_its_time() {
    if !has("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = video(folder.path(), &["ship", "frog"], 2, "[p0][p1]concat=n=2:v=1:a=0[out]");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-re", "-i"]).arg(&path);
    let mut ffmpeg =
        ffmpeg.args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]).stdout(Stdio::piped()).spawn().unwrap();
    let rules = ["--smoothing", "0.1", "--min-duration", "0.1", "--enter", "0.5", "--leave", "0.3"];
    let mut watch = command(&[&["-", "--format", "yuv420", "--size", SIDE], &rules]);
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let output = watch.stdin(ffmpeg.stdout.take().unwrap()).output().unwrap();
    assert!(ffmpeg.wait().unwrap().success() && output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let time_of = |label: &str| {
        let line =
            lines.lines().find(|line| line.contains(&format!("\"{label}\",\"state\":\"enter\""))).unwrap();
        serde_json::from_str::<serde_json::Value>(line).unwrap()["time"].as_f64().unwrap()
    };
    let (ship, frog) = (time_of("ship"), time_of("frog"));
    assert!(ship > start && ship < start + 30.0);
    // Two seconds apart, on a machine that may be busy.
    assert!((1.0..6.0).contains(&(frog - ship)), "{} s", frog - ship);
}

#[test]
fn gstreamer_writes_frames_to_a_pipe() {
    if !has("gst-launch-1.0") {
        return;
    }
    let mut source = Command::new("gst-launch-1.0");
    source.args(["-q", "videotestsrc", "num-buffers=40", "!"]);
    source.args(["video/x-raw,format=I420,width=64,height=48,framerate=25/1", "!", "fdsink", "fd=1"]);
    let mut source = source.stdout(Stdio::piped()).spawn().unwrap();
    let mut watch = command(&[&["-", "--format", "yuv420", "--size", "64x48"], RECORDED, PLAIN]);
    let output = watch.stdin(source.stdout.take().unwrap()).output().unwrap();
    assert!(source.wait().unwrap().success());
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        err.contains("40 frames read") && err.contains("40 scored") && err.contains("0 damaged"),
        "{err}"
    );
}
