//! The packed file under attack: whatever happens to its bytes, the reader says what is wrong or is right.

mod cost;
mod damage;
mod parts;
#[cfg(unix)]
mod split;
mod structure;

use ocelli::Error;
use ocelli::format::*;
use ocelli_tools::{ConvertOptions, Precision, convert};
use std::path::Path;
use std::sync::OnceLock;
use xxhash_rust::xxh3::xxh3_64;

/// A change, and what the error must mention.
type Case<T> = (fn(&mut T), &'static str);

const HEADER: usize = size_of::<Header>();

fn packed(precision: Precision, vision_only: bool) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clip-hf");
    let mut options = ConvertOptions::new(fixture, folder.path().join("model.ocelli"), precision);
    options.model.vision_only = vision_only;
    convert(&options).unwrap();
    std::fs::read(&options.output).unwrap()
}

/// Both towers and a tokenizer.
fn whole() -> AlignedBytes {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    AlignedBytes::new(BYTES.get_or_init(|| packed(Precision::Int8, false)))
}

/// The image tower alone: small, so that it can be opened many times.
fn vision() -> AlignedBytes {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    AlignedBytes::new(BYTES.get_or_init(|| packed(Precision::Int8, true)))
}

fn header(bytes: &[u8]) -> Header {
    bytemuck::pod_read_unaligned(&bytes[..HEADER])
}

/// Where a section lies.
fn section(bytes: &[u8], kind: SectionKind) -> std::ops::Range<usize> {
    let header = header(bytes);
    let entry = header.sections().iter().find(|entry| entry.kind == kind as u32).unwrap();
    entry.offset as usize..(entry.offset + entry.len) as usize
}

/// Changes the header and makes its checksum right again.
fn edit_header(bytes: &mut [u8], edit: impl FnOnce(&mut Header)) {
    let mut changed = header(bytes);
    edit(&mut changed);
    changed.checksum = changed.computed_checksum();
    bytes[..HEADER].copy_from_slice(bytemuck::bytes_of(&changed));
}

/// Makes the checksums of all sections right again, so that only validation can find a change.
fn reseal(bytes: &mut [u8]) {
    let mut sums = [0; MAX_SECTIONS];
    for (sum, entry) in sums.iter_mut().zip(header(bytes).sections()) {
        if entry.kind != SectionKind::Data as u32 {
            *sum = xxh3_64(&bytes[entry.offset as usize..(entry.offset + entry.len) as usize]);
        }
    }
    edit_header(bytes, |header| (0..MAX_SECTIONS).for_each(|i| header.table[i].checksum = sums[i]));
}

fn error_of(bytes: &[u8]) -> String {
    File::parse(bytes).map(|_| ()).expect_err("it was accepted").to_string()
}

/// Changes the entry of a tensor, reseals, and returns what the reader says.
fn with_entry(name: &str, edit: impl FnOnce(&mut TensorEntry)) -> String {
    let mut bytes = vision();
    edit_entry(&mut bytes, name, edit);
    error_of(&bytes)
}

fn edit_entry(bytes: &mut AlignedBytes, name: &str, edit: impl FnOnce(&mut TensorEntry)) {
    let place = section(bytes, SectionKind::Tensors);
    let index = {
        let file = File::parse(bytes).unwrap();
        file.tensors().position(|tensor| tensor.name() == name).unwrap()
    };
    let entries: &mut [TensorEntry] = bytemuck::cast_slice_mut(&mut bytes[place]);
    edit(&mut entries[index]);
    reseal(bytes);
}

fn edit_config(edit: impl FnOnce(&mut Config)) -> String {
    let mut bytes = whole();
    let place = section(&bytes, SectionKind::Config);
    edit(bytemuck::from_bytes_mut(&mut bytes[place]));
    reseal(&mut bytes);
    error_of(&bytes)
}

/// Numbers that look random and are the same in every run.
fn numbers(seed: u64, below: usize) -> impl Iterator<Item = usize> {
    (0..).map(move |i: u64| (xxh3_64(&(seed + i).to_le_bytes()) % below as u64) as usize)
}

#[test]
fn a_good_file_opens_and_verifies() {
    for bytes in [whole(), vision()] {
        let file = File::parse(&bytes).unwrap();
        file.verify().unwrap();
        assert_eq!(file.bytes_len(), bytes.len());
        let mut row = [0.0; 64];
        let table = file.table("vision.position").unwrap();
        table.row_into(16, &mut row);
        assert_eq!(row[63], file.tensor("vision.position").unwrap().get(16, 63));
        assert_eq!((table.n(), table.k()), (17, 64));
        assert_eq!(file.tensor("vision.block.0.norm1.weight").unwrap().bytes_len(), 64 * 4);
    }
    let bytes = whole();
    let file = File::parse(&bytes).unwrap();
    let (tokens, mut row) = (file.table("text.token_embed").unwrap(), [0.0; 16]);
    tokens.row_into(49407, &mut row);
    let tensor = file.tensor("text.token_embed").unwrap();
    assert!((0..16).all(|k| row[k] == tensor.get(49407, k)) && matches!(tokens, Table::I8 { .. }));
    assert_eq!(tokens.row_bytes(), 16 + 4);
    assert!(file.bank().is_none());
}

/// Puts a label bank into the small file, as the BANK section before DATA.
fn with_bank(bank: &[u8]) -> AlignedBytes {
    let good = vision();
    let (old, data) = (header(&good), section(&good, SectionKind::Data));
    let mut bytes = good[..data.start].to_vec();
    bytes.extend_from_slice(bank);
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    let moved = bytes.len();
    bytes.extend_from_slice(&good[data.clone()]);
    let entry = |kind: SectionKind, offset: usize, len: usize| SectionEntry {
        kind: kind as u32,
        reserved: 0,
        offset: offset as u64,
        len: len as u64,
        checksum: 0,
    };
    let mut sections = old.sections()[..old.sections().len() - 1].to_vec();
    sections.push(entry(SectionKind::Bank, data.start, bank.len()));
    sections.push(entry(SectionKind::Data, moved, data.len()));
    bytes[..HEADER].copy_from_slice(bytemuck::bytes_of(&Header::new(&sections)));
    let mut bytes = AlignedBytes::new(&bytes);
    reseal(&mut bytes);
    bytes
}

#[test]
fn a_bank_inside_must_belong_to_the_model() {
    let id = File::parse(&vision()).unwrap().config().checkpoint_id;
    let mut embeddings = vec![0.0; 2 * 32];
    (embeddings[3], embeddings[32 + 9]) = (1.0, -1.0);
    let none: [&str; 0] = [];
    let bytes = with_bank(&bank::write(&["cat", "dog"], &none, 32, &embeddings, id).unwrap());
    let file = File::parse(&bytes).unwrap();
    file.verify().unwrap();
    let inside = file.bank().unwrap();
    assert_eq!((inside.label(1), inside.embeddings()[inside.dim() + 9]), ("dog", -1.0));

    let foreign = bank::write(&["cat", "dog"], &none, 32, &embeddings, [7; 16]).unwrap();
    assert!(error_of(&with_bank(&foreign)).contains("another model"));
    let short = bank::write(&["cat", "dog"], &none, 2, &[1.0, 0.0, 0.0, 1.0], id).unwrap();
    assert!(error_of(&with_bank(&short)).contains("another length"));
}

#[test]
fn missing_folders_and_unreadable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, absent) = (folder.path().join("empty"), folder.path().join("absent"));
    std::fs::write(&empty, "").unwrap();
    assert!(error_of(&AlignedBytes::read(&empty).unwrap()).contains("an empty file"));
    for path in [absent.as_path(), folder.path()] {
        let message = AlignedBytes::read(path).unwrap_err().to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&empty, std::fs::Permissions::from_mode(0o000)).unwrap();
        // Root reads everything.
        if std::fs::File::open(&empty).is_err() {
            let message = AlignedBytes::read(&empty).unwrap_err().to_string();
            assert!(message.contains("empty") && message.contains("cannot read"), "{message}");
        }
    }
}
