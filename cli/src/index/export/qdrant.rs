//! Points for a Qdrant server, over its HTTP interface (Qdrant's documentation, "Collections" and "Points").

use super::{Line, Source};
use crate::console::{Console, Failure};
use ocelli::{Error, excerpt};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::Read;
use std::time::Duration;
use ureq::Agent;

/// Points in one request: about two megabytes.
const STEP: usize = 256;
/// How long the server may take for one request.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes of an answer that are read.
const ANSWER: u64 = 1 << 20;

#[derive(Serialize)]
struct Point {
    id: String,
    vector: Vec<f32>,
    payload: Line,
}

pub(super) fn put(source: &Source, url: &str, console: &Console) -> Result<(), Failure> {
    let url = url.trim_end_matches('/');
    if !url.starts_with("http://") || !url.contains("/collections/") {
        let expected =
            "expected http://HOST:6333/collections/NAME; for https, put a proxy or a tunnel in between";
        return Err(Failure::Usage(format!("--qdrant {:?}: {expected}", excerpt(url))));
    }
    let config = Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    let server = Server { agent: config.build().into(), url, key: std::env::var("QDRANT_API_KEY").ok() };
    let (status, answer) = server.ask("GET", "", None)?;
    match status {
        200 => {
            let size = &answer["result"]["config"]["params"]["vectors"]["size"];
            if size.as_u64() != Some(source.dim as u64) {
                let problem = format!(
                    "{url}: the collection has vectors of {size} values, and the index of {}",
                    source.dim
                );
                return Err(Error::Message(problem).into());
            }
        }
        404 => {
            let vectors = json!({"vectors": {"size": source.dim, "distance": "Cosine"}});
            server.expect("PUT", "", &vectors)?;
        }
        _ => return Err(server.refused(status, &answer).into()),
    }
    console.start(source.entries.len());
    for few in source.entries.chunks(STEP) {
        let points = few.iter().map(|entry| {
            let mut vector = vec![0.0; source.dim];
            source.vector(entry, &mut vector)?;
            let payload = Line::new(entry);
            Ok(Point { id: uuid(&payload.hash), vector, payload })
        });
        let points: Vec<Point> = points.collect::<Result<_, Failure>>()?;
        server.expect("PUT", "/points?wait=true", &json!({"points": points}))?;
        console.step(few.len());
    }
    console.done();
    Ok(())
}

/// A hash of 32 digits as a UUID: a picture has the same point in every export.
fn uuid(hash: &str) -> String {
    [&hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..]].join("-")
}

struct Server<'a> {
    agent: Agent,
    url: &'a str,
    key: Option<String>,
}

impl Server<'_> {
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value), Error> {
        let url = format!("{}{path}", self.url);
        let failed = |error: ureq::Error| Error::Message(format!("{}: {error}", self.url));
        let mut request = ureq::http::Request::builder().method(method).uri(&url);
        if let Some(key) = &self.key {
            request = request.header("api-key", key);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.header("content-type", "application/json").body(body);
        let request = request.map_err(|error| Error::Message(format!("{url}: {error}")))?;
        let mut answer = self.agent.run(request).map_err(failed)?;
        let mut text = String::new();
        let read = answer.body_mut().as_reader().take(ANSWER).read_to_string(&mut text);
        read.map_err(|source| Error::Io { action: "read the answer", source }.in_file(self.url))?;
        Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    fn expect(&self, method: &str, path: &str, body: &Value) -> Result<(), Error> {
        match self.ask(method, path, Some(body))? {
            (200, _) => Ok(()),
            (status, answer) => Err(self.refused(status, &answer)),
        }
    }

    fn refused(&self, status: u16, answer: &Value) -> Error {
        let why = answer["status"]["error"].as_str().map_or_else(|| answer.to_string(), str::to_owned);
        Error::Message(format!("{}: the server answers {status}: {}", self.url, excerpt(&why)))
    }
}
