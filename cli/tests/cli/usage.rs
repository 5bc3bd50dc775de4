//! Options, knobs, streams that close and disks that are full.

use super::{EXAMPLES, command, example, ocelli, run};
use ocelli_kernels::{Feature, Isa};
use std::fs;
use std::io::pipe;

#[test]
fn wrong_usage_exits_with_2() {
    let photo = example("cat").to_str().unwrap().to_owned();
    let photo = photo.as_str();
    for args in [
        &[][..],
        &["frobnicate"],
        &["classify"],
        &["classify", photo, "--frobnicate"],
        &["classify", photo, "--top-k", "0"],
        &["classify", photo, "--threads", "0"],
        &["classify", photo, "--threads", "33"],
        &["classify", photo, "--resize", "lanczos"],
        &["classify", photo, "--labels", "a", "--bank", "b"],
        &["embed"],
        &["labels", "--labels", "a", "--labels-file", "b"],
        &["profile", "--iters", "0"],
        &["profile", "--batch", "0"],
        &["profile", "--threads", "many"],
        &["labels", "--threads", "-1"],
        &["info", "--threads", "33"],
        &["embed", photo, "--threads", "99999999999"],
        &["classify", photo, "-0"],
        &["completions"],
        &["man"],
    ] {
        let result = run(command().args(args));
        assert_eq!((result.code, result.out.as_str()), (Some(2), ""), "{args:?}: {}", result.err);
        result.says(&["--help"]);
    }
}

#[test]
fn help_tells_everything() {
    let knobs = |help: &str| {
        for knob in ocelli::knobs::ALL {
            assert!(help.contains(&format!("\n  {}\n", knob.name)), "{}: {help}", knob.name);
            let last = knob.meaning.rsplit(' ').next().unwrap();
            assert!(help.contains(&format!(" {last}\n")), "{last}: {help}");
        }
    };
    let result = run(&mut ocelli!["--help"]).ok();
    knobs(&result.out);
    for (command, option) in [
        ("classify", "--bank"),
        ("embed", "--raw"),
        ("embed", "--files-from"),
        ("labels", "--output"),
        ("info", "--json"),
        ("profile", "--embeddings-out"),
    ] {
        assert!(result.out.contains(&format!("  {command} ")), "{command}: {}", result.out);
        let help = run(&mut ocelli![command, "--help"]).ok();
        assert!(help.out.contains(option) && help.out.contains("--model"), "{command}: {}", help.out);
        knobs(&help.out);
    }
    assert_eq!(run(&mut ocelli!["--version"]).ok().out, concat!("ocelli ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn unusable_knobs_are_named() {
    let mut knobs = vec![
        ("OCELLI_ISA", "bogus", "known are scalar, avx2"),
        ("OCELLI_THREADS", "0", "1 to 32"),
        ("OCELLI_THREADS", "33", "1 to 32"),
        ("OCELLI_THREADS", "many", "1 to 32"),
        ("OCELLI_VERIFY", "yes", "0 or 1"),
        ("OCELLI_CORE", "cortex-a53", "cortex-a55 or any"),
    ];
    let lacking = Feature::ALL.into_iter().find(|&feature| !Isa::available().has(feature));
    knobs.extend(lacking.map(|feature| ("OCELLI_ISA", feature.name(), "this CPU has no ")));
    for (name, value, problem) in knobs {
        let said = format!("{name}={value}");
        run(ocelli!["classify", example("cat")].env(name, value)).fails(&[&said, problem]);
    }
}

/// As in `ocelli … | head -1`: whoever read the output has seen enough.
#[test]
fn closed_streams_are_no_panic() {
    for args in [&["classify", "--json"][..], &["classify"], &["embed", "--image"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let result = run(command().args(args).args(EXAMPLES.map(example)).stdout(writer));
        assert_eq!((result.code, result.err.as_str()), (Some(0), ""), "{args:?}");
    }
    for args in [&["info", "--json"][..], &["info"], &["labels"], &["profile", "--iters", "1"]] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let result = run(command().args(args).stdout(writer));
        assert_eq!((result.code, result.err.as_str()), (Some(0), ""), "{args:?}");
    }
    // Messages that nobody can read change nothing about the results.
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let result = run(ocelli!["classify", "missing.jpg", example("cat")].stderr(writer));
    assert_eq!((result.code, result.out.lines().count()), (Some(1), 6));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_stdout_is_an_error() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in [&["labels"][..], &["info", "--json"]] {
        let result = run(command().args(args).stdout(full()));
        assert_eq!(result.code, Some(1));
        result.says(&["cannot write to stdout"]);
    }
}

/// A limit of 0 bytes on files acts as a full disk, once the signal that comes with it is ignored.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old file");
    fs::write(&path, "old").unwrap();
    for failing in
        [ocelli!["labels", "-o", path], ocelli!["profile", "--iters", "1", "--embeddings-out", path]]
    {
        run(&mut super::under_shell("trap '' XFSZ; ulimit -f 0", &failing))
            .fails(&["old file", "cannot write"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        run(&mut super::under_shell("true", &failing)).ok();
        assert!(fs::metadata(&path).unwrap().len() > 100);
        fs::write(&path, "old").unwrap();
    }
}
