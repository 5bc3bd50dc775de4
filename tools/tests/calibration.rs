//! `ocelli-pack convert --precision auto`: what it promises, and what becomes of the output when something goes wrong.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(name)
}

/// The command as words; under an emulator, with the emulator.
fn words() -> Vec<String> {
    let arch = std::env::consts::ARCH.to_uppercase();
    let runner = std::env::var(format!("CARGO_TARGET_{arch}_UNKNOWN_LINUX_GNU_RUNNER")).unwrap_or_default();
    runner.split_whitespace().chain([env!("CARGO_BIN_EXE_ocelli-pack")]).map(str::to_owned).collect()
}

/// A folder with an older output in it, and an empty folder for pictures.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.ocelli"), "old").unwrap();
        fs::create_dir(folder.path().join("pictures")).unwrap();
        Place { folder }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("model.ocelli")
    }

    fn pictures(&self) -> PathBuf {
        self.folder.path().join("pictures")
    }

    /// Copies a few photographs into the folder.
    fn with_pictures(self) -> Place {
        for i in 0..6 {
            let name = format!("000{i}.jpg");
            fs::copy(fixture("cifar10/cat").join(&name), self.pictures().join(&name)).unwrap();
        }
        self
    }

    fn command(&self, limits: &str, args: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limits}; exec \"$@\""), "sh"]).args(words());
        shell.arg("convert").arg(fixture("clip-hf")).arg("-o").arg(self.output());
        shell.args(["--precision", "auto"]).args(args);
        shell
    }

    fn convert(&self, args: &[&str]) -> Output {
        self.command("true", args).output().unwrap()
    }

    fn calibrate(&self, args: &[&str]) -> Output {
        let pictures = self.pictures();
        self.convert(&[&["--calibrate", pictures.to_str().unwrap()], args].concat())
    }

    /// The older output is still there, and nothing else was left beside it.
    fn assert_untouched(&self, output: &Output, message: &[&str]) {
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(message.iter().all(|part| error.contains(part)), "{error}");
        assert_eq!(output.stdout, b"", "{error}");
        self.assert_old();
    }

    fn assert_old(&self) {
        assert_eq!(fs::read(self.output()).unwrap(), b"old");
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        // Killed in the very moment of writing, it may leave its half of the new file under a name of its own.
        let mut names: Vec<_> =
            names.filter(|name| !name.to_string_lossy().starts_with(".ocelli-")).collect();
        names.sort();
        assert_eq!(names, ["model.ocelli", "pictures"]);
    }
}

fn stdout(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn the_promise_is_in_the_file_and_inspect_shows_it() {
    let place = Place::new().with_pictures();
    let report: Value = serde_json::from_str(stdout(&place.calibrate(&["--json"]))).unwrap();
    let promise = &report["promise"];
    assert!(promise["image_cosine"]["mean"].as_f64().unwrap() >= 0.995, "{promise}");
    assert!(promise["text_cosine"]["min"].as_f64().unwrap() >= 0.99, "{promise}");
    assert_eq!((&promise["holds"], &promise["labels"]), (&true.into(), &48.into()));
    assert_eq!(promise["calibration"]["hash"].as_str().unwrap().len(), 32);
    // 1e-6, unless some activation is rounded to another code: then int8's own noise, about √(2 · 2e-4).
    assert!(promise["kernel_error"].as_f64().unwrap() < 0.03, "{promise}");

    let words = words();
    let inspect = |args: &[&str]| {
        let output =
            Command::new(&words[0]).args(&words[1..]).arg("inspect").arg(place.output()).args(args).output();
        stdout(&output.unwrap()).to_owned()
    };
    let inspected: Value = serde_json::from_str(&inspect(&["--json"])).unwrap();
    assert_eq!(&inspected["promise"], promise);
    let text = inspect(&[]);
    for part in ["image cosine", "top-1 agreement", "plain int8", " dB\n"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A model whose pictures keep their aspect ratio, and a classifier.
#[test]
fn every_kind_of_image_tower_is_calibrated() {
    for (name, labels) in [("siglip2-naflex", 48), ("vit-hf", 10)] {
        let place = Place::new().with_pictures();
        for photo in ["astronaut.jpg", "coffee.jpg"] {
            let photos = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"));
            fs::copy(photos.join(photo), place.pictures().join(photo)).unwrap();
        }
        let words = words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("convert").arg(fixture(name)).arg("-o").arg(place.output());
        command.args(["--precision", "auto", "--json", "--calibrate"]).arg(place.pictures());
        let report: Value = serde_json::from_str(stdout(&command.output().unwrap())).unwrap();
        let promise = &report["promise"];
        assert_eq!((&promise["holds"], &promise["labels"]), (&true.into(), &labels.into()), "{name}");
        assert!(promise["top1_agreement"].as_f64().unwrap() >= 0.5, "{name}: {promise}");
        let seen = promise["layers"].as_array().unwrap().iter().filter(|layer| layer["snr_db"].is_f64());
        assert!(seen.count() >= 8, "{name}: {promise}");
    }
}

#[test]
fn the_same_pictures_give_the_same_bytes() {
    let place = Place::new().with_pictures();
    stdout(&place.calibrate(&[]));
    let first = fs::read(place.output()).unwrap();
    stdout(&place.calibrate(&[]));
    assert!(first == fs::read(place.output()).unwrap());
}

#[test]
fn other_precisions_are_measured_but_not_changed() {
    let place = Place::new().with_pictures();
    let pictures = place.pictures();
    let words = words();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg("convert").arg(fixture("clip-hf")).arg("-o").arg(place.output());
    command.args(["--precision", "int8", "--json", "--calibrate"]).arg(&pictures);
    let report: Value = serde_json::from_str(stdout(&command.output().unwrap())).unwrap();
    assert_eq!(report["promise"]["steps"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&report["promise"]["target_cosine"], &report["promise"]["holds"]),
        (&Value::Null, &true.into())
    );
    assert_eq!(report["precision"], "int8");
}

#[test]
fn a_missed_target_writes_nothing_unless_that_is_allowed() {
    let place = Place::new().with_pictures();
    let strict = ["--target-cosine", "1", "--repair", "clip"];
    place.assert_untouched(
        &place.calibrate(&strict),
        &["model.ocelli", "below the target", "--allow-below-target"],
    );
    let output = place.calibrate(&[&strict[..], &["--allow-below-target"]].concat());
    assert!(stdout(&output).contains("is NOT reached"), "{}", stdout(&output));
    assert!(fs::metadata(place.output()).unwrap().len() > 100_000);
}

#[test]
fn without_pictures_some_are_made_up_and_it_says_so() {
    let place = Place::new();
    let output = place.convert(&[]);
    assert!(stdout(&output).contains("made-up pictures"), "{}", stdout(&output));
}

#[test]
fn bad_folders_and_pictures_are_named() {
    let place = Place::new();
    place.assert_untouched(&place.calibrate(&[]), &["pictures", "has no pictures in it"]);
    fs::write(place.pictures().join("notes.txt"), "no picture").unwrap();
    place.assert_untouched(&place.calibrate(&[]), &["has no pictures in it", "jpg"]);
    place
        .assert_untouched(&place.convert(&["--calibrate", "/nonexistent"]), &["/nonexistent", "cannot read"]);

    let place = Place::new().with_pictures();
    let photo = fs::read(fixture("cifar10/cat/0000.jpg")).unwrap();
    fs::write(place.pictures().join("0003.jpg"), &photo[..photo.len() / 3]).unwrap();
    place.assert_untouched(&place.calibrate(&[]), &["0003.jpg", "take it out of the set"]);
    fs::write(place.pictures().join("0003.jpg"), "").unwrap();
    place.assert_untouched(&place.calibrate(&[]), &["0003.jpg"]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let place = Place::new();
    for args in [
        &["--target-cosine", "1.5"][..],
        &["--target-cosine", "x"],
        &["--repair", "magic"],
        &["--calibration-images", "0"],
    ] {
        assert_eq!(place.convert(args).status.code(), Some(2), "{args:?}");
    }
    place.assert_old();
}

/// A file may grow to 100 or 200 KiB; the drafts have more.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    use std::os::unix::process::ExitStatusExt;

    let place = Place::new().with_pictures();
    let pictures = place.pictures();
    let args = ["--calibrate", pictures.to_str().unwrap()];
    // With the signal ignored, writing fails as it does on a full disk.
    let output = place.command("trap '' XFSZ; ulimit -f 200", &args).output().unwrap();
    place.assert_untouched(&output, &["model.ocelli", "cannot write"]);
    // Without a handler it kills the process in the middle of the first draft.
    let output = place.command("ulimit -c 0; ulimit -f 200", &args).output().unwrap();
    assert!(output.status.signal().is_some(), "{output:?}");
    place.assert_old();
}

/// Killed at every stage of its work, a conversion leaves what was there.
#[cfg(unix)]
#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "timed for a real machine")]
fn a_killed_calibration_leaves_the_old_file_and_nothing_else() {
    let place = Place::new().with_pictures();
    let pictures = place.pictures();
    let args = ["--calibrate", pictures.to_str().unwrap()];
    let start = Instant::now();
    let mut child = place.command("true", &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // How long it takes: killing then spreads over its course.
    assert!(child.wait().unwrap().success());
    let whole = start.elapsed();
    fs::write(place.output(), "old").unwrap();
    let mut killed = 0;
    for part in 1..8 {
        let mut child =
            place.command("true", &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep((whole * part / 10).max(Duration::from_millis(10)));
        child.kill().unwrap();
        if !child.wait().unwrap().success() {
            killed += 1;
            place.assert_old();
        }
        fs::write(place.output(), "old").unwrap();
    }
    assert!(killed >= 3, "{killed} of 7 were killed in time");
}
