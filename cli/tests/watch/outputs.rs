//! What an event does, and what becomes of the others when one of these fails.

use crate::{PLAIN, RECORDED, SIZE, command, run, scenes};
use std::fs;
use std::io::pipe;
use std::path::Path;
use std::time::{Duration, Instant};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Ship and horse by turns, so many times.
fn turns(times: usize) -> Vec<u8> {
    scenes(&[("ship", 5), ("horse", 5)]).repeat(times)
}

#[test]
fn snapshots_show_the_frame_of_the_event_and_stay_few() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("new/pictures");
    let snapshot = ["--snapshot", pictures.to_str().unwrap(), "--snapshot-count", "6"];
    let done = run(&mut command(&[&["-"], SIZE, PLAIN, RECORDED, &snapshot]), &turns(4)).ok();
    let found = names(&pictures);
    assert_eq!(found.len(), 6, "{found:?}");
    // What the last events named is there, and each shows what the event says.
    for line in done.out.lines().rev().take(6) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = Path::new(event["snapshot"].as_str().unwrap());
        assert!(path.exists(), "{line}");
        if event["state"] == "enter" {
            let again = fs::read(path).unwrap();
            let seen = run(&mut command(&[&["-", "--format", "mjpeg"], PLAIN, RECORDED]), &again).ok();
            assert!(seen.events().iter().any(|(label, ..)| event["label"] == *label), "{line}: {}", seen.out);
        }
    }
}

#[test]
fn a_full_disk_stops_snapshots_and_recordings_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, record) = (folder.path().join("pictures"), folder.path().join("scores"));
    let more = ["--snapshot", pictures.to_str().unwrap(), "--record", record.to_str().unwrap()];
    let failing = command(&[&["-"], SIZE, PLAIN, RECORDED, &more]);
    // A limit of 0 bytes on files acts as a full disk, once the signal that comes with it is ignored.
    let full_disk = "trap '' XFSZ; ulimit -f 0";
    let full = run(&mut ocelli_tests::under_shell(full_disk, &failing), &turns(2));
    // The recording's first line is written at the start: that is an error before anything else.
    assert_eq!(full.code, Some(1), "{}", full.err);
    full.says(&["scores", "cannot write the recording"]);
    let failing = command(&[&["-"], SIZE, PLAIN, RECORDED, &more[..2]]);
    let full = run(&mut ocelli_tests::under_shell(full_disk, &failing), &turns(2)).ok();
    assert_eq!(full.events().len(), 8, "{}", full.out);
    assert!(!full.out.contains("snapshot"), "{}", full.out);
    full.says(&["pictures", "cannot write", "8 events"]);
    assert_eq!(names(&pictures), [""; 0]);
}

#[test]
fn the_program_gets_the_event_as_it_is_and_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let script = folder.path().join("tell.sh");
    fs::write(&script, "echo \"$2 $1 [$3] $NOTIFY_SOCKET\" >> \"$0.log\"; echo noise").unwrap();
    let exec = format!("sh '{}' {{label}} {{state}}:{{frame}} {{json}}", script.display());
    let done = run(&mut command(&[&["-"], SIZE, PLAIN, RECORDED, &["--exec", &exec]]), &turns(1)).ok();
    let log = fs::read_to_string(log.with_file_name("tell.sh.log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let events: Vec<&str> = done.out.lines().collect();
    assert_eq!((lines.len(), events.len()), (4, 4), "{log}\n{}", done.out);
    for (line, json) in lines.iter().zip(&events) {
        let (label, state, frame) = crate::event(json);
        assert_eq!(*line, format!("{state}:{frame} {label} [{json}] "));
    }
    // What it prints is not among the events.
    done.says(&["noise"]);
}

#[test]
fn a_program_that_hangs_or_is_not_there_holds_nothing_up() {
    let start = Instant::now();
    let exec = ["--exec", "sleep 600", "--exec-timeout", "1"];
    let done = run(&mut command(&[&["-"], SIZE, PLAIN, RECORDED, &exec]), &turns(20)).ok();
    assert_eq!(done.events().len(), 80);
    // Ten seconds on a slow machine; with the program it would be ten minutes.
    assert!(start.elapsed() < Duration::from_secs(300), "{:?}", start.elapsed());
    done.says(&["sleep took too long and was stopped", "an event is left out"]);
    let done = run(&mut command(&[&["-"], SIZE, PLAIN, RECORDED, &["--exec", "/no/such x"]]), &turns(1)).ok();
    done.says(&["cannot run /no/such"]);
}

#[test]
fn a_closed_stdout_ends_it_and_a_full_one_is_an_error() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut child = command(&[&["-"], SIZE, PLAIN, RECORDED]);
    let mut child = child.stdin(std::process::Stdio::piped()).stdout(writer).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::spawn(move || _ = std::io::Write::write_all(&mut stdin, &turns(1)));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = command(&[&["-"], SIZE, PLAIN, RECORDED]);
    let mut child = child.stdin(std::process::Stdio::piped()).stdout(full).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::spawn(move || _ = std::io::Write::write_all(&mut stdin, &turns(1)));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
