//! One file from a hub into the cache: resumed where it broke off, checked, and only then given its name.

use super::address::Address;
use super::cache::create_parent;
use super::client::{Ask, Client, Failure, Passing, reason};
use super::digest::Digest;
use super::reference::Reference;
use super::refusal::Refusal;
use super::remote::{self, Facts};
use crate::progress::Progress;
use crate::{Error, Result};
use ocelli::printable;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use ureq::http::StatusCode;

/// How much of a file must come before another break counts as the first one again.
const PROGRESS: u64 = 1 << 20;

/// A file to be downloaded.
pub(super) struct Download<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) reference: &'a Reference,
    pub(super) file: &'a str,
    pub(super) facts: &'a Facts,
    /// Where its contents will be.
    pub(super) blob: &'a Path,
    pub(super) progress: &'a dyn Progress,
}

impl Download<'_> {
    /// Downloads the file. What an earlier try left is used; returns whether something was.
    ///
    /// # Errors
    /// The hub refuses, the connection keeps breaking, the disk is full, or what came is not what the hub said.
    pub(super) fn run(&self) -> Result<bool> {
        let Download { client, facts, blob, progress, .. } = *self;
        let address = client.address(&remote::path(&self.reference.repository, &facts.commit, self.file));
        let mut part = Part::open(blob, facts)?;
        let mut resumed = part.len > 0;
        progress.advance(part.len);
        let mut patience = client.patience();
        let (mut milestone, step) = (part.len, PROGRESS.min(facts.size / 16));
        loop {
            match self.receive(&address, &mut part) {
                Ok(()) => match part.finish(blob, facts)? {
                    None => return Ok(resumed),
                    // What was there before may be damaged; what came just now was not.
                    Some(found) if !resumed => {
                        let problem = format!(
                            "is damaged or not what the hub says: its hash is {found}, expected {}; what came is deleted",
                            facts.tag
                        );
                        return Err(Error::hub(address.to_string(), problem));
                    }
                    Some(_) => {
                        progress.warn(&format!(
                            "{address}: what an earlier download left is damaged; from the start"
                        ));
                        part = Part::open(blob, facts)?;
                        (resumed, milestone) = (false, 0);
                    }
                },
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(passing)) => {
                    if part.len > milestone + step {
                        milestone = part.len;
                        patience.renew();
                    }
                    patience.pause(&address, &passing)?;
                }
            }
        }
    }

    /// One request for what is missing of the file.
    fn receive(&self, address: &Address, part: &mut Part) -> Result<(), Failure> {
        let size = self.facts.size;
        if part.len == size {
            return Ok(());
        }
        let reply = self.client.once(Ask::From(part.len), address)?;
        let wrong = |problem: String| Failure::Lasting(Error::hub(address.to_string(), problem));
        match reply.status {
            StatusCode::PARTIAL_CONTENT => {
                let range = reply.header("content-range").unwrap_or_default().trim();
                if range != format!("bytes {}-{}/{size}", part.len, size - 1) {
                    let range = printable(range);
                    return Err(wrong(format!(
                        "was asked for bytes {} to {size} and sends {range:?}",
                        part.len
                    )));
                }
            }
            StatusCode::OK => {
                // A server that knows no ranges begins at the beginning.
                part.restart()?;
                if let Some(length) = reply.number("content-length").filter(|&length| length != size) {
                    return Err(wrong(format!("sends {length} bytes; the hub lists {size}")));
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                part.restart()?;
                return Err(Failure::Passing(Passing::new("has no such range")));
            }
            status if !self.client.is_hub(&reply.at) => {
                // A signed address that is too old; the next request gets a new one.
                return Err(Failure::Passing(Passing::new(format!("{} answers {status}", reply.at))));
            }
            _ => return Err(Refusal::of(&reply).error(self.client, self.reference, Some(self.file)).into()),
        }
        let mut reader = reply.into_reader();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let n =
                reader.read(&mut buffer).map_err(|error| Failure::Passing(Passing::new(reason(&error))))?;
            if n == 0 {
                break;
            }
            if part.len + n as u64 > size {
                return Err(wrong(format!("sends more than the {size} bytes that the hub lists")));
            }
            part.append(&buffer[..n])?;
            self.progress.advance(n as u64);
        }
        if part.len < size {
            let problem = format!("the connection ended after {} of {size} bytes", part.len);
            return Err(Failure::Passing(Passing::new(problem)));
        }
        Ok(())
    }
}

/// The file that grows: `TAG.incomplete` beside where the contents will be.
struct Part {
    path: PathBuf,
    file: File,
    len: u64,
    digest: Digest,
    empty: Digest,
}

impl Part {
    fn open(blob: &Path, facts: &Facts) -> Result<Part> {
        let mut name = blob.as_os_str().to_owned();
        name.push(".incomplete");
        let path = PathBuf::from(name);
        create_parent(&path)?;
        let file = OpenOptions::new().create(true).truncate(false).read(true).append(true).open(&path);
        let mut file = file.map_err(Error::io("open", &path))?;
        let len = file.metadata().map_err(Error::io("read", &path))?.len();
        let empty = Digest::new(&facts.tag, facts.size);
        let mut digest = empty.clone();
        if len > 0 && len <= facts.size {
            digest.update_from(&mut file, &path)?;
        }
        let mut part = Part { path, file, len, digest, empty };
        if len > facts.size {
            part.restart()?;
        }
        Ok(part)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.digest.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(Error::io("write", &self.path))?;
        (self.len, self.digest) = (0, self.empty.clone());
        Ok(())
    }

    /// Gives the whole file its name. If its hash is not what it should be, deletes it and returns that hash.
    fn finish(&mut self, blob: &Path, facts: &Facts) -> Result<Option<String>> {
        let found = self.digest.clone().finish();
        if let Some(found) = found.filter(|found| *found != facts.tag) {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("delete", &self.path)(error));
                }
                _ => return Ok(Some(found)),
            }
        }
        self.file.sync_all().map_err(Error::io("write", &self.path))?;
        fs::rename(&self.path, blob).map_err(Error::io("rename", &self.path))?;
        Ok(None)
    }
}
