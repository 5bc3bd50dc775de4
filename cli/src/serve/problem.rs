//! What is wrong with a request, as every dialect is told it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ocelli::{Error, PictureFault};
use serde_json::json;
use std::fmt;

/// Why a request is not answered: a status, a message for people, and perhaps when to try again.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) message: String,
    retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Problem {
        Problem { status, message: message.into(), retry_after: None }
    }

    /// 400: the request makes no sense.
    pub(super) fn bad(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, message)
    }

    /// 500: it is not the client's fault.
    pub(super) fn broken(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 503: there is no room now; there may be in `seconds`.
    pub(super) fn busy(message: impl Into<String>, seconds: u64) -> Problem {
        Problem { retry_after: Some(seconds), ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// The same, with the part of the request that it is about.
    pub(super) fn of_part(self, part: &str) -> Problem {
        Problem { message: format!("{part}: {}", self.message), ..self }
    }

    /// `error`, which a picture or text of the client's caused.
    pub(super) fn of_input(error: &Error) -> Problem {
        let status = match error {
            Error::Picture { fault: PictureFault::TooLarge, .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, error.to_string().trim_end())
    }

    /// `error`, which the server's own files or memory caused.
    pub(super) fn of_server(error: &Error) -> Problem {
        Problem::broken(error.to_string().trim_end())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// It travels through the multipart parser as an error of the stream that this one reads.
impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    /// `error` is the shape of OpenAI's service, `detail` that of Immich's and Roboflow's.
    fn into_response(self) -> Response {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::NOT_FOUND => "not_found_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let error = json!({ "message": self.message, "type": kind, "param": null, "code": null });
        let body = Json(json!({ "error": error, "detail": self.message }));
        let mut response = (self.status, body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
