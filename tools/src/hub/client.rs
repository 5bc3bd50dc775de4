//! Requests to a hub: redirects, the token, proxies, and patience with what fails in passing.

use super::address::Address;
use super::settings::Settings;
use crate::progress::Progress;
use crate::{Error, Result};
use ocelli::printable;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::thread;
use std::time::Duration;
use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// Most redirects on the way to a file.
const MAX_REDIRECTS: usize = 10;
/// Longest pause that a server may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(120);

/// Speaks to one hub, and to whom it redirects.
pub(super) struct Client<'s> {
    agent: Agent,
    settings: &'s Settings,
    progress: &'s dyn Progress,
    home: Address,
}

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// What there is to know about a file. Redirects to other servers are not followed: what a file is, its hub says.
    Head,
    /// All of something small.
    Small,
    /// A file from this byte on.
    From(u64),
}

/// A server's answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Who answered, after redirects.
    pub(super) at: Address,
    body: Body,
}

impl Reply {
    /// A header's text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header's number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    pub(super) fn into_reader(self) -> impl Read {
        self.body.into_with_config().limit(u64::MAX).reader()
    }

    fn is_redirect(&self) -> bool {
        matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308)
    }
}

/// Something that may go away by itself.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) problem: String,
    /// How long the server asks to wait.
    pub(super) pause: Option<Duration>,
}

impl Passing {
    pub(super) fn new(problem: impl Into<String>) -> Passing {
        Passing { problem: problem.into(), pause: None }
    }
}

/// Why something failed.
pub(super) enum Failure {
    Passing(Passing),
    Lasting(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Lasting(error)
    }
}

impl<'s> Client<'s> {
    pub(super) fn new(settings: &'s Settings, progress: &'s dyn Progress) -> Result<Client<'s>> {
        let home = Address::parse(&settings.endpoint)
            .map_err(|problem| Error::hub(format!("HF_ENDPOINT {:?}", settings.endpoint), problem))?;
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.certificates {
            let pem = fs::read(path).map_err(Error::io("read", path))?;
            let items: Result<Vec<PemItem<'static>>, _> = ureq::tls::parse_pem(&pem).collect();
            let items =
                items.map_err(|error| Error::file(path, format!("holds no certificates: {error}")))?;
            let certificates = items.into_iter().filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            });
            let certificates: Vec<_> = certificates.collect();
            if certificates.is_empty() {
                return Err(Error::file(path, "holds no certificates (SSL_CERT_FILE names it)"));
            }
            tls = tls.root_certs(RootCerts::from(certificates));
        }
        let timeout = Some(settings.timeout);
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .tls_config(tls.build())
            .timeout_resolve(timeout)
            .timeout_connect(timeout)
            .timeout_per_read(timeout)
            .timeout_per_write(timeout)
            .timeout_send_request(timeout)
            .timeout_recv_response(Some(settings.timeout * 3))
            .user_agent(concat!("ocelli-pack/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Client { agent, settings, progress, home })
    }

    /// The address of `path` at the hub.
    pub(super) fn address(&self, path: &str) -> Address {
        self.home.below(path)
    }

    /// Whether this address is at the hub, and not where it redirects to.
    pub(super) fn is_hub(&self, address: &Address) -> bool {
        address.same_origin(&self.home)
    }

    pub(super) fn has_token(&self) -> bool {
        self.settings.token.is_some()
    }

    /// Patience for one file or question.
    pub(super) fn patience(&self) -> Patience<'_> {
        let Settings { retries, pause, .. } = *self.settings;
        Patience { left: retries, pause, full: (retries, pause), progress: self.progress }
    }

    /// Asks, and asks again while the server is busy or the connection breaks. Any other status is an answer.
    pub(super) fn ask(&self, ask: Ask, address: &Address, patience: &mut Patience<'_>) -> Result<Reply> {
        loop {
            match self.once(ask, address) {
                Ok(reply) => return Ok(reply),
                Err(Failure::Passing(passing)) => patience.pause(address, &passing)?,
                Err(Failure::Lasting(error)) => return Err(error),
            }
        }
    }

    /// Asks once. A busy server is a failure in passing.
    pub(super) fn once(&self, ask: Ask, address: &Address) -> Result<Reply, Failure> {
        let reply = self.follow(ask, address)?;
        match busy(&reply) {
            None => Ok(reply),
            Some(passing) => Err(Failure::Passing(passing)),
        }
    }

    /// Asks, and reads an answer of at most `limit` bytes whole.
    pub(super) fn read(&self, address: &Address, limit: u64) -> Result<(StatusCode, HeaderMap, Vec<u8>)> {
        let mut patience = self.patience();
        loop {
            let reply = self.ask(Ask::Small, address, &mut patience)?;
            let (status, headers) = (reply.status, reply.headers.clone());
            let mut bytes = Vec::new();
            match reply.into_reader().take(limit + 1).read_to_end(&mut bytes) {
                Ok(_) if bytes.len() as u64 > limit => {
                    let problem = format!("answers with more than {limit} bytes, which nobody needs");
                    return Err(Error::hub(address.to_string(), problem));
                }
                Ok(_) => return Ok((status, headers, bytes)),
                Err(error) => patience.pause(address, &Passing::new(reason(&error)))?,
            }
        }
    }

    /// One request, and those that redirects lead to.
    fn follow(&self, ask: Ask, start: &Address) -> Result<Reply, Failure> {
        let mut at = start.clone();
        for _ in 0..=MAX_REDIRECTS {
            let reply = self.send(ask, &at)?;
            if !reply.is_redirect() {
                return Ok(reply);
            }
            let location = reply.header("location").unwrap_or_default();
            let next = at.join(location).map_err(|problem| {
                Error::hub(at.to_string(), format!("redirects to {:?}, which {problem}", printable(location)))
            })?;
            if ask == Ask::Head && !next.same_origin(&at) {
                return Ok(reply);
            }
            at = next;
        }
        let problem = format!("redirects more than {MAX_REDIRECTS} times");
        Err(Error::hub(start.to_string(), problem).into())
    }

    /// One request. The token goes to the hub itself and nobody else.
    fn send(&self, ask: Ask, to: &Address) -> Result<Reply, Failure> {
        let request = if ask == Ask::Head { self.agent.head(to.full()) } else { self.agent.get(to.full()) };
        let mut request = request.header("Accept-Encoding", "identity");
        if let Ask::From(start @ 1..) = ask {
            request = request.header("Range", format!("bytes={start}-"));
        }
        if let Some(token) = self.settings.token.as_ref().filter(|_| self.is_hub(to)) {
            request = request.header("Authorization", token.header());
        }
        let mut config = request.config();
        if let Some(proxy) = self.settings.proxies.of(to) {
            // Not repeated in the message: it may hold a password.
            let proxy = ureq::Proxy::new(proxy).map_err(|_| {
                Error::hub(
                    to.to_string(),
                    "cannot be asked: HTTPS_PROXY, HTTP_PROXY or ALL_PROXY holds no address",
                )
            })?;
            config = config.proxy(Some(proxy));
        }
        if ask == Ask::Small {
            config = config.timeout_recv_body(Some(self.settings.timeout * 30));
        }
        let response = config.build().call().map_err(|error| failure(error, to))?;
        let (parts, body) = response.into_parts();
        Ok(Reply { status: parts.status, headers: parts.headers, at: to.clone(), body })
    }
}

/// What a failed request means.
fn failure(error: ureq::Error, to: &Address) -> Failure {
    use ureq::Error as E;
    // The standard library gives such errors no kind of their own.
    let is_lookup = |error: &io::Error| error.to_string().contains("lookup address");
    match error {
        E::Io(error) if is_lookup(&error) => failure(E::HostNotFound, to),
        // What is wrong with a certificate does not go away.
        E::Io(error) if error.kind() == ErrorKind::InvalidData => {
            let problem = format!(
                "is not trusted: {error}. SSL_CERT_FILE names a file with the certificates of a proxy or mirror"
            );
            Failure::Lasting(Error::hub(to.to_string(), problem))
        }
        E::Io(error) => Failure::Passing(Passing::new(format!("cannot be reached: {error}"))),
        E::Timeout(phase) => Failure::Passing(Passing::new(format!("is silent ({phase})"))),
        E::ConnectionFailed | E::Protocol(_) => Failure::Passing(Passing::new(error.to_string())),
        E::HostNotFound => {
            let problem = "cannot be reached: there is no such host, or no connection. HF_HUB_OFFLINE=1 uses what was \
                           downloaded before, HF_ENDPOINT another server";
            Failure::Lasting(Error::hub(to.to_string(), problem))
        }
        other => Failure::Lasting(Error::hub(to.to_string(), format!("cannot be asked: {other}"))),
    }
}

/// Why reading an answer failed.
pub(super) fn reason(error: &io::Error) -> String {
    format!("the connection broke: {error}")
}

/// Whether a server asks to come back later.
fn busy(reply: &Reply) -> Option<Passing> {
    let status = reply.status;
    if !matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504) {
        return None;
    }
    Some(Passing {
        problem: format!("answers {status}"),
        pause: reply.number("retry-after").map(Duration::from_secs),
    })
}

/// How often something is tried again, and after how long.
pub(super) struct Patience<'a> {
    left: u32,
    pause: Duration,
    full: (u32, Duration),
    progress: &'a dyn Progress,
}

impl Patience<'_> {
    /// Waits before the next try.
    ///
    /// # Errors
    /// It was tried often enough, or the server asks for too long a pause.
    pub(super) fn pause(&mut self, at: &dyn std::fmt::Display, passing: &Passing) -> Result<()> {
        let Passing { problem, pause } = passing;
        let advice = "try again later: what was downloaded is kept";
        if self.left == 0 {
            let tries = self.full.0 + 1;
            return Err(Error::hub(at.to_string(), format!("{problem} (tried {tries} times); {advice}")));
        }
        let pause = pause.unwrap_or(self.pause);
        if pause > MAX_PAUSE {
            let seconds = pause.as_secs();
            return Err(Error::hub(
                at.to_string(),
                format!("{problem} and asks to wait {seconds} s; {advice}"),
            ));
        }
        self.progress.warn(&format!("{at}: {problem}; again in {} s", pause.as_secs_f32()));
        thread::sleep(pause);
        self.left -= 1;
        self.pause *= 2;
        Ok(())
    }

    /// Something was achieved: the count begins anew.
    pub(super) fn renew(&mut self) {
        (self.left, self.pause) = self.full;
    }
}
