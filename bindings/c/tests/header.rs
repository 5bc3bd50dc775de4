//! `ocelli.h` declares what the library has: compared with what cbindgen makes, where that is installed, and in any case by
//! names and numbers.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn header() -> String {
    std::fs::read_to_string(folder().join("ocelli.h")).unwrap()
}

/// All sources, one after another.
fn sources() -> String {
    let files = std::fs::read_dir(folder().join("src")).unwrap();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// The words behind each `before`, up to the first character that is in none.
fn words_after<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(before)
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default())
}

#[test]
fn functions_are_those_of_the_library() {
    let (header, sources) = (header(), sources());
    let mut right: Vec<&str> = words_after(&sources, "extern \"C\" fn ").collect();
    right.sort_unstable();
    assert!(right.len() > 30 && right.iter().all(|name| name.starts_with("ocelli_")), "{right:?}");
    // A declaration is the name and a parenthesis; comments name functions without one.
    let mut found: Vec<&str> = header
        .match_indices("ocelli_")
        .map(|(at, _)| {
            words_after(&header[at..], "ocelli_").next().map(|rest| &header[at..][..7 + rest.len()]).unwrap()
        })
        .filter(|name| header.contains(&format!("{name}(")))
        .collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, right);
    let exported = sources.matches("#[unsafe(no_mangle)]").count();
    assert_eq!(exported, right.len(), "each is exported under its name");
}

#[test]
fn constants_have_the_librarys_numbers() {
    let numbers = |text: &str, before: &str, between: &str| -> BTreeMap<String, u32> {
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(before));
        let pairs = lines.filter_map(|line| line.trim_end_matches([';', ',']).split_once(between));
        pairs.filter_map(|(name, value)| Some((name.into(), value.trim().parse().ok()?))).collect()
    };
    let (header, sources) = (header(), sources());
    let mut right = numbers(&sources, "pub const ", ": u32 = ");
    assert_eq!(numbers(&header, "#define ", " "), right);
    right.retain(|name, _| name == "OCELLI_RGB");
    assert_eq!(right.len(), 1);
    let statuses = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim().trim_end_matches(',').to_owned());
        lines.filter(|line| line.starts_with("OCELLI_") && line.contains(" = ")).collect()
    };
    assert_eq!(statuses(&header), statuses(&sources));
    assert!(statuses(&header).len() >= 12);
}

#[test]
fn it_is_what_cbindgen_makes() {
    let Ok(version) = Command::new("cbindgen").arg("--version").output() else {
        eprintln!("no cbindgen: names and numbers alone were compared");
        return;
    };
    // Other versions format otherwise.
    let wanted = std::fs::read_to_string(folder().join("cbindgen.version")).unwrap();
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    if version != format!("cbindgen {}", wanted.trim()) {
        eprintln!("{version}, not {}: names and numbers alone were compared", wanted.trim());
        return;
    }
    let made = Command::new("cbindgen").arg(folder()).args(["--crate", "ocelli-c"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(
        String::from_utf8_lossy(&made.stdout) == header(),
        "ocelli.h is not up to date: run scripts/c-header.sh"
    );
}
