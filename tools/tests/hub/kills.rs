//! `kill -9` in the middle.

use crate::command::command;
use crate::server::sha256;
use crate::{NAME, Setup};
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// Kills a pull at many moments; each goes on where the one before was, and the last gives the right files.
#[test]
fn a_pull_that_is_killed_is_resumed() {
    // `OCELLI_KILLS` asks for more. Under an emulator a process takes long to begin.
    let default = if cfg!(target_arch = "x86_64") { 8 } else { 2 };
    let kills = std::env::var("OCELLI_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(default);
    let setup = Setup::new();
    let (size, tag) = (setup.weights().len() as u64, sha256(setup.weights()));
    let part = setup.blob(&format!("{tag}.incomplete"));
    let len = || fs::metadata(&part).map_or(0, |metadata| metadata.len());
    // All kills together must not see the end.
    let step = size / (kills + 1);
    setup.hub.limit(Some(size as usize / 8));
    let (mut seed, mut resumed) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    for kill in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = seed >> 33;
        let before = len();
        let mut child =
            command(&setup, &["pull", NAME]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Every fourth at any moment since its beginning, the others at any byte of the weights.
        if kill % 4 == 0 {
            thread::sleep(Duration::from_millis(random % 300));
        } else {
            let goal = before + 1 + random % step;
            while len() < goal && child.try_wait().unwrap().is_none() && !setup.blob(&tag).exists() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Never a name for something that is not whole.
        for entry in fs::read_dir(setup.cache().join("blobs")).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_whole = setup.repository.files.values().any(|bytes| fs::read(&path).unwrap() == *bytes);
            assert!(name.ends_with(".incomplete") || is_whole, "{name}");
        }
        assert!(len() >= before || setup.blob(&tag).exists(), "{} bytes left of {before}", len());
        resumed += u64::from(before > 0 && len() > before);
    }
    println!("{kills} kills, {resumed} of them after a part was resumed; {} of {size} bytes left", len());
    assert!(resumed >= kills / 4, "too few kills met a resumed download");
    setup.hub.limit(None);
    let output = command(&setup, &["pull", NAME]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && message.contains("resumed    org/clip/model.safetensors"),
        "{message}"
    );
    assert_eq!(sha256(&fs::read(setup.blob(&tag)).unwrap()), tag);
    assert!(!part.exists());
    setup.assert_whole(&setup.pull().unwrap());
}
