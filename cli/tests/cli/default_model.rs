//! Which model is taken where none is named.

use super::{command, example, run};
use std::path::Path;
use std::process::Command;
use std::{fs, iter};

/// The command in `folder`, where the data folders are `data` and `system`, and no model is named.
fn in_folder(folder: &Path) -> Command {
    let mut command = command();
    command.current_dir(folder).env_remove("OCELLI_MODEL").args(["classify", "--json", "-k", "1"]);
    command.env("XDG_DATA_HOME", folder.join("data")).env("XDG_DATA_DIRS", folder.join("system"));
    command.arg(example("cat"));
    command
}

#[test]
fn it_is_the_first_that_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let nothing = run(&mut in_folder(folder));
    nothing.fails(&[
        "--model FILE",
        "OCELLI_MODEL",
        "demo.ocelli",
        "data/ocelli",
        "system/ocelli",
        "ocelli-pack pull",
    ]);

    // From the last place to the first.
    for place in ["system/ocelli", "data/ocelli", "models"] {
        fs::create_dir_all(folder.join(place)).unwrap();
        fs::copy(ocelli_tests::cifar10(), folder.join(place).join("demo.ocelli")).unwrap();
        let found = run(&mut in_folder(folder)).ok().json().remove(0);
        assert!(found["model"].as_str().unwrap().ends_with(&format!("{place}/demo.ocelli")), "{found}");
        assert_eq!(found["labels"][0]["label"], "cat");
    }

    // One that is there and damaged is not passed over.
    fs::write(folder.join("models/demo.ocelli"), b"not a model").unwrap();
    run(&mut in_folder(folder)).fails(&["models/demo.ocelli"]);
    // What is named counts, even where it is not there.
    let named = |path: &Path| run(in_folder(folder).env("OCELLI_MODEL", path));
    assert_eq!(named(&ocelli_tests::cifar10()).ok().json()[0]["labels"][0]["label"], "cat");
    named(&folder.join("none.ocelli")).fails(&["none.ocelli", "cannot open the model"]);
    run(in_folder(folder).args(iter::once("-m").chain(ocelli_tests::cifar10().to_str()))).ok();
}
