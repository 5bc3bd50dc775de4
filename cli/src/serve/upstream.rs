//! Another server that speaks Immich's dialect, for what this one cannot do.

use super::intake::{Form, form_problem};
use super::problem::Problem;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, Uri, header};
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Set on requests that were passed on: two servers that name each other would pass them on forever.
pub(super) const PASSED_ON: &str = "x-ocelli-passed-on";
/// Most bytes of an answer.
const MAX_ANSWER: usize = 16 << 20;
/// How long the other server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// The other server.
pub(super) struct Upstream {
    base: String,
    client: Client<HttpConnector, Body>,
    time: Duration,
}

impl Upstream {
    /// The server at `url`, `http://host[:port][/path]`, which may take `time` for an answer.
    ///
    /// # Errors
    /// Not such an address.
    pub(super) fn new(url: &str, time: Duration) -> Result<Upstream, String> {
        let wrong = |why: &str| format!("--upstream {url}: {why}");
        let uri: Uri = url.parse().map_err(|_| wrong("not an address, as in http://immich-ml:3003"))?;
        match uri.scheme_str() {
            Some("http") if uri.host().is_some() && uri.query().is_none() => {}
            Some("https") => {
                return Err(wrong("https is not spoken here; reach the server over a private network"));
            }
            _ => return Err(wrong("not an address, as in http://immich-ml:3003")),
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(4).build(connector);
        Ok(Upstream { base: url.trim_end_matches('/').to_owned(), client, time })
    }

    /// Asks the other server for `form`, and gives its answer, a JSON object.
    pub(super) async fn predict(&self, form: Outgoing) -> Result<Map<String, Value>, Problem> {
        let Outgoing { boundary, body, fault } = form;
        let request = Request::post(format!("{}/predict", self.base))
            .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
            .header(PASSED_ON, "1")
            .body(body)
            .map_err(|error| Problem::broken(format!("the request cannot be passed on: {error}")))?;
        let answer = tokio::time::timeout(self.time, self.answer(request)).await;
        // What was wrong with the client's own body comes first.
        if let Some(problem) = fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(problem);
        }
        answer.unwrap_or_else(|_| {
            let message = format!("the server upstream did not answer within {} s", self.time.as_secs());
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, message))
        })
    }

    async fn answer(&self, request: Request<Body>) -> Result<Map<String, Value>, Problem> {
        let gateway = |message: String| Problem::new(StatusCode::BAD_GATEWAY, message);
        let response = self.client.request(request).await.map_err(|error| {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            gateway(format!("the server upstream cannot be reached: {error}{cause}"))
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let bytes =
            body.map_err(|error| gateway(format!("the answer from upstream broke off: {error}")))?.to_bytes();
        if !status.is_success() {
            let start: String = String::from_utf8_lossy(&bytes).chars().take(500).collect();
            let message = format!("the server upstream answered {status}: {start}");
            return Err(match status.is_client_error() {
                true => Problem::new(status, message),
                false => gateway(message),
            });
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(answer)) => Ok(answer),
            Ok(_) => Err(gateway("the answer from upstream is no JSON object".into())),
            Err(error) => Err(gateway(format!("the answer from upstream is no JSON: {error}"))),
        }
    }
}

/// A form on its way to the other server.
pub(super) struct Outgoing {
    boundary: String,
    body: Body,
    /// What went wrong with the part of it that is still coming in.
    fault: Arc<Mutex<Option<Problem>>>,
}

impl Outgoing {
    /// A form of `parts`, and of what is still to come of `rest`, which is not kept in memory.
    pub(super) fn new(parts: Vec<(String, Bytes)>, rest: Option<Form>) -> Outgoing {
        // Longer than chance: no part has this in it, unless its sender wants to confuse the other server about his own
        // request.
        let boundary = format!("ocelli-{:032x}", random());
        let fault = Arc::<Mutex<Option<Problem>>>::default();
        let (start, end) = (boundary.clone(), format!("--{boundary}--\r\n"));
        let known = parts.into_iter().flat_map(move |(name, bytes)| {
            let head = head(&start, &name, name == "image");
            [head.into(), bytes, Bytes::from_static(b"\r\n")]
        });
        let noted = Arc::clone(&fault);
        let rest = passed(rest, boundary.clone()).map(move |chunk| {
            chunk.inspect_err(|problem| {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem.clone());
            })
        });
        let body = stream::iter(known.map(Ok)).chain(rest).chain(stream::iter([Ok(end.into())]));
        Outgoing { boundary, body: Body::from_stream(body), fault }
    }
}

/// What comes before a part's bytes.
fn head(boundary: &str, name: &str, is_file: bool) -> String {
    let file = if is_file { "; filename=\"blob\"\r\nContent-Type: application/octet-stream" } else { "" };
    // A name from a client is put between quotes again, as browsers do it (WHATWG HTML, multipart/form-data).
    let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
    format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
}

/// Where the passing on of a form is.
enum State {
    Between(Form),
    Inside(Form, Box<multer::Field<'static>>),
}

/// The parts of `form` as they come in.
fn passed(form: Option<Form>, boundary: String) -> impl Stream<Item = Result<Bytes, Problem>> {
    let state = form.map(State::Between);
    stream::try_unfold((state, boundary), async |(state, boundary)| {
        Ok(match state {
            None => None,
            Some(State::Between(mut form)) => match form.field().await? {
                None => None,
                Some(field) => {
                    let name = field.name().unwrap_or_default().to_owned();
                    let head = head(&boundary, &name, name == "image" || field.file_name().is_some());
                    Some((head.into(), (Some(State::Inside(form, Box::new(field))), boundary)))
                }
            },
            Some(State::Inside(form, mut field)) => match field.chunk().await.map_err(form_problem)? {
                Some(chunk) => Some((chunk, (Some(State::Inside(form, field)), boundary))),
                None => Some((Bytes::from_static(b"\r\n"), (Some(State::Between(form)), boundary))),
            },
        })
    })
}

/// A number that nobody can foresee: the standard library's hashers are seeded by the system.
fn random() -> u128 {
    use std::hash::{BuildHasher, RandomState};

    let half = || u128::from(RandomState::new().hash_one(()));
    half() << 64 | half()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_is_spoken() {
        let time = Duration::from_secs(1);
        for url in ["http://immich-ml:3003", "http://[::1]:3003/", "http://host/ml"] {
            assert!(Upstream::new(url, time).is_ok(), "{url}");
        }
        for url in ["https://host", "host:3003", "/path", "", "ftp://host", "http://host/?a=b"] {
            assert!(Upstream::new(url, time).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn names_cannot_break_out_of_their_header() {
        let form = Outgoing::new(vec![("a\"\r\nx: y".into(), Bytes::from_static(b"z"))], None);
        let bytes = form.body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let b = &form.boundary;
        let expected = format!(
            "--{b}\r\nContent-Disposition: form-data; name=\"a%22%0D%0Ax: y\"\r\n\r\nz\r\n--{b}--\r\n"
        );
        assert_eq!(text, expected);
    }
}
