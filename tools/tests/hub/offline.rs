//! The cache alone.

use crate::server::{Fault, sha256};
use crate::{NAME, Setup};
use ocelli_tools::hub::Arrival;
use std::fs;

/// A pulled cache whose hub is gone.
fn offline() -> Setup {
    let mut setup = Setup::new();
    setup.pull().unwrap();
    setup.settings.offline = true;
    // Nobody listens there.
    setup.settings.endpoint = "http://127.0.0.1:9".into();
    setup
}

#[test]
fn what_was_pulled_is_found() {
    let setup = offline();
    let commit = setup.repository.commit();
    for name in [NAME.to_owned(), format!("{NAME}@{commit}")] {
        let pulled = setup.pull_as(&name).unwrap();
        setup.assert_whole(&pulled);
        assert_eq!(pulled.files.len(), 5);
        assert!(pulled.files.iter().all(|file| file.from == Arrival::Cached));
        assert_eq!(pulled.source.commit, commit);
    }
}

#[test]
fn what_was_not_is_named() {
    let setup = offline();
    let message = |name: &str| setup.pull_as(name).unwrap_err().to_string();
    for name in ["org/other", "org/clip@v1", "org/clip@0000000000000000000000000000000000000000"] {
        let message = message(name);
        assert!(message.contains("not in the cache") && message.contains("HF_HUB_OFFLINE"), "{message}");
    }
    let blob = setup.blob(&sha256(setup.weights()));
    let bytes = fs::read(&blob).unwrap();
    fs::write(&blob, &bytes[1..]).unwrap();
    let found = message(NAME);
    assert!(found.contains("model.safetensors is not in the cache"), "{found}");
    fs::remove_file(&blob).unwrap();
    let found = message(NAME);
    assert!(found.contains("known here"), "{found}");
    fs::write(setup.cache().join("refs/main"), "../../..").unwrap();
    assert!(message(NAME).contains("refs/main"));
}

#[test]
fn a_hub_that_is_gone_is_named() {
    let mut setup = offline();
    setup.settings.offline = false;
    let message = setup.failure();
    assert!(
        message.contains("http://127.0.0.1:9/api/models/org/clip") && message.contains("tried 6 times"),
        "{message}"
    );
    setup.settings.endpoint = "http://no-such-host.invalid".into();
    let message = setup.failure();
    assert!(message.contains("no such host") && message.contains("HF_HUB_OFFLINE"), "{message}");
    for endpoint in ["hub", "file:///x", "http://", "ftp://x", "http://a b"] {
        setup.settings.endpoint = endpoint.into();
        let message = setup.failure();
        assert!(message.contains("HF_ENDPOINT"), "{endpoint}: {message}");
    }
}

#[test]
fn a_new_commit_replaces_the_old_one_when_it_is_whole() {
    let mut setup = Setup::new();
    let old = setup.pull().unwrap();
    setup.repository = setup.repository.clone().with("README.md", "changed");
    setup.hub.add(NAME, setup.repository.clone());
    let absent = Fault::Status(404, "X-Error-Code: EntryNotFound");
    setup.hub.fault("HEAD", "model.safetensors", usize::MAX, absent);
    assert!(setup.failure().contains("no such file"));
    let seen = || fs::read_to_string(setup.cache().join("refs/main")).unwrap();
    assert_eq!(seen(), old.source.commit);
    setup.hub.no_more_faults();
    setup.hub.requests();
    let new = setup.pull().unwrap();
    assert_eq!(seen(), new.source.commit);
    assert_ne!(new.source.commit, old.source.commit);
    // The same contents are not downloaded again.
    assert!(new.files.iter().all(|file| file.from == Arrival::Cached));
    assert!(!setup.hub.requests().iter().any(|request| request.cdn));
    assert!(old.checkpoint.exists());
}
