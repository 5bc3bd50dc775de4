//! What the environment says, by the variables of huggingface_hub.

use super::proxy::Proxies;
use crate::{Error, Result};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ENDPOINT: &str = "https://huggingface.co";

/// How a hub is reached, and where files are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the hub, without a slash at its end: `HF_ENDPOINT`.
    pub endpoint: String,
    /// The cache: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or in `huggingface` in `XDG_CACHE_HOME`, or in
    /// `~/.cache/huggingface`.
    pub cache: PathBuf,
    /// What opens private and gated repositories: `HF_TOKEN`, or the file at `HF_TOKEN_PATH` or `token` in `HF_HOME`.
    pub token: Option<Token>,
    /// Use the cache only: `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// How long a server may be silent: `HF_HUB_DOWNLOAD_TIMEOUT`, in seconds.
    pub timeout: Duration,
    /// How often something that failed in passing is tried again.
    pub retries: u32,
    /// The pause before the first of these; it doubles.
    pub pause: Duration,
    /// The proxies on the way.
    pub proxies: Proxies,
    /// Certificates to trust instead of Mozilla's, in PEM: `SSL_CERT_FILE`.
    pub certificates: Option<PathBuf>,
}

/// A secret that opens repositories. Neither shown nor sent to anybody but the endpoint.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Checks that it can stand in a header.
    ///
    /// # Errors
    /// It has characters that no token has; the message does not repeat it.
    pub fn new(token: &str, source: &str) -> Result<Token> {
        let token = token.trim();
        if token.is_empty() || token.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(Error::hub(source, "holds no token: letters, digits and marks without spaces"));
        }
        Ok(Token(token.into()))
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// A variable has a value that makes no sense, or nothing says where the cache is.
    pub fn from_env() -> Result<Settings> {
        Settings::read(&|name| std::env::var_os(name))
    }

    /// Reads variables through `get`.
    ///
    /// # Errors
    /// As [`Settings::from_env`].
    pub fn read(get: &dyn Fn(&str) -> Option<OsString>) -> Result<Settings> {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let text = |name: &str| match set(name) {
            None => Ok(None),
            Some(value) => value.into_string().map(Some).map_err(|_| Error::hub(name, "is not UTF-8 text")),
        };
        let home = set("HOME").map(PathBuf::from);
        let path = |name: &str| set(name).map(|value| expand(&value, home.as_deref()));
        let hf_home = path("HF_HOME").or_else(|| {
            let caches = set("XDG_CACHE_HOME").map(PathBuf::from);
            Some(caches.or_else(|| Some(home.as_deref()?.join(".cache")))?.join("huggingface"))
        });
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(hf_home.as_deref()?.join("hub")))
            .ok_or_else(|| {
                Error::hub("HF_HUB_CACHE", "must name a folder for downloads, since HOME is not set")
            })?;
        let is_on = |name: &str| Ok::<bool, Error>(text(name)?.is_some_and(|value| is_true(&value)));
        let token = match text("HF_TOKEN")? {
            Some(token) => Some(Token::new(&token, "HF_TOKEN")?),
            None if is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN")? => None,
            None => {
                let file = path("HF_TOKEN_PATH").or_else(|| Some(hf_home.as_deref()?.join("token")));
                file.map(|file| token_of(&file)).transpose()?.flatten()
            }
        };
        let timeout = match text("HF_HUB_DOWNLOAD_TIMEOUT")? {
            None => 10,
            Some(value) => value.trim().parse().ok().filter(|&seconds| seconds > 0).ok_or_else(|| {
                Error::hub(
                    "HF_HUB_DOWNLOAD_TIMEOUT",
                    format!("is {value:?}: expected seconds, a whole number above 0"),
                )
            })?,
        };
        let get = |name: &str| set(name)?.into_string().ok();
        Ok(Settings {
            endpoint: text("HF_ENDPOINT")?.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/').into(),
            cache,
            token,
            offline: is_on("HF_HUB_OFFLINE")? || is_on("TRANSFORMERS_OFFLINE")?,
            timeout: Duration::from_secs(timeout),
            retries: 5,
            pause: Duration::from_millis(500),
            proxies: Proxies::read(&get),
            certificates: path("SSL_CERT_FILE"),
        })
    }
}

/// What huggingface_hub takes for yes.
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
}

/// A path whose `~` at the beginning stands for `home`.
fn expand(value: &OsString, home: Option<&Path>) -> PathBuf {
    let path = PathBuf::from(value);
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// The token in a file, if there is one.
fn token_of(file: &Path) -> Result<Option<Token>> {
    match fs::read_to_string(file) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Token::new(&text, &file.display().to_string()).map(Some),
        // Nobody logged in, or a folder of somebody else: public repositories need no token.
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        for (variables, expected) in [
            (&[("HOME", "/h")][..], "/h/.cache/huggingface/hub"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")], "/h/hf/hub"),
            (&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")], "/new"),
        ] {
            assert_eq!(read(variables).unwrap().cache, Path::new(expected), "{variables:?}");
        }
        assert!(read(&[]).unwrap_err().to_string().contains("HF_HUB_CACHE"));
    }

    #[test]
    fn switches_and_numbers_are_read_as_huggingface_hub_reads_them() {
        let home = ("HOME", "/nonexistent");
        for (value, offline) in [("1", true), ("true", true), ("Yes", true), ("0", false), ("", false)] {
            assert_eq!(read(&[home, ("HF_HUB_OFFLINE", value)]).unwrap().offline, offline, "{value}");
            assert_eq!(read(&[home, ("TRANSFORMERS_OFFLINE", value)]).unwrap().offline, offline, "{value}");
        }
        let settings = read(&[home, ("HF_ENDPOINT", "http://mirror:8080/hub/")]).unwrap();
        assert_eq!(settings.endpoint, "http://mirror:8080/hub");
        assert_eq!(read(&[home]).unwrap().endpoint, ENDPOINT);
        for wrong in ["0", "-1", "soon"] {
            let error = read(&[home, ("HF_HUB_DOWNLOAD_TIMEOUT", wrong)]).unwrap_err().to_string();
            assert!(error.contains("HF_HUB_DOWNLOAD_TIMEOUT") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn tokens_come_from_the_variable_or_the_file_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let header = |variables: &[(&str, &str)]| read(variables).unwrap().token.map(|token| token.header());
        assert_eq!(header(&[("HF_HOME", home)]), None);
        fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(header(&[("HF_HOME", home)]).as_deref(), Some("Bearer hf_file"));
        assert_eq!(header(&[("HF_HOME", home), ("HF_TOKEN", " hf_env ")]).as_deref(), Some("Bearer hf_env"));
        assert_eq!(header(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        let other = folder.path().join("other");
        fs::write(&other, "hf_other").unwrap();
        let at = other.to_str().unwrap();
        assert_eq!(header(&[("HF_HOME", home), ("HF_TOKEN_PATH", at)]).as_deref(), Some("Bearer hf_other"));

        let error = read(&[("HF_HOME", home), ("HF_TOKEN", "hf_a\r\nX-Evil: 1")]).unwrap_err().to_string();
        assert!(error.contains("HF_TOKEN") && !error.contains("Evil"), "{error}");
        let shown = format!("{:?}", read(&[("HF_HOME", home)]).unwrap());
        assert!(!shown.contains("hf_file"), "{shown}");
    }
}
