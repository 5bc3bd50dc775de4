//! The requests of our own routes: a picture as the body, with parameters in the query, or a form with both.

use crate::serve::intake::{Room, content_type, is};
use crate::serve::problem::Problem;
use crate::serve::service::Service;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;

/// Pictures and parameters.
pub(super) struct Fields {
    /// One, unless it is a form.
    images: Vec<Bytes>,
    values: Vec<(String, String)>,
    /// Held as long as the pictures are.
    #[cfg_attr(not(feature = "index"), expect(dead_code))]
    room: Room,
}

impl Fields {
    /// Reads a request whose parameters may have these `names`.
    pub(super) async fn read(app: &Service, request: Request, names: &[&str]) -> Result<Fields, Problem> {
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        let mut values: Vec<(String, String)> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        values.retain(|(name, _)| name != "api_key");
        let (images, room) = if is(&head.headers, "multipart/form-data") {
            let mut form = app.intake.form(&head.headers, body)?;
            let mut images = Vec::new();
            while let Some(part) = form.part().await? {
                match part.name.as_str() {
                    "image" => images.push(part.bytes),
                    _ => values.push((part.name.clone(), part.text()?)),
                }
            }
            (images, form.room)
        } else {
            let kind = content_type(&head.headers).unwrap_or("image/*").to_ascii_lowercase();
            if !kind.starts_with("image/") && !kind.starts_with("application/octet-stream") {
                let message = format!("{kind:?}: send a picture (image/...) or a form (multipart/form-data)");
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
            }
            let taken = app.intake.bytes(body).await?;
            (vec![taken.bytes], taken.room)
        };
        match values.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            Some((name, _)) => {
                Err(Problem::bad(format!("there is no parameter {name:?}; there is {}", names.join(", "))))
            }
            None => Ok(Fields { images, values, room }),
        }
    }

    /// The picture, of several the last.
    pub(super) fn image(&self) -> Result<Bytes, Problem> {
        self.images.last().cloned().ok_or_else(|| Problem::bad("the form has no part image"))
    }

    /// All pictures, and the room that they take.
    #[cfg(feature = "index")]
    pub(super) fn into_images(self) -> (Vec<Bytes>, Room) {
        (self.images, self.room)
    }

    /// All values of a parameter.
    pub(super) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.values.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may be there once.
    pub(super) fn one<'f>(&'f self, name: &'f str) -> Result<Option<&'f str>, Problem> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Problem::bad(format!("the parameter {name} is given twice"))),
            (value, None) => Ok(value),
        }
    }
}
