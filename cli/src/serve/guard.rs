//! What happens to every request before and after its route: key, origin, time, log.

use super::intake::Shared;
use super::metrics::Metrics;
use super::problem::Problem;
use super::service::App;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ocelli::{Error, Result, printable};
use serde_json::json;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use subtle::ConstantTimeEq;

/// Routes that need no key: they say nothing, and what probes a server has no key.
const OPEN: [&str; 4] = ["/", "/ping", "/healthz", "/openapi.json"];

/// Where a request comes from.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// The keys that open the server; none means that it is open.
pub(super) struct Keys(Vec<String>);

impl Keys {
    /// The keys in a file, one per line; lines that start with `#` are comments.
    ///
    /// # Errors
    /// It cannot be read, or has no key of at least 16 characters.
    pub(super) fn read(path: Option<&Path>) -> Result<Keys> {
        let Some(path) = path else { return Ok(Keys(Vec::new())) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Io { action: "read the keys", source }.in_file(path))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<String> = lines.map(str::to_owned).collect();
        let problem = if keys.is_empty() {
            "no key in it: write one per line"
        } else if keys.iter().any(|key| key.len() < 16) {
            "a key of fewer than 16 characters can be guessed: make one with openssl rand -hex 16"
        } else {
            return Ok(Keys(keys));
        };
        Err(Error::Message(problem.into()).in_file(path))
    }

    /// Whether a request may pass: its key is one of ours. Compared in constant time, all of them.
    fn admit(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let header = |name: &str| headers.get(name).map(|value| value.as_bytes().to_vec());
        let bearer = header("authorization").and_then(|value| match value.split_at_checked(7) {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(key.to_vec()),
            _ => None,
        });
        let query = || {
            let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
            pairs
                .filter(|(name, _)| name == "api_key")
                .map(|(_, value)| value.into_owned().into_bytes())
                .next()
        };
        let given = bearer.or_else(|| header("x-api-key")).or_else(query).unwrap_or_default();
        let same = |key: &String| bool::from(key.as_bytes().ct_eq(&given));
        self.0.is_empty() | self.0.iter().fold(false, |admitted, key| admitted | same(key))
    }
}

/// Who may ask, and where answers are told of.
pub(super) struct Guard {
    pub(super) app: App,
    pub(super) keys: Keys,
    /// Other sites whose pages may ask.
    pub(super) origins: Vec<HeaderValue>,
    pub(super) log: Log,
    pub(super) metrics: Arc<Metrics>,
}

/// Lets a request through if it may pass, within its time; counts and logs how it went.
pub(super) async fn watch(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let peer = request.extensions().get::<Peer>().copied();
    let (head, body) = request.into_parts();
    let body = Shared::new(body);
    let request = Request::from_parts(head, Body::new(body.clone()));
    let mut response = match guard.check(&request, &route) {
        Ok(()) => match tokio::time::timeout(guard.app.time, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let message = format!("the answer took longer than {} s", guard.app.time.as_secs());
                Problem::busy(message, 10).into_response()
            }
        },
        Err(problem) => problem.into_response(),
    };
    if !response.status().is_success() {
        body.drain(2 * guard.app.intake.most()).await;
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let status = response.status().as_u16();
    guard.metrics.request(known(&method), &route, status);
    guard.log.request(peer, method.as_str(), uri.path(), status, start);
    response
}

/// A method's name, or `other`.
fn known(method: &Method) -> &'static str {
    let methods = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"];
    methods.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

impl Guard {
    fn check(&self, request: &Request, route: &str) -> Result<(), Problem> {
        let headers = request.headers();
        if let Some(origin) = headers.get(header::ORIGIN)
            && !self.origins.contains(origin)
            && !same_site(origin, headers.get(header::HOST))
        {
            let message = "requests from pages of other sites are refused; --cors ORIGIN allows one";
            return Err(Problem::new(StatusCode::FORBIDDEN, message));
        }
        if !OPEN.contains(&route) && !self.keys.admit(headers, request.uri()) {
            let message = "a key is needed, as Authorization: Bearer KEY or x-api-key: KEY";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, message));
        }
        Ok(())
    }
}

/// Whether a page of `origin` was loaded from `host`, as its browser names both.
fn same_site(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), host.map(HeaderValue::to_str)) else { return false };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

/// One line on stderr for each request.
#[derive(Clone, Copy)]
pub(super) struct Log {
    pub(super) quiet: bool,
    pub(super) json: bool,
}

impl Log {
    fn request(self, peer: Option<Peer>, method: &str, path: &str, status: u16, start: Instant) {
        let peer = peer.map(|Peer(address)| address.ip().to_string()).unwrap_or_default();
        let ms = crate::console::round_ms(crate::console::ms_since(start));
        // A query may have a key in it, so it is not shown.
        match self.json {
            true => self.write(
                &json!({"peer": peer, "method": method, "path": path, "status": status, "ms": ms})
                    .to_string(),
            ),
            false => self.write(&format!("{peer} {method} {path} {status} {ms} ms")),
        }
    }

    /// Something that happened, other than a request.
    pub(super) fn event(self, message: &str) {
        match self.json {
            true => self.write(&json!({ "event": message }).to_string()),
            false => self.write(&format!("ocelli: {message}")),
        }
    }

    /// That nobody may read it is no failure.
    fn write(self, line: &str) {
        if !self.quiet {
            let _ = std::io::stderr().write_all(format!("{}\n", printable(line)).as_bytes());
        }
    }
}
