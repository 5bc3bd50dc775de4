//! Which pictures are read: folders, lists of names, stdin, and what is no file.

use super::{Run, command, example, ocelli, run};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A folder with pictures of a cat, a ship and a frog in it and below it.
fn album() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("b/deeper")).unwrap();
    fs::create_dir_all(path(".hidden")).unwrap();
    for (name, photo) in [
        ("c.jpg", "cat"),
        ("a.JPEG", "ship"),
        ("b/deeper/frog 1.jpg", "frog"),
        ("b/.thumbnail.jpg", "cat"),
        (".hidden/cat.jpg", "cat"),
    ] {
        fs::copy(example(photo), path(name)).unwrap();
    }
    fs::write(path("b/notes.txt"), "no picture").unwrap();
    folder
}

/// The names and first labels on stdout.
fn found(run: &Run) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    run.json().iter().map(|line| (text(&line["image"]), text(&line["labels"][0]["label"]))).collect()
}

fn with_stdin(command: &mut Command, bytes: &[u8]) -> Run {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn a_folder_is_all_pictures_in_it() {
    let album = album();
    let name = |name: &str| album.path().join(name).to_str().unwrap().to_owned();
    let expected = [("a.JPEG", "ship"), ("b/deeper/frog 1.jpg", "frog"), ("c.jpg", "cat")]
        .map(|(file, label)| (name(file), label.to_owned()));
    let result = run(&mut ocelli!["classify", "--json", album.path()]).ok();
    assert_eq!((found(&result).as_slice(), result.err.as_str()), (&expected[..], ""));
    // A name that is given is taken whatever it looks like.
    let hidden = run(&mut ocelli!["classify", "--json", album.path().join(".hidden/cat.jpg")]).ok();
    assert_eq!(hidden.json().len(), 1);
    // embed takes the same, and --image adds to it.
    let result = run(&mut ocelli!["embed", album.path(), "--image", example("cat")]).ok();
    assert_eq!(result.json().len(), 4);

    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("notes.txt"), "no picture").unwrap();
    let result = run(&mut ocelli!["classify", "--json", empty.path(), example("cat")]);
    assert_eq!((result.code, result.json().len()), (Some(1), 1));
    result.says(&[empty.path().to_str().unwrap(), "no picture in this folder"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_once() {
    use std::os::unix::fs::symlink;

    let album = album();
    let path = |name: &str| album.path().join(name);
    symlink(album.path(), path("b/deeper/circle")).unwrap();
    symlink(path("b/deeper"), path("b/again")).unwrap();
    symlink(path("missing"), path("dangling.txt")).unwrap();
    // A thicket: without a memory of where it was, the walk would take 2^30 ways through it.
    let thicket = path("d");
    fs::create_dir(&thicket).unwrap();
    for i in 0..30 {
        fs::create_dir(thicket.join(i.to_string())).unwrap();
        for name in ["left", "right"] {
            symlink(format!("../{}", i + 1), thicket.join(format!("{i}/{name}"))).unwrap();
        }
    }
    fs::create_dir(thicket.join("30")).unwrap();
    let result = run(&mut ocelli!["classify", "--json", album.path()]).ok();
    assert_eq!(found(&result).len(), 3, "{}", result.out);
    symlink(path("missing"), path("dangling.jpg")).unwrap();
    let result = run(&mut ocelli!["classify", "--json", album.path()]);
    assert_eq!((result.code, found(&result).len()), (Some(1), 3));
    result.says(&["dangling.jpg"]);
}

#[test]
fn names_come_from_a_list() {
    let album = album();
    let (a, frog) = (album.path().join("a.JPEG"), album.path().join("b/deeper/frog 1.jpg"));
    let (a, frog) = (a.to_str().unwrap(), frog.to_str().unwrap());
    let list = album.path().join("list.txt");
    fs::write(&list, format!("{frog}\r\n\n{a}")).unwrap();
    let result = run(&mut ocelli!["classify", "--json", "--files-from", list]).ok();
    let names: Vec<String> = found(&result).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [frog, a]);

    let nul = format!("{a}\0{frog}\0");
    for args in [["--files-from", "-", "-0"], ["--null", "--files-from", "-"]] {
        let result =
            with_stdin(command().args(["embed"]).args(args).arg(example("cat")), nul.as_bytes()).ok();
        let inputs: Vec<_> = result.json().iter().map(|line| line["input"].clone()).collect();
        assert_eq!(inputs, [example("cat").to_str().unwrap(), a, frog]);
    }
    let result = with_stdin(&mut ocelli!["classify", "--json", "--files-from", "-"], b"gone.jpg\n");
    result.fails(&["gone.jpg", "cannot read the picture"]);
    with_stdin(&mut ocelli!["classify", "--files-from", "-"], b"\n").fails(&["no names"]);
    let missing = album.path().join("missing.txt");
    run(&mut ocelli!["classify", "--files-from", missing]).fails(&["missing.txt", "cannot read the list"]);
}

#[test]
fn a_picture_comes_from_stdin() {
    let cat = fs::read(example("cat")).unwrap();
    let result = with_stdin(&mut ocelli!["classify", "--json", "-", example("ship")], &cat).ok();
    assert_eq!(found(&result)[0], ("-".to_owned(), "cat".to_owned()));
    assert_eq!(found(&result)[1].1, "ship");
    with_stdin(&mut ocelli!["classify", "-"], b"no picture").fails(&["stdin", "expected JPEG"]);
    with_stdin(&mut ocelli!["classify", "-"], b"").fails(&["stdin", "empty"]);
    for args in [&["classify", "-", "-"][..], &["embed", "-", "--files-from", "-"]] {
        let result = with_stdin(command().args(args), &cat);
        assert_eq!((result.code, result.out.as_str()), (Some(2), ""), "{}", result.err);
        result.says(&["only once", "--help"]);
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let made = Command::new("mkfifo").arg(path("pipe.jpg")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(path("socket.jpg")).unwrap();
    fs::copy(example("cat"), path("z.jpg")).unwrap();
    let device = Path::new("/dev/zero");
    for result in [
        run(&mut ocelli!["classify", "--json", device, path("pipe.jpg"), path("socket.jpg"), path("z.jpg")]),
        run(&mut ocelli!["classify", "--json", device, folder.path()]),
        run(&mut ocelli!["classify", "--json", "-q", device, folder.path()]),
    ] {
        assert_eq!((result.code, found(&result).len()), (Some(1), 1), "{}", result.err);
        result.says(&[
            "/dev/zero: this is a device",
            "pipe.jpg: this is a named pipe",
            "socket.jpg: this is a socket",
        ]);
        assert_eq!(result.err.lines().count(), 3, "{}", result.err);
    }
}
