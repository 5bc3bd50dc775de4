//! Pictures inside JSON.

use crate::serve::problem::Problem;
use axum::body::Bytes;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Base64 with or without padding (RFC 4648).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One or several of something.
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected one value or a list of such")]
pub(super) enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            OneOrMany::Many(all) => all,
            OneOrMany::One(one) => vec![one],
        }
    }
}

/// `value` as what a route expects.
pub(super) fn parsed<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_json::from_value(value)
        .map_err(|error| Problem::bad(format!("the request's JSON cannot be used: {error}")))
}

/// The bytes of a picture in base64, or as a data URI (RFC 2397) in base64. Nothing is fetched from elsewhere.
pub(super) fn picture(text: &str) -> Result<Bytes, Problem> {
    let data = match text.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("data") => match rest.split_once(',') {
            Some((kind, data)) if kind.to_ascii_lowercase().ends_with(";base64") => data,
            _ => return Err(Problem::bad("a data URI of a picture must be data:image/...;base64,...")),
        },
        Some(_) => {
            let message = "pictures are not fetched from addresses; send them in base64 or as a data URI";
            return Err(Problem::bad(message));
        }
        None => text,
    };
    let mut data = data.trim();
    let joined: String;
    if data.contains(char::is_whitespace) {
        joined = data.split_whitespace().collect();
        data = &joined;
    }
    let bytes = BASE64
        .decode(data)
        .map_err(|error| Problem::bad(format!("the picture's base64 is wrong: {error}")))?;
    Ok(bytes.into())
}

/// Little-endian floats in base64, as OpenAI's service gives them.
pub(super) fn floats(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_base64_or_data_uris_and_never_addresses() {
        let data = |text: &str| picture(text).map(|bytes| bytes.to_vec());
        for text in ["aGk=", "aGk", " aG\nk= ", "data:image/png;base64,aGk=", "DATA:;BASE64,aGk="] {
            assert_eq!(data(text).unwrap(), b"hi", "{text}");
        }
        for text in
            ["http://x/y.png", "https://x", "file:///etc/passwd", "data:image/png,hi", "data:", "a*b="]
        {
            assert_eq!(data(text).unwrap_err().status, 400, "{text}");
        }
        assert_eq!(floats(&[1.0, -2.0]), "AACAPwAAAMA=");
    }
}
