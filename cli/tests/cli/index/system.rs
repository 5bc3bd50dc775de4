//! What an index has to do with the rest of the machine: its temperature, the desktop.

use super::{World, events};
use crate::{command, run};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Has `sysfs` tell this temperature.
fn heat(sysfs: &Path, millidegrees: u32) {
    let zone = sysfs.join("class/thermal/thermal_zone0");
    fs::create_dir_all(&zone).unwrap();
    fs::write(zone.join("type"), "cpu-thermal\n").unwrap();
    // At once: it is read meanwhile.
    fs::write(zone.join("new"), format!("{millidegrees}\n")).unwrap();
    fs::rename(zone.join("new"), zone.join("temp")).unwrap();
}

#[test]
fn a_hot_board_pauses_until_it_is_three_degrees_cooler() {
    let world = World::new(&["cat", "ship"]);
    let sysfs = world.0.path().join("sysfs");
    let indexing = |most: &str| {
        let mut index = world.with("index");
        index.args(["--json", "--priority", "normal", "--max-temp", most]).arg(world.photos());
        index.env("OCELLI_SYSFS", &sysfs);
        index
    };
    heat(&sysfs, 80_500);
    let mut paused = indexing("60").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(paused.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let event = lines.find(|line| line["event"] == "paused");
    assert_eq!(event, Some(json!({"event": "paused", "celsius": 80.5})));
    // Cooler, but not by enough.
    heat(&sysfs, 58_000);
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(paused.try_wait().unwrap(), None);
    heat(&sysfs, 57_000);
    let done = lines.find(|line| line["event"] == "done").unwrap();
    assert_eq!(done["indexed"], json!(2));
    let output = paused.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("paused: 80.5 degrees, and 60 are allowed"), "{told}");

    let cool = run(indexing("58").arg("--retry")).ok();
    assert_eq!(events(&cool, "paused"), [] as [Value; 0]);
    fs::remove_dir_all(sysfs.join("class")).unwrap();
    world.put("frog.jpg", &fs::read(crate::example("frog")).unwrap());
    let blind = run(&mut indexing("60")).ok();
    assert!(blind.err.contains("--max-temp has no effect"), "{}", blind.err);
    assert_eq!(events(&blind, "indexed").len(), 1);
}

#[test]
fn what_is_found_is_opened_in_the_desktops_program() {
    let world = World::indexed(&["cat", "ship", "frog"]);
    let (programs, opened) = (world.0.path().join("bin"), world.0.path().join("opened"));
    fs::create_dir(&programs).unwrap();
    let search = |path: &str| {
        let mut search = world.with("search");
        search.args(["a photo of a ship", "-k", "2", "--open"]).env("PATH", path).env("OPENED", &opened);
        run(&mut search)
    };
    let usual = std::env::var("PATH").unwrap();
    let path = format!("{}:{usual}", programs.display());
    let opener = programs.join("xdg-open");
    fs::write(&opener, "#!/bin/sh\necho \"$#:$1\" >>\"$OPENED\"\n").unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    let found = search(&path).ok();
    let names: Vec<_> = found.out.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    assert_eq!((names.len(), names[0]), (2, world.path("ship.jpg").as_str()));
    // The programs go on by themselves.
    let mut expected: Vec<_> = names.iter().map(|name| format!("1:{name}")).collect();
    expected.sort();
    for _ in 0..100 {
        let told = fs::read_to_string(&opened).unwrap_or_default();
        let mut told: Vec<_> = told.lines().collect();
        told.sort_unstable();
        if told == expected {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut told: Vec<_> = fs::read_to_string(&opened).unwrap().lines().map(str::to_owned).collect();
    told.sort();
    assert_eq!(told, expected);
    // An emulator is itself looked for in PATH.
    if command().get_program() == env!("CARGO_BIN_EXE_ocelli") {
        fs::remove_file(&opener).unwrap();
        let none = search(programs.to_str().unwrap());
        assert_eq!(none.code, Some(1));
        none.says(&["xdg-open: cannot start the desktop's opener"]);
    }
}
