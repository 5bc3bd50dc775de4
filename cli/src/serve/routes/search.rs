//! `POST /search` and `GET /thumbnail/{id}`: photos of the index that `--index` names.

use super::fields::Fields;
use super::inputs::OneOrMany;
use crate::console::{ms_since, round_ms};
use crate::index::Picture;
use crate::serve::intake::{Room, is};
use crate::serve::photos::{Hash, Photos};
use crate::serve::problem::Problem;
use crate::serve::service::{App, Service};
use crate::serve::thumbnails::SIDE;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ocelli::excerpt;
use ocelli_index::{Filter, Hit, Query, SearchOptions, Term};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Photos in an answer unless `k` says otherwise, and at most.
const K: u32 = 10;
const MOST: u32 = 1000;
/// Folders of one request at most.
const FOLDERS: usize = 64;

/// What is looked for.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// A line, which is split into terms, or terms.
    query: Option<OneOrMany<String>>,
    k: Option<u32>,
    threshold: Option<f32>,
    folder: Option<OneOrMany<String>>,
    since: Option<String>,
    until: Option<String>,
}

/// Photos, best first.
#[derive(Serialize)]
pub(in crate::serve) struct Answer {
    model: String,
    hits: Vec<Found>,
    ms: Spent,
}

#[derive(Serialize)]
struct Found {
    id: String,
    score: f32,
    similarity: f32,
    #[serde(flatten)]
    picture: Picture,
}

/// Where the time went, in milliseconds.
#[derive(Serialize)]
struct Spent {
    /// Of words and pictures, waiting included.
    embed: f64,
    scan: f64,
}

pub(in crate::serve) async fn search(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Answer>, Problem> {
    let photos = app.photos()?;
    let (asked, pictures, _room) = Asked::read(&app, request).await?;
    let terms = asked.terms()?;
    if terms.is_empty() && pictures.is_empty() {
        return Err(Problem::bad("there is nothing to look for: give a query, a picture as image, or both"));
    }
    let options = asked.options()?;
    let _place = app.enter()?;
    let start = Instant::now();
    let query = embed(&app, photos, terms, pictures).await?;
    let (embed, start) = (ms_since(start), Instant::now());
    let hits = photos.search(query, options).await?;
    let ms = Spent { embed: round_ms(embed), scan: round_ms(ms_since(start)) };
    Ok(Json(Answer { model: photos.model.name.clone(), hits: hits.iter().map(Found::new).collect(), ms }))
}

impl Asked {
    /// What a request asks for, the pictures in it with their weights, and the room that they take.
    async fn read(
        app: &Service,
        request: Request,
    ) -> Result<(Asked, Vec<(f32, Bytes)>, Option<Room>), Problem> {
        if is(request.headers(), "application/json") {
            let (asked, room) = app.intake.json(request.into_body()).await?;
            return Ok((asked, Vec::new(), Some(room)));
        }
        let names = ["query", "weight", "k", "threshold", "folder", "since", "until"];
        let fields = Fields::read(app, request, &names).await?;
        let some = |name| {
            let mut values: Vec<String> = fields.all(name).map(str::to_owned).collect();
            match values.len() {
                0 | 1 => values.pop().map(OneOrMany::One),
                _ => Some(OneOrMany::Many(values)),
            }
        };
        let asked = Asked {
            query: some("query"),
            k: number(&fields, "k", "a whole number")?,
            threshold: number(&fields, "threshold", "a number")?,
            folder: some("folder"),
            since: fields.one("since")?.map(str::to_owned),
            until: fields.one("until")?.map(str::to_owned),
        };
        let weights = fields.all("weight").map(weight).collect::<Result<Vec<f32>, Problem>>()?;
        let (images, room) = fields.into_images();
        let weights = match weights.len() {
            0 => vec![1.0; images.len()],
            given if given == images.len() => weights,
            given => {
                let message =
                    format!("{given} weights for {} pictures: give one for each, or none", images.len());
                return Err(Problem::bad(message));
            }
        };
        Ok((asked, weights.into_iter().zip(images).collect(), Some(room)))
    }

    /// The words of the query with their weights.
    fn terms(&self) -> Result<Vec<(f32, String)>, Problem> {
        let terms = match &self.query {
            None => Vec::new(),
            Some(OneOrMany::One(line)) => Term::split(line),
            Some(OneOrMany::Many(terms)) => terms.clone(),
        };
        Term::parse_words(&terms).map_err(|error| Problem::bad(error.to_string()))
    }

    fn options(self) -> Result<SearchOptions, Problem> {
        let k = self.k.unwrap_or(K);
        if !(1..=MOST).contains(&k) {
            return Err(Problem::bad(format!("k is {k}; expected 1 to {MOST}")));
        }
        if let Some(threshold) = self.threshold.filter(|threshold| !threshold.is_finite()) {
            return Err(Problem::bad(format!("threshold is {threshold}; expected a cosine")));
        }
        let folders = self.folder.map_or_else(Vec::new, OneOrMany::into_vec);
        if folders.len() > FOLDERS {
            return Err(Problem::bad(format!("{} folders; at most {FOLDERS} are possible", folders.len())));
        }
        // Only compared with the paths in the index: nothing is looked for on the disk.
        if let Some(folder) = folders.iter().find(|folder| !folder.starts_with('/')) {
            return Err(Problem::bad(format!(
                "folder is {:?}; expected the beginning of paths as the hits have them, from / on",
                excerpt(folder)
            )));
        }
        let mut options = SearchOptions::default();
        options.top_k = k as usize;
        options.threshold = self.threshold;
        options.filter = Filter {
            folders: folders.into_iter().map(Into::into).collect(),
            since: self.since,
            until: self.until,
        };
        Ok(options)
    }
}

/// A parameter that is a number.
fn number<T: std::str::FromStr>(fields: &Fields, name: &str, expected: &str) -> Result<Option<T>, Problem> {
    let read = |text: &str| {
        text.parse().map_err(|_| Problem::bad(format!("{name} is {:?}; expected {expected}", excerpt(text))))
    };
    fields.one(name)?.map(read).transpose()
}

/// How much a picture counts.
fn weight(text: &str) -> Result<f32, Problem> {
    let number = text.parse().ok().filter(|weight: &f32| weight.is_finite() && *weight != 0.0);
    number.ok_or_else(|| {
        Problem::bad(format!("weight is {:?}; expected a number that is not 0", excerpt(text)))
    })
}

/// The sum of words and pictures.
async fn embed(
    app: &Service,
    photos: &Photos,
    terms: Vec<(f32, String)>,
    pictures: Vec<(f32, Bytes)>,
) -> Result<Query, Problem> {
    let (weights, words): (Vec<f32>, Vec<String>) = terms.into_iter().unzip();
    let mut parts = Vec::new();
    if !words.is_empty() {
        let texts = app.texts(&photos.model, &words).await?;
        parts.extend(weights.into_iter().zip(texts.iter().map(|text| text.embedding.clone())));
    }
    if !pictures.is_empty() {
        let (weights, images): (Vec<f32>, Vec<Bytes>) = pictures.into_iter().unzip();
        let pictures = app.pictures(&photos.model, images).await?;
        let embeddings = pictures.into_iter().map(|picture| picture.encoded.embedding);
        parts.extend(weights.into_iter().zip(embeddings));
    }
    // Its file may have been replaced since the start.
    photos.check(&photos.model.engine().await?.model)?;
    Query::new(&parts).map_err(|error| Problem::bad(error.to_string()))
}

impl Found {
    fn new(hit: &Hit) -> Found {
        let Hit { similarity, score, picture } = hit;
        let id = id_of(&picture.hash);
        Found { id, score: *score, similarity: *similarity, picture: Picture::new(picture) }
    }
}

/// A photo's name in requests: its hash in 32 small hexadecimal digits.
fn id_of(hash: &Hash) -> String {
    format!("{:032x}", u128::from_be_bytes(*hash))
}

fn hash_of(id: &str) -> Option<Hash> {
    let digits = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    digits.then(|| u128::from_str_radix(id, 16).ok()).flatten().map(u128::to_be_bytes)
}

pub(in crate::serve) async fn thumbnail(
    State(app): State<App>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let photos = app.photos()?;
    let hash = id.ok().and_then(|Path(id)| hash_of(&id));
    let hash = hash.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "this is no id of a photo: they are those of /search's answers")
    })?;
    let _place = app.enter()?;
    let photo = photos.find(hash).await?;
    let tag = format!("\"{}-{SIDE}\"", id_of(&hash));
    let about = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "private, max-age=3600")];
    if has(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let jpeg = photos.thumbnail(photo, &app.pictures).await?;
    Ok((about, [(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response())
}

/// Whether the client has what `tag` names (RFC 9110, section 13.1.2).
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let same = |given: &str| matches!(given.trim(), "*") || given.trim().trim_start_matches("W/") == tag;
    tags.flat_map(|tags| tags.split(',')).any(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hashes_and_nothing_else() {
        let id = "00f1e2d3c4b5a697887766554433221f";
        assert_eq!(hash_of(id).map(|hash| id_of(&hash)).as_deref(), Some(id));
        for wrong in
            ["", "0", "../../etc/passwd", "+0f1e2d3c4b5a697887766554433221f", &id.to_uppercase(), &id[1..]]
        {
            assert_eq!(hash_of(wrong), None, "{wrong}");
        }
        assert_eq!(hash_of(&format!("{id}0")), None);
    }
}
