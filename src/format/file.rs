//! An open packed file: [`File::parse`] is the only way from bytes to typed views.

use super::bank::Bank;
use super::config::Config;
use super::header::{ALIGN, Header, SectionKind, wrong};
use super::schema::{TensorSpec, for_each_tensor};
use super::tensor::{Dtype, Layout, Placement, Table, Tensor, TensorEntry};
use crate::{Error, Name, Result};
use ocelli_kernels::Weights;
use xxhash_rust::xxh3::Xxh3;

/// A packed file in memory, checked.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    metadata: &'a [u8],
    header: &'a Header,
    config: &'a Config,
    entries: &'a [TensorEntry],
    strings: &'a str,
    tokenizer: Option<&'a str>,
    provenance: &'a str,
    bank: Option<Bank<'a>>,
    labels: Option<&'a str>,
    data: &'a [u8],
}

impl<'a> File<'a> {
    /// Checks everything about `bytes` but the payloads of matrices and tables, and returns views of it. Nothing is
    /// copied. `bytes` must start at a multiple of 64 (memory maps do; see [`Aligned`](super::Aligned) for
    /// `include_bytes!`).
    ///
    /// # Errors
    /// What is wrong and where: see [`Error`].
    pub fn parse(bytes: &'a [u8]) -> Result<File<'a>> {
        let data = Header::data_range(bytes, bytes.len() as u64)?;
        let (metadata, data) = bytes.split_at(data.start as usize);
        File::parse_split(metadata, data)
    }

    /// As [`parse`](Self::parse), of a file in two pieces: all bytes before DATA, and DATA. Both must start at a
    /// multiple of 64; [`Header::data_range`] says where the cut is.
    ///
    /// This is for files that others may change while they are open. An opener copies the metadata into memory of its
    /// own and maps DATA: every length, offset, name and string then comes from the copy that was checked here. From
    /// `data` come weights alone, as numbers for which every bit pattern is valid, and no index is ever computed from
    /// one: if DATA changes, answers are wrong, and that is all.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_split(metadata: &'a [u8], data: &'a [u8]) -> Result<File<'a>> {
        for piece in [metadata, data] {
            let misaligned = piece.as_ptr().addr() % ALIGN;
            if misaligned != 0 {
                let problem = "the buffer does not start at a multiple of 64 bytes";
                return Err(wrong(problem, 0, 0, misaligned as u64));
            }
        }
        let range = Header::data_range(metadata, metadata.len() as u64 + data.len() as u64)?;
        if range.start != metadata.len() as u64 {
            return Err(wrong(
                "DATA does not start where the metadata end",
                0,
                range.start,
                metadata.len() as u64,
            ));
        }
        let header: &Header = bytemuck::from_bytes(&metadata[..size_of::<Header>()]);
        header.check_sections(metadata)?;
        let optional = |kind| header.section(metadata, kind);
        let required = |kind: SectionKind| {
            optional(kind).ok_or(wrong("a section is missing", 0, kind as u64, header.sections.into()))
        };
        let at = |part: &[u8]| (part.as_ptr().addr() - metadata.as_ptr().addr()) as u64;
        let text = |part: &'a [u8]| {
            core::str::from_utf8(part).map_err(|e| {
                wrong("not UTF-8", at(part) + e.valid_up_to() as u64, 0, part[e.valid_up_to()].into())
            })
        };

        let part = required(SectionKind::Config)?;
        let config = bytemuck::try_from_bytes::<Config>(part).map_err(|_| {
            wrong("wrong size of the configuration", at(part), size_of::<Config>() as u64, part.len() as u64)
        })?;
        config.validate()?;
        let part = required(SectionKind::Tensors)?;
        let entries = bytemuck::try_cast_slice(part).map_err(|_| {
            let whole = part.len().next_multiple_of(size_of::<TensorEntry>());
            wrong("no whole number of tensor entries", at(part), whole as u64, part.len() as u64)
        })?;
        let file = File {
            metadata,
            header,
            config,
            entries,
            strings: text(required(SectionKind::Strings)?)?,
            tokenizer: optional(SectionKind::Tokenizer).map(text).transpose()?,
            provenance: text(required(SectionKind::Provenance)?)?,
            bank: optional(SectionKind::Bank).map(Bank::parse).transpose()?,
            labels: optional(SectionKind::Labels).map(text).transpose()?,
            data,
        };
        if let Some(bank) = &file.bank {
            bank.check_fits(config)?;
        }
        file.check_labels()?;
        file.check_tensors()?;
        Ok(file)
    }

    /// LABELS must name every class.
    fn check_labels(&self) -> Result<()> {
        let classes = u64::from(self.config.score.classes);
        let found = self.labels().count() as u64;
        if found != classes {
            return Err(wrong("LABELS does not name every class, one per line", 0, classes, found));
        }
        match self.labels().position(str::is_empty) {
            None => Ok(()),
            Some(bad) => Err(wrong("a class has no name; its number is the value found", 0, 0, bad as u64)),
        }
    }

    /// The table must list what the configuration demands, in that order, and its payloads must tile DATA.
    fn check_tensors(&self) -> Result<()> {
        let (mut next, mut end) = (0, 0);
        for_each_tensor(self.config, &mut |spec| {
            end = self.check_tensor(next, &spec, end)?;
            next += 1;
            Ok(())
        })?;
        if let Some(entry) = self.entries.get(next) {
            return Err(Error::TensorUnknown { name: Name::new(self.name_of(entry)?) });
        }
        if end != self.data.len() as u64 {
            return Err(wrong("DATA does not end with its last tensor", 0, end, self.data.len() as u64));
        }
        Ok(())
    }

    fn name_of(&self, entry: &TensorEntry) -> Result<&'a str> {
        let start = entry.name_offset as usize;
        start.checked_add(entry.name_len as usize).and_then(|end| self.strings.get(start..end)).ok_or(wrong(
            "a tensor's name lies outside STRINGS",
            0,
            self.strings.len() as u64,
            entry.name_offset.into(),
        ))
    }

    /// Checks entry `index` against what is demanded there; its payload must follow byte `after` of DATA. Returns the
    /// payload's end.
    fn check_tensor(&self, index: usize, spec: &TensorSpec, after: u64) -> Result<u64> {
        let name = spec.name;
        let Some(entry) = self.entries.get(index) else { return Err(Error::TensorMissing { name }) };
        let found = self.name_of(entry)?;
        if found != name.as_str() {
            let elsewhere = self
                .entries
                .iter()
                .any(|other| self.name_of(other).is_ok_and(|other| other == name.as_str()));
            let found = Name::new(found);
            return Err(if elsewhere {
                Error::TensorUnknown { name: found }
            } else {
                Error::TensorMissing { name }
            });
        }
        let check = |problem, expected: u64, found: u64| {
            if expected == found { Ok(()) } else { Err(Error::Tensor { name, problem, expected, found }) }
        };
        let layout = spec.kind.layout();
        check("wrong layout", layout as u64, entry.layout.into())?;
        let dtype = Dtype::from_stored(entry.dtype).filter(|&dtype| spec.kind.allows(dtype));
        let Some(dtype) = dtype else {
            let (problem, expected) = ("an element type that it may not have", Dtype::F32 as u64);
            return Err(Error::Tensor { name, problem, expected, found: entry.dtype.into() });
        };
        check("wrong number of rows", spec.n as u64, entry.n.into())?;
        check("wrong number of columns", spec.k as u64, entry.k.into())?;
        let (least, most) = if dtype == Dtype::I8 { (1, 127) } else { (0, 0) };
        check("wrong largest magnitude", entry.magnitude.clamp(least, most).into(), entry.magnitude.into())?;
        check("a reserved field is set", 0, u64::from(entry.reserved) | entry.reserved2)?;
        let place = Placement::new(dtype, layout, entry.n, entry.k, after).ok_or(Error::Tensor {
            name,
            problem: "its size overflows",
            expected: self.data.len() as u64,
            found: u64::MAX,
        })?;
        check("wrong data offset", place.data.0, entry.data_offset)?;
        check("wrong data length", place.data.1, entry.data_len)?;
        check("wrong offset of the scales", place.scales.0, entry.scales_offset)?;
        check("wrong length of the scales", place.scales.1, entry.scales_len)?;
        check("wrong offset of the sums", place.sums.0, entry.sums_offset)?;
        check("wrong length of the sums", place.sums.1, entry.sums_len)?;
        check("it ends outside DATA", place.end.min(self.data.len() as u64), place.end)?;

        // Scales and vectors are small, and a NaN in them would spoil every answer.
        let tensor = self.view(entry).ok_or(Error::TensorMissing { name })?;
        if let Some(bad) = tensor.scales.iter().position(|scale| !(scale.is_finite() && *scale >= 0.0)) {
            let problem = "a scale is negative or not finite";
            return Err(Error::Tensor { name, problem, expected: 0, found: bad as u64 });
        }
        if layout == Layout::Vector {
            let values = tensor.vector()?;
            let bad = values.iter().position(|value| !value.is_finite());
            if let Some(bad) = bad {
                return Err(Error::Tensor {
                    name,
                    problem: "an element is not finite",
                    expected: 0,
                    found: bad as u64,
                });
            }
            let bad = values[spec.n..].iter().position(|&value| value != 0.0);
            if let Some(bad) = bad {
                let found = (spec.n + bad) as u64;
                return Err(Error::Tensor { name, problem: "padding is not zero", expected: 0, found });
            }
        }
        Ok(place.end)
    }

    /// The typed view of an entry; `None` if it does not describe one.
    fn view(&self, entry: &'a TensorEntry) -> Option<Tensor<'a>> {
        let part = |offset: u64, len: u64| {
            let start = usize::try_from(offset).ok()?;
            self.data.get(start..start.checked_add(usize::try_from(len).ok()?)?)
        };
        Some(Tensor {
            name: self.name_of(entry).ok()?,
            entry,
            dtype: Dtype::from_stored(entry.dtype)?,
            layout: Layout::from_stored(entry.layout)?,
            data: part(entry.data_offset, entry.data_len)?,
            scales: bytemuck::try_cast_slice(part(entry.scales_offset, entry.scales_len)?).ok()?,
            sums: bytemuck::try_cast_slice(part(entry.sums_offset, entry.sums_len)?).ok()?,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// The header.
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// All tensors in the order of the file.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'a>> + use<'a> {
        let file = *self;
        file.entries.iter().filter_map(move |entry| file.view(entry))
    }

    /// Tensor number `index` in the order of the file.
    #[cfg(feature = "std")]
    pub(crate) fn tensor_at(&self, index: usize) -> Option<Tensor<'a>> {
        self.entries.get(index).and_then(|entry| self.view(entry))
    }

    /// The tensor with this canonical name. Searches: whoever reads all of them walks [`tensors`](Self::tensors).
    ///
    /// # Errors
    /// [`Error::TensorMissing`]
    pub fn tensor(&self, name: &str) -> Result<Tensor<'a>> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| self.name_of(entry).is_ok_and(|found| found == name));
        entry.and_then(|entry| self.view(entry)).ok_or(Error::TensorMissing { name: Name::new(name) })
    }

    /// The packed weights of a linear layer.
    ///
    /// # Errors
    /// If there is no such tensor, or it is not stored as panels.
    pub fn weights(&self, name: &str) -> Result<Weights<'a>> {
        self.tensor(name)?.weights()
    }

    /// A vector, padded with zeros to a multiple of 16.
    ///
    /// # Errors
    /// If there is no such tensor, or it is not a vector.
    pub fn vector(&self, name: &str) -> Result<&'a [f32]> {
        self.tensor(name)?.vector()
    }

    /// A table.
    ///
    /// # Errors
    /// If there is no such tensor, or it is not a table.
    pub fn table(&self, name: &str) -> Result<Table<'a>> {
        self.tensor(name)?.table()
    }

    /// The text of the `tokenizer.json`, if the file has one.
    pub fn tokenizer(&self) -> Option<&'a str> {
        self.tokenizer
    }

    /// Where the file came from and what was measured on it, as JSON.
    pub fn provenance(&self) -> &'a str {
        self.provenance
    }

    /// The label bank inside the file, if there is one.
    pub fn bank(&self) -> Option<Bank<'a>> {
        self.bank
    }

    /// The names of the classifier's classes, in the order of its logits; none without a classifier.
    pub fn labels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.labels.into_iter().flat_map(|labels| labels.split('\n'))
    }

    /// Whether there is an image tower.
    pub fn has_vision(&self) -> bool {
        self.config.has_vision()
    }

    /// Whether there is a text tower.
    pub fn has_text(&self) -> bool {
        self.config.has_text()
    }

    /// Identifies these very weights in this precision: xxh3-128, little-endian, over CONFIG and TENSORS.
    pub fn model_id(&self) -> [u8; 16] {
        let mut hash = Xxh3::new();
        hash.update(bytemuck::bytes_of(self.config));
        hash.update(bytemuck::cast_slice(self.entries));
        hash.digest128().to_le_bytes()
    }

    /// Length of the file in bytes.
    pub fn bytes_len(&self) -> usize {
        self.metadata.len() + self.data.len()
    }

    /// The bytes of DATA: all weights.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Where DATA starts in the file.
    pub(super) fn data_offset(&self) -> usize {
        self.metadata.len()
    }
}
