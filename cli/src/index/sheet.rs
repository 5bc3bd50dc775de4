//! A page with the photos that were found. It names the files and holds no copy of them.

use ocelli::printable;
use ocelli_index::Hit;
use std::fmt::Write;
use std::path::Path;

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:1rem;color-scheme:light dark}\
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:.75rem}\
figure{margin:0}img{width:100%;height:11rem;object-fit:cover;border-radius:4px}\
figcaption{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}";

/// A page in HTML, for a browser on the computer that has the photos.
pub(super) fn page(query: &str, hits: &[Hit]) -> String {
    let query = escaped(query);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{query}</title><style>{STYLE}</style>\
         <h1>{query}</h1><main>\n"
    );
    for Hit { similarity, picture, .. } in hits {
        let path = &picture.paths[0];
        let (url, name) = (file_url(path), escaped(&path.display().to_string()));
        let taken =
            picture.facts.taken.as_deref().map_or_else(String::new, |taken| format!(" · {}", escaped(taken)));
        writeln!(
            page,
            "<figure><a href=\"{url}\"><img loading=\"lazy\" src=\"{url}\" alt=\"\"></a>\
             <figcaption title=\"{name}\">{similarity:.3}{taken}<br>{name}</figcaption></figure>"
        )
        .expect("strings take everything");
    }
    page + "</main></html>\n"
}

/// `text` as it stands in HTML, in an attribute too.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in printable(text).chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

/// The URL of a file (RFC 8089), percent-encoded.
fn file_url(path: &Path) -> String {
    let mut url = String::from("file://");
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                url.push(byte.into())
            }
            _ => write!(url, "%{byte:02X}").expect("strings take everything"),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocelli_index::Entry;
    use ocelli_index::store::Facts;

    #[test]
    fn names_cannot_leave_their_place() {
        let path = "/a b/\"><script>'&.jpg";
        let facts = Facts { size: (4, 3), taken: Some("2024-05-01 12:33:00".into()), phash: 0 };
        let picture = Entry { row: 0, paths: vec![path.into()], hash: [0; 16], bytes: 1, modified: 0, facts };
        let page = page("<cat>", &[Hit { similarity: 0.5, score: 0.5, picture }]);
        assert!(page.contains("src=\"file:///a%20b/%22%3E%3Cscript%3E%27%26.jpg\""), "{page}");
        assert!(page.contains("<h1>&lt;cat&gt;</h1>") && !page.contains("<script"), "{page}");
        assert!(
            page.contains("0.500 · 2024-05-01 12:33:00<br>/a b/&quot;&gt;&lt;script&gt;&#39;&amp;.jpg"),
            "{page}"
        );
    }
}
