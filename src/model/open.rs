//! Opening a packed file: metadata copied and checked, weights left where they are.

use super::weights::{TextWeights, VisionWeights, tensors};
use crate::error::{Error, Result};
use crate::format::{AlignedBytes, Config, File, Header, Tensor, parts};
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::vec::Vec;

const FOLDER: &str =
    "a folder, but a model is one .ocelli file: make it of a checkpoint's folder with ocelli-pack convert";

/// What keeps a model's bytes in place. They are read through [`Model::file`] alone.
enum Storage {
    /// The metadata, and the map of DATA.
    Map {
        _metadata: AlignedBytes,
        data: memmap2::Mmap,
    },
    Owned {
        _bytes: AlignedBytes,
    },
    Static,
}

/// A packed file in memory, validated, with its weights looked up. Encoders share it.
///
/// [`Model::open`] copies the metadata (header, configuration, names, tokenizer, labels) into memory of its own, checks
/// that copy, and maps the weights: pages of them come in when they are first touched. As with every memory map, the
/// file should be replaced (write a new file and rename it, as `ocelli-pack` does) and not overwritten while a model is
/// open. If it is overwritten all the same, embeddings are wrong, and nothing worse: no length or offset comes from the
/// map. If it is cut off, the system ends the process with SIGBUS when a page that is gone is read. [`Model::read`]
/// reads everything into memory of its own and is safe from both.
pub struct Model {
    // These three borrow from `storage`, and are never lent for longer than `&self`.
    file: File<'static>,
    vision: Option<VisionWeights<'static>>,
    text: Option<TextWeights<'static>>,
    storage: Storage,
}

impl Model {
    /// Opens and validates the file at `path`, its weights mapped.
    ///
    /// Everything but the payload of the weights is checked, which takes milliseconds for any size;
    /// [`check_weights`](Self::check_weights) checks that too.
    ///
    /// # Errors
    /// The file can't be read, or is not a valid packed file; the error names it.
    pub fn open(path: impl AsRef<Path>) -> Result<Arc<Model>> {
        let path = path.as_ref();
        let open = || Model::from_file(&std::fs::File::open(path).map_err(io("open the model"))?);
        open().map_err(|error| error.in_file(path))
    }

    /// As [`open`](Self::open), but with a private copy of the weights too: for files that others may change or cut off
    /// while they are in use. It takes the file's size in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open); or there is not so much memory.
    pub fn read(path: impl AsRef<Path>) -> Result<Arc<Model>> {
        let path = path.as_ref();
        let read = || {
            let mut file = std::fs::File::open(path).map_err(io("open the model"))?;
            let mut bytes = AlignedBytes::zeroed(to_usize(regular_len(&file)?)?)?;
            file.read_exact(&mut bytes).map_err(io("read the model"))?;
            Model::from_bytes(bytes)
        };
        read().map_err(|error| error.in_file(path))
    }

    /// As [`open`](Self::open), from an open file, which may have no name.
    ///
    /// # Errors
    /// As [`open`](Self::open), without a name.
    pub fn from_file(mut file: &std::fs::File) -> Result<Arc<Model>> {
        let len = regular_len(file)?;
        let read = |mut file: &std::fs::File, buffer: &mut [u8]| {
            file.rewind().and_then(|()| file.read_exact(buffer)).map_err(io("read the model"))
        };
        let mut start = [0; size_of::<Header>()];
        let start = &mut start[..size_of::<Header>().min(to_usize(len)?)];
        read(file, start)?;
        let range = Header::data_range(start, len)?;
        let mut metadata = AlignedBytes::zeroed(to_usize(range.start)?)?;
        read(file, &mut metadata)?;
        file.rewind().map_err(io("read the model"))?;
        let mut options = memmap2::MmapOptions::new();
        options.offset(range.start).len(to_usize(range.end - range.start)?);
        // SAFETY: the map is read-only, and read as numbers for which every bit pattern is valid; no length, offset or
        // index is computed from them. So a file that changes meanwhile gives wrong numbers, and nothing else.
        let data = unsafe { options.map(file) }.map_err(io("map the model into memory"))?;
        // SAFETY: neither allocation moves or ends while `storage` lives, wherever that is moved to.
        let file = unsafe { File::parse_split(extended(&metadata), extended(&data)) }?;
        Model::new(file, Storage::Map { _metadata: metadata, data })
    }

    /// A packed file in memory that the model then owns.
    ///
    /// # Errors
    /// Not a valid packed file.
    pub fn from_bytes(bytes: AlignedBytes) -> Result<Arc<Model>> {
        // SAFETY: the allocation does not move or end while `storage` lives, wherever that is moved to.
        let file = unsafe { File::parse(extended(&bytes)) }?;
        Model::new(file, Storage::Owned { _bytes: bytes })
    }

    /// A packed file that is part of the program; `bytes` must start at a multiple of 64, see
    /// [`Aligned`](crate::format::Aligned).
    ///
    /// # Errors
    /// Not a valid packed file.
    pub fn from_static(bytes: &'static [u8]) -> Result<Arc<Model>> {
        Model::new(File::parse(bytes)?, Storage::Static)
    }

    fn new(file: File<'static>, storage: Storage) -> Result<Arc<Model>> {
        let vision = file.has_vision().then(|| VisionWeights::new(file)).transpose()?;
        let text = file.has_text().then(|| TextWeights::new(file)).transpose()?;
        Ok(Arc::new(Model { file, vision, text, storage }))
    }

    /// The packed file.
    pub fn file(&self) -> File<'_> {
        self.file
    }

    /// Everything about architecture, preprocessing and scoring.
    pub fn config(&self) -> &Config {
        self.file.config()
    }

    /// The image tower's weights, if there is one.
    pub fn vision(&self) -> Option<&VisionWeights<'_>> {
        self.vision.as_ref()
    }

    /// The text tower's weights, if there is one.
    pub fn text(&self) -> Option<&TextWeights<'_>> {
        self.text.as_ref()
    }

    /// The tensors of the image tower.
    pub(crate) fn vision_tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        tensors(self.file, &parts::VISION)
    }

    /// The tensors of the text tower.
    pub(crate) fn text_tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        tensors(self.file, &parts::TEXT)
    }

    /// Starts reading the weights into memory ahead of their first use. Only a hint; never fails.
    pub fn prefetch(&self) {
        if let Storage::Map { data, .. } = &self.storage {
            #[cfg(unix)]
            let _ = data.advise(memmap2::Advice::WillNeed);
            #[cfg(not(unix))]
            let _ = data;
        }
    }

    /// Checks the weights against their checksums on `threads` threads. Reads the whole file, which brings it into the
    /// system's cache; of this process's memory it takes little, and none afterwards.
    ///
    /// # Errors
    /// The first tensor whose payload is damaged, in the file's order.
    pub fn check_weights(&self, threads: usize) -> Result<()> {
        let file = self.file;
        let tensors: Vec<_> = self.file.tensors().collect();
        let share = tensors.len().div_ceil(threads.max(1)).max(1);
        let check = |tensors: &[Tensor<'_>]| {
            tensors.iter().try_for_each(|tensor| {
                let checked = file.check_payload(tensor);
                self.release(file.payload(tensor));
                checked
            })
        };
        let checked = std::thread::scope(|scope| {
            // Where the system makes no more threads, this one does their share.
            let start = |tensors| std::thread::Builder::new().spawn_scoped(scope, move || check(tensors));
            let workers: Vec<_> = tensors.chunks(share).map(|tensors| (tensors, start(tensors))).collect();
            workers.into_iter().try_for_each(|(tensors, worker)| match worker {
                Ok(worker) => worker.join().unwrap_or_else(|_| check(tensors)),
                Err(_) => check(tensors),
            })
        });
        // Reading a tensor also maps pages around it, some of which were let go of before.
        if let Storage::Map { data, .. } = &self.storage {
            self.release(data);
        }
        checked
    }

    /// Takes the pages of `weights` out of this process's memory, until they are touched again. Only a hint.
    fn release(&self, weights: &[u8]) {
        #[cfg(unix)]
        if let Storage::Map { data, .. } = &self.storage {
            let offset = weights.as_ptr().addr() - data.as_ptr().addr();
            // SAFETY: pages of a file that nobody writes through this map come back as the file has them, and what that
            // means for a file that changes is said where it is mapped.
            let _ = unsafe {
                data.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, weights.len())
            };
        }
        #[cfg(not(unix))]
        let _ = weights;
    }
}

/// `bytes` for as long as whoever calls this sees to it that they stay.
///
/// # Safety
/// The bytes must neither move nor be freed while the result is in use.
unsafe fn extended(bytes: &[u8]) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) }
}

/// The length of a regular file that is not empty.
fn regular_len(file: &std::fs::File) -> Result<u64> {
    let metadata = file.metadata().map_err(io("read the model's size"))?;
    if !metadata.is_file() {
        let problem =
            if metadata.is_dir() { FOLDER } else { "not a regular file; a model is one .ocelli file" };
        return Err(Error::NotAFile { problem });
    }
    if metadata.len() == 0 {
        return Err(Error::NotAModel { kind: "an empty file: copy or download it again" });
    }
    Ok(metadata.len())
}

fn io(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { action, source }
}

fn to_usize(len: u64) -> Result<usize> {
    usize::try_from(len).map_err(|error| io("read the model")(io::Error::other(error)))
}

impl core::fmt::Debug for Model {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Model").field("bytes", &self.file.bytes_len()).finish_non_exhaustive()
    }
}
