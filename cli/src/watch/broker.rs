//! The address of an MQTT broker.

use ocelli::{Error, Result};
use std::path::Path;

/// `mqtt://[user[:password]@]host[:port]/topic`, its parts percent-decoded.
#[derive(Clone, PartialEq)]
pub(super) struct Broker {
    pub(super) host: String,
    pub(super) port: u16,
    /// User and password.
    pub(super) credentials: Option<(String, String)>,
    /// What all topics start with, without a slash at its end.
    pub(super) topic: String,
}

/// Without the password.
impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mqtt://{}:{}/{}", self.host, self.port, self.topic)
    }
}

impl Broker {
    /// # Errors
    /// What is wrong with `url`.
    pub(super) fn parse(url: &str) -> Result<Broker, String> {
        let form = "expected mqtt://[USER@]HOST[:PORT]/TOPIC";
        let Some(rest) = url.strip_prefix("mqtt://") else {
            return Err(match url.starts_with("mqtts://") {
                true => "TLS is not possible (mqtts): use mqtt:// on your own network, or a broker on this machine \
                         that bridges with TLS"
                    .into(),
                false => form.into(),
            });
        };
        let (place, topic) = rest.split_once('/').ok_or(form)?;
        let topic = decoded(topic.trim_end_matches('/'))?;
        if topic.is_empty() || topic.starts_with('/') || topic.contains(['+', '#', '\0']) {
            return Err(format!("{form}; a topic to publish under has no + and no #"));
        }
        let (login, place) = match place.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, place),
        };
        let credentials = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => Some((decoded(user)?, decoded(password)?)),
            None => None,
        };
        // An IPv6 address stands in brackets.
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| format!("{port:?} is no port; {form}"))?)
            }
            _ => (place, 1883),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        match host.is_empty() {
            true => Err(form.into()),
            false => Ok(Broker { host, port, credentials, topic }),
        }
    }

    /// Takes the password from the first line of `path`.
    ///
    /// # Errors
    /// The system's; or the URL names no user.
    pub(super) fn read_password(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Io { action: "read the password", source }.in_file(path))?;
        let Some((_, password)) = &mut self.credentials else {
            return Err(Error::Message(
                "--mqtt-password-file: the URL names no user, as in mqtt://user@host/topic".into(),
            ));
        };
        *password = text.lines().next().unwrap_or_default().to_owned();
        Ok(())
    }
}

/// `text` with its `%XX` replaced.
fn decoded(text: &str) -> Result<String, String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(hex.ok_or("a % in the URL must be followed by two hexadecimal digits")?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| "the URL is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_their_parts() {
        let parse = |url: &str| Broker::parse(url).map(|b| (b.host, b.port, b.credentials, b.topic));
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(parse("mqtt://broker/ocelli"), Ok(("broker".into(), 1883, None, "ocelli".into())));
        assert_eq!(
            parse("mqtt://me:p%40ss@10.0.0.2:1884/home/garden%20door/"),
            Ok(("10.0.0.2".into(), 1884, login("me", "p@ss"), "home/garden door".into()))
        );
        assert_eq!(parse("mqtt://me@[::1]/x"), Ok(("::1".into(), 1883, login("me", ""), "x".into())));
        assert_eq!(parse("mqtt://[fe80::1]:1/x"), Ok(("fe80::1".into(), 1, None, "x".into())));
        for (url, part) in [
            ("broker/topic", "expected mqtt://"),
            ("mqtts://broker/topic", "TLS"),
            ("mqtt://broker", "expected"),
            ("mqtt://broker/", "topic"),
            ("mqtt://broker/a/#", "topic"),
            ("mqtt:///topic", "expected"),
            ("mqtt://broker:99999/x", "no port"),
            ("mqtt://a%zz@b/x", "hexadecimal"),
        ] {
            assert!(parse(url).unwrap_err().contains(part), "{url}");
        }
        let secret = Broker::parse("mqtt://me:secret@h/x").unwrap();
        assert_eq!(format!("{secret:?}"), "mqtt://h:1883/x");
    }
}
