//! The page at `/`.

use crate::http::{Answer, request};
use crate::{Server, example};
use std::path::Path;
use std::process::Command;

fn page(server: &Server) -> Answer {
    request(&server.address, "GET", "/", &[("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")], b"")
}

#[test]
fn browsers_get_a_page_that_asks_nobody_else() {
    let server = Server::new(&[]);
    let answer = page(&server);
    assert_eq!(answer.status, 200);
    let policy = answer.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let text = answer.text();
    // One file: no address of another site, nothing that is loaded.
    for part in
        ["http://", "https://", "//cdn", "<link rel=\"stylesheet\"", "<script src", "@import", "style=\""]
    {
        assert!(!text.contains(part), "{part}");
    }
    for part in
        ["lang=\"en\"", "aria-live=\"polite\"", "role=\"alert\"", "name=\"viewport\"", "prefers-color-scheme"]
    {
        assert!(text.contains(part), "{part}");
    }
    // Every field has a label.
    for id in ["query", "model", "labels", "key"] {
        assert!(text.contains(&format!("<label for=\"{id}\">")), "{id}");
    }
}

/// The page in headless Chromium with a camera that is a file. `OCELLI_SHOTS` names a folder for screenshots.
#[test]
fn the_page_works_in_a_browser() {
    let found = |program: &&str| {
        Command::new(program).arg("--version").output().is_ok_and(|found| found.status.success())
    };
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(found) else {
        println!("no Chromium: skipped");
        return;
    };
    if !found(&"node") {
        println!("no node: skipped");
        return;
    }
    #[cfg(feature = "index")]
    let world = crate::search::World::indexed(&crate::search::ALL);
    #[cfg(feature = "index")]
    let server = Server::new(&["--index", &world.folder()]);
    #[cfg(not(feature = "index"))]
    let server = Server::new(&[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/clients/page.mjs");
    let mut command = Command::new("node");
    command.arg(script).env("OCELLI_URL", format!("http://{}", server.address)).env("CHROMIUM", browser);
    let output = command
        .env("OCELLI_IMAGE", example("ship").canonicalize().unwrap())
        .env("OCELLI_BEST", "ship")
        .env("OCELLI_SEARCH", if cfg!(feature = "index") { "yes" } else { "" })
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
