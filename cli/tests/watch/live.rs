//! A camera that stops, stalls or floods, a service manager, and labels that change.

use crate::{Live, PLAIN, SIZE, command, example, scenes};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

const FAST: &[&str] =
    &["--smoothing", "0.1", "--min-duration", "0.1", "--gate", "0", "--enter", "0.5", "--leave", "0.3"];

#[test]
fn a_camera_that_stalls_is_told_of_once_and_is_taken_up_again() {
    let mut live = Live::start(&mut command(&[&["-"], SIZE, FAST, &["--stall", "0.3"]]));
    live.write(&scenes(&[("ship", 1)]));
    // One frame is enough: time goes on without others.
    live.expect("ship", "enter");
    live.says("no frame for");
    // In the middle of a frame.
    let horse = scenes(&[("horse", 2)]);
    live.write(&horse[..1000]);
    std::thread::sleep(Duration::from_millis(700));
    live.write(&horse[1000..]);
    live.says("frames come again");
    let mut found = [live.event(), live.event()];
    found.sort();
    assert_eq!(found, [("horse".into(), "enter".into()), ("ship".into(), "leave".into())]);
    let (out, err) = live.stop();
    assert!(out.len() == 1 && out[0].contains("\"reason\":\"end\""), "{out:?}");
    assert!(err.iter().any(|line| line.contains("3 frames read")), "{err:?}");
}

#[test]
fn of_a_flood_the_newest_frame_is_looked_at() {
    let mut live = Live::start(&mut command(&[&["-"], SIZE, FAST, &["--fps", "20"]]));
    let (ship, horse) = (scenes(&[("ship", 1000)]), scenes(&[("horse", 1)]));
    for _ in 0..10 {
        live.write(&ship);
    }
    live.expect("ship", "enter");
    let start = Instant::now();
    live.write(&horse);
    let mut found = [live.event(), live.event()];
    found.sort();
    assert_eq!(found, [("horse".into(), "enter".into()), ("ship".into(), "leave".into())]);
    assert!(start.elapsed() < Duration::from_secs(5), "it is {:?} behind", start.elapsed());
    let (_, err) = live.stop();
    let line = err.iter().find(|line| line.contains("frames read")).unwrap();
    assert!(line.starts_with("10001 frames read"), "{line}");
    let number = |name: &str| {
        let words: Vec<&str> = line.split([' ', ',', ':', ';']).collect();
        let at = words.iter().position(|word| *word == name).unwrap();
        words[at - 1].parse::<u64>().unwrap()
    };
    assert_eq!(number("scored") + number("dropped"), 10_001, "{line}");
    assert!(number("scored") < 2000, "{line}");
}

#[test]
fn the_service_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut watch = command(&[&["-"], SIZE, PLAIN]);
    watch.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "900000");
    let mut live = Live::start(&mut watch);
    let receive = || {
        let mut buffer = [0; 500];
        let len = loop {
            match socket.recv(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                len => break len.unwrap(),
            }
        };
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    };
    let until = |part: &str| while !receive().contains(part) {};
    until("READY=1");
    live.write(&scenes(&[("ship", 2)]));
    live.expect("ship", "enter");
    // Those that were sent until now do not count.
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 500]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    let start = Instant::now();
    (0..4).for_each(|_| until("WATCHDOG=1"));
    // Every 0.3 s, whether frames come or not.
    assert!((0.7..8.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    let (out, err) = live.stop();
    until("STOPPING=1");
    assert!(out[0].contains("\"label\":\"ship\",\"state\":\"leave\""), "{out:?}");
    assert!(err.iter().any(|line| line.contains("2 frames read")), "{err:?}");
}

#[test]
fn labels_are_read_again_and_what_is_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    let labels = folder.path().join("labels.txt");
    fs::write(&labels, "ship\nhorse\nfrog\n").unwrap();
    let file = ["--labels-file", labels.to_str().unwrap()];
    let mut live = Live::start(&mut command(&[&["-"], SIZE, FAST, &file]));
    live.write(&scenes(&[("ship", 1)]));
    live.expect("ship", "enter");
    // A file that cannot be used changes nothing.
    fs::write(&labels, "").unwrap();
    live.signal("HUP");
    live.says("the labels stay as they were");
    fs::write(&labels, "cat\nship\n").unwrap();
    live.signal("HUP");
    live.says("the labels were read again: 2");
    live.write(&scenes(&[("cat", 1)]));
    let mut found = [live.event(), live.event()];
    found.sort();
    assert_eq!(found, [("cat".into(), "enter".into()), ("ship".into(), "leave".into())]);
    fs::write(&labels, "ship\nfrog\n").unwrap();
    live.signal("HUP");
    live.expect("cat", "leave");
    live.stop();
}

#[test]
fn a_folder_that_a_camera_writes_into() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    let put = |photo: &str, name: &str| fs::copy(example(photo), pictures.join(name)).unwrap();
    put("frog", "old.jpg");
    let live = Live::start(&mut command(&[&[pictures.to_str().unwrap()], FAST]));
    live.says("watching");
    std::thread::sleep(Duration::from_millis(300));
    put("ship", "1.jpg");
    live.expect("ship", "enter");
    // What is hidden, no picture, or moved in.
    put("horse", ".hidden.jpg");
    put("horse", "horse.txt");
    let outside = folder.path().join("horse.jpg");
    fs::copy(example("horse"), &outside).unwrap();
    fs::write(pictures.join("2.jpg"), "no picture").unwrap();
    live.says("2.jpg");
    fs::rename(&outside, pictures.join("3.jpg")).unwrap();
    let mut found = [live.event(), live.event()];
    found.sort();
    assert_eq!(found, [("horse".into(), "enter".into()), ("ship".into(), "leave".into())]);
    fs::remove_dir_all(&pictures).unwrap();
    live.says("the folder is gone");
    let mut live = live;
    assert_eq!(live.child.wait().unwrap().code(), Some(1));
    // A recording of pictures: those that are there, by name.
    fs::create_dir(&pictures).unwrap();
    put("ship", "b.jpg");
    put("frog", "a.jpg");
    let args = [pictures.to_str().unwrap(), "--enter", "0.5", "--recorded", "1", "--min-duration", "0"];
    let run = crate::run(&mut command(&[&args]), b"").ok();
    let enters: Vec<(String, u64)> = run
        .events()
        .into_iter()
        .filter(|(_, state, _)| state == "enter")
        .map(|(label, _, frame)| (label, frame))
        .collect();
    assert_eq!(enters, [("frog".to_owned(), 0), ("ship".to_owned(), 1)], "{}", run.err);
}
