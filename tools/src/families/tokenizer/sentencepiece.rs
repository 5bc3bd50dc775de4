//! SentencePiece models (`spiece.model`, `tokenizer.model`): the parts of the protocol buffer that a tokenizer needs.
//!
//! Fields are those of `sentencepiece_model.proto` (<https://github.com/google/sentencepiece>); what is not needed is
//! skipped, and so is what later versions add.

use super::loaded::read_bytes;
use crate::{Error, Result};
use std::path::Path;

/// Longest piece, in bytes; the trainer's own limit is 16 characters, and Gemma's longest has 93 bytes.
const MAX_PIECE: usize = 256;

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Found by the model.
    Normal,
    /// The unknown token.
    Unknown,
    /// Never found in a text.
    Control,
    /// Found as a whole wherever it occurs.
    UserDefined,
    /// One byte of a character that has no piece.
    Byte,
    /// Of no use any more.
    Unused,
}

/// One piece.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) kind: Kind,
}

/// How pieces are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Unigram,
    Bpe,
}

/// A SentencePiece model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) algorithm: Algorithm,
    /// The pieces; a piece's id is its index.
    pub(super) pieces: Vec<Piece>,
    /// The compiled rules that characters are replaced by; empty for none.
    pub(super) charsmap: Vec<u8>,
    /// A space is put before every text.
    pub(super) dummy_prefix: bool,
    /// Spaces at the ends go, runs of them become one.
    pub(super) remove_extra_spaces: bool,
    /// Characters without a piece become bytes.
    pub(super) byte_fallback: bool,
}

impl Model {
    /// The model in a file.
    ///
    /// # Errors
    /// It cannot be read, or is no SentencePiece model of a kind that is supported.
    pub(super) fn open(path: &Path) -> Result<Model> {
        let bytes = read_bytes(path)?;
        Model::parse(&bytes)
            .map_err(|problem| Error::file(path, format!("not a usable SentencePiece model: {problem}")))
    }

    fn parse(bytes: &[u8]) -> std::result::Result<Model, String> {
        let mut model = Model {
            algorithm: Algorithm::Unigram,
            pieces: Vec::new(),
            charsmap: Vec::new(),
            // The defaults of the protocol buffer.
            dummy_prefix: true,
            remove_extra_spaces: true,
            byte_fallback: false,
        };
        for field in Fields(bytes) {
            match field? {
                (1, Value::Bytes(piece)) => model.pieces.push(self::piece(piece)?),
                (2, Value::Bytes(trainer)) => {
                    for field in Fields(trainer) {
                        match field? {
                            (3, Value::Integer(1)) => model.algorithm = Algorithm::Unigram,
                            (3, Value::Integer(2)) => model.algorithm = Algorithm::Bpe,
                            (3, Value::Integer(other)) => {
                                return Err(format!(
                                    "its model type is {other}; supported: 1 (unigram), 2 (BPE)"
                                ));
                            }
                            (35, Value::Integer(on)) => model.byte_fallback = on != 0,
                            _ => {}
                        }
                    }
                }
                (3, Value::Bytes(normalizer)) => {
                    for field in Fields(normalizer) {
                        match field? {
                            (2, Value::Bytes(charsmap)) => model.charsmap = charsmap.to_vec(),
                            (3, Value::Integer(on)) => model.dummy_prefix = on != 0,
                            (4, Value::Integer(on)) => model.remove_extra_spaces = on != 0,
                            (5, Value::Integer(0)) => return Err("it does not escape white space".into()),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        if model.pieces.is_empty() {
            return Err("it has no pieces".into());
        }
        Ok(model)
    }

    /// The id of the piece `text`.
    pub(super) fn id(&self, text: &str) -> Option<usize> {
        self.pieces.iter().position(|piece| piece.text == text)
    }
}

fn piece(bytes: &[u8]) -> std::result::Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: Kind::Normal };
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(text)) => {
                piece.text =
                    String::from_utf8(text.to_vec()).map_err(|_| "a piece is not UTF-8".to_string())?;
            }
            (2, Value::Fixed(bits)) => piece.score = f32::from_bits(bits),
            (3, Value::Integer(kind)) => {
                piece.kind = match kind {
                    1 => Kind::Normal,
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    4 => Kind::UserDefined,
                    5 => Kind::Unused,
                    6 => Kind::Byte,
                    other => return Err(format!("piece {:?} is of the unknown kind {other}", piece.text)),
                };
            }
            _ => {}
        }
    }
    if !(1..=MAX_PIECE).contains(&piece.text.len()) {
        return Err(format!("a piece has {} bytes; expected 1 to {MAX_PIECE}", piece.text.len()));
    }
    if !piece.score.is_finite() {
        return Err(format!("piece {:?} has the score {}", piece.text, piece.score));
    }
    Ok(piece)
}

/// The value of a field.
enum Value<'a> {
    Integer(u64),
    Fixed(u32),
    Bytes(&'a [u8]),
    Other,
}

/// Reads the fields of a message one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> std::result::Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("it is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> std::result::Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number in it is too long".into())
    }

    fn field(&mut self) -> std::result::Result<(u64, Value<'a>), String> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Integer(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(usize::try_from(len).map_err(|_| "it is cut off")?)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            }
            kind => return Err(format!("it has a field of the unknown kind {kind}")),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = std::result::Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pieces, BPE, no dummy prefix.
    fn good() -> Vec<u8> {
        [
            &[0x0a, 8, 0x0a, 1, b'a', 0x15, 0, 0, 0x80, 0x3f][..],
            &[0x0a, 5, 0x0a, 1, b'b', 0x18, 4, 0x12, 2, 0x18, 2, 0x1a, 2, 0x18, 0],
        ]
        .concat()
    }

    #[test]
    fn models_are_read() {
        let model = Model::parse(&good()).unwrap();
        assert_eq!((model.algorithm, model.dummy_prefix, model.pieces.len()), (Algorithm::Bpe, false, 2));
        assert_eq!(
            (model.pieces[0].score, model.pieces[1].kind, model.id("b")),
            (1.0, Kind::UserDefined, Some(1))
        );
    }

    #[test]
    fn damaged_models_are_refused_for_what_is_wrong() {
        let message = |field: &[u8]| [&good(), field].concat();
        let piece = |fields: &[u8]| message(&[&[0x0a, fields.len() as u8], fields].concat());
        let long = [&[0x0a, 0x86, 0x02, 0x0a, 0x83, 0x02][..], &[b'a'; 259]].concat();
        for (model, says) in [
            (vec![], "no pieces"),
            (message(&[0x0a]), "cut off"),
            (message(&[0x0a, 0x80]), "cut off"),
            (message(&[0x0a, 9, 0x0a]), "cut off"),
            (message(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), "cut off"),
            (message(&[0xff; 11]), "too long"),
            (message(&[0x0b]), "unknown kind 3"),
            (piece(&[0x0a, 2, 0xc3, 0x28]), "not UTF-8"),
            (piece(&[]), "0 bytes"),
            (message(&long), "259 bytes"),
            (piece(&[0x0a, 1, b'c', 0x15, 0, 0, 0xc0, 0x7f]), "score NaN"),
            (piece(&[0x0a, 1, b'c', 0x18, 7]), "unknown kind 7"),
            (message(&[0x12, 2, 0x18, 3]), "model type is 3"),
            (message(&[0x1a, 2, 0x28, 0]), "white space"),
        ] {
            let problem = Model::parse(&model).unwrap_err();
            assert!(problem.contains(says), "{says}: {problem}");
        }
    }

    /// Whatever bit is wrong: an error, or a model whose parts are what they may be.
    #[test]
    fn no_damage_gives_more_than_there_is() {
        let good = good();
        let mut refused = 0;
        let mut check = |bytes: &[u8]| match Model::parse(bytes) {
            Err(problem) => refused += usize::from(!problem.is_empty()),
            Ok(model) => {
                let text: usize = model.pieces.iter().map(|piece| piece.text.len()).sum();
                assert!((1..=2).contains(&model.pieces.len()) && text + model.charsmap.len() < bytes.len());
                assert!(model.pieces.iter().all(|piece| piece.score.is_finite() && !piece.text.is_empty()));
            }
        };
        (0..good.len()).for_each(|end| check(&good[..end]));
        for bit in 0..8 * good.len() {
            let mut damaged = good.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            check(&damaged);
        }
        assert!(refused > 80, "{refused} are refused");
    }
}
