//! What is looked for: words and pictures, each with a weight.

use crate::error::{Error, Result};
use crate::walk::is_picture;
use ocelli::preprocess::decode;
use ocelli::score::normalize;
use ocelli::{ImageEncoder, ImageOptions, Model, Runtime, TextEncoder, excerpt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One part of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// How much it counts; negative for what is not to be seen.
    pub weight: f32,
    /// What it is.
    pub what: What,
}

/// Words or a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A text.
    Words(String),
    /// A picture's file.
    Picture(PathBuf),
}

impl Term {
    /// Reads terms as rclip spells them: `beach`, `2:beach` with a weight, `-people` or `-` before a word for what is not
    /// to be seen, `+` to add, and a file's path for a picture, known by `/` in it or by its name's ending.
    ///
    /// # Errors
    /// A sign without a term, a term without words, a weight that is no number or zero, a picture that is not there.
    pub fn parse_all(words: &[String]) -> Result<Vec<Term>> {
        let terms = signed(words, |word| Term::parse(word).map(|Term { weight, what }| (weight, what)))?;
        Ok(terms.into_iter().map(|(weight, what)| Term { weight, what }).collect())
    }

    /// Reads terms of the same spelling of which none is a picture, for queries that come from elsewhere: words with their
    /// weights. No file is looked for.
    ///
    /// # Errors
    /// As [`parse_all`](Self::parse_all); a term that starts like a path.
    pub fn parse_words(words: &[String]) -> Result<Vec<(f32, String)>> {
        signed(words, |word| {
            let (weight, rest) = weighed(word)?;
            match starts_like_a_path(rest) {
                true => {
                    let problem = "a query has words and names no files; a picture is sent along with it";
                    Err(wrong(format!("{}: {problem}", excerpt(rest))))
                }
                false => Ok((weight, rest.to_owned())),
            }
        })
    }

    /// The terms of a query that is written in one line, as [`parse_all`](Self::parse_all) takes them: `+` or `-` at the
    /// start of a word begins the next one.
    pub fn split(line: &str) -> Vec<String> {
        let mut terms: Vec<String> = Vec::new();
        let mut begins = true;
        for word in line.split_whitespace() {
            match terms.last_mut().filter(|_| !begins && !word.starts_with(['+', '-'])) {
                Some(term) => {
                    term.push(' ');
                    term.push_str(word);
                }
                None => terms.push(word.to_owned()),
            }
            begins = matches!(word, "+" | "-");
        }
        terms
    }

    /// Reads one term.
    ///
    /// # Errors
    /// As [`parse_all`](Self::parse_all).
    pub fn parse(text: &str) -> Result<Term> {
        let (weight, rest) = weighed(text)?;
        let path = Path::new(rest);
        let what = match path.is_file() && (rest.contains('/') || is_picture(path)) {
            true => What::Picture(path.to_owned()),
            false if starts_like_a_path(rest) => {
                return Err(wrong(format!(
                    "{}: there is no such file; words do not start like a path",
                    excerpt(rest)
                )));
            }
            false => What::Words(rest.to_owned()),
        };
        Ok(Term { weight, what })
    }
}

/// What `read` makes of each word that is no lone sign, with the weight that it gives and the sign before it.
fn signed<T>(words: &[String], read: impl Fn(&str) -> Result<(f32, T)>) -> Result<Vec<(f32, T)>> {
    let mut terms = Vec::new();
    let mut sign = None;
    for word in words {
        match (word.as_str(), sign) {
            ("+", None) => sign = Some(1.0),
            ("-", None) => sign = Some(-1.0),
            (word, _) => {
                let (weight, what) = read(word)?;
                terms.push((weight * sign.take().unwrap_or(1.0), what));
            }
        }
    }
    match sign {
        Some(_) => Err(wrong("the query ends with a + or - to which nothing belongs".into())),
        None => Ok(terms),
    }
}

/// A term's weight, with its sign, and the rest.
fn weighed(text: &str) -> Result<(f32, &str)> {
    let (sign, rest) = match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(rest), _) => (-1.0, rest),
        (_, Some(rest)) => (1.0, rest),
        _ => (1.0, text),
    };
    let (weight, rest) = match rest.split_once(':').map(|(weight, rest)| (weight.parse::<f32>(), rest)) {
        Some((Ok(weight), rest)) => (weight, rest),
        _ => (1.0, rest),
    };
    if !weight.is_finite() || weight == 0.0 {
        return Err(wrong(format!("{:?}: a weight is a number that is not 0", excerpt(text))));
    }
    match rest.trim() {
        "" => Err(wrong(format!("{:?}: there are no words in it", excerpt(text)))),
        rest => Ok((sign * weight, rest)),
    }
}

fn starts_like_a_path(text: &str) -> bool {
    ["./", "../", "/"].iter().any(|start| text.starts_with(start))
}

fn wrong(problem: String) -> Error {
    Error::Query { problem }
}

/// What is looked for, as one vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Of length 1.
    vector: Vec<f32>,
    /// The length of the weighted sum.
    length: f32,
}

impl Query {
    /// The weighted sum of embeddings, each of length 1.
    ///
    /// # Errors
    /// There are none, they differ in length, are not finite, or nothing remains of them.
    pub fn new(parts: &[(f32, Vec<f32>)]) -> Result<Query> {
        let Some((_, first)) = parts.first() else {
            return Err(wrong("there is nothing to look for".into()));
        };
        let mut vector = vec![0.0; first.len()];
        for (weight, part) in parts {
            if part.len() != vector.len() {
                return Err(wrong("embeddings of different lengths cannot be added".into()));
            }
            vector.iter_mut().zip(part).for_each(|(sum, x)| *sum += weight * x);
        }
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        if !length.is_finite() || length < 1e-6 {
            return Err(wrong("the terms cancel each other out: nothing remains to look for".into()));
        }
        normalize(&mut vector);
        Ok(Query { vector, length })
    }

    /// Embeds `terms` with `model` and adds them.
    ///
    /// # Errors
    /// As [`new`](Self::new); a picture that cannot be read; words, and the model has no text tower; the model cannot be
    /// run. `warn` is told what was odd and went well.
    pub fn embed(
        terms: &[Term],
        model: &Arc<Model>,
        runtime: &Runtime,
        options: &ImageOptions,
        limits: decode::Limits,
        warn: &mut dyn FnMut(String),
    ) -> Result<Query> {
        let mut texts = None;
        let mut images = None;
        let mut decoding = decode::Options::default();
        decoding.limits = limits;
        let mut parts = Vec::new();
        for Term { weight, what } in terms {
            let vector = match what {
                What::Words(words) => {
                    if texts.is_none() {
                        let encoder = TextEncoder::new(model, runtime, &options.limits)?;
                        texts = Some(encoder);
                    }
                    let encoder = texts.as_mut().expect("made above");
                    let mut vector = vec![0.0; encoder.embed_dim()];
                    if encoder.embed_into(words, &mut vector)? {
                        warn(format!("{:?} is longer than the model reads and was cut", excerpt(words)));
                    }
                    vector
                }
                What::Picture(path) => {
                    if images.is_none() {
                        images = Some(ImageEncoder::new(model, runtime, &options.batch(1))?);
                    }
                    let encoder = images.as_mut().expect("made above");
                    let picture = decode::decode_file(path, &decoding)?;
                    let mut vector = vec![0.0; encoder.embed_dim()];
                    encoder.embed_into(&picture.view(), &mut vector)?;
                    vector
                }
            };
            parts.push((*weight, vector));
        }
        Query::new(&parts)
    }

    /// The vector, of length 1.
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }

    /// The length of the weighted sum: a similarity times this is the weighted sum of the similarities with the terms.
    pub fn length(&self) -> f32 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(weight: f32, words: &str) -> Term {
        Term { weight, what: What::Words(words.into()) }
    }

    #[test]
    fn terms_are_spelt_as_rclip_spells_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sun.jpg");
        std::fs::write(&file, "x").unwrap();
        let parse =
            |text: &[&str]| Term::parse_all(&text.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&["a red car"]).unwrap(), [words(1.0, "a red car")]);
        assert_eq!(
            parse(&["2:beach", "-people", "+sea", "-", "0.5:sand", "+", "sky"]).unwrap(),
            [
                words(2.0, "beach"),
                words(-1.0, "people"),
                words(1.0, "sea"),
                words(-0.5, "sand"),
                words(1.0, "sky")
            ]
        );
        assert_eq!(parse(&["-2: dark night"]).unwrap(), [words(-2.0, "dark night")]);
        assert_eq!(parse(&["ratio 16:9", "10:30 in the morning"]).unwrap()[0], words(1.0, "ratio 16:9"));
        assert_eq!(parse(&["well-known + good"]).unwrap(), [words(1.0, "well-known + good")]);
        let picture = Term { weight: -3.0, what: What::Picture(file.clone()) };
        assert_eq!(parse(&["-", &format!("3:{}", file.display())]).unwrap(), [picture]);
        let wrong = [
            (&["-"][..], "ends with"),
            (&["a", "+"], "ends with"),
            (&[""], "no words"),
            (&["2:"], "no words"),
            (&["0:a"], "weight"),
            (&["nan:a"], "weight"),
            (&["./none.jpg"], "no such file"),
        ];
        for (text, problem) in wrong {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_line_is_split_at_signs() {
        for (line, terms) in [
            ("", &[][..]),
            ("  a  red car ", &["a red car"]),
            ("2:beach - people", &["2:beach", "-", "people"]),
            ("beach -two people +sea", &["beach", "-two people", "+sea"]),
            ("a well-known place + 0.5:the sea", &["a well-known place", "+", "0.5:the sea"]),
            ("a -", &["a", "-"]),
        ] {
            assert_eq!(Term::split(line), terms, "{line:?}");
        }
    }

    #[test]
    fn words_never_become_files() {
        let parse = |line: &str| Term::parse_words(&Term::split(line));
        let file = tempfile::Builder::new().suffix(".jpg").tempfile().unwrap();
        let path = file.path().to_str().unwrap();
        assert!(matches!(Term::parse(path).unwrap().what, What::Picture(_)));
        for line in [path, &format!("+{path}"), &format!("a - 2:{path}"), "./x.jpg", "-../x", "2:/etc/passwd"]
        {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains("names no files"), "{line}: {error}");
        }
        // The name of a file in this folder.
        assert!(Path::new("Cargo.toml").is_file());
        let words = |weight: f32, words: &str| (weight, words.to_owned());
        assert_eq!(
            parse("Cargo.toml -src/lib.rs").unwrap(),
            [words(1.0, "Cargo.toml"), words(-1.0, "src/lib.rs")]
        );
        assert_eq!(parse("2:beach - people").unwrap(), [words(2.0, "beach"), words(-1.0, "people")]);
        assert!(parse("a -").is_err() && parse("0:a").is_err());
    }

    #[test]
    fn parts_are_added_by_their_weights() {
        let query = Query::new(&[(2.0, vec![1.0, 0.0]), (-1.5, vec![0.0, 1.0])]).unwrap();
        assert_eq!((query.vector(), query.length()), (&[0.8, -0.6][..], 2.5));
        assert!(Query::new(&[]).is_err());
        assert!(Query::new(&[(1.0, vec![1.0]), (-1.0, vec![1.0])]).is_err());
        assert!(Query::new(&[(1.0, vec![1.0]), (1.0, vec![1.0, 0.0])]).is_err());
        assert!(Query::new(&[(1.0, vec![f32::NAN])]).is_err());
    }
}
