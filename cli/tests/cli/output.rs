//! Files of embeddings, and what a package installs.

use super::{EXAMPLES, command, example, ocelli, run};
use std::fs;
use std::path::Path;

/// Shape and values of a NumPy file, format 1.0.
fn read_npy(path: &Path) -> ((usize, usize), Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(start % 64 == 0 && bytes[start - 1] == b'\n');
    let header = std::str::from_utf8(&bytes[10..start]).unwrap().trim_end();
    let shape = header.strip_prefix("{'descr': '<f4', 'fortran_order': False, 'shape': (").unwrap();
    let (rows, dim) = shape.strip_suffix("), }").unwrap().split_once(", ").unwrap();
    let values = bytes[start..].chunks(4).map(|value| f32::from_le_bytes(value.try_into().unwrap()));
    ((rows.parse().unwrap(), dim.parse().unwrap()), values.collect())
}

#[test]
fn embeddings_become_a_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let (npy, jsonl) = (folder.path().join("x.npy"), folder.path().join("x.jsonl"));
    let embed = || {
        let mut command =
            ocelli!["embed", example("cat"), "missing.jpg", example("ship"), "--text", "a frog"];
        command.current_dir(folder.path());
        command
    };
    let printed = run(&mut embed());
    let rows = printed.json();
    let values: Vec<f32> = rows
        .iter()
        .flat_map(|row| row["embedding"].as_array().unwrap())
        .map(|value| value.as_f64().unwrap() as f32)
        .collect();
    assert_eq!((printed.code, rows.len()), (Some(1), 3));
    for path in [&npy, &jsonl] {
        let written = run(embed().arg("-o").arg(path));
        assert_eq!((written.code, written.out.as_str()), (Some(1), ""));
        written.says(&["missing.jpg", path.to_str().unwrap(), "3 embeddings"]);
    }
    assert_eq!(read_npy(&npy), ((3, values.len() / 3), values));
    assert_eq!(fs::read_to_string(&jsonl).unwrap(), printed.out);

    // Nothing to write leaves the file as it was.
    for path in [&npy, &jsonl] {
        fs::write(path, "old").unwrap();
        run(ocelli!["embed", "missing.jpg", "-o"].arg(path)).fails(&["missing.jpg", "no embedding to write"]);
        assert_eq!(fs::read(path).unwrap(), b"old");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    let missing = folder.path().join("missing/x.npy");
    run(&mut ocelli!["embed", example("cat"), "-o", missing]).fails(&["missing/x.npy"]);
    let photo = example("cat").to_str().unwrap().to_owned();
    let npy = npy.to_str().unwrap();
    for args in
        [&["-o", "x.txt"][..], &["-o", npy, "--layer", "patch"], &["-o", npy, "--any-res", "2", "--tiles"]]
    {
        let refused = run(command().args(["embed", &photo]).args(args));
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{}", refused.err);
        refused.says(&["jsonl", "--help"]);
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    fs::write(&path, "old").unwrap();
    let failing = ocelli!["embed", example("cat"), "-o", path];
    run(&mut super::under_shell("trap '' XFSZ; ulimit -f 0", &failing)).fails(&["x.npy", "cannot write"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn quiet_leaves_results_and_errors() {
    for quiet in ["-q", "--quiet"] {
        let result =
            run(&mut ocelli!["classify", "missing.jpg", example("cat"), "--labels", "cat,cat", quiet]);
        assert_eq!((result.code, result.out.lines().count()), (Some(1), 3));
        assert!(
            result.err.starts_with("ocelli: missing.jpg: ") && result.err.lines().count() == 1,
            "{}",
            result.err
        );
        let labels = run(&mut ocelli![quiet, "labels"]).ok();
        assert_eq!((labels.out.lines().count(), labels.err.as_str()), (10, ""));
    }
    // Where stderr is no terminal, progress is not shown either.
    let result = run(ocelli!["classify"].args(EXAMPLES.map(example))).ok();
    assert_eq!(result.err, "");
}

#[test]
fn one_label_alone_is_warned_of() {
    let certain = "one label alone always has 100 %";
    run(&mut ocelli!["classify", example("ship"), "--labels", "cat"]).ok().says(&[certain]);
    let two = run(&mut ocelli!["classify", example("ship"), "--labels", "cat,ship"]).ok();
    let judged = run(&mut ocelli!["classify", "-m", *super::SIGLIP, example("ship"), "--labels", "cat"]).ok();
    assert!(!two.err.contains(certain) && !judged.err.contains(certain));
}

#[test]
fn completions_and_manual_know_every_command() {
    let mut commands = vec!["classify", "embed", "labels", "info", "profile"];
    if cfg!(all(feature = "serve", unix)) {
        commands.push("serve");
    }
    for (shell, start) in [("bash", "_ocelli()"), ("zsh", "#compdef ocelli"), ("fish", "function")] {
        let script = run(&mut ocelli!["completions", shell]).ok().out;
        assert!(script.contains(start), "{shell}: {script}");
        assert!(
            commands.iter().all(|command| script.contains(command)) && script.contains("files-from"),
            "{shell}"
        );
    }
    assert_eq!(run(&mut ocelli!["completions", "csh"]).code, Some(2));
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("share/man1");
    run(&mut ocelli!["man", man]).ok();
    for command in &commands {
        let page = fs::read_to_string(man.join(format!("ocelli-{command}.1"))).unwrap();
        assert!(
            page.starts_with(".ie") && page.contains(".SH OPTIONS") && page.contains("OCELLI_THREADS"),
            "{command}: {page}"
        );
    }
    let page = fs::read_to_string(man.join("ocelli.1")).unwrap();
    assert!(page.contains("ocelli\\-classify(1)"), "{page}");
    let file = example("cat");
    run(&mut ocelli!["man", file]).fails(&["cat.jpg", "cannot create the folder"]);
}
