//! Model files: bytes whose checksums were made right, or a configuration around which a whole file is built.

use crate::pack::{affordable, pack};
use bytemuck::Zeroable;
use ocelli::format::Limits;
use ocelli::format::{AlignedBytes, Config, File, Header, MAX_SECTIONS, SectionKind};
use ocelli::preprocess::{Packed, PixelView};
use ocelli::{ImageEncoder, ImageOptions, Model, Runtime, RuntimeOptions, TextEncoder};
use ocelli_kernels::Isa;
use std::io::Write;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

const HEADER: usize = size_of::<Header>();

/// An input of exactly the size of a [`Config`] becomes a file with weights; any other is a file.
pub fn run(data: &[u8]) {
    if data.len() == size_of::<Config>() {
        let mut config = Config::zeroed();
        bytemuck::bytes_of_mut(&mut config).copy_from_slice(data);
        if let Some(model) = pack(&config, None) {
            use_model(&model);
        }
        return;
    }
    let mut bytes = AlignedBytes::new(data);
    repair(&mut bytes);
    let Ok(file) = File::parse(&bytes) else { return };
    let _ = file.verify();
    if !affordable(file.config()) {
        return;
    }
    let mut unnamed = tempfile::tempfile().expect("a temporary file");
    unnamed.write_all(&bytes).expect("a temporary file");
    use_model(&Model::from_file(&unnamed).expect("it was parsed"));
}

/// Makes every checksum right that guards what the reader looks at, and the length.
pub fn repair(bytes: &mut [u8]) {
    if bytes.len() < HEADER {
        return;
    }
    let mut header: Header = bytemuck::pod_read_unaligned(&bytes[..HEADER]);
    for entry in header.table.iter_mut().take((header.sections as usize).min(MAX_SECTIONS)) {
        let end = entry.offset.checked_add(entry.len).filter(|&end| end <= bytes.len() as u64);
        let Some(end) = end.filter(|_| entry.kind != SectionKind::Data as u32) else { continue };
        let section = &mut bytes[entry.offset as usize..end as usize];
        if entry.kind == SectionKind::Bank as u32 {
            crate::bank::repair(section);
        }
        entry.checksum = xxh3_64(section);
    }
    header.file_len = bytes.len() as u64;
    header.checksum = header.computed_checksum();
    bytes[..HEADER].copy_from_slice(bytemuck::bytes_of(&header));
}

/// Embeds a small picture and a text.
pub fn use_model(model: &Arc<Model>) {
    let isa = if model.file().model_id()[0] & 1 == 0 { Isa::SCALAR } else { Isa::detect() };
    let runtime = Runtime::new(&RuntimeOptions::default().isa(isa)).expect("one thread");
    // A fuzzer has milliseconds: what is allowed here is far below the limits of a real encoder.
    let limits =
        Limits { macs: 50_000_000, position_macs: 50_000_000, arena_bytes: 1 << 28, ..Limits::default() };
    let pixels: [u8; 9 * 7 * 3] = std::array::from_fn(|i| (i * 37) as u8);
    let view = PixelView::new(Packed::Rgb, &pixels, 9, 7, 27).expect("a picture");
    let mut out = vec![0.0; model.config().score.embed_dim as usize];
    if let Ok(mut encoder) = ImageEncoder::new(model, &runtime, &ImageOptions::default().limits(limits)) {
        let _ = encoder.embed_into(&view, &mut out);
    }
    if let Ok(mut encoder) = TextEncoder::new(model, &runtime, &limits) {
        let _ = encoder.embed_ids_into(&[0, 1, 2], &mut out);
        let _ = encoder.embed_ids_into(&[u32::MAX], &mut out);
        let _ = encoder.embed_into("a photo of a café", &mut out);
    }
}
