//! The slow checks of a packed file: every byte of every payload.

use super::file::File;
use super::tensor::{Dtype, Layout, Tensor};
use crate::{Error, Name, Result};
use ocelli_kernels::pack::{K_GROUP, NR, padded_k};
use xxhash_rust::xxh3::xxh3_64;

impl<'a> File<'a> {
    /// Checks what [`File::parse`] leaves out because it must read every byte: checksums of the payloads, codes
    /// against the declared magnitude, sums, padding, and that every float is finite.
    ///
    /// # Errors
    /// The first problem, naming the tensor.
    pub fn verify(&self) -> Result<()> {
        let mut end = 0;
        for tensor in self.tensors() {
            end = self.verify_payload(&tensor, end)?;
            match (tensor.dtype(), tensor.layout()) {
                (Dtype::I8, Layout::Panels) => verify_panels(&tensor)?,
                (Dtype::I8, _) => verify_codes(&tensor)?,
                _ => verify_floats(&tensor)?,
            }
        }
        Ok(())
    }

    /// The payload of `tensor`: elements, scales and sums, with the padding between them. It is what the checksum covers,
    /// and the same wherever a file places the tensor.
    pub fn payload(&self, tensor: &Tensor<'_>) -> &'a [u8] {
        let entry = tensor.entry();
        let ends = [
            (entry.data_offset, entry.data_len),
            (entry.scales_offset, entry.scales_len),
            (entry.sums_offset, entry.sums_len),
        ]
        .map(|(offset, len)| if len == 0 { 0 } else { (offset + len) as usize });
        let start = entry.data_offset as usize;
        let end = ends.into_iter().max().unwrap_or(start).max(start);
        &self.data()[start..end]
    }

    /// Checks the payload of `tensor` against its checksum, and nothing else.
    ///
    /// # Errors
    /// [`Error::Checksum`], naming the tensor.
    pub fn check_payload(&self, tensor: &Tensor<'_>) -> Result<()> {
        let entry = tensor.entry();
        let found = xxh3_64(self.payload(tensor));
        if found != entry.checksum {
            let offset = self.data_offset() as u64 + entry.data_offset;
            return Err(Error::Checksum {
                part: Name::new(tensor.name()),
                offset,
                expected: entry.checksum,
                found,
            });
        }
        Ok(())
    }

    /// Padding before the tensor, checksum of its parts, padding between them. Returns the payload's end.
    fn verify_payload(&self, tensor: &Tensor<'_>, after: usize) -> Result<usize> {
        let (entry, name) = (tensor.entry(), Name::new(tensor.name()));
        let parts = [
            (entry.data_offset, entry.data_len),
            (entry.scales_offset, entry.scales_len),
            (entry.sums_offset, entry.sums_len),
        ];
        let mut end = after;
        for (offset, len) in parts {
            if len == 0 {
                continue;
            }
            let start = offset as usize;
            if let Some(bad) = self.data()[end..start].iter().position(|&byte| byte != 0) {
                let found = (end + bad) as u64;
                return Err(Error::Tensor {
                    name,
                    problem: "padding in DATA is not zero",
                    expected: 0,
                    found,
                });
            }
            end = start + len as usize;
        }
        self.check_payload(tensor)?;
        Ok(end)
    }
}

fn wrong(tensor: &Tensor<'_>, problem: &'static str, expected: u64, found: u64) -> Error {
    Error::Tensor { name: Name::new(tensor.name()), problem, expected, found }
}

fn verify_codes(tensor: &Tensor<'_>) -> Result<()> {
    let (codes, limit) = (tensor.int8_parts().0, tensor.entry().magnitude);
    match codes.iter().find(|code| u32::from(code.unsigned_abs()) > limit) {
        None => Ok(()),
        Some(code) => Err(wrong(
            tensor,
            "a code exceeds the declared magnitude",
            limit.into(),
            code.unsigned_abs().into(),
        )),
    }
}

fn verify_panels(tensor: &Tensor<'_>) -> Result<()> {
    verify_codes(tensor)?;
    let ((codes, scales, sums), (n, k)) = (tensor.int8_parts(), (tensor.n(), tensor.k()));
    for (p, panel) in codes.chunks_exact(NR * padded_k(k)).enumerate() {
        let mut total = [0i32; NR];
        for (g, group) in panel.chunks_exact(NR * K_GROUP).enumerate() {
            for (c, quad) in group.chunks_exact(K_GROUP).enumerate() {
                for (j, &code) in quad.iter().enumerate() {
                    total[c] += i32::from(code);
                    if code != 0 && (p * NR + c >= n || g * K_GROUP + j >= k) {
                        return Err(wrong(tensor, "padding is not zero", 0, code.unsigned_abs().into()));
                    }
                }
            }
        }
        if let Some(c) = (0..NR).find(|&c| total[c] != sums[p * NR + c]) {
            return Err(wrong(tensor, "the sum of a channel's codes is wrong", 0, (p * NR + c) as u64));
        }
    }
    match tensor.channel_padding().find(|&c| scales[c] != 0.0) {
        None => Ok(()),
        Some(c) => Err(wrong(tensor, "padding of the scales is not zero", 0, c as u64)),
    }
}

fn verify_floats(tensor: &Tensor<'_>) -> Result<()> {
    let (n, k) = (tensor.n(), tensor.k());
    let mut bad = None;
    tensor.each_float(&mut |row, column, value| {
        if !value.is_finite() {
            bad = bad.or(Some(("an element in this row is not finite", row)));
        } else if value != 0.0 && (row >= n || column >= k) {
            bad = bad.or(Some(("padding is not zero in this row", row)));
        }
    });
    match bad {
        None => Ok(()),
        Some((problem, row)) => Err(wrong(tensor, problem, 0, row as u64)),
    }
}
