//! What a name means: a repository, or a model as open_clip and Immich call it.

use super::reference::Reference;
use super::table::{self, Entry, Layout};
use crate::{Error, Result};
use ocelli::printable;

/// What is to be pulled.
#[derive(Clone, Debug)]
pub struct Target {
    /// The repository.
    pub reference: Reference,
    /// Which of a repository's models, if it holds several.
    pub layout: Option<Layout>,
    /// The name of the model with the image tower, if this is known to be a text tower alone.
    pub images: Option<&'static str>,
    /// Name of the packed file without its ending.
    pub stem: String,
}

/// Finds out what `name` means: `ORG/NAME[/FILE][@REVISION]`, with or without `hf:` before it, or a name of the
/// [table], as in `ViT-B-32__openai`.
///
/// # Errors
/// It is neither, or the table knows that this model can't be converted, and why.
pub fn resolve(name: &str) -> Result<Target> {
    let plain = name.strip_prefix("hf:").unwrap_or(name);
    if plain.contains('/') {
        let reference = Reference::parse(plain)?;
        let stem = reference.stem().to_owned();
        return Ok(Target { reference, layout: None, images: None, stem });
    }
    let (known, revision) = match plain.split_once('@') {
        Some((known, revision)) => (known, Some(revision)),
        None => (plain, None),
    };
    let Some(entry) = table::find(known) else {
        let near = table::suggestions(known);
        let near = if near.is_empty() { String::new() } else { format!(" Near: {}.", near.join(", ")) };
        let problem = format!(
            "is neither a repository (ORG/NAME) nor a name that is known here.{near} ocelli-pack pull --list shows all"
        );
        return Err(Error::hub(printable(plain), problem));
    };
    let Entry { name, repository, layout, refused, images, .. } = entry;
    if let Some(reason) = refused {
        return Err(Error::hub(*name, format!("can't be converted: {reason}")));
    }
    let reference = match revision {
        Some(revision) => Reference::parse(&format!("{repository}@{revision}"))?,
        None => Reference::parse(repository)?,
    };
    Ok(Target { reference, layout: *layout, images: *images, stem: (*name).into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_repositories_or_rows_of_the_table() {
        let target = resolve("hf:openai/clip-vit-base-patch32@abc").unwrap();
        assert_eq!(target.reference, resolve("openai/clip-vit-base-patch32@abc").unwrap().reference);
        assert_eq!((target.stem.as_str(), target.layout), ("clip-vit-base-patch32", None));

        // As Immich, open_clip and people write it.
        for name in
            ["ViT-B-32__laion2b-s34b-b79k", "ViT-B-32__laion2b_s34b_b79k", "vit-b-32__laion2b_s34b_b79k"]
        {
            let target = resolve(name).unwrap();
            assert_eq!(target.reference.repository, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K");
            assert_eq!(
                (target.stem.as_str(), target.layout),
                ("ViT-B-32__laion2b-s34b-b79k", Some(Layout::OpenClip))
            );
        }
        assert_eq!(resolve("ViT-B-32__openai@v1").unwrap().reference.revision, "v1");
    }

    #[test]
    fn what_is_unknown_or_refused_says_so() {
        let message = |name: &str| resolve(name).unwrap_err().to_string();
        assert!(message("RN50__openai").contains("ResNet"), "{}", message("RN50__openai"));
        assert!(message("ViT-B-32__opnai").contains("ViT-B-32__openai"), "{}", message("ViT-B-32__opnai"));
        assert!(message("frobnicate").contains("--list"));
        assert!(!message("\u{1b}[2J").contains('\u{1b}'));
    }
}
