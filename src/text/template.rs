//! Labels from files and lists, and prompt templates: `a photo of a {}`.

use crate::error::{Error, Result};
use crate::printable::excerpt;
use std::path::Path;
use std::string::String;
use std::vec::Vec;

/// The template that is used where none is given.
pub const DEFAULT_TEMPLATE: &str = "a photo of a {}";

fn unusable(problem: impl Into<String>) -> Error {
    Error::Labels { problem: problem.into() }
}

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
            count => Err(unusable(std::format!(
                "template {:?} has {count} times {{}}, which stands for the label; it must have one",
                excerpt(template)
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
        unusable(std::format!("line {line} is not UTF-8; save the file as UTF-8")).in_file(path)
    })?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let labels: Vec<String> = lines.filter(|line| !line.is_empty()).map(String::from).collect();
    if labels.is_empty() {
        return Err(unusable("no labels in it; write one per line").in_file(path));
    }
    Ok(labels)
}

/// The labels in a list like `cat, "dog, asleep"`: separated by commas, those that have commas in double quotes, quotes
/// inside quotes doubled (as CSV has it, RFC 4180). Space around labels does not count.
///
/// # Errors
/// A quote does not end, or more follows it than a comma.
pub fn parse_labels(list: &str) -> Result<Vec<String>> {
    let mut labels = Vec::new();
    let mut rest = list;
    loop {
        let start = rest.trim_start();
        let (label, after) = match start.strip_prefix('"') {
            Some(quoted) => unquote(quoted).ok_or_else(|| {
                unusable(std::format!(
                    "labels: the quote in {:?} does not end, or more follows it than a comma",
                    excerpt(start)
                ))
            })?,
            None => {
                let end = start.find(',').unwrap_or(start.len());
                (start[..end].trim_end().into(), &start[end..])
            }
        };
        labels.push(label);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(labels),
        }
    }
}

/// A label whose opening quote has been read, and what follows: a comma or nothing.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut label = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        label.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                label.push('"');
                rest = more;
            }
            None => break,
        }
    }
    let rest = rest.trim_start();
    (rest.is_empty() || rest.starts_with(',')).then(|| (label.trim().into(), rest))
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

    #[test]
    fn lists_of_labels_may_have_quotes() {
        for (list, labels) in [
            ("a", &["a"][..]),
            (" a , b c,d", &["a", "b c", "d"]),
            ("a,\"b, c\",d", &["a", "b, c", "d"]),
            (" \"say \"\"hi\"\"\" ,it's 5\" wide", &["say \"hi\"", "it's 5\" wide"]),
            ("a,,b", &["a", "", "b"]),
            ("a,", &["a", ""]),
            ("\"\"", &[""]),
            ("", &[""]),
        ] {
            assert_eq!(parse_labels(list).unwrap(), labels, "{list}");
        }
        for list in ["\"a", "a,\"b,c", "\"a\"b,c"] {
            assert!(parse_labels(list).unwrap_err().to_string().contains("quote"), "{list}");
        }
    }

    use std::string::ToString;
}
