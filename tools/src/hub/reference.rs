//! `org/name[/file][@revision]`: a repository of a hub, and what of it.

use crate::{Error, Result};
use ocelli::printable;

/// The revision that is taken if none is named: a repository's main branch.
pub(super) const MAIN: &str = "main";

/// A repository, and what of it. Every part is safe to stand in a path and in an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `organisation/name`, or a name alone for some of the oldest repositories.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// The file with the weights, where a repository has several.
    pub weights: Option<String>,
}

impl Reference {
    /// A repository's main branch.
    ///
    /// # Errors
    /// `repository` is no name of a repository.
    pub fn main(repository: &str) -> Result<Reference> {
        check_repository(repository)?;
        Ok(Reference { repository: repository.into(), revision: MAIN.into(), weights: None })
    }

    /// Reads `org/name`, `org/name@revision` or `org/name/file@revision`.
    ///
    /// # Errors
    /// What in it can't be the name of a repository, a revision or a file.
    pub fn parse(text: &str) -> Result<Reference> {
        let wrong = |problem: &str| Err(Error::hub(printable(text), problem));
        let (path, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let parts: Vec<&str> = path.split('/').collect();
        let weights = match parts[..] {
            [_, _] => None,
            [_, _, file] if is_file_name(file) => Some(file.to_owned()),
            [_, _, _] => return wrong("names no file at the top of a repository: expected ORG/NAME/FILE"),
            _ => return wrong("is no repository: expected ORG/NAME, as in openai/clip-vit-base-patch32"),
        };
        if !is_revision(revision) {
            return wrong("names no revision after @: expected a branch, a tag or a commit");
        }
        let repository = parts[..2].join("/");
        check_repository(&repository)?;
        Ok(Reference { repository, revision: revision.into(), weights })
    }

    /// Name of the packed file that is made unless another one is asked for.
    pub fn stem(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or(&self.repository)
    }
}

/// The rule of Hugging Face for names of repositories.
fn check_repository(repository: &str) -> Result<()> {
    let part = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        (1..=96).contains(&part.len())
            && part.bytes().all(inner)
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            && !part.contains("..")
            && !part.contains("--")
    };
    let parts = repository.split('/');
    if parts.clone().count() <= 2 && parts.clone().all(part) && !repository.ends_with(".git") {
        return Ok(());
    }
    let problem = "is no name of a repository: letters, digits, -, _ and . in ORG/NAME, at most 96 each";
    Err(Error::hub(printable(repository), problem))
}

/// Whether this can be a branch, a tag or a commit, and a path below `refs/` in the cache.
fn is_revision(revision: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/+".contains(&byte);
    revision.len() <= 200
        && revision.bytes().all(inner)
        && revision.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(".."))
}

/// Whether this is a plain name of a file, without folders and of characters that mean nothing anywhere.
pub(super) fn is_file_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
    (1..=200).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with(['.', '-'])
}

/// Whether this is a whole commit hash, SHA-1 or SHA-256.
pub(super) fn is_commit(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_revisions_and_files_are_read() {
        let read = |text: &str| Reference::parse(text).unwrap();
        let plain = read("openai/clip-vit-base-patch32");
        assert_eq!((plain.revision.as_str(), plain.weights.as_deref()), ("main", None));
        assert_eq!(plain.stem(), "clip-vit-base-patch32");
        assert_eq!(read("a/b@refs/pr/1").revision, "refs/pr/1");
        let file = read("timm/vit_base_patch16_clip_224.openai/open_clip_model.safetensors@v1.0");
        assert_eq!(file.repository, "timm/vit_base_patch16_clip_224.openai");
        assert_eq!(file.weights.as_deref(), Some("open_clip_model.safetensors"));
        assert_eq!(file.revision, "v1.0");
        assert!(Reference::main("xlm-roberta-base").is_ok());
    }

    #[test]
    fn nothing_leads_out_of_the_cache_or_into_another_address() {
        for text in [
            "a",
            "a/",
            "/b",
            "a/b/c/d",
            "../b",
            "a/..",
            "a/b@",
            "a/b@..",
            "a/b@../x",
            "a/b@x/../../y",
            "a/b@/etc",
            "a/b@x y",
            "a/b@x?y",
            "a/b@x#y",
            "a/b@x%2f",
            "a/b/../c",
            "a/b/.hidden",
            "a/b/-x",
            "a b/c",
            "a/b\n",
            "a--b/c",
            "a/b.git",
            "a/.b",
            "-a/b",
            "a/b?x",
            "a/b\u{202e}",
            "https://x/y",
            "a/b/c\u{1b}[2J",
        ] {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(!error.contains('\u{1b}') && !error.contains('\n'), "{error:?}");
        }
        assert!(Reference::parse(&format!("a/{}", "b".repeat(97))).is_err());
    }

    #[test]
    fn commits_are_whole_hashes() {
        assert!(is_commit(&"0a".repeat(20)) && is_commit(&"0a".repeat(32)));
        assert!(!is_commit("main") && !is_commit(&"0A".repeat(20)) && !is_commit(&"0a".repeat(19)));
    }
}
