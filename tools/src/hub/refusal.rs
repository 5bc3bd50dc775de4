//! What a hub's refusal means, and what to do.

use super::client::{Client, Reply};
use super::reference::Reference;
use super::table;
use crate::Error;
use ocelli::printable;
use ureq::http::{HeaderMap, StatusCode};

/// The hub's own name for what is wrong.
const CODE: &str = "x-error-code";
/// Longest message of a server that is repeated.
const MAX_MESSAGE: usize = 200;

/// Why a request about a repository was refused.
pub(super) struct Refusal {
    status: StatusCode,
    code: String,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap) -> Refusal {
        let text = |name: &str| {
            let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            printable(&text.chars().take(MAX_MESSAGE).collect::<String>()).to_string()
        };
        Refusal { status, code: text(CODE), message: text("x-error-message") }
    }

    pub(super) fn of(reply: &Reply) -> Refusal {
        Refusal::new(reply.status, &reply.headers)
    }

    /// Whether it is the file that is missing, not the repository.
    pub(super) fn is_entry(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
            && !["RepoNotFound", "RevisionNotFound"].contains(&self.code.as_str())
    }

    /// Whether the server knows nothing of the question: it may be no hub, or a simple mirror of one.
    pub(super) fn is_unknown(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.code.is_empty()
    }

    /// The error for a question about `reference`; `file` is the one that was asked for, if one was.
    pub(super) fn error(&self, client: &Client<'_>, reference: &Reference, file: Option<&str>) -> Error {
        let name = &reference.repository;
        let page = client.address(name);
        let problem = match (self.status.as_u16(), self.code.as_str(), file) {
            (_, "GatedRepo", _) | (403, _, _) if client.has_token() => format!(
                "is gated, and the token has no access: accept its conditions at {page} with the account that the token \
                 is of, and see that the token may read it"
            ),
            (_, "GatedRepo", _) | (403, _, _) => format!(
                "is gated: accept its conditions at {page}, make a token at {}, and set HF_TOKEN to it",
                client.address("settings/tokens")
            ),
            (_, "RevisionNotFound", _) => {
                format!("has no revision {:?}: {page} lists them", reference.revision)
            }
            (404, "EntryNotFound", Some(file)) => {
                format!("has no file {file} in revision {:?}", reference.revision)
            }
            (401, code, _) if client.has_token() && code != "RepoNotFound" => {
                "cannot be read: the hub does not accept the token (HF_TOKEN, or the file that a login wrote)"
                    .into()
            }
            (401 | 404, _, _) => {
                let token = if client.has_token() {
                    "or the token may not read it"
                } else {
                    "or it is private: set HF_TOKEN"
                };
                let near = table::suggestions(name);
                let near =
                    if near.is_empty() { String::new() } else { format!(". Near: {}", near.join(", ")) };
                format!("is not at {}, {token}{near}", client.address(""))
            }
            (status, _, _) => format!("was refused: the hub answers {status}"),
        };
        let message =
            if self.message.is_empty() { String::new() } else { format!(" (it says: {})", self.message) };
        Error::hub(name, problem + &message)
    }
}
