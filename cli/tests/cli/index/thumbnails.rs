//! Thumbnails in terminals: what is sent is decoded again.

use super::{World, run};
use crate::example;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Rgb};
use ocelli::preprocess::decode;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// Width, height and RGB.
type Pixels = (usize, usize, Vec<u8>);

fn pixels(file: &[u8]) -> Pixels {
    let decoded = decode::decode(file, &decode::Options::default()).unwrap();
    let (_, width, height, data) = decoded.packed();
    (width as usize, height as usize, data.to_vec())
}

/// What is between `begin` and `end`, wherever they are.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> Vec<&'t str> {
    text.split(begin).skip(1).map(|rest| rest.split_once(end).expect("it ends").0).collect()
}

/// The one picture that kitty is sent in `text`.
fn of_kitty(text: &str) -> Pixels {
    let chunks = between(text, "\x1b_G", "\x1b\\");
    let (mut data, mut size) = (String::new(), (0, 0));
    for (at, chunk) in chunks.iter().enumerate() {
        let (keys, payload) = chunk.split_once(';').unwrap();
        let key = |name: &str| keys.split(',').find_map(|key| key.strip_prefix(name)?.strip_prefix('='));
        assert!(payload.len() <= 4096 && (at + 1 == chunks.len() || payload.len() % 4 == 0));
        assert_eq!((key("m"), key("q")), (Some(if at + 1 < chunks.len() { "1" } else { "0" }), Some("2")));
        assert_eq!((key("a"), key("f")), if at == 0 { (Some("T"), Some("24")) } else { (None, None) });
        if at == 0 {
            size = (key("s").unwrap().parse().unwrap(), key("v").unwrap().parse().unwrap());
        }
        data += payload;
    }
    (size.0, size.1, BASE64.decode(data).unwrap())
}

/// The one picture that iTerm2 is sent in `text`.
fn of_iterm(text: &str) -> Pixels {
    let [file] = between(text, "\x1b]1337;File=", "\x07")[..] else { panic!("{text:?}") };
    let (keys, data) = file.split_once(':').unwrap();
    let file = BASE64.decode(data).unwrap();
    assert_eq!(keys, format!("inline=1;size={}", file.len()));
    pixels(&file)
}

/// The one picture of sixels in `text`, all of whose pixels must be drawn.
fn of_sixels(text: &str) -> Pixels {
    let [body] = between(text, "\x1bP0;1;0q\"1;1;", "\x1b\\")[..] else { panic!("{text:?}") };
    let (mut rest, mut palette) = (body, vec![None; 256]);
    let number = |rest: &mut &str| -> usize {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
        let (digits, behind) = rest.split_at(end);
        *rest = behind;
        digits.parse().unwrap()
    };
    let width = number(&mut rest);
    rest = &rest[1..];
    let height = number(&mut rest);
    let mut pixels = vec![None; width * height];
    let (mut colour, mut left, mut top, mut repeat) = (0, 0, 0, 1);
    while let Some(c) = rest.chars().next() {
        rest = &rest[1..];
        match c {
            '#' => {
                colour = number(&mut rest);
                if let Some(values) = rest.strip_prefix(";2;") {
                    rest = values;
                    let rgb = [(); 3].map(|()| {
                        let percent = number(&mut rest);
                        rest = rest.strip_prefix(';').unwrap_or(rest);
                        u8::try_from((percent * 255 + 50) / 100).unwrap()
                    });
                    palette[colour] = Some(rgb);
                }
            }
            '!' => repeat = number(&mut rest),
            '$' => left = 0,
            '-' => (left, top) = (0, top + 6),
            '?'..='~' => {
                for row in (0..6).filter(|row| (c as u8 - b'?') >> row & 1 == 1) {
                    for x in left..left + repeat {
                        let pixel = &mut pixels[(top + row) * width + x];
                        assert!(x < width && pixel.is_none());
                        *pixel = palette[colour];
                    }
                }
                (left, repeat) = (left + repeat, 1);
            }
            c => panic!("{c:?} is no part of sixels"),
        }
    }
    (width, height, pixels.into_iter().flat_map(|pixel| pixel.expect("all are drawn")).collect())
}

/// The mean difference of two pictures of one size.
fn apart(a: &Pixels, b: &Pixels) -> f64 {
    assert_eq!((a.0, a.1, a.2.len()), (b.0, b.1, b.2.len()));
    let sum: u64 = a.2.iter().zip(&b.2).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.2.len() as f64
}

/// A photo as another library makes it small.
fn small(name: &str, width: u32, height: u32) -> Pixels {
    let (wide, high, rgb) = pixels(&fs::read(example(name)).unwrap());
    let full: ImageBuffer<Rgb<u8>, _> = ImageBuffer::from_raw(wide as u32, high as u32, rgb).unwrap();
    (width as usize, height as usize, resize(&full, width, height, FilterType::CatmullRom).into_raw())
}

#[test]
fn each_protocol_carries_the_photos_thumbnail() {
    let world = World::indexed(&["coffee", "cat"]);
    let shown = |words: &str, more: &[&str]| {
        let mut arguments = vec![words, "-k", "1"];
        arguments.extend(more);
        world.search(&arguments).ok().out
    };
    for (name, (width, height), tolerance) in [("coffee", (240, 160), 4.0), ("cat", (32, 32), 0.01)] {
        let image = example(name);
        let words = image.to_str().unwrap();
        let plain = shown(words, &[]);
        assert!(plain.ends_with(&format!("{name}.jpg\n")) && !plain.contains('\x1b'));
        let expected = small(name, width, height);
        let protocols = [
            ("kitty", of_kitty as fn(&str) -> Pixels, tolerance),
            ("iterm", of_iterm, 8.0),
            ("sixel", of_sixels, 8.0),
        ];
        for (protocol, decode, tolerance) in protocols {
            let text = shown(words, &[&format!("--thumbnails={protocol}")]);
            assert!(text.starts_with(&plain) && text.ends_with('\n'), "{protocol}");
            let found = decode(&text);
            assert!(apart(&found, &expected) < tolerance, "{protocol}, {name}: {}", apart(&found, &expected));
            let turned = (found.0, found.1, found.2.chunks(3).rev().flatten().copied().collect());
            assert!(apart(&turned, &expected) > 20.0, "{protocol}, {name}");
        }
        // stdout is no terminal.
        assert_eq!(shown(words, &["--thumbnails"]), plain);
        assert_eq!(shown(words, &["--thumbnails=none"]), plain);
    }
    for other in ["--json", "-0"] {
        assert_eq!(run(world.with("search").args(["a", "--thumbnails=kitty", other])).code, Some(2));
    }
    // A photo that is gone has none.
    fs::remove_file(world.photos().join("coffee.jpg")).unwrap();
    let rest = world.search(&["a photo of a cat", "--thumbnails=kitty"]).ok();
    assert_eq!(rest.out.lines().filter(|line| line.contains(".jpg")).count(), 2);
    assert_eq!(of_kitty(&rest.out).0, 32);
    rest.says(&["coffee.jpg: ", "gone"]);
}

/// What the command sends to a terminal of kind `term` that answers `answer`, and says on stderr. Where there is no answer,
/// it must not ask.
fn in_terminal(command: &mut Command, term: &str, answer: Option<&str>) -> (String, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let before = tcgetattr(&master).unwrap().local_modes;
    command.stdout(terminal).stderr(Stdio::piped()).env("TERM", term).env_remove("TERM_PROGRAM");
    let child = command.spawn().unwrap();
    // The command's own descriptor of the terminal: reading ends when nobody has it open.
    command.stdout(Stdio::null());
    let (mut sent, mut piece, mut asked) = (Vec::new(), [0; 4096], false);
    let mut terminal = File::from(master);
    // Linux answers EIO in the end.
    while let Ok(read @ 1..) = terminal.read(&mut piece) {
        sent.extend_from_slice(&piece[..read]);
        if !asked && sent.ends_with(b"\x1b[c") {
            asked = true;
            terminal.write_all(answer.expect("it is not asked").as_bytes()).unwrap();
            sent.clear();
        }
    }
    assert_eq!(asked, answer.is_some(), "{}", String::from_utf8_lossy(&sent));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let after = tcgetattr(&terminal).unwrap().local_modes;
    assert_eq!((after, after.contains(LocalModes::ECHO | LocalModes::ICANON)), (before, true));
    (String::from_utf8(sent).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_terminal_is_asked_what_it_shows() {
    // QEMU's user mode, under which the tests run for ARM, does not know the call that reads a terminal's modes.
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    if cfg!(not(target_arch = "x86_64")) && tcgetattr(&master).is_err() {
        return;
    }
    let world = World::indexed(&["cat"]);
    let cat = pixels(&fs::read(example("cat")).unwrap());
    let ask = |answer: &str| {
        let mut command = world.with("search");
        in_terminal(command.args(["a cat", "--thumbnails"]), "xterm-256color", Some(answer))
    };
    let (kitty, _) = ask("\x1b_Gi=31;OK\x1b\\\x1bP>|kitty(0.41.1)\x1b\\\x1b[?62;52;c");
    assert!(apart(&of_kitty(&kitty), &cat) < 0.01);
    let (iterm, _) = ask("\x1b_Gi=31;OK\x1b\\\x1bP>|iTerm2 3.5.10\x1b\\\x1b[?64;4c");
    assert!(apart(&of_iterm(&iterm), &cat) < 8.0);
    let (sixels, _) = ask("\x1bP>|foot(1.20.2)\x1b\\\x1b[?62;4;22c");
    assert!(apart(&of_sixels(&sixels), &cat) < 8.0);
    for answer in ["\x1b[?6c", ""] {
        let (nothing, told) = ask(answer);
        assert!(nothing.ends_with("cat.jpg\r\n") && !nothing.contains('\x1b'), "{nothing:?}");
        assert!(told.contains("no thumbnails"), "{told}");
    }
    // One that would print the questions is not asked.
    let mut command = world.with("search");
    let (nothing, told) = in_terminal(command.args(["a cat", "--thumbnails"]), "dumb", None);
    assert!(nothing.ends_with("cat.jpg\r\n") && !nothing.contains('\x1b'), "{nothing:?}");
    assert!(told.contains("no thumbnails"), "{told}");
}
