//! Label files, and prompt templates: `a photo of a {}`.

use crate::error::{Error, Result};
use std::path::Path;
use std::string::String;
use std::vec::Vec;

/// The template that is used where none is given.
pub const DEFAULT_TEMPLATE: &str = "a photo of a {}";

/// `template` with `label` in place of its `{}`.
pub fn fill(template: &str, label: &str) -> String {
    template.replacen("{}", label, 1)
}

/// The templates to use: `given`, or the default where there are none.
///
/// # Errors
/// One of them lacks the `{}` that stands for the label, or has several.
pub fn templates(given: &[String]) -> Result<Vec<&str>> {
    if given.is_empty() {
        return Ok(std::vec![DEFAULT_TEMPLATE]);
    }
    given
        .iter()
        .map(|template| match template.matches("{}").count() {
            1 => Ok(template.as_str()),
            count => Err(Error::Message(std::format!(
                "template {template:?} has {count} times {{}}, which stands for the label; it must have one"
            ))),
        })
        .collect()
}

/// The labels in a UTF-8 text file, one per line. Blank lines are skipped.
///
/// # Errors
/// The file can't be read, is not UTF-8 or has no labels; the error names it and, if it can, the line.
pub fn read_labels(path: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(path)
        .map_err(|source| Error::Io { action: "read the labels", source }.in_file(path))?;
    let text = core::str::from_utf8(&bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        Error::Message(std::format!("line {line} is not UTF-8; save the file as UTF-8")).in_file(path)
    })?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let labels: Vec<String> = lines.filter(|line| !line.is_empty()).map(String::from).collect();
    if labels.is_empty() {
        return Err(Error::Message("no labels in it; write one per line".into()).in_file(path));
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_need_exactly_one_place() {
        assert_eq!(fill("a {} of {x}", "cat {}"), "a cat {} of {x}");
        assert_eq!(templates(&[]).unwrap(), [DEFAULT_TEMPLATE]);
        assert!(templates(&["no place".into()]).unwrap_err().to_string().contains("no place"));
        assert!(templates(&["{} and {}".into()]).is_err());
    }

    use std::string::ToString;
}
