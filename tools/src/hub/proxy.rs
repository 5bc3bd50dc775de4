//! Which proxy a request goes through: the variables that curl and Python's libraries know.

use super::address::Address;

/// The proxies of the environment.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For https, for http.
    pub(super) https: Option<String>,
    pub(super) http: Option<String>,
    /// Hosts that are reached without one: `host`, `host:port`, `.domain`, `*.domain` or `*`, separated by commas. A
    /// host stands for its subdomains too.
    pub(super) direct: String,
}

impl Proxies {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, each also in lower case, which comes first.
    pub(super) fn read(get: &dyn Fn(&str) -> Option<String>) -> Proxies {
        let either = |name: &str| {
            get(&name.to_ascii_lowercase()).or_else(|| get(name)).filter(|value| !value.trim().is_empty())
        };
        let all = either("ALL_PROXY");
        Proxies {
            https: either("HTTPS_PROXY").or_else(|| all.clone()),
            http: either("HTTP_PROXY").or(all),
            direct: either("NO_PROXY").unwrap_or_default(),
        }
    }

    /// The proxy on the way to `address`.
    pub(super) fn of(&self, address: &Address) -> Option<&str> {
        let proxy = if address.https { &self.https } else { &self.http };
        proxy.as_deref().filter(|_| !self.is_direct(address))
    }

    fn is_direct(&self, address: &Address) -> bool {
        self.direct.split([',', ' ']).filter(|entry| !entry.is_empty()).any(|entry| {
            let (host, port) = match entry.rsplit_once(':') {
                Some((host, port)) if port.parse::<u16>().is_ok() => (host, port.parse().ok()),
                _ => (entry, None),
            };
            let domain = host.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
            let within = host == "*"
                || address.host == domain
                || address.host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
            within && port.is_none_or(|port: u16| port == address.port)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_have_their_own_proxy_and_some_hosts_none() {
        let get = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://upper:1".into()),
            "https_proxy" => Some("http://lower:1".into()),
            "ALL_PROXY" => Some("http://all:1".into()),
            "NO_PROXY" => Some("localhost,.inner.example, ten.example:8080".into()),
            _ => None,
        };
        let proxies = Proxies::read(&get);
        for (address, expected) in [
            ("https://huggingface.co/", Some("http://lower:1")),
            ("http://huggingface.co/", Some("http://all:1")),
            ("http://localhost:3000/", None),
            ("https://a.inner.example/", None),
            ("https://notinner.example/", Some("http://lower:1")),
            ("http://ten.example:8080/", None),
            ("http://ten.example/", Some("http://all:1")),
        ] {
            assert_eq!(proxies.of(&Address::parse(address).unwrap()), expected, "{address}");
        }
        let everything = Proxies { direct: "*".into(), ..proxies };
        assert_eq!(everything.of(&Address::parse("https://huggingface.co/").unwrap()), None);
    }
}
