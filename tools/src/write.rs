//! The packed-file writer: streams tensor by tensor, so that memory stays small whatever the model's size.

use crate::codes::{Codes, quantize_row};
use crate::{Error, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use ocelli::atomic::write_atomically_with;
use ocelli::format::{
    ALIGN, Config, Dtype, Header, Layout, Placement, SectionEntry, SectionKind, TensorEntry, TensorSpec,
};
use ocelli::{Model, Name};
use ocelli_kernels::pack::{NR, pack_float, pack_i8, padded_k};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Rows of a table that are read at once.
const TABLE_ROWS: usize = 256;

/// A tensor to be written, and how.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// What the configuration demands.
    pub demand: TensorSpec,
    /// Element type.
    pub dtype: Dtype,
    /// Largest int8 code.
    pub magnitude: i8,
    /// Codes that were chosen already; without them, rows are quantized as they are read.
    pub codes: Option<&'a Codes>,
    /// Its payload, where another packed file already holds just what this one asks for.
    pub payload: Option<&'a [u8]>,
}

/// What a file holds beside its tensors.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The tokenizer's JSON.
    pub tokenizer: Option<&'a str>,
    /// Where the model came from, as JSON.
    pub provenance: &'a str,
    /// A label bank.
    pub bank: Option<&'a [u8]>,
    /// Names of the classifier's classes.
    pub labels: &'a [String],
    /// All tensors that the configuration demands, in its order.
    pub tensors: &'a [Planned<'a>],
}

/// Reads rows of tensor number `.0` into `.2`: finite values, row-major; a vector's rows have one element.
pub type ReadRows<'f> = dyn FnMut(usize, Range<usize>, &mut [f32]) -> Result<()> + 'f;

/// Writes a packed file to `path`, atomically, and tells `warn` if it is not certain to outlive a power failure. Returns
/// its length.
///
/// # Errors
/// What `read` returns, an f16 tensor with values beyond its range, or what the operating system says.
pub fn write(
    path: &Path,
    contents: &Contents<'_>,
    warn: &mut dyn FnMut(String),
    read: &mut ReadRows<'_>,
) -> Result<u64> {
    contents.config.validate()?;
    write_atomically_with(path, warn, |out| Pack { out, path, entries: Vec::new() }.all(contents, read))
}

/// Writes a packed file without a name beside `path` and opens it. It takes disk, not memory, and is gone when the
/// model is dropped, or when the process ends in whatever way.
///
/// # Errors
/// As [`write`](fn@write).
pub fn draft(path: &Path, contents: &Contents<'_>, read: &mut ReadRows<'_>) -> Result<Arc<Model>> {
    contents.config.validate()?;
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::tempfile_in(beside).map_err(Error::io("make a temporary file beside", path))?;
    let mut out = BufWriter::with_capacity(1 << 20, &file);
    Pack { out: &mut out, path, entries: Vec::new() }.all(contents, read)?;
    out.flush().map_err(Error::io("write a temporary file beside", path))?;
    drop(out);
    Ok(Model::from_file(&file).map_err(|error| error.in_file(path))?)
}

struct Pack<'p, W> {
    out: W,
    path: &'p Path,
    entries: Vec<TensorEntry>,
}

impl<W: Write + Seek> Pack<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io("write", self.path))
    }

    fn all(&mut self, contents: &Contents<'_>, read: &mut ReadRows<'_>) -> Result<u64> {
        let strings: String = contents.tensors.iter().map(|tensor| tensor.demand.name.as_str()).collect();
        let end = self.plan(contents.tensors)?;
        let tensors_len = self.entries.len() * size_of::<TensorEntry>();

        // The table of tensors is written last, when their checksums are known: zeros keep its place.
        let blank = vec![0; tensors_len];
        let mut parts: Vec<(SectionKind, &[u8])> = vec![
            (SectionKind::Config, bytemuck::bytes_of(contents.config)),
            (SectionKind::Tensors, &blank),
            (SectionKind::Strings, strings.as_bytes()),
            (SectionKind::Provenance, contents.provenance.as_bytes()),
        ];
        parts.extend(contents.tokenizer.map(|text| (SectionKind::Tokenizer, text.as_bytes())));
        parts.extend(contents.bank.map(|bank| (SectionKind::Bank, bank)));
        let labels = contents.labels.join("\n");
        if !labels.is_empty() {
            parts.push((SectionKind::Labels, labels.as_bytes()));
        }

        let (mut sections, mut at) = (Vec::new(), size_of::<Header>() as u64);
        self.put(&[0; size_of::<Header>()])?;
        for (kind, bytes) in parts {
            at = self.pad(at)?;
            let (len, checksum) = (bytes.len() as u64, xxh3_64(bytes));
            sections.push(SectionEntry { kind: kind as u32, reserved: 0, offset: at, len, checksum });
            self.put(bytes)?;
            at += len;
        }
        let offset = self.pad(at)?;
        sections.push(SectionEntry {
            kind: SectionKind::Data as u32,
            reserved: 0,
            offset,
            len: end,
            checksum: 0,
        });
        let mut written = 0;
        for (i, planned) in contents.tensors.iter().enumerate() {
            written = self.tensor(i, planned, written, read)?;
        }
        assert_eq!(written, end, "payloads follow the plan");

        let table: Vec<u8> = bytemuck::cast_slice(&self.entries).to_vec();
        sections[1].checksum = xxh3_64(&table);
        for (start, bytes) in
            [(sections[1].offset, &table[..]), (0, bytemuck::bytes_of(&Header::new(&sections)))]
        {
            self.out.seek(SeekFrom::Start(start)).map_err(Error::io("write", self.path))?;
            self.put(bytes)?;
        }
        Ok(offset + end)
    }

    /// Zeros up to the next multiple of 64, which is returned.
    fn pad(&mut self, at: u64) -> Result<u64> {
        let start = at.next_multiple_of(ALIGN as u64);
        self.put(&[0; ALIGN][..(start - at) as usize])?;
        Ok(start)
    }

    /// Places every tensor; returns the length of DATA.
    fn plan(&mut self, tensors: &[Planned<'_>]) -> Result<u64> {
        let (mut end, mut name_offset) = (0, 0);
        for Planned { demand, dtype, magnitude, .. } in tensors {
            let (layout, n, k) = (demand.kind.layout(), demand.n as u32, demand.k as u32);
            let place = Placement::new(*dtype, layout, n, k, end)
                .ok_or_else(|| Error::tensor(demand.name.as_str(), "has an impossible size"))?;
            let name_len = demand.name.as_str().len() as u32;
            self.entries.push(TensorEntry {
                name_offset,
                name_len,
                dtype: *dtype as u32,
                layout: layout as u32,
                n,
                k,
                magnitude: if *dtype == Dtype::I8 { u32::from(magnitude.unsigned_abs()) } else { 0 },
                reserved: 0,
                data_offset: place.data.0,
                data_len: place.data.1,
                scales_offset: place.scales.0,
                scales_len: place.scales.1,
                sums_offset: place.sums.0,
                sums_len: place.sums.1,
                checksum: 0,
                reserved2: 0,
            });
            name_offset += name_len;
            end = place.end;
        }
        Ok(end)
    }

    /// Writes the payload of tensor `i` after byte `after` of DATA; returns its end.
    fn tensor(
        &mut self,
        i: usize,
        planned: &Planned<'_>,
        after: u64,
        read: &mut ReadRows<'_>,
    ) -> Result<u64> {
        let start = self.pad(after)?;
        let mut payload = Payload { pack: self, hash: Xxh3::new(), at: start };
        match planned.payload {
            Some(ready) => payload.put(ready)?,
            None => payload.encode(i, planned, read)?,
        }
        let (checksum, end) = (payload.hash.digest(), payload.at);
        self.entries[i].checksum = checksum;
        Ok(end)
    }
}

/// The payload of one tensor, hashed as it is written.
struct Payload<'w, 'p, W> {
    pack: &'w mut Pack<'p, W>,
    hash: Xxh3,
    at: u64,
}

impl<W: Write + Seek> Payload<'_, '_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.at += bytes.len() as u64;
        self.pack.put(bytes)
    }

    fn pad(&mut self) -> Result<()> {
        let missing = self.at.next_multiple_of(ALIGN as u64) - self.at;
        self.put(&[0; ALIGN][..missing as usize])
    }

    /// Reads tensor `i`, quantizes it as planned, and puts what comes out.
    fn encode(&mut self, i: usize, planned: &Planned<'_>, read: &mut ReadRows<'_>) -> Result<()> {
        let TensorSpec { name, n, k, .. } = planned.demand;
        let layout = planned.demand.kind.layout();
        let step = if layout == Layout::Panels { NR } else { TABLE_ROWS };
        let (mut values, mut encoder) = (Vec::new(), Encoder::new(planned));
        for first in (0..n).step_by(step) {
            let rows = first..n.min(first + step);
            let chosen = planned.codes.filter(|_| planned.dtype == Dtype::I8);
            self.put(match chosen {
                Some(chosen) => encoder.take(chosen, rows),
                None => {
                    values.resize(rows.len() * k, 0.0);
                    read(i, rows, &mut values)?;
                    encoder.encode(&name, &values)?
                }
            })?;
        }
        let missing = n.next_multiple_of(NR) - n;
        if layout == Layout::Vector {
            self.put(&[0; 4 * NR][..4 * missing])?;
        }
        let (mut scales, mut sums) = (encoder.scales, encoder.sums);
        if layout == Layout::Panels && planned.dtype == Dtype::I8 {
            scales.resize(n + missing, 0.0);
            sums.resize(n + missing, 0);
        } else {
            sums.clear();
        }
        for part in [bytemuck::cast_slice::<f32, u8>(&scales), bytemuck::cast_slice::<i32, u8>(&sums)] {
            if !part.is_empty() {
                self.pad()?;
                self.put(part)?;
            }
        }
        Ok(())
    }
}

/// Turns rows of f32 into stored bytes; for panels, at most one panel at a time.
struct Encoder<'a> {
    planned: Planned<'a>,
    codes: Vec<i8>,
    halves: Vec<f16>,
    bytes: Vec<u8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl<'a> Encoder<'a> {
    fn new(planned: &Planned<'a>) -> Self {
        let (codes, halves, bytes) = (Vec::new(), Vec::new(), Vec::new());
        Encoder { planned: *planned, codes, halves, bytes, scales: Vec::new(), sums: Vec::new() }
    }

    /// Rows whose codes were chosen before.
    fn take(&mut self, chosen: &Codes, rows: Range<usize>) -> &[u8] {
        let k = self.planned.demand.k;
        let codes = &chosen.codes[rows.start * k..rows.end * k];
        self.scales.extend_from_slice(&chosen.scales[rows]);
        self.sums
            .extend(codes.chunks_exact(k).map(|row| row.iter().map(|&code| i32::from(code)).sum::<i32>()));
        let panels = self.planned.demand.kind.layout() == Layout::Panels;
        lay(codes, k, panels.then_some(pack_i8), &mut self.bytes)
    }

    fn encode(&mut self, name: &Name, values: &[f32]) -> Result<&[u8]> {
        let k = self.planned.demand.k;
        let panels = self.planned.demand.kind.layout() == Layout::Panels;
        match self.planned.dtype {
            Dtype::I8 => {
                self.codes.resize(values.len(), 0);
                for (row, codes) in values.chunks_exact(k).zip(self.codes.chunks_exact_mut(k)) {
                    self.scales.push(quantize_row(row, self.planned.magnitude, codes));
                    self.sums.push(codes.iter().map(|&code| i32::from(code)).sum());
                }
                Ok(lay(&self.codes, k, panels.then_some(pack_i8), &mut self.bytes))
            }
            Dtype::F16 => {
                if let Some(value) = values.iter().find(|value| value.abs() > f16::MAX.to_f32()) {
                    let problem =
                        format!("holds {value}, beyond half precision (65504): use --precision fp32");
                    return Err(Error::tensor(name.as_str(), problem));
                }
                self.halves.resize(values.len(), f16::ZERO);
                self.halves.convert_from_f32_slice(values);
                Ok(lay(&self.halves, k, panels.then_some(pack_float), &mut self.bytes))
            }
            Dtype::F32 => Ok(lay(values, k, panels.then_some(pack_float), &mut self.bytes)),
        }
    }
}

/// Rows of `k` elements as bytes: as they are, or through a packing function into one panel.
fn lay<'b, T: bytemuck::Pod>(
    rows: &[T],
    k: usize,
    pack: Option<impl Fn(&[T], usize, usize, &mut [T])>,
    bytes: &'b mut Vec<u8>,
) -> &'b [u8] {
    bytes.clear();
    match pack {
        None => bytes.extend_from_slice(bytemuck::cast_slice(rows)),
        Some(pack) => {
            let mut panel = vec![T::zeroed(); NR * padded_k(k)];
            pack(rows, 0, k, &mut panel);
            bytes.extend_from_slice(bytemuck::cast_slice(&panel));
        }
    }
    bytes
}
