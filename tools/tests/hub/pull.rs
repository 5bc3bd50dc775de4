//! What is downloaded, and what becomes of it.

use crate::server::{Fault, Hub, Repository, sha256};
use crate::{FOLDER, NAME, Setup, fixture};
use ocelli_tools::hub::{self, Arrival, PullOptions, Pulled, Token};
use ocelli_tools::{ConvertOptions, Precision, Silent, convert, inspect};
use std::fs;
use std::path::Path;

fn names(pulled: &Pulled) -> Vec<&str> {
    pulled.files.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn what_a_conversion_needs_is_downloaded_once() {
    let setup = Setup::new();
    let pulled = setup.pull().unwrap();
    setup.assert_whole(&pulled);
    let expected = [
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ];
    assert_eq!(names(&pulled), expected);
    assert!(pulled.files.iter().all(|file| file.from == Arrival::Downloaded));
    let asked = setup.hub.requests();
    assert!(!asked.iter().any(|request| request.path.contains("README")));
    // The weights' address is signed by the hub; what asks for them carries no token, and is never shown.
    assert_eq!(asked.iter().filter(|request| request.cdn).count(), 1);

    let again = setup.pull().unwrap();
    assert_eq!(again.checkpoint, pulled.checkpoint);
    assert!(again.files.iter().all(|file| file.from == Arrival::Cached));
    let asked: Vec<String> = setup.hub.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/api/models/org/clip/revision/main"]);
}

/// As huggingface_hub describes its cache.
#[test]
fn the_cache_has_blobs_relative_links_and_refs() {
    let setup = Setup::new();
    setup.pull().unwrap();
    let commit = setup.repository.commit();
    assert_eq!(fs::read_to_string(setup.cache().join("refs/main")).unwrap(), commit);
    let link = setup.cache().join("snapshots").join(&commit).join("model.safetensors");
    let tag = sha256(setup.weights());
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../../blobs").join(&tag));
    assert_eq!(fs::read(setup.blob(&tag)).unwrap(), setup.weights());
    let left = fs::read_dir(setup.cache().join("blobs"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "incomplete"));
    assert_eq!(left.count(), 0);
    assert!(setup.settings.cache.join(".locks").join(FOLDER).join(format!("{tag}.lock")).exists());
}

#[test]
fn the_packed_file_says_where_it_is_from() {
    let setup = Setup::new();
    let output = setup.folder.path().join("model.ocelli");
    let mut options = ConvertOptions::new("", &output, Precision::Int8);
    setup.pull_as("org/clip@v1").unwrap().prepare(&mut options);
    convert(&options).unwrap();
    let report = inspect::inspect(&output).unwrap();
    let source = &report["provenance"]["repository"];
    assert_eq!(source["hub"], setup.hub.endpoint());
    assert_eq!(source["repository"], NAME);
    assert_eq!(source["revision"], "v1");
    assert_eq!(source["commit"], setup.repository.commit());
    assert_eq!(source["licence"], "mit");
    let files = report["provenance"]["files"].as_array().unwrap();
    let weights = files.iter().find(|file| file["name"] == "model.safetensors").unwrap();
    assert_eq!(weights["sha256"], sha256(setup.weights()));
    // The same model as one from a folder.
    let plain = setup.folder.path().join("plain.ocelli");
    convert(&ConvertOptions::new(fixture("clip-hf"), &plain, Precision::Int8)).unwrap();
    assert_eq!(report["config"], inspect::inspect(&plain).unwrap()["config"]);
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let mut setup = Setup::new();
    setup.settings.token = Some(Token::new("hf_secret", "test").unwrap());
    setup.pull().unwrap();
    let asked = setup.hub.requests();
    assert!(asked.iter().any(|request| request.cdn));
    for request in asked {
        let token = request.header("authorization");
        assert_eq!(token, if request.cdn { None } else { Some("Bearer hf_secret") }, "{request:?}");
        assert_eq!(request.header("accept-encoding"), Some("identity"));
    }
    // Another port of the same machine is another server, and so is another name of it.
    let elsewhere = Hub::start();
    elsewhere.add(NAME, setup.repository.clone());
    for host in ["127.0.0.1", "localhost"] {
        let location = format!("http://{host}:{}/org/clip/resolve/main/config.json", elsewhere.port);
        setup.hub.fault("GET", "config.json", 1, Fault::Status(302, ""));
        setup.hub.fault("GET", "config.json", 1, Fault::With("Location", location));
        fs::remove_dir_all(setup.cache()).unwrap();
        setup.pull().unwrap();
        let asked = elsewhere.requests();
        assert!(!asked.is_empty());
        assert!(asked.iter().all(|request| request.header("authorization").is_none()), "{asked:?}");
    }
}

#[test]
fn shards_come_with_their_index() {
    let setup = Setup::of(Repository::of(&fixture("siglip2-fixres")));
    let pulled = setup.pull().unwrap();
    setup.assert_whole(&pulled);
    assert!(pulled.checkpoint.ends_with("model.safetensors.index.json"));
    assert!(names(&pulled).contains(&"model-00002-of-00002.safetensors"));
    assert!(names(&pulled).contains(&"tokenizer.json") && !names(&pulled).contains(&"tokenizer.model"));
    let mut options = ConvertOptions::new("", setup.folder.path().join("m.ocelli"), Precision::Int8);
    pulled.prepare(&mut options);
    convert(&options).unwrap();
}

#[test]
fn open_clips_own_tokenizer_is_taken_from_elsewhere() {
    let setup = Setup::of(Repository::of(&fixture("clip-openclip")));
    let tokenizer = Repository::of(&fixture("clip-hf"));
    setup.hub.add("openai/clip-vit-base-patch32", tokenizer);
    let pulled = setup.pull().unwrap();
    assert!(pulled.checkpoint.ends_with("open_clip_model.safetensors"));
    let folder = pulled.tokenizer.clone().unwrap();
    assert!(folder.join("tokenizer.json").exists() && !folder.join("model.safetensors").exists());
    let mut options = ConvertOptions::new("", setup.folder.path().join("m.ocelli"), Precision::Int8);
    pulled.prepare(&mut options);
    convert(&options).unwrap();
    // One that the user names, or no text tower at all, needs no download.
    fs::remove_dir_all(&setup.settings.cache).unwrap();
    let target = hub::resolve(NAME).unwrap();
    let pulled =
        hub::pull(&target, PullOptions { without_tokenizer: true }, &setup.settings, &Silent).unwrap();
    assert_eq!(names(&pulled), ["open_clip_config.json", "open_clip_model.safetensors"]);
}

#[test]
fn a_repository_with_both_layouts_gives_the_one_that_is_meant() {
    let both = Repository::of(&fixture("clip-hf"));
    let other = Repository::of(&fixture("clip-openclip"));
    let mut both = both;
    both.files.extend(other.files);
    let setup = Setup::of(both);
    let weights = |name: &str| {
        let pulled = setup.pull_as(name).unwrap();
        pulled.checkpoint.file_name().unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(weights("org/clip"), "model.safetensors");
    assert_eq!(weights("org/clip/open_clip_model.safetensors"), "open_clip_model.safetensors");
    // The table says open_clip.
    setup.hub.add("timm/vit_base_patch32_clip_224.openai", setup.repository.clone());
    assert_eq!(weights("ViT-B-32__openai"), "open_clip_model.safetensors");
    // An image tower of timm beside a CLIP: the one with both towers.
    let timm = Repository::of(&fixture("timm-vit"));
    let mut both = Repository::of(&fixture("clip-openclip")).with("tokenizer.json", "{}");
    both.files.extend(timm.files);
    setup.hub.add("org/timm", both);
    assert_eq!(weights("org/timm"), "open_clip_model.safetensors");
    assert_eq!(weights("org/timm/model.safetensors"), "model.safetensors");
}

#[test]
fn pickled_weights_are_the_last_choice() {
    let files = Repository::of(&fixture("clip-hf")).with("pytorch_model.bin", "PK");
    let weights = |repository: Repository, name: &str| {
        let setup = Setup::of(repository);
        let pulled = setup.pull_as(name).unwrap();
        pulled.checkpoint.file_name().unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(weights(files.clone(), "org/clip"), "model.safetensors");
    assert_eq!(weights(files.clone(), "org/clip/pytorch_model.bin"), "pytorch_model.bin");
    assert_eq!(weights(files.without("model.safetensors"), "org/clip"), "pytorch_model.bin");
}

/// Each family's files are enough for its conversion.
#[test]
fn every_family_gets_the_files_that_it_needs() {
    for name in [
        "clip-hf-gelu-p14",
        "siglip-hf",
        "siglip2-naflex",
        "vit-hf",
        "mae-hf",
        "timm-vit",
        "dinov2-hf",
        "dinov3-hf",
        "chinese-clip",
        "jina-clip-v1",
        "dual-vit-xlmr",
        "open-clip-siglip2",
    ] {
        let setup = Setup::of(Repository::of(&fixture(name)));
        let pulled = setup.pull().unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut options = ConvertOptions::new("", setup.folder.path().join("m.ocelli"), Precision::Int8);
        pulled.prepare(&mut options);
        let report = convert(&options).unwrap_or_else(|error| panic!("{name}: {error}"));
        // And no more: every file that was downloaded was read, but for small ones beside a tokenizer.
        for file in &pulled.files {
            let read = report.files.iter().any(|read| read.name == file.name);
            let beside = ["tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json"];
            let index = file.name.ends_with(".index.json");
            assert!(
                read || index || beside.contains(&file.name.as_str()),
                "{name}: {} was not read",
                file.name
            );
        }
    }
}

/// A mirror that is a plain file server with the hub's headers.
#[test]
fn files_are_found_without_the_listing() {
    for (fault, name) in
        [(Fault::Status(404, ""), "org/clip"), (Fault::Body("<html>".into()), "org/clip@refs/pr/1")]
    {
        let setup = Setup::new();
        setup.hub.fault("GET", "/api/models/", usize::MAX, fault);
        let pulled = setup.pull_as(name).unwrap();
        setup.assert_whole(&pulled);
        assert_eq!(pulled.files.len(), 5);
    }
}
