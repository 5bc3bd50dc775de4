//! What a hub says about a repository and its files.

use super::client::{Ask, Client};
use super::reference::{Reference, is_commit, is_file_name};
use super::refusal::Refusal;
use crate::{Error, Result};
use ocelli::printable;
use serde_json::Value;
use std::collections::BTreeSet;

/// Longest answer about a repository that is read: some have tens of thousands of files.
const MAX_LISTING: u64 = 32 << 20;

/// What a revision of a repository holds.
pub(super) struct Listing {
    pub(super) commit: String,
    /// The files at its top whose names are plain. Files of other names are never asked for.
    pub(super) files: BTreeSet<String>,
    pub(super) licence: Option<String>,
}

/// A file as the hub has it.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) commit: String,
    /// What names its contents: a hash, as a rule.
    pub(super) tag: String,
    pub(super) size: u64,
}

/// A revision in one part of an address.
fn quoted(revision: &str) -> String {
    revision.replace('/', "%2F").replace('+', "%2B")
}

/// The address of a file, below the hub's own.
pub(super) fn path(repository: &str, revision: &str, file: &str) -> String {
    format!("{repository}/resolve/{}/{file}", quoted(revision))
}

/// Asks what `reference` holds; `None` from a server that answers for files only, as plain mirrors do.
///
/// # Errors
/// There is no such repository or revision, it may not be read, or the server fails.
pub(super) fn listing(client: &Client<'_>, reference: &Reference) -> Result<Option<Listing>> {
    let Reference { repository, revision, .. } = reference;
    let address = client.address(&format!("api/models/{repository}/revision/{}", quoted(revision)));
    let (status, headers, bytes) = client.read(&address, MAX_LISTING)?;
    let refusal = Refusal::new(status, &headers);
    if !status.is_success() {
        let unknown = refusal.is_unknown();
        return if unknown { Ok(None) } else { Err(refusal.error(client, reference, None)) };
    }
    let Ok(json) = serde_json::from_slice::<Value>(&bytes) else { return Ok(None) };
    let wrong = |problem: &str| Error::hub(address.to_string(), problem);
    let commit = json["sha"].as_str().filter(|commit| is_commit(commit));
    let commit = commit.ok_or_else(|| wrong("names no commit: is HF_ENDPOINT the address of a hub?"))?;
    let siblings = json["siblings"].as_array().ok_or_else(|| wrong("lists no files"))?;
    let files = siblings.iter().filter_map(|file| file["rfilename"].as_str());
    let files = files.filter(|name| is_file_name(name)).map(str::to_owned).collect();
    Ok(Some(Listing { commit: commit.into(), files, licence: licence(&json) }))
}

/// The licence that a repository's card names, shortened to what fits on a line.
fn licence(json: &Value) -> Option<String> {
    let card = json["cardData"]["license"].as_str();
    let tags = json["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let named = card.or_else(|| tags.filter_map(|tag| tag.strip_prefix("license:")).next())?;
    Some(printable(&named.chars().take(60).collect::<String>()).into_owned())
}

/// Asks for what there is to know about a file at `revision` of `reference`'s repository; `None` if there is none.
///
/// # Errors
/// As [`listing`]; or the hub leaves out what its files are recognised by.
pub(super) fn facts(
    client: &Client<'_>,
    reference: &Reference,
    revision: &str,
    file: &str,
) -> Result<Option<Facts>> {
    let address = client.address(&path(&reference.repository, revision, file));
    let reply = client.ask(Ask::Head, &address, &mut client.patience())?;
    if !(reply.status.is_success() || reply.status.is_redirection()) {
        let refusal = Refusal::of(&reply);
        let error = || refusal.error(client, reference, Some(file));
        return if refusal.is_entry() { Ok(None) } else { Err(error()) };
    }
    let wrong = |problem: String| Error::hub(address.to_string(), problem);
    let header = |name: &str| reply.header(name);
    let commit = header("x-repo-commit").filter(|commit| is_commit(commit)).ok_or_else(|| {
        wrong(
            "answers without X-Repo-Commit: is HF_ENDPOINT the address of a hub, and no proxy between?"
                .into(),
        )
    })?;
    let tag = header("x-linked-etag")
        .or_else(|| header("etag"))
        .map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
    // The tag becomes the name of a file.
    let tag = tag.filter(|tag| is_file_name(tag)).ok_or_else(|| {
        wrong("answers without an ETag that could be the name of a file in the cache".into())
    })?;
    let length = || if reply.status.is_redirection() { None } else { reply.number("content-length") };
    let size = reply.number("x-linked-size").or_else(length);
    let size = size.ok_or_else(|| wrong("does not say how long the file is".into()))?;
    Ok(Some(Facts { commit: commit.into(), tag: tag.into(), size }))
}
