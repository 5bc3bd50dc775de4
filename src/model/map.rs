//! Opening a packed file without copying it.

use crate::error::{Error, Result};
use crate::format::File;
use std::path::Path;
use std::vec::Vec;

const FOLDER: &str =
    "a folder, but a model is one .ocelli file: make it of a checkpoint's folder with ocelli-pack convert";

/// What keeps a model's bytes in place.
enum Storage {
    Map(memmap2::Mmap),
    Static,
}

/// A packed file in memory, validated.
///
/// Weights are used where they lie: opening reads the header and the small sections, and pages of weights come in
/// when they are first touched. As with every memory map, the file must not be changed while a model is open: replace
/// it (write a new file and rename it, as `ocelli-pack` does) rather than overwrite it.
pub struct Model {
    /// Borrows from `storage`; never handed out for longer than `&self`.
    file: File<'static>,
    storage: Storage,
}

impl Model {
    /// Maps and validates the file at `path`.
    ///
    /// Everything but the payload of the weights is checked, which takes milliseconds for any size;
    /// [`check_weights`](Self::check_weights) checks that too.
    ///
    /// # Errors
    /// The file can't be read, or is not a valid packed file; the error names it.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        let path = path.as_ref();
        Model::map(path).map_err(|error| error.in_file(path))
    }

    fn map(path: &Path) -> Result<Model> {
        let file =
            std::fs::File::open(path).map_err(|source| Error::Io { action: "open the model", source })?;
        Model::from_file(&file)
    }

    /// As [`open`](Self::open), from an open file, which may have no name: what converts and calibrates keeps its
    /// drafts in such files, which vanish with the process.
    ///
    /// # Errors
    /// As [`open`](Self::open), without a name.
    pub fn from_file(file: &std::fs::File) -> Result<Model> {
        let io = |action| move |source| Error::Io { action, source };
        let metadata = file.metadata().map_err(io("read the model's size"))?;
        if !metadata.is_file() {
            return Err(Error::Message(
                if metadata.is_dir() { FOLDER } else { "not a regular file; a model is one .ocelli file" }
                    .into(),
            ));
        }
        if metadata.len() == 0 {
            return Err(Error::NotAModel { kind: "an empty file: copy or download it again" });
        }
        // SAFETY: the map is read-only. Nobody may change the file meanwhile, as the documentation of `Model` says;
        // even if somebody does, kernels read in bounds whatever the weights' values are.
        let map = unsafe { memmap2::Mmap::map(file) }.map_err(io("map the model into memory"))?;
        // SAFETY: the map's address is fixed for its life, and `storage` lives as long as `file`: both are private
        // fields of `Model`, whose methods lend `file` for the life of `&self` only.
        let bytes: &'static [u8] = unsafe { core::slice::from_raw_parts(map.as_ptr(), map.len()) };
        Ok(Model { file: File::parse(bytes)?, storage: Storage::Map(map) })
    }

    /// A packed file that is part of the program; `bytes` must start at a multiple of 64.
    ///
    /// # Errors
    /// Not a valid packed file.
    pub fn from_static(bytes: &'static [u8]) -> Result<Model> {
        Ok(Model { file: File::parse(bytes)?, storage: Storage::Static })
    }

    /// The packed file.
    pub fn file(&self) -> File<'_> {
        self.file
    }

    /// Starts reading the weights into memory ahead of their first use. Only a hint; never fails.
    pub fn prefetch(&self) {
        if let Storage::Map(map) = &self.storage {
            #[cfg(unix)]
            let _ = map.advise(memmap2::Advice::WillNeed);
            #[cfg(not(unix))]
            let _ = map;
        }
    }

    /// Checks the weights against their checksums on `threads` threads. Reads the whole file, which also brings it
    /// into memory.
    ///
    /// # Errors
    /// The first tensor whose payload is damaged, in the file's order.
    pub fn check_weights(&self, threads: usize) -> Result<()> {
        let file = self.file;
        let tensors: Vec<_> = self.file.tensors().collect();
        let share = tensors.len().div_ceil(threads.max(1)).max(1);
        std::thread::scope(|scope| {
            let workers: Vec<_> = tensors
                .chunks(share)
                .map(|tensors| {
                    scope.spawn(move || tensors.iter().try_for_each(|tensor| file.check_payload(tensor)))
                })
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("verification does not panic"))
        })
    }
}

impl core::fmt::Debug for Model {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Model").field("bytes", &self.file.bytes_len()).finish_non_exhaustive()
    }
}
