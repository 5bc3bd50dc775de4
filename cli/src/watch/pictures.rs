//! From the bytes of a frame to its pixels.

use super::format::Raw;
use super::mailbox::Frame;
use ocelli::preprocess::PixelView;
use ocelli::preprocess::decode::{DecodedImage, Options, decode};
use ocelli::{Error, Result};

/// Pictures of another size than those before are taken for damaged until so many came in a row.
const ANOTHER_SIZE: u32 = 3;

/// What the source gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Raw(Raw),
    /// Pictures that say their own size, all of the same.
    Stream(Options),
    /// Picture files of any size.
    Files(Options),
}

/// Opens frames.
#[derive(Debug)]
pub(super) struct Pictures {
    kind: Kind,
    decoded: Option<DecodedImage>,
    size: Option<(u32, u32)>,
    others: u32,
}

impl Pictures {
    pub(super) fn new(kind: Kind) -> Pictures {
        Pictures { kind, decoded: None, size: None, others: 0 }
    }

    /// The pixels of `frame`. Raw frames are looked at where they lie; pictures are decoded into memory of their own.
    ///
    /// # Errors
    /// A picture that is damaged, even where a part of it could be shown; in a stream one of another size.
    pub(super) fn open<'a>(&'a mut self, frame: &'a Frame) -> Result<PixelView<'a>> {
        let (options, stream) = match &self.kind {
            Kind::Raw(raw) => return raw.view(&frame.bytes),
            Kind::Stream(options) => (options, true),
            Kind::Files(options) => (options, false),
        };
        let image = decode(&frame.bytes, options)?;
        if let Some(problem) = image.warnings().first() {
            return Err(Error::Message(format!("the picture is damaged: {problem}")));
        }
        let size = (image.view().width(), image.view().height());
        if let Some((width, height)) = self.size.filter(|&before| stream && size != before) {
            self.others += 1;
            if self.others < ANOTHER_SIZE {
                let (wide, high) = size;
                let message = format!("a frame of {wide}x{high} among those of {width}x{height}");
                return Err(Error::Message(message));
            }
        }
        (self.size, self.others) = (Some(size), 0);
        Ok(self.decoded.insert(image).view())
    }

    /// The pixels of the `frame` that was opened last.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(super) fn again<'a>(&'a self, frame: &'a Frame) -> Result<PixelView<'a>> {
        match (&self.kind, &self.decoded) {
            (Kind::Raw(raw), _) => raw.view(&frame.bytes),
            (_, Some(image)) => Ok(image.view()),
            (_, None) => Err(Error::Message("no picture could be decoded".into())),
        }
    }

    /// The size of pictures that were decoded, and the bytes that their pixels take; `None` for raw frames.
    pub(super) fn decoded_size(&self) -> Option<(u32, u32)> {
        self.size
    }
}
