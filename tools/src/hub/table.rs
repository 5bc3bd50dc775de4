//! The models that are known by name: open_clip's, as photo servers such as Immich offer them. `data/models.tsv` has the
//! rows and says where they are from.

use serde::Serialize;
use std::fmt::Write;
use std::sync::LazyLock;

const ROWS: &str = include_str!("../../data/models.tsv");
/// Most suggestions for a name that is not there.
const SUGGESTIONS: usize = 3;

/// How a repository stores a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `config.json` beside `model.safetensors`: transformers, timm.
    Transformers,
    /// `open_clip_config.json` beside `open_clip_model.safetensors`.
    OpenClip,
}

/// A model with a name.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// As open_clip and Immich have it: the architecture, two underscores, the training.
    pub name: &'static str,
    /// The repository, `ORG/NAME`.
    pub repository: &'static str,
    /// How it is stored there.
    #[serde(skip)]
    pub layout: Option<Layout>,
    /// Of the weights.
    pub licence: &'static str,
    /// Parameters of the image tower; 0 if nobody counted them.
    pub image_parameters: u64,
    /// All others.
    pub text_parameters: u64,
    /// The image tower's shape, of a transformer.
    #[serde(skip)]
    pub tower: Option<Tower>,
    /// Why it can't be converted; `None` if it should be: nobody has tried it with the published weights.
    pub refused: Option<&'static str>,
    /// The name of the model with the image tower, if this is a text tower alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<&'static str>,
    /// Where the row is from.
    pub source: &'static str,
}

/// The shape of an image tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tower {
    /// Side of the image in pixels.
    pub side: u64,
    /// Side of a patch.
    pub patch: u64,
    /// Channels of a token.
    pub width: u64,
    /// Blocks.
    pub depth: u64,
    /// Channels between the layers of an MLP.
    pub mlp: u64,
    /// Matrices of an MLP: 2, or 3 if it is gated.
    pub mlp_matrices: u64,
    /// Tokens before the patches.
    pub prefix: u64,
    /// Whether an attention head pools; otherwise the class token does.
    pub attention_head: bool,
    /// Length of the embedding.
    pub embed: u64,
}

/// All rows.
pub fn entries() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let rows = ROWS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        // Part of the program, not input: a test reads every row.
        rows.map(|row| Entry::read(row).unwrap_or_else(|| panic!("data/models.tsv: {row:?}"))).collect()
    });
    &ENTRIES
}

/// The row of a name. Capitals do not count, nor does - or _: Immich and open_clip differ in them.
pub fn find(name: &str) -> Option<&'static Entry> {
    let name = plain(name);
    entries().iter().find(|entry| plain(entry.name) == name)
}

/// Names and repositories that look like `name`, the nearest first.
pub fn suggestions(name: &str) -> Vec<&'static str> {
    let name = plain(name);
    let candidates = entries().iter().filter(|entry| entry.refused.is_none());
    let candidates = candidates.flat_map(|entry| [entry.name, entry.repository]);
    let mut near: Vec<(usize, &str)> = candidates
        .map(|candidate| (distance(&name, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
}

fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Letters to change, add or leave out to get from one text to the other (Levenshtein 1966).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().take(200).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

impl Entry {
    fn read(row: &'static str) -> Option<Entry> {
        let cells: Vec<&str> = row.split('\t').collect();
        let [name, repository, layout, licence, image, text, tower, refused, images, source] = cells[..]
        else {
            return None;
        };
        Some(Entry {
            name,
            repository,
            layout: match layout {
                "open_clip" => Some(Layout::OpenClip),
                "transformers" => Some(Layout::Transformers),
                "-" => None,
                _ => return None,
            },
            licence,
            image_parameters: image.parse().ok()?,
            text_parameters: text.parse().ok()?,
            tower: if tower == "-" { None } else { Some(Tower::read(tower)?) },
            refused: (refused != "-").then_some(refused),
            images: (images != "-").then_some(images),
            source,
        })
    }

    /// About how many bytes the packed file has in int8: a byte for each parameter, and 2 % for scales, what stays in
    /// f32, and the tokenizer.
    pub fn int8_bytes(&self) -> u64 {
        (self.image_parameters + self.text_parameters) * 102 / 100
    }
}

impl Tower {
    /// `side patch width depth mlp plain|gated prefix class|head embed`
    fn read(text: &str) -> Option<Tower> {
        let cells: Vec<&str> = text.split(' ').collect();
        let [side, patch, width, depth, mlp, gated, prefix, pool, embed] = cells[..] else { return None };
        let number = |text: &str| text.parse().ok();
        Some(Tower {
            side: number(side)?,
            patch: number(patch)?,
            width: number(width)?,
            depth: number(depth)?,
            mlp: number(mlp)?,
            mlp_matrices: match gated {
                "plain" => 2,
                "gated" => 3,
                _ => return None,
            },
            prefix: number(prefix)?,
            attention_head: match pool {
                "class" => false,
                "head" => true,
                _ => return None,
            },
            embed: number(embed)?,
        })
    }

    /// Multiply-accumulates for one image. Where the class token alone is read, the last block computes queries, the
    /// output projection and the MLP for it alone, as the encoder does.
    pub fn macs(&self) -> u64 {
        let Tower { width, mlp, depth, .. } = *self;
        let patches = (self.side / self.patch).pow(2);
        let tokens = patches + self.prefix;
        let of_token = 2 * width * width + self.mlp_matrices * width * mlp;
        let keys_and_values = 2 * width * width;
        let attention = 2 * tokens * width;
        let block = tokens * (of_token + keys_and_values + attention);
        let embedding = patches * 3 * self.patch.pow(2) * width;
        if self.attention_head {
            let head = tokens * keys_and_values + attention + of_token;
            embedding + depth * block + head
        } else {
            let last = tokens * keys_and_values + of_token + attention;
            embedding + (depth - 1) * block + last + width * self.embed
        }
    }

    /// Milliseconds for one image on `board`: a prediction, by multiply-accumulates from that of CLIP ViT-B/16.
    pub fn milliseconds(&self, board: &Board) -> f64 {
        board.milliseconds * self.macs() as f64 / VIT_B16.macs() as f64
    }
}

/// The image tower of CLIP ViT-B/16, of which instructions were counted.
const VIT_B16: Tower = Tower {
    side: 224,
    patch: 16,
    width: 768,
    depth: 12,
    mlp: 3072,
    mlp_matrices: 2,
    prefix: 1,
    attention_head: false,
    embed: 512,
};

/// A board that times are predicted for.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// Its name.
    pub name: &'static str,
    /// Milliseconds that llvm-mca predicts for CLIP ViT-B/16 in int8 on its four cores: BENCHMARKS.md, "ARM, counted and
    /// predicted".
    pub milliseconds: f64,
}

/// Pi 4 at 1.8 GHz and Pi 5 at 2.4 GHz.
pub const BOARDS: [Board; 2] =
    [Board { name: "Pi 4", milliseconds: 346.0 }, Board { name: "Pi 5", milliseconds: 79.0 }];

/// The table for people, which is Markdown too; with `costs`, what a model is expected to need.
pub fn render(costs: bool) -> String {
    let mut table = vec![vec!["name".to_owned(), "repository".into(), "licence".into(), "parameters".into()]];
    if costs {
        table[0].push("int8 MB".into());
        table[0].extend(BOARDS.iter().map(|board| format!("{} ms", board.name)));
    }
    table[0].push("converts".into());
    for entry in entries() {
        let millions = match entry.image_parameters + entry.text_parameters {
            0 => "?".into(),
            all => format!("{:.0} M", all as f64 / 1e6),
        };
        let mut row = vec![entry.name.to_owned(), entry.repository.into(), entry.licence.into(), millions];
        if costs {
            let size = format!("{:.0}", entry.int8_bytes() as f64 / 1e6);
            row.push(if entry.refused.is_none() { size } else { "-".into() });
            let tower = entry.tower.filter(|_| entry.refused.is_none());
            let time = |board| tower.map_or("-".into(), |tower| format!("{:.0}", tower.milliseconds(board)));
            row.extend(BOARDS.iter().map(time));
        }
        row.push(match (entry.refused, entry.images) {
            (Some(reason), _) => format!("no: {reason}"),
            (None, Some(images)) => format!("untested; text alone, for pictures {images}"),
            (None, None) => "untested".into(),
        });
        table.push(row);
    }
    let widths: Vec<usize> = (0..table[0].len())
        .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (i, row) in table.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            // The last column is as long as it needs to be.
            let width = if std::ptr::eq(cell, &row[row.len() - 1]) { &0 } else { width };
            _ = write!(text, "| {cell:<width$} ");
        }
        text += "|\n";
        if i == 0 {
            text += &"|---".repeat(row.len());
            text += "|\n";
        }
    }
    text
}

/// The same as JSON, one object on a line.
///
/// # Errors
/// None that is known.
pub fn json_lines(costs: bool) -> serde_json::Result<String> {
    let mut text = String::new();
    for entry in entries() {
        let mut json = serde_json::to_value(entry)?;
        let costs = costs && entry.refused.is_none();
        if costs {
            json["int8_bytes"] = entry.int8_bytes().into();
        }
        if let Some(tower) = entry.tower.filter(|_| costs) {
            json["image_macs"] = tower.macs().into();
            let times =
                BOARDS.map(|board| (board.name.to_owned(), tower.milliseconds(&board).round().into()));
            json["predicted_ms"] = serde_json::Value::Object(times.into_iter().collect());
        }
        text += &(json.to_string() + "\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Reference;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_is_whole_and_names_are_unique() {
        let mut names = BTreeSet::new();
        for entry in entries() {
            assert!(names.insert(plain(entry.name)), "{} twice", entry.name);
            assert!(!entry.licence.is_empty() && !entry.source.is_empty(), "{entry:?}");
            Reference::parse(entry.repository).unwrap();
            match entry.refused {
                None => {
                    assert!(entry.layout.is_some() && entry.text_parameters > 0, "{entry:?}");
                    assert_ne!(entry.tower.is_some(), entry.images.is_some(), "{entry:?}");
                }
                Some(reason) => assert!(reason.len() > 10, "{entry:?}"),
            }
            assert!(entry.images.is_none_or(|images| find(images).is_some_and(|row| row.tower.is_some())));
            assert_eq!(find(entry.name).map(|found| found.name), Some(entry.name));
        }
    }

    /// 16.35: by hand, and 0.7 % below what an emulator counts with the kernels' padding (BENCHMARKS.md).
    #[test]
    fn macs_are_those_of_the_encoder() {
        assert_eq!(VIT_B16.macs(), 16_348_090_368);
        let pi5 = VIT_B16.milliseconds(&BOARDS[1]);
        assert_eq!(pi5, BOARDS[1].milliseconds);
    }

    #[test]
    fn distances_are_levenshteins() {
        for (from, to, expected) in
            [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("abc", "ab", 1)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    /// docs/models.md has what `ocelli-pack pull --list --costs` prints.
    #[test]
    fn the_documentation_has_this_table() {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/models.md")).unwrap();
        let table = render(true);
        let missing = table.lines().find(|line| !page.contains(line));
        assert_eq!(
            missing, None,
            "docs/models.md: paste the table that `ocelli-pack pull --list --costs` prints"
        );
    }
}
