//! What is refused, and what the message says to do.

use crate::server::{Fault, Repository};
use crate::{NAME, Setup, fixture};
use ocelli_tools::hub::Token;

/// That a pull fails with a message that has all of `expected`.
fn assert_refused(setup: &Setup, name: &str, expected: &[&str]) {
    let message = setup.pull_as(name).unwrap_err().to_string();
    for part in expected {
        assert!(message.contains(part), "{name}: {part:?} is not in: {message}");
    }
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

#[test]
fn unknown_repositories_revisions_and_files() {
    let setup = Setup::new();
    assert_refused(&setup, "org/clap", &["org/clap", "private: set HF_TOKEN"]);
    let near = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K";
    assert_refused(&setup, "laion/CLIP-ViT-B-32-laion2B-s34B-b79", &[near]);
    assert_refused(&setup, "org/clip@v9", &["org/clip", "no revision \"v9\""]);
    assert_refused(&setup, "org/clip/other.safetensors", &["org/clip", "other.safetensors"]);
    assert_refused(&setup, "org/clip/README.md", &["README.md", ".safetensors"]);
}

#[test]
fn closed_repositories_say_how_to_open_them() {
    let mut setup = Setup::new();
    for part in ["/api/", "/cdn/"] {
        setup.hub.no_more_faults();
        let gated = Fault::Status(403, "X-Error-Code: GatedRepo\nX-Error-Message: Access is restricted");
        setup.hub.fault("GET", part, usize::MAX, gated);
        if part == "/api/" {
            assert_refused(
                &setup,
                NAME,
                &["gated", "accept its conditions at http://", "HF_TOKEN", "restricted"],
            );
        } else {
            // Not the hub itself.
            assert_refused(&setup, NAME, &["403"]);
        }
    }
    setup.hub.no_more_faults();
    setup.hub.fault("GET", "/api/", usize::MAX, Fault::Status(401, ""));
    assert_refused(&setup, NAME, &["private: set HF_TOKEN"]);
    setup.settings.token = Some(Token::new("hf_old", "test").unwrap());
    assert_refused(&setup, NAME, &["does not accept the token"]);
    let message = setup.failure();
    assert!(!message.contains("hf_old"), "{message}");
    setup.hub.no_more_faults();
    setup.hub.fault("GET", "/api/", usize::MAX, Fault::Status(403, "X-Error-Code: GatedRepo"));
    assert_refused(&setup, NAME, &["gated", "the token has no access"]);
    setup.hub.no_more_faults();
    setup.hub.fault("GET", "/api/", usize::MAX, Fault::Status(418, ""));
    assert_refused(&setup, NAME, &["418"]);
}

#[test]
fn models_that_cannot_be_converted_cost_no_download() {
    let clip = || Repository::of(&fixture("clip-hf"));
    let bert = clip().with("config.json", r#"{"model_type": "gpt2"}"#);
    let jina_v2 = r#"{"model_type": "jina_clip", "text_config": {"hf_model_name_or_path": "jinaai/jina-embeddings-v3"}}"#;
    let weights = || clip().without("model.safetensors");
    let cases = [
        (bert, vec!["config.json", "gpt2", "supported: clip"]),
        (clip().with("config.json", jina_v2), vec!["config.json", "jina-embeddings-v3", "that of v2"]),
        (weights().with("clip.pt", "PK"), vec!["clip.pt", "safetensors", "refs/pr"]),
        (weights().with("model.onnx", "x"), vec!["model.onnx"]),
        (weights(), vec!["no checkpoint that is known here"]),
        (clip().without("config.json"), vec!["no checkpoint that is known here"]),
        (clip().without("tokenizer.json"), vec!["no tokenizer", "--tokenizer", "--vision-only"]),
        (clip().with("config.json", "<html>"), vec!["config.json"]),
        (clip().with("config.json", ""), vec!["config.json", "empty"]),
    ];
    for (repository, expected) in cases {
        let setup = Setup::of(repository);
        assert_refused(&setup, NAME, &expected);
        assert!(!setup.hub.requests().iter().any(|request| request.cdn), "{expected:?}");
    }
}

#[test]
fn hostile_names_lead_nowhere() {
    // Files whose names are no plain names are never asked for, whatever they are called.
    let evil = [
        "../../evil",
        "/etc/passwd",
        "a/../../config.json",
        "..",
        "con\u{1b}fig.json",
        "\u{202e}nosj.gifnoc",
        "",
    ];
    let mut repository = Repository::of(&fixture("clip-hf"));
    for name in evil {
        repository = repository.with(name, "evil");
    }
    let setup = Setup::of(repository);
    setup.assert_whole(&setup.pull().unwrap());

    for shard in
        ["../../../x.safetensors", "/tmp/x.safetensors", "x\u{1b}.safetensors", "x.sh", ".x.safetensors", ""]
    {
        let index = serde_json::json!({"weight_map": {"a": shard}}).to_string();
        let repository = Repository::of(&fixture("clip-hf")).without("model.safetensors");
        let setup = Setup::of(repository.with("model.safetensors.index.json", index));
        let message = setup.failure();
        assert!(message.contains("index.json") || message.contains("no such file"), "{shard:?}: {message}");
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}

#[test]
fn headers_that_make_no_sense() {
    let large = (5 << 30).to_string();
    let cases: [(&str, Vec<Fault>, &str); 9] = [
        ("config.json", vec![Fault::Without("X-Repo-Commit")], "X-Repo-Commit"),
        ("config.json", vec![Fault::With("X-Repo-Commit", "../../x".into())], "X-Repo-Commit"),
        ("config.json", vec![Fault::With("X-Repo-Commit", "0".repeat(40))], "of commit 000"),
        ("config.json", vec![Fault::Without("ETag")], "ETag"),
        ("config.json", vec![Fault::With("ETag", "\"../../../evil\"".into())], "ETag"),
        ("config.json", vec![Fault::Without("Content-Length")], "how long"),
        ("config.json", vec![Fault::With("Content-Length", "10000000000".into())], "no such file has more"),
        ("tokenizer.json", vec![Fault::With("X-Linked-Size", large)], "no such file has more"),
        ("model.safetensors", vec![Fault::Without("X-Linked-Size")], "how long"),
    ];
    for (file, faults, expected) in cases {
        let setup = Setup::new();
        for fault in faults {
            setup.hub.fault("HEAD", file, usize::MAX, fault);
        }
        let message = setup.failure();
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(!setup.hub.requests().iter().any(|request| request.cdn), "{expected}");
    }
}

#[test]
fn redirects_to_nowhere() {
    for (location, expected) in [
        ("/org/clip/resolve/main/config.json", "more than 10 times"),
        ("file:///etc/passwd", "file"),
        ("ftp://example.com/x", "ftp"),
        ("gopher:x", "no address"),
        ("", "no address"),
        ("http://user:password@127.0.0.1/x", "user name"),
    ] {
        let setup = Setup::new();
        setup.hub.fault("GET", "config.json", usize::MAX, Fault::Status(302, ""));
        setup.hub.fault("GET", "config.json", usize::MAX, Fault::With("Location", location.into()));
        let message = setup.failure();
        assert!(message.contains("redirects") && message.contains(expected), "{location}: {message}");
    }
}

#[test]
fn listings_that_are_none() {
    for (body, expected) in [
        (r#"{"siblings": []}"#.to_owned(), "no commit"),
        (r#"{"sha": "../..", "siblings": []}"#.into(), "no commit"),
        (format!(r#"{{"sha": "{}"}}"#, "0".repeat(40)), "lists no files"),
        (
            format!(
                r#"{{"sha": "{}", "siblings": [{{"rfilename": "config.json"}}, 7, {{}}]}}"#,
                "0".repeat(40)
            ),
            "known here",
        ),
        ("[".repeat(1 << 20), "revision"),
        (" ".repeat(40 << 20), "more than"),
    ] {
        let setup = Setup::new();
        setup.hub.fault("GET", "/api/models/", usize::MAX, Fault::Body(body));
        setup.hub.fault(
            "HEAD",
            "/resolve/",
            usize::MAX,
            Fault::Status(404, "X-Error-Code: RevisionNotFound"),
        );
        let message = setup.failure();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}
