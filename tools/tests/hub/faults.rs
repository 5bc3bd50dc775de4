//! What fails in passing, and what is damaged.

use crate::server::{Fault, sha256};
use crate::{NAME, Setup};
use ocelli_tools::hub::Arrival;
use std::fs::{self, File};
use std::time::{Duration, Instant};

const WEIGHTS: &str = "model.safetensors";

#[test]
fn broken_connections_are_resumed() {
    let setup = Setup::new();
    let step = setup.weights().len() / 10;
    // Ten breaks: more than are forgiven in one place.
    setup.hub.fault("GET", &format!("/cdn/{NAME}/{WEIGHTS}"), 9, Fault::Break(step));
    setup.assert_whole(&setup.pull().unwrap());
    let asked = setup.hub.requests().into_iter().filter(|request| request.cdn);
    let ranges: Vec<Option<String>> =
        asked.map(|request| request.header("range").map(str::to_owned)).collect();
    let expected = (0..=9).map(|i| (i > 0).then(|| format!("bytes={}-", i * step)));
    assert_eq!(ranges, expected.collect::<Vec<_>>());
}

#[test]
fn what_an_earlier_run_left_is_resumed() {
    let setup = Setup::new();
    let tag = sha256(setup.weights());
    fs::create_dir_all(setup.cache().join("blobs")).unwrap();
    let left = setup.blob(&format!("{tag}.incomplete"));
    let half = setup.weights().len() / 2;
    fs::write(&left, &setup.weights()[..half]).unwrap();
    let pulled = setup.pull().unwrap();
    setup.assert_whole(&pulled);
    assert_eq!(pulled.files.last().unwrap().from, Arrival::Resumed);
    let range = setup.hub.requests().iter().find_map(|request| request.header("range").map(str::to_owned));
    assert_eq!(range, Some(format!("bytes={half}-")));

    // Whole but without its name, too long, or damaged.
    for bytes in [setup.weights().to_vec(), [setup.weights(), b"x"].concat(), vec![7; half]] {
        fs::remove_file(setup.blob(&tag)).unwrap();
        fs::write(&left, bytes).unwrap();
        setup.assert_whole(&setup.pull().unwrap());
        assert!(!left.exists());
    }
}

#[test]
fn servers_without_ranges_begin_again() {
    let setup = Setup::new();
    setup.hub.fault("GET", "/cdn/", 2, Fault::Break(1000));
    setup.hub.fault("GET", "/cdn/", usize::MAX, Fault::NoRanges);
    setup.assert_whole(&setup.pull().unwrap());
}

#[test]
fn silent_servers_are_left_after_the_timeout() {
    let mut setup = Setup::new();
    setup.settings.timeout = Duration::from_secs(3);
    setup.hub.fault("GET", "/cdn/", 1, Fault::Stall(1000, Duration::from_secs(600)));
    let start = Instant::now();
    setup.assert_whole(&setup.pull().unwrap());
    assert!(start.elapsed() < Duration::from_secs(300), "{:?}", start.elapsed());

    let mut setup = Setup::new();
    setup.settings.timeout = Duration::from_secs(1);
    setup.hub.fault("GET", "/api/", usize::MAX, Fault::Length(1 << 20));
    setup.hub.fault("GET", "/api/", usize::MAX, Fault::Stall(10, Duration::from_secs(600)));
    let message = setup.failure();
    assert!(message.contains("/api/models/org/clip") && message.contains("tried 6 times"), "{message}");
}

#[test]
fn busy_servers_are_asked_again_and_not_for_ever() {
    for (status, headers) in
        [(429, "Retry-After: 0"), (503, ""), (500, ""), (502, "Retry-After: x"), (504, "")]
    {
        for (method, part) in [("GET", "/api/"), ("HEAD", "config.json"), ("GET", "/cdn/")] {
            let setup = Setup::new();
            setup.hub.fault(method, part, 3, Fault::Status(status, headers));
            setup.assert_whole(&setup.pull().unwrap());
        }
    }
    let setup = Setup::new();
    setup.hub.fault("GET", "/cdn/", usize::MAX, Fault::Status(503, "Retry-After: 0"));
    let message = setup.failure();
    assert!(
        message.contains("503") && message.contains("tried 6 times") && message.contains("later"),
        "{message}"
    );
    assert_eq!(setup.hub.requests().iter().filter(|request| request.cdn).count(), 6);
    // Nobody waits an hour.
    setup.hub.no_more_faults();
    setup.hub.fault("GET", "/cdn/", usize::MAX, Fault::Status(429, "Retry-After: 3600"));
    let message = setup.failure();
    assert!(message.contains("429") && message.contains("3600 s"), "{message}");
}

/// A signed address of the server of large files is valid for some time only.
#[test]
fn an_expired_address_is_asked_for_anew() {
    let setup = Setup::new();
    setup.hub.fault("GET", "/cdn/", 2, Fault::Status(403, ""));
    setup.assert_whole(&setup.pull().unwrap());
}

#[test]
fn wrong_contents_are_deleted_and_named() {
    for part in ["/cdn/", "resolve-cache"] {
        let setup = Setup::new();
        setup.hub.fault("GET", part, usize::MAX, Fault::Damage);
        let message = setup.failure();
        assert!(message.contains("damaged") && message.contains("hash"), "{message}");
        assert!(!message.contains("Signature"), "{message}");
        let blobs = fs::read_dir(setup.cache().join("blobs")).unwrap().map(|entry| entry.unwrap().path());
        for blob in blobs {
            let name = blob.file_name().unwrap().to_str().unwrap();
            let is_whole = setup.repository.files.values().any(|bytes| fs::read(&blob).unwrap() == *bytes);
            assert!(!name.contains("incomplete") && is_whole, "{name}");
        }
        setup.hub.no_more_faults();
        setup.assert_whole(&setup.pull().unwrap());
    }
}

#[test]
fn damage_in_the_cache_is_found_and_mended() {
    let setup = Setup::new();
    setup.pull().unwrap();
    let blob = setup.blob(&sha256(setup.weights()));
    let mut bytes = setup.weights().to_vec();
    bytes[1000] ^= 4;
    fs::write(&blob, &bytes).unwrap();
    let pulled = setup.pull().unwrap();
    setup.assert_whole(&pulled);
    assert_eq!(pulled.files.last().unwrap().from, Arrival::Downloaded);
    // As what a crash of the system leaves.
    File::create(&blob).unwrap();
    setup.assert_whole(&setup.pull().unwrap());
}

#[test]
fn answers_that_contradict_themselves_are_refused() {
    let cases: [(&str, Fault, &str); 5] = [
        ("/cdn/", Fault::Length(10_000_000_000), "10000000000"),
        ("/cdn/", Fault::Length(17), "17"),
        ("/cdn/", Fault::Longer(1), "more than"),
        ("/cdn/", Fault::Longer(10 << 20), "more than"),
        ("resolve-cache", Fault::Longer(100), "more than"),
    ];
    for (part, fault, expected) in cases {
        let setup = Setup::new();
        setup.hub.fault("GET", part, usize::MAX, fault.clone());
        let message = setup.failure();
        assert!(message.contains(expected), "{fault:?}: {message}");
        assert!(!setup.blob(&sha256(setup.weights())).exists());
    }
    let setup = Setup::new();
    setup.hub.fault("GET", "/cdn/", 1, Fault::Break(1000));
    setup.hub.fault("GET", "/cdn/", usize::MAX, Fault::WrongRange);
    // The first answer is whole; its range is only looked at where one was asked for.
    let message = setup.failure();
    assert!(message.contains("bytes 0-1/2"), "{message}");
}
