//! Addresses on the web, and where a redirect leads.

use std::fmt;
use ureq::http::Uri;

/// An address of HTTP or HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) https: bool,
    /// In lower case.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    target: String,
}

impl Address {
    /// Reads an absolute address; says what is wrong with it otherwise.
    pub(super) fn parse(text: &str) -> Result<Address, String> {
        let uri: Uri = text.parse().map_err(|error| format!("is no address: {error}"))?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(other) => return Err(format!("is an address of {other:?}, not of http or https")),
            None => return Err("is no address of http or https".into()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("names no host")?.to_ascii_lowercase();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("has a user name in it".into());
        }
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Address { https, host, port, target })
    }

    /// The address of `path` on the same server, below this one's own path.
    pub(super) fn below(&self, path: &str) -> Address {
        Address { target: format!("{}/{path}", self.target.trim_end_matches('/')), ..self.clone() }
    }

    /// Where a redirect from here to `location` leads.
    pub(super) fn join(&self, location: &str) -> Result<Address, String> {
        let scheme = if self.https { "https" } else { "http" };
        let to = if location.starts_with("//") {
            Address::parse(&format!("{scheme}:{location}"))?
        } else if location.starts_with('/') {
            Address::parse(&format!("{scheme}://{}{location}", self.authority()))?
        } else {
            Address::parse(location)?
        };
        if self.https && !to.https { Err("leads from https to http".into()) } else { Ok(to) }
    }

    /// Whether both are served by the same server in the same way: what may be told one may be told the other.
    pub(super) fn same_origin(&self, other: &Address) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// For the request itself.
    pub(super) fn full(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let default = if self.https { 443 } else { 80 };
        let authority = if self.port == default { self.host.clone() } else { self.authority() };
        format!("{scheme}://{authority}{}", self.target)
    }
}

/// Without the query, in which hubs put signatures that open the file to anybody.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = self.full();
        f.write_str(full.split('?').next().unwrap_or(&full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_browsers_go_and_never_off_the_web() {
        let from = Address::parse("https://Hub.Example/a/b?x=1").unwrap();
        for (location, expected) in [
            ("/c/d?e", "https://hub.example/c/d?e"),
            ("//cdn.example/c", "https://cdn.example/c"),
            ("https://cdn.example:8443/c", "https://cdn.example:8443/c"),
        ] {
            assert_eq!(from.join(location).unwrap().full(), expected);
        }
        for location in [
            "file:///etc/passwd",
            "ftp://x/y",
            "http://hub.example/c",
            "https://u:p@cdn.example/c",
            "c",
            "",
            "https://",
        ] {
            assert!(from.join(location).is_err(), "{location}");
        }
        let plain = Address::parse("http://hub.example").unwrap();
        assert!(plain.join("https://hub.example/").is_ok());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let home = Address::parse("https://hub.example/").unwrap();
        for (other, same) in [
            ("https://HUB.example:443/x", true),
            ("http://hub.example/x", false),
            ("https://hub.example:8443/x", false),
            ("https://hub.example.evil/x", false),
            ("https://cdn.hub.example/x", false),
        ] {
            assert_eq!(home.same_origin(&Address::parse(other).unwrap()), same, "{other}");
        }
    }

    #[test]
    fn what_is_shown_has_no_query() {
        let address = Address::parse("https://cdn.example/f?Signature=secret").unwrap();
        assert_eq!(address.to_string(), "https://cdn.example/f");
    }
}
