//! A small hub on loopback: what of huggingface.co a download meets, on one port, and the server of large files that it
//! redirects to, on another. Faults can be switched on.

use crate::answer::Answer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

/// What goes wrong with an answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status with these headers, and no body.
    Status(u16, &'static str),
    /// The connection breaks after so many bytes of the body.
    Break(usize),
    /// Nothing more comes after so many bytes, for this long.
    Stall(usize, Duration),
    /// A byte in the middle is another one.
    Damage,
    /// Ranges are not known.
    NoRanges,
    /// The range that is sent is said to be another one.
    WrongRange,
    /// `Content-Length` is this, whatever the body.
    Length(u64),
    /// So many bytes more than there should be, without a length.
    Longer(usize),
    /// This header is left out.
    Without(&'static str),
    /// This header is added, or replaced.
    With(&'static str, String),
    /// This body instead.
    Body(String),
}

/// A fault, and what it meets.
struct Rule {
    method: &'static str,
    /// The address contains this.
    part: String,
    left: usize,
    fault: Fault,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Whether the server of large files got it.
    pub(crate) cdn: bool,
    headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A repository.
#[derive(Clone, Default)]
pub(crate) struct Repository {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    /// The files of a folder, without what is only there for tests.
    pub(crate) fn of(folder: &Path) -> Repository {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let of_tests =
                ["expected", "meta", "tokenizer_cases"].iter().any(|start| name.starts_with(start));
            if path.is_file() && !of_tests {
                files.insert(name, fs::read(path).unwrap());
            }
        }
        Repository { files }
    }

    pub(crate) fn with(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Repository {
        self.files.insert(name.into(), bytes.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Repository {
        self.files.remove(name).unwrap();
        self
    }

    /// Made of the contents, so that it changes when they do.
    pub(crate) fn commit(&self) -> String {
        let mut hash = Sha256::new();
        self.files.iter().for_each(|(name, bytes)| hash.update([name.as_bytes(), bytes].concat()));
        hex(&hash.finalize())[..40].into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn git_sha1(bytes: &[u8]) -> String {
    use sha1::{Digest, Sha1};
    hex(&Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

/// Large files are those that repositories keep in Git LFS.
fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".model")
}

/// A repository with what its answers repeat.
struct Hosted {
    repository: Repository,
    commit: String,
    tags: BTreeMap<String, String>,
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, Hosted>,
    rules: Vec<Rule>,
    log: Vec<Request>,
    /// Bytes in a second, if limited.
    rate: Option<usize>,
}

/// The hub. Its threads end with the process.
#[derive(Clone)]
pub(crate) struct Hub {
    state: Arc<Mutex<State>>,
    pub(crate) port: u16,
    pub(crate) cdn: u16,
}

impl Hub {
    pub(crate) fn start() -> Hub {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (hub, cdn) = (listen(), listen());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let server = Hub { state: Arc::default(), port: port(&hub), cdn: port(&cdn) };
        for (listener, is_cdn) in [(hub, false), (cdn, true)] {
            let server = server.clone();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let server = server.clone();
                    thread::spawn(move || server.serve(stream.unwrap(), is_cdn));
                }
            });
        }
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn add(&self, name: &str, repository: Repository) {
        let tag = |(name, bytes): (&String, &Vec<u8>)| {
            (name.clone(), if is_large(name) { sha256(bytes) } else { git_sha1(bytes) })
        };
        let (commit, tags) = (repository.commit(), repository.files.iter().map(tag).collect());
        self.state.lock().unwrap().repositories.insert(name.into(), Hosted { repository, commit, tags });
    }

    /// From now on, `fault` meets the next `times` requests of `method` whose address contains `part`.
    pub(crate) fn fault(&self, method: &'static str, part: &str, times: usize, fault: Fault) {
        let rule = Rule { method, part: part.into(), left: times, fault };
        self.state.lock().unwrap().rules.push(rule);
    }

    pub(crate) fn no_more_faults(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    pub(crate) fn limit(&self, bytes_per_second: Option<usize>) {
        self.state.lock().unwrap().rate = bytes_per_second;
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }

    fn serve(&self, stream: TcpStream, cdn: bool) {
        let Some(request) = read_request(&stream, cdn) else { return };
        let (mut answer, faults, rate) = {
            let mut state = self.state.lock().unwrap();
            state.log.push(request.clone());
            let mut faults = Vec::new();
            for rule in &mut state.rules {
                let meets =
                    rule.left > 0 && rule.method == request.method && request.path.contains(&rule.part);
                if meets {
                    rule.left -= 1;
                    faults.push(rule.fault.clone());
                }
            }
            let ranges = !faults.iter().any(|fault| matches!(fault, Fault::NoRanges));
            (self.answer(&state, &request, ranges), faults, state.rate)
        };
        let (mut end, mut stall) = (usize::MAX, None);
        for fault in faults {
            match fault {
                Fault::Status(status, headers) => {
                    answer = Answer::new(status);
                    for line in headers.lines() {
                        let (name, value) = line.split_once(": ").unwrap();
                        answer.set(name, value);
                    }
                }
                Fault::Break(after) => end = after,
                Fault::Stall(after, time) => (end, stall) = (after, Some(time)),
                Fault::Damage if !answer.body.is_empty() => {
                    let middle = answer.body.len() / 2;
                    answer.body[middle] ^= 1;
                }
                Fault::Damage | Fault::NoRanges => {}
                Fault::WrongRange => answer.set("Content-Range", "bytes 0-1/2"),
                Fault::Length(length) => answer.set("Content-Length", length),
                Fault::Longer(more) => {
                    answer.body.extend(vec![0; more]);
                    answer.headers.remove("Content-Length");
                }
                Fault::Without(name) => _ = answer.headers.remove(name),
                Fault::With(name, value) => answer.set(name, value),
                Fault::Body(body) => {
                    answer.set("Content-Length", body.len());
                    answer.body = body.into();
                }
            }
        }
        if request.method == "HEAD" {
            answer.body.clear();
        }
        _ = answer.send(stream, end, stall, rate);
    }

    fn answer(&self, state: &State, request: &Request, ranges: bool) -> Answer {
        let path = request.path.split('?').next().unwrap();
        if let Some(rest) = path.strip_prefix("/cdn/") {
            let (repository, file) = rest.rsplit_once('/').unwrap();
            return Answer::file(&state.repositories[repository].repository.files[file], request, ranges);
        }
        if let Some((name, revision)) =
            path.strip_prefix("/api/models/").and_then(|rest| rest.split_once("/tree/"))
        {
            let hosted = state.repositories.get(name).filter(|hosted| hosted.has_revision(revision));
            return hosted
                .map_or_else(|| Answer::refusal(404, "RepoNotFound"), |hosted| Answer::json(&hosted.tree()));
        }
        if let Some(rest) = path.strip_prefix("/api/models/") {
            let (name, revision) = rest.split_once("/revision/").unwrap_or((rest, "main"));
            let Some(hosted) = state.repositories.get(name) else {
                return Answer::refusal(401, "RepoNotFound");
            };
            return match hosted.has_revision(revision) {
                true => Answer::json(&hosted.listing(name)),
                false => Answer::refusal(404, "RevisionNotFound"),
            };
        }
        let cached = path.strip_prefix("/api/resolve-cache/models/");
        let (name, revision, file) = match cached {
            Some(rest) => {
                let parts: Vec<&str> = rest.splitn(4, '/').collect();
                (parts[..2].join("/"), parts[2], parts[3])
            }
            None => {
                let Some((name, rest)) = path[1..].split_once("/resolve/") else { return Answer::new(404) };
                let (revision, file) = rest.split_once('/').unwrap();
                (name.to_owned(), revision, file)
            }
        };
        let Some(hosted) = state.repositories.get(&name) else { return Answer::refusal(401, "RepoNotFound") };
        if !hosted.has_revision(revision) {
            return Answer::refusal(404, "RevisionNotFound");
        }
        let commit = &hosted.commit;
        let Some(bytes) = hosted.repository.files.get(file) else {
            let mut answer = Answer::refusal(404, "EntryNotFound");
            answer.set("X-Repo-Commit", commit);
            return answer;
        };
        let mut answer = if is_large(file) {
            let mut answer = Answer::new(302);
            let signed = format!("http://localhost:{}/cdn/{name}/{file}?Signature=secret", self.cdn);
            answer.set("Location", signed);
            answer.set("X-Linked-Etag", format!("\"{}\"", hosted.tags[file]));
            answer.set("X-Linked-Size", bytes.len());
            answer
        } else if cached.is_none() {
            let mut answer = Answer::new(307);
            answer.set("Location", format!("/api/resolve-cache/models/{name}/{commit}/{file}?etag=1"));
            answer
        } else {
            let mut answer = Answer::file(bytes, request, ranges);
            answer.set("ETag", format!("W/\"{}\"", hosted.tags[file]));
            answer
        };
        answer.set("X-Repo-Commit", commit);
        answer
    }
}

impl Hosted {
    /// What `huggingface_hub` asks for before it downloads a whole repository.
    fn tree(&self) -> Value {
        let file = |(name, bytes): (&String, &Vec<u8>)| {
            let mut file = json!({"type": "file", "path": name, "size": bytes.len(), "oid": git_sha1(bytes)});
            if is_large(name) {
                file["lfs"] = json!({"oid": self.tags[name], "size": bytes.len(), "pointerSize": 134});
            }
            file
        };
        self.repository.files.iter().map(file).collect()
    }

    fn listing(&self, name: &str) -> Value {
        let files: Vec<Value> = self.repository.files.keys().map(|name| json!({"rfilename": name})).collect();
        json!({
            "_id": "0", "id": name, "modelId": name, "sha": self.commit, "private": false, "gated": false,
            "tags": ["clip", "license:mit"], "cardData": {"license": "mit"}, "siblings": files,
        })
    }

    fn has_revision(&self, revision: &str) -> bool {
        ["main", "v1", "refs%2Fpr%2F1"].contains(&revision) || revision == self.commit
    }
}

/// Reads a request without a body.
fn read_request(stream: &TcpStream, cdn: bool) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    Some(Request { method, path, cdn, headers })
}
