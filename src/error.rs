//! Everything that can go wrong, in one enum. Messages name the tensor, the offset, what was expected and what was
//! found; the file is named by [`Error::InFile`] around them.

use core::fmt;

/// What `Result`s of this crate carry.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// A short name kept in place (a tensor's, mostly), so that errors need no allocation. Longer names are cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    len: u8,
    bytes: [u8; Name::MAX],
}

impl Name {
    /// Longest name that is kept whole, in bytes.
    pub const MAX: usize = 63;

    /// `name`, cut at a character boundary if it is longer than [`Name::MAX`] bytes.
    pub fn new(name: &str) -> Name {
        let mut len = name.len().min(Name::MAX);
        while !name.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; Name::MAX];
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        Name { len: len as u8, bytes }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

/// Names are formatted in place: `write!(name, "block.{i}")`. What does not fit is an error.
impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let (start, end) = (usize::from(self.len), usize::from(self.len) + text.len());
        self.bytes.get_mut(start..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end as u8;
        Ok(())
    }
}

impl Default for Name {
    fn default() -> Name {
        Name { len: 0, bytes: [0; Name::MAX] }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A picture or a view of pixels that cannot be used: what is wrong with it.
    Pixels {
        /// What is wrong, and what would be right.
        problem: &'static str,
        /// The limit or the right value.
        expected: u64,
        /// The value found.
        found: u64,
    },
    /// A packed file or a label bank whose structure is wrong.
    Format {
        /// What is wrong.
        problem: &'static str,
        /// Where, in bytes from the start.
        offset: u64,
        /// The right value, or the limit.
        expected: u64,
        /// The value found.
        found: u64,
    },
    /// Bytes that are no packed model but something else that was recognised.
    NotAModel {
        /// What it is, and what to do about it, as [`sniff`](crate::format::sniff) says it.
        kind: &'static str,
    },
    /// Bytes that do not have the checksum that was stored for them: the file is damaged.
    Checksum {
        /// The part of the file.
        part: Name,
        /// Where it starts, in bytes.
        offset: u64,
        /// The stored checksum.
        expected: u64,
        /// The checksum of the bytes.
        found: u64,
    },
    /// A configuration field with a value that this reader does not know or that makes no sense.
    Config {
        /// The field, as in `vision.tower.width`.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
        /// The value found.
        found: f64,
    },
    /// A tensor whose description or contents are wrong.
    Tensor {
        /// The tensor.
        name: Name,
        /// What is wrong.
        problem: &'static str,
        /// The right value, or the limit.
        expected: u64,
        /// The value found, or the index of the wrong element.
        found: u64,
    },
    /// A tensor that the configuration demands is absent.
    TensorMissing {
        /// The tensor.
        name: Name,
    },
    /// A tensor that the configuration does not know.
    TensorUnknown {
        /// The tensor.
        name: Name,
    },
    /// A label bank made with another checkpoint: its embeddings mean nothing to this model.
    BankOfAnotherModel {
        /// The model's checkpoint id, first eight bytes.
        expected: u64,
        /// The bank's.
        found: u64,
    },
    /// A model that costs more than the [limits](crate::format::Limits) allow.
    TooCostly {
        /// Of what it needs too much.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What it needs.
        found: u64,
    },
    /// A tokenizer that no supported family has, or that is damaged.
    #[cfg(feature = "std")]
    Tokenizer {
        /// The field of its `tokenizer.json`.
        field: std::string::String,
        /// What is wrong with it.
        problem: std::string::String,
    },
    /// A text that is longer than any model reads.
    TextTooLong {
        /// How it begins.
        start: Name,
        /// The limit, in bytes.
        limit: usize,
        /// Its length, in bytes.
        found: usize,
    },
    /// Something that a model was asked for and does not have.
    ModelLacks {
        /// What it lacks, as in "text tower".
        part: &'static str,
        /// What can be done, or why it is so.
        remedy: &'static str,
    },
    /// An argument that does not fit the encoder or the model that it was given to.
    Argument {
        /// What does not fit.
        problem: &'static str,
        /// The right value, or the limit.
        expected: u64,
        /// The value found.
        found: u64,
    },
    /// An image size that the model cannot run at.
    #[cfg(feature = "std")]
    ImageSize {
        /// Height and width, in pixels.
        size: (u32, u32),
        /// Why not.
        problem: std::string::String,
    },
    /// An embedding with values that are not finite: the weights are damaged, or the input was not finite.
    NotFinite,
    /// The calling thread is already at work in an encoder of the same [`Runtime`](crate::Runtime), and would wait for
    /// itself.
    RuntimeBusy,
    /// Memory that the system does not have.
    OutOfMemory {
        /// What it was for.
        purpose: &'static str,
        /// How much, in bytes.
        bytes: u64,
    },
    /// A picture that cannot be decoded.
    #[cfg(feature = "std")]
    Picture {
        /// The kind of fault.
        fault: PictureFault,
        /// What is wrong, and what to do.
        problem: std::string::String,
    },
    /// Labels or prompt templates that cannot be used.
    #[cfg(feature = "std")]
    Labels {
        /// What is wrong with them.
        problem: std::string::String,
    },
    /// An environment variable with a value that cannot be used.
    #[cfg(feature = "std")]
    Setting {
        /// Its name.
        name: &'static str,
        /// Its value; long ones are cut.
        value: std::string::String,
        /// What would be right.
        expected: std::string::String,
    },
    /// A path where there is no file that can be read or written.
    #[cfg(feature = "std")]
    NotAFile {
        /// What is there instead, and what would be right.
        problem: &'static str,
    },
    /// An error inside a named file.
    #[cfg(feature = "std")]
    InFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong in it.
        source: std::boxed::Box<Error>,
    },
    /// The operating system refused something.
    #[cfg(feature = "std")]
    Io {
        /// What was being done, as in "cannot {action}".
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Anything else that a caller can only show.
    #[cfg(feature = "std")]
    Message(std::string::String),
}

/// Why a picture cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PictureFault {
    /// It is of a kind that is not supported, or no picture.
    Unsupported,
    /// It is empty, cut off or damaged.
    Damaged,
    /// It is above the limits of [`decode::Options`](crate::preprocess::decode::Options).
    TooLarge,
}

impl Error {
    /// This error as one inside `path`.
    #[cfg(feature = "std")]
    pub fn in_file(self, path: impl Into<std::path::PathBuf>) -> Error {
        Error::InFile { path: path.into(), source: std::boxed::Box::new(self) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Pixels { problem, expected, found } => {
                write!(f, "{problem} (expected {expected}, found {found})")
            }
            Error::Format { problem, offset, expected, found } => {
                write!(f, "{problem} (at byte {offset}: expected {expected}, found {found})")
            }
            Error::NotAModel { kind } => write!(f, "not a packed model: this is {kind}"),
            Error::Checksum { part, offset, expected, found } => write!(
                f,
                "{part} (at byte {offset}) is damaged: expected checksum {expected:016x}, found {found:016x}"
            ),
            Error::Config { field, expected, found } => {
                write!(f, "config field {field} is {found}, expected {expected}")
            }
            Error::Tensor { name, problem, expected, found } => {
                write!(f, "tensor {name}: {problem} (expected {expected}, found {found})")
            }
            Error::TensorMissing { name } => write!(f, "tensor {name} is missing"),
            Error::TensorUnknown { name } => {
                write!(f, "tensor {name} is not one that the configuration demands")
            }
            Error::BankOfAnotherModel { expected, found } => write!(
                f,
                "the label bank was made with another model: expected checkpoint {expected:016x}, found \
                 {found:016x}; make it again with this one"
            ),
            Error::TooCostly { what, limit, found } => {
                write!(f, "the model needs {found} {what}, and the limit is {limit}; ")?;
                match u32::try_from(found.div_ceil((*limit).max(1))) {
                    Ok(factor) => write!(
                        f,
                        "if you trust it, OCELLI_MAX_COST={factor} raises all limits by that factor"
                    ),
                    Err(_) => f.write_str("no setting allows so much"),
                }
            }
            Error::TextTooLong { start, limit, found } => {
                write!(
                    f,
                    "the text that starts with {start:?} has {found} bytes; at most {limit} are read: shorten it"
                )
            }
            Error::ModelLacks { part, remedy } => write!(f, "this model has no {part}: {remedy}"),
            Error::Argument { problem, expected, found } => {
                write!(f, "{problem} (expected {expected}, found {found})")
            }
            #[cfg(feature = "std")]
            Error::ImageSize { size: (height, width), problem } => {
                write!(f, "an image of {height}x{width} pixels (height x width): {problem}")
            }
            Error::NotFinite => f.write_str(
                "the embedding has values that are no numbers: the model's weights are damaged (check them with \
                 ocelli-pack verify), or the input was not finite",
            ),
            Error::RuntimeBusy => f.write_str(
                "an encoder was called while another one of the same runtime works on this thread; give it a runtime \
                 of its own",
            ),
            Error::OutOfMemory { purpose, bytes } => {
                write!(f, "not enough memory for {purpose}: {bytes} bytes more were needed")
            }
            #[cfg(feature = "std")]
            Error::Picture { problem, .. } | Error::Labels { problem } => f.write_str(problem),
            #[cfg(feature = "std")]
            Error::Setting { name, value, expected } => write!(f, "{name}={value}: expected {expected}"),
            #[cfg(feature = "std")]
            Error::NotAFile { problem } => f.write_str(problem),
            #[cfg(feature = "std")]
            Error::Tokenizer { field, problem } => write!(f, "the tokenizer is unusable: {field}: {problem}"),
            #[cfg(feature = "std")]
            Error::InFile { path, source } => write!(f, "{}: {source}", path.display()),
            #[cfg(feature = "std")]
            Error::Io { action, source } => write!(f, "cannot {action}: {source}"),
            #[cfg(feature = "std")]
            Error::Message(message) => f.write_str(message),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            #[cfg(feature = "std")]
            Error::InFile { source, .. } => Some(source),
            #[cfg(feature = "std")]
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
