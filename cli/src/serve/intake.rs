//! Bodies of requests on their way in: how large, how slow, and how many of them at a time.

use super::problem::Problem;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::stream;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use serde::de::DeserializeOwned;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// The unit in which room is counted, in bytes.
const UNIT: usize = 1024;
/// Most parts of a form.
const MAX_PARTS: usize = 4096;
/// How long the rest of a body that is refused is still read, so that the client sees the answer.
const LINGER: Duration = Duration::from_secs(2);

/// What bodies may cost, shared by all requests.
pub(super) struct Intake {
    room: Arc<Semaphore>,
    units: usize,
    most: usize,
    time: Duration,
}

/// Room that one request takes. It is given back when the last clone goes.
#[derive(Clone, Default)]
pub(super) struct Room(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

/// A body in memory, and the room that it takes.
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    pub(super) room: Room,
}

impl Intake {
    /// Bodies of up to `most` bytes, which must arrive within `time`; all together take up to `room` bytes.
    pub(super) fn new(most: usize, room: usize, time: Duration) -> Intake {
        let units = (room.max(most) / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Intake { room: Arc::new(Semaphore::new(units)), units, most, time }
    }

    /// Most bytes of one body.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Bytes that are held now.
    pub(super) fn held(&self) -> usize {
        (self.units - self.room.available_permits()) * UNIT
    }

    fn reader(&self, body: Body) -> Reader {
        Reader {
            deadline: Instant::now() + self.time,
            body,
            read: 0,
            most: self.most,
            all: Arc::clone(&self.room),
            room: Room::default(),
        }
    }

    /// The whole body.
    pub(super) async fn bytes(&self, body: Body) -> Result<Taken, Problem> {
        let mut reader = self.reader(body);
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Taken { bytes: bytes.into(), room: reader.room })
    }

    /// The body as JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, body: Body) -> Result<(T, Room), Problem> {
        let Taken { bytes, room } = self.bytes(body).await?;
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| Problem::bad(format!("the request's JSON cannot be used: {error}")))?;
        Ok((value, room))
    }

    /// The parts of a multipart form, one after the other.
    pub(super) fn form(&self, headers: &HeaderMap, body: Body) -> Result<Form, Problem> {
        let boundary = content_type(headers).and_then(|kind| multer::parse_boundary(kind).ok());
        let no_form =
            || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body must be multipart/form-data");
        let boundary = boundary.ok_or_else(no_form)?;
        let reader = self.reader(body);
        let room = reader.room.clone();
        let chunks = stream::try_unfold(reader, async |mut reader: Reader| {
            Ok::<_, Problem>(reader.chunk().await?.map(|chunk| (chunk, reader)))
        });
        Ok(Form { parts: multer::Multipart::new(chunks, boundary), count: 0, room })
    }
}

/// The request's media type with its parameters.
pub(super) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// Whether the request's media type is `kind`, whatever its parameters.
pub(super) fn is(headers: &HeaderMap, kind: &str) -> bool {
    let found = content_type(headers).unwrap_or_default();
    found.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind)
}

/// A body that is being read.
struct Reader {
    body: Body,
    deadline: Instant,
    read: usize,
    most: usize,
    all: Arc<Semaphore>,
    room: Room,
}

impl Reader {
    /// The next piece; `None` at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.read == 0 && self.body.size_hint().lower() > self.most as u64 {
            return Err(self.too_large());
        }
        loop {
            let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the request's body came too slowly");
            let Some(frame) = timeout_at(self.deadline, self.body.frame()).await.map_err(late)? else {
                return Ok(None);
            };
            let frame =
                frame.map_err(|error| Problem::bad(format!("the request's body broke off: {error}")))?;
            // Trailers are of no interest.
            let Ok(chunk) = frame.into_data() else { continue };
            let before = self.read.div_ceil(UNIT);
            self.read += chunk.len();
            if self.read > self.most {
                return Err(self.too_large());
            }
            self.take((self.read.div_ceil(UNIT) - before) as u32)?;
            return Ok(Some(chunk));
        }
    }

    /// Takes room for `units` more.
    fn take(&self, units: u32) -> Result<(), Problem> {
        let full = |_| Problem::busy("too many large requests at once", 1);
        let more = Arc::clone(&self.all).try_acquire_many_owned(units).map_err(full)?;
        let mut held = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }

    fn too_large(&self) -> Problem {
        let message = format!("the request's body is larger than the {} bytes that are allowed", self.most);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }
}

/// A body that can still be read when a route has let it go.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Body>>);

impl Shared {
    pub(super) fn new(body: Body) -> Shared {
        Shared(Arc::new(Mutex::new(body)))
    }

    fn lock(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is left, to nowhere, for a moment: a client that is still sending would not see why it is refused.
    pub(super) async fn drain(mut self, most: usize) {
        let (end, mut left) = (Instant::now() + LINGER, most);
        while let Ok(Some(Ok(frame))) = timeout_at(end, self.frame()).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}

/// A multipart form (RFC 7578).
pub(super) struct Form {
    parts: multer::Multipart<'static>,
    count: usize,
    pub(super) room: Room,
}

/// One part of a form.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

impl Form {
    /// The next part, unread; `None` at the end.
    pub(super) async fn field(&mut self) -> Result<Option<multer::Field<'static>>, Problem> {
        self.count += 1;
        if self.count > MAX_PARTS {
            return Err(Problem::bad(format!("a form of more than {MAX_PARTS} parts")));
        }
        self.parts.next_field().await.map_err(form_problem)
    }

    /// The next part; `None` at the end.
    pub(super) async fn part(&mut self) -> Result<Option<Part>, Problem> {
        let Some(field) = self.field().await? else { return Ok(None) };
        let name = field.name().unwrap_or_default().to_owned();
        Ok(Some(Part { name, bytes: field.bytes().await.map_err(form_problem)? }))
    }
}

impl Part {
    /// The part as text.
    pub(super) fn text(&self) -> Result<String, Problem> {
        String::from_utf8(self.bytes.to_vec())
            .map_err(|_| Problem::bad(format!("part {:?} of the form is not UTF-8", self.name)))
    }
}

/// What went wrong with a form.
pub(super) fn form_problem(error: multer::Error) -> Problem {
    match error {
        multer::Error::StreamReadFailed(source) => match source.downcast::<Problem>() {
            Ok(problem) => *problem,
            Err(source) => Problem::bad(format!("the form broke off: {source}")),
        },
        error => Problem::bad(format!("the form is malformed: {error}")),
    }
}
