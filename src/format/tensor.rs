//! Tensors as they lie in the file, and the typed views that the runtime reads.

use super::header::ALIGN;
use crate::{Error, Name, Result};
use bytemuck::{AnyBitPattern, Pod, Zeroable};
use half::f16;
use half::slice::HalfFloatSliceExt;
use ocelli_kernels::pack::{NR, padded_k, padded_n};
use ocelli_kernels::{Weights, WeightsFloat, WeightsI8};

stored_enum! {
    /// Element type of a tensor.
    Dtype {
        /// int8 codes with an f32 scale per output channel (or row).
        I8 = 1 "i8",
        /// IEEE half precision.
        F16 = 2 "f16",
        /// Single precision.
        F32 = 3 "f32",
    }
}

impl Dtype {
    /// Bytes of an element.
    pub const fn size(self) -> usize {
        match self {
            Dtype::I8 => 1,
            Dtype::F16 => 2,
            Dtype::F32 => 4,
        }
    }
}

stored_enum! {
    /// How a tensor's elements lie.
    Layout {
        /// `n` f32, padded with zeros to a multiple of 16.
        Vector = 1 "vector",
        /// `n` rows of `k` elements, one after the other, without padding.
        Table = 2 "table",
        /// The panels of [`ocelli_kernels::pack`], `packed_len(n, k)` elements.
        Panels = 3 "panels",
    }
}

/// One tensor in the TENSORS section. Offsets count from the start of DATA.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct TensorEntry {
    /// First byte of the name in STRINGS.
    pub name_offset: u32,
    /// Bytes of the name.
    pub name_len: u32,
    /// A [`Dtype`].
    pub dtype: u32,
    /// A [`Layout`].
    pub layout: u32,
    /// Output channels, rows, or elements of a vector.
    pub n: u32,
    /// Inputs or columns; 1 for vectors.
    pub k: u32,
    /// int8: no code is larger in magnitude, 1..=127. Otherwise 0.
    pub magnitude: u32,
    /// Zero.
    pub reserved: u32,
    /// First byte of the elements.
    pub data_offset: u64,
    /// Bytes of the elements.
    pub data_len: u64,
    /// First byte of the f32 scales; 0 if there are none.
    pub scales_offset: u64,
    /// Bytes of the scales; 0 if there are none.
    pub scales_len: u64,
    /// First byte of the i32 sums of each channel's codes; 0 if there are none.
    pub sums_offset: u64,
    /// Bytes of the sums; 0 if there are none.
    pub sums_len: u64,
    /// xxh3-64 over the elements, scales and sums: from `data_offset` to the end of the last part.
    pub checksum: u64,
    /// Zero.
    pub reserved2: u64,
}

const _: () = assert!(size_of::<TensorEntry>() == 96);

/// Where the parts of a tensor lie, as its type, layout and shape demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Offset and length of the elements.
    pub data: (u64, u64),
    /// Offset and length of the scales; zeros if there are none.
    pub scales: (u64, u64),
    /// Offset and length of the sums; zeros if there are none.
    pub sums: (u64, u64),
    /// First byte after the last part.
    pub end: u64,
}

impl Placement {
    /// The parts of an `n` × `k` tensor placed after byte `after` of DATA: each at the next multiple of 64. `None` if
    /// that overflows, or if the combination does not exist.
    pub fn new(dtype: Dtype, layout: Layout, n: u32, k: u32, after: u64) -> Option<Placement> {
        let (n, k) = (u64::from(n), u64::from(k));
        let padded = |value: u64| value.next_multiple_of(NR as u64);
        let elements = match layout {
            Layout::Vector if dtype == Dtype::F32 && k == 1 => padded(n),
            Layout::Vector => return None,
            Layout::Table => n.checked_mul(k)?,
            // K_ALIGN and NR are both 16.
            Layout::Panels => padded(n).checked_mul(padded(k))?,
        };
        let (scales, sums) = match (dtype, layout) {
            (Dtype::I8, Layout::Panels) => (padded(n), padded(n)),
            (Dtype::I8, _) => (n, 0),
            _ => (0, 0),
        };
        let mut end = after;
        let mut place = |count: u64, size: u64| -> Option<(u64, u64)> {
            if count == 0 {
                return Some((0, 0));
            }
            let start = end.checked_next_multiple_of(ALIGN as u64)?;
            let len = count.checked_mul(size)?;
            end = start.checked_add(len)?;
            Some((start, len))
        };
        let (data, scales, sums) =
            (place(elements, dtype.size() as u64)?, place(scales, 4)?, place(sums, 4)?);
        Some(Placement { data, scales, sums, end })
    }
}

/// A tensor of an open file.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) entry: &'a TensorEntry,
    pub(super) dtype: Dtype,
    pub(super) layout: Layout,
    pub(super) data: &'a [u8],
    pub(super) scales: &'a [f32],
    pub(super) sums: &'a [i32],
}

impl<'a> Tensor<'a> {
    /// Canonical name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its description in the file.
    pub fn entry(&self) -> &'a TensorEntry {
        self.entry
    }

    /// Element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Layout of the elements.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Output channels, rows, or elements of a vector.
    pub fn n(&self) -> usize {
        self.entry.n as usize
    }

    /// Inputs or columns; 1 for vectors.
    pub fn k(&self) -> usize {
        self.entry.k as usize
    }

    /// Bytes of elements, scales and sums.
    pub fn bytes_len(&self) -> u64 {
        self.entry.data_len + self.entry.scales_len + self.entry.sums_len
    }

    fn elements<T: AnyBitPattern>(&self) -> &'a [T] {
        // Parsing checked alignment and length; an empty slice fails every later length check.
        bytemuck::try_cast_slice(self.data).unwrap_or(&[])
    }

    fn not_a(&self, problem: &'static str, layout: Layout) -> Error {
        let (expected, found) = (layout as u64, self.layout as u64);
        Error::Tensor { name: Name::new(self.name), problem, expected, found }
    }

    /// The packed weights of a linear layer.
    ///
    /// # Errors
    /// If the tensor is not stored as panels.
    pub fn weights(&self) -> Result<Weights<'a>> {
        let (n, k) = (self.n(), self.k());
        let weights = match (self.layout, self.dtype) {
            (Layout::Panels, Dtype::I8) => {
                WeightsI8::new(n, k, self.elements(), self.scales, self.sums).map(Weights::I8)
            }
            (Layout::Panels, Dtype::F16) => WeightsFloat::new(n, k, self.elements()).map(Weights::F16),
            (Layout::Panels, Dtype::F32) => WeightsFloat::new(n, k, self.elements()).map(Weights::F32),
            _ => None,
        };
        weights.ok_or_else(|| self.not_a("not the weights of a linear layer", Layout::Panels))
    }

    /// The elements of a vector, padded with zeros to a multiple of 16.
    ///
    /// # Errors
    /// If the tensor is not a vector.
    pub fn vector(&self) -> Result<&'a [f32]> {
        match self.layout {
            Layout::Vector => Ok(self.elements()),
            _ => Err(self.not_a("not a vector", Layout::Vector)),
        }
    }

    /// The rows of a table.
    ///
    /// # Errors
    /// If the tensor is not a table.
    pub fn table(&self) -> Result<Table<'a>> {
        if self.layout != Layout::Table {
            return Err(self.not_a("not a table", Layout::Table));
        }
        let (n, k) = (self.n(), self.k());
        Ok(match self.dtype {
            Dtype::I8 => Table::I8 { codes: self.elements(), scales: self.scales, n, k },
            Dtype::F16 => Table::F16 { values: self.elements(), n, k },
            Dtype::F32 => Table::F32 { values: self.elements(), n, k },
        })
    }

    /// Element (`row`, `column`) of the unpacked tensor as f32; vectors have one column. For tools and tests: kernels
    /// read whole panels.
    ///
    /// # Panics
    /// If `row >= n` or `column >= k`.
    pub fn get(&self, row: usize, column: usize) -> f32 {
        assert!(row < self.n() && column < self.k(), "({row}, {column}) lies outside the tensor");
        let k = self.k();
        let index = match (self.layout, self.dtype) {
            (Layout::Vector | Layout::Table, _) => row * k + column,
            (Layout::Panels, Dtype::I8) => ocelli_kernels::pack::index_i8(row, column, k),
            (Layout::Panels, _) => ocelli_kernels::pack::index_float(row, column, k),
        };
        match self.dtype {
            Dtype::I8 => f32::from(self.elements::<i8>()[index]) * self.scales[row],
            Dtype::F16 => self.elements::<f16>()[index].to_f32(),
            Dtype::F32 => self.elements::<f32>()[index],
        }
    }

    /// Codes of an int8 tensor, scales and sums, for [`File::verify`](super::File::verify).
    pub(super) fn int8_parts(&self) -> (&'a [i8], &'a [f32], &'a [i32]) {
        (self.elements(), self.scales, self.sums)
    }

    /// Calls `f` with (row, column, value) of every stored float, padding included.
    pub(super) fn each_float(&self, f: &mut dyn FnMut(usize, usize, f32)) {
        let k = self.k();
        let mut at = |i: usize, value: f32| match self.layout {
            Layout::Vector | Layout::Table => f(i / k, i % k, value),
            Layout::Panels => {
                let (panel, rest) = (i / (NR * padded_k(k)), i % (NR * padded_k(k)));
                f(panel * NR + rest % NR, rest / NR, value);
            }
        };
        match self.dtype {
            Dtype::I8 => {}
            Dtype::F16 => self.elements::<f16>().iter().enumerate().for_each(|(i, v)| at(i, v.to_f32())),
            Dtype::F32 => self.elements::<f32>().iter().enumerate().for_each(|(i, v)| at(i, *v)),
        }
    }

    /// Entries of `scales` and `sums` beyond the last channel must be zero.
    pub(super) fn channel_padding(&self) -> core::ops::Range<usize> {
        match self.layout {
            Layout::Panels => self.n()..padded_n(self.n()),
            _ => self.n()..self.n(),
        }
    }
}

/// The rows of a table, `n` × `k`, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Table<'a> {
    /// int8 codes with a scale per row.
    I8 {
        /// `n · k` codes.
        codes: &'a [i8],
        /// `n` scales.
        scales: &'a [f32],
        /// Rows.
        n: usize,
        /// Columns.
        k: usize,
    },
    /// Half precision.
    F16 {
        /// `n · k` values.
        values: &'a [f16],
        /// Rows.
        n: usize,
        /// Columns.
        k: usize,
    },
    /// Single precision.
    F32 {
        /// `n · k` values.
        values: &'a [f32],
        /// Rows.
        n: usize,
        /// Columns.
        k: usize,
    },
}

impl Table<'_> {
    /// Rows.
    pub fn n(&self) -> usize {
        match self {
            Table::I8 { n, .. } | Table::F16 { n, .. } | Table::F32 { n, .. } => *n,
        }
    }

    /// Columns.
    pub fn k(&self) -> usize {
        match self {
            Table::I8 { k, .. } | Table::F16 { k, .. } | Table::F32 { k, .. } => *k,
        }
    }

    /// Bytes of a row, its scale included.
    pub fn row_bytes(&self) -> usize {
        match self {
            Table::I8 { k, .. } => k + size_of::<f32>(),
            Table::F16 { k, .. } => k * size_of::<f16>(),
            Table::F32 { k, .. } => k * size_of::<f32>(),
        }
    }

    /// Writes row `i` into the first `k` elements of `out`.
    ///
    /// # Panics
    /// If `i >= n` or `out` is shorter than `k`.
    pub fn row_into(&self, i: usize, out: &mut [f32]) {
        let k = self.k();
        let (out, row) = (&mut out[..k], i * k..(i + 1) * k);
        match self {
            Table::I8 { codes, scales, .. } => {
                for (out, &code) in out.iter_mut().zip(&codes[row]) {
                    *out = f32::from(code) * scales[i];
                }
            }
            Table::F16 { values, .. } => values[row].convert_to_f32_slice(out),
            Table::F32 { values, .. } => out.copy_from_slice(&values[row]),
        }
    }
}
