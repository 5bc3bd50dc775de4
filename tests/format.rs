//! The packed file under attack: whatever happens to its bytes, the reader says what is wrong or is right.

use bytemuck::Zeroable;
use ocelli::Error;
use ocelli::format::*;
use ocelli_tools::{ConvertOptions, Precision, convert};
use std::path::Path;
use std::sync::OnceLock;
use xxhash_rust::xxh3::xxh3_64;

const HEADER: usize = size_of::<Header>();

fn packed(precision: Precision, vision_only: bool) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip-hf");
    let mut options = ConvertOptions::new(fixture, folder.path().join("model.ocelli"), precision);
    options.wishes.vision_only = vision_only;
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
    }
    let bytes = whole();
    let file = File::parse(&bytes).unwrap();
    let (tokens, mut row) = (file.table("text.token_embed").unwrap(), [0.0; 16]);
    tokens.row_into(49407, &mut row);
    let tensor = file.tensor("text.token_embed").unwrap();
    assert!((0..16).all(|k| row[k] == tensor.get(49407, k)) && matches!(tokens, Table::I8 { .. }));
    assert!(file.bank().is_none());
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let good = vision();
    let mut places: Vec<usize> = numbers(1, good.len()).take(300).collect();
    for entry in header(&good).sections() {
        for end in [entry.offset as usize, (entry.offset + entry.len) as usize] {
            places.extend([end.saturating_sub(1), end, end + 1]);
        }
    }
    places.extend([0, 1, 7, 8, HEADER - 1, HEADER, HEADER + 1]);
    for len in places.into_iter().filter(|&len| len < good.len()) {
        let bytes = AlignedBytes::new(&good[..len]);
        let message = error_of(&bytes);
        assert!(message.contains("cut off"), "cut to {len}: {message}");
    }
    let mut longer = good.to_vec();
    longer.push(0);
    assert!(error_of(&AlignedBytes::new(&longer)).contains("something was appended"));
}

#[test]
fn every_flipped_bit_outside_the_payloads_is_noticed() {
    let good = vision();
    for at in 0..section(&good, SectionKind::Data).start {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(File::parse(&bytes).is_err(), "byte {at}");
    }
}

#[test]
fn every_flipped_bit_in_the_payloads_is_noticed_by_verify() {
    let good = vision();
    let data = section(&good, SectionKind::Data);
    for offset in numbers(2, data.len()).take(600) {
        let mut bytes = good.clone();
        bytes[data.start + offset] ^= 1 << (offset % 8);
        let result = File::parse(&bytes).and_then(|file| file.verify());
        let Err(Error::Checksum { .. } | Error::Tensor { .. }) = result else {
            panic!("byte {offset} of DATA: {result:?}");
        };
    }
}

#[test]
fn the_header_says_what_does_not_fit() {
    let cases: [(fn(&mut Header), &str); 15] = [
        (|h| h.magic[0] = b'O', "not a packed model"),
        (|h| h.version = 2, "version"),
        (|h| h.endian = h.endian.swap_bytes(), "big-endian"),
        (|h| h.header_len = 384, "header size"),
        (|h| h.file_len += 1, "wrong length"),
        (|h| h.nr = 8, "panels"),
        (|h| h.k_group = 8, "int8 group"),
        (|h| h.k_align = 32, "padding"),
        (|h| h.signedness = 0, "signedness"),
        (|h| h.reserved = 1, "reserved"),
        (|h| h.sections = 9, "too many sections"),
        (|h| h.sections = u32::MAX, "too many sections"),
        (|h| h.table[0].kind = 99, "unknown section"),
        (|h| h.table[1].kind = 1, "twice"),
        (|h| h.table[7].offset = 1, "unused"),
    ];
    for (edit, expected) in cases {
        let mut bytes = vision();
        edit_header(&mut bytes, edit);
        let message = error_of(&bytes);
        assert!(message.contains(expected), "{message}");
    }
    let good = vision();
    let mut shifted = vec![0; good.len() + 128];
    let start = shifted.as_ptr().align_offset(64) + 4;
    shifted[start..start + good.len()].copy_from_slice(&good);
    assert!(error_of(&shifted[start..start + good.len()]).contains("multiple of 64"));
}

#[test]
fn sections_may_not_overlap_leave_the_file_or_be_missing() {
    let cases: [(fn(&mut Header), &str); 9] = [
        (|h| h.table[1].offset -= 64, "where the one before ends"),
        (|h| h.table[1].offset += 64, "where the one before ends"),
        (|h| h.table[2].offset += 1, "where the one before ends"),
        (|h| h.table[1].offset = u64::MAX - 63, "where the one before ends"),
        (|h| h.table[4].len = u64::MAX, "does not fit the file"),
        (|h| h.table[4].len = 0, "empty"),
        (|h| h.table[4].len += 1, "does not fit the file"),
        (|h| h.table[4].len -= 1, "after the last section"),
        (|h| h.table[0].checksum ^= 1, "CONFIG"),
    ];
    for (edit, expected) in cases {
        let mut bytes = vision();
        edit_header(&mut bytes, edit);
        let message = error_of(&bytes);
        assert!(message.contains(expected), "{message}");
    }
    for kind in [SectionKind::Config, SectionKind::Tensors, SectionKind::Strings, SectionKind::Provenance] {
        let mut bytes = vision();
        let spare = SectionKind::Tokenizer as u32;
        edit_header(&mut bytes, |h| h.table.iter_mut().find(|e| e.kind == kind as u32).unwrap().kind = spare);
        assert!(error_of(&bytes).contains("missing"), "{kind:?}");
    }
    let mut bytes = vision();
    let end = section(&bytes, SectionKind::Strings).end;
    bytes[end] = 1;
    assert!(error_of(&bytes).contains("padding"));
    let mut bytes = vision();
    let text = section(&bytes, SectionKind::Provenance);
    bytes[text.start + 5] = 0xff;
    reseal(&mut bytes);
    assert!(error_of(&bytes).contains("UTF-8"));
}

#[test]
fn tensors_must_be_what_the_configuration_demands() {
    let (qkv, norm) = ("vision.block.1.qkv.weight", "vision.final_norm.bias");
    let cases: [(&str, fn(&mut TensorEntry), &str); 19] = [
        (qkv, |e| e.dtype = 9, "element type"),
        (norm, |e| e.dtype = Dtype::F16 as u32, "element type"),
        ("vision.position", |e| e.dtype = Dtype::I8 as u32, "element type"),
        (qkv, |e| e.layout = Layout::Table as u32, "layout"),
        (qkv, |e| e.n += 1, "rows"),
        (qkv, |e| e.k = 0, "columns"),
        (qkv, |e| std::mem::swap(&mut e.n, &mut e.k), "rows"),
        (qkv, |e| e.n = u32::MAX, "rows"),
        (qkv, |e| e.magnitude = 0, "magnitude"),
        (qkv, |e| e.magnitude = 128, "magnitude"),
        (norm, |e| e.magnitude = 1, "magnitude"),
        (qkv, |e| e.data_offset += 64, "data offset"),
        (qkv, |e| e.data_offset -= 64, "data offset"),
        (qkv, |e| e.data_offset = u64::MAX, "data offset"),
        (qkv, |e| e.data_len = u64::MAX, "data length"),
        (qkv, |e| e.scales_offset += 4, "offset of the scales"),
        (qkv, |e| e.scales_len -= 4, "length of the scales"),
        (qkv, |e| e.sums_len = 0, "length of the sums"),
        (qkv, |e| e.reserved2 = 1, "reserved"),
    ];
    for (name, edit, expected) in cases {
        let message = with_entry(name, edit);
        assert!(message.contains(expected) && message.contains(name), "{message}");
    }
    assert!(with_entry(qkv, |e| e.name_offset = u32::MAX).contains("STRINGS"));
    assert!(with_entry(qkv, |e| e.name_len += 1).contains(qkv));
    // A second final norm in the place of the qkv weights.
    let other = {
        let bytes = vision();
        *File::parse(&bytes).unwrap().tensor(norm).unwrap().entry()
    };
    let message = with_entry(qkv, |e| (e.name_offset, e.name_len) = (other.name_offset, other.name_len));
    assert!(message.contains(qkv) && message.contains("missing"), "{message}");
}

#[test]
fn poisoned_scales_and_vectors_are_refused_when_opening() {
    let bytes = vision();
    let data = section(&bytes, SectionKind::Data).start;
    let file = File::parse(&bytes).unwrap();
    let entry = |name: &str| *file.tensor(name).unwrap().entry();
    let (qkv, bias) = (entry("vision.block.0.qkv.weight"), entry("vision.pre_norm.bias"));
    for (offset, name) in [(qkv.scales_offset, "block.0.qkv.weight"), (bias.data_offset, "pre_norm.bias")] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut bytes = vision();
            bytes[data + offset as usize + 8..][..4].copy_from_slice(&value.to_le_bytes());
            let message = error_of(&bytes);
            assert!(message.contains(name) && message.contains("finite"), "{message}");
        }
    }
    let mut bytes = vision();
    bytes[data + qkv.scales_offset as usize..][..4].copy_from_slice(&(-1f32).to_le_bytes());
    assert!(error_of(&bytes).contains("negative"));
}

/// Changes one byte of a tensor's part, makes the tensor's own checksum right, and returns what `verify` says.
fn verify_after(name: &str, edit: impl FnOnce(&mut [u8], &TensorEntry)) -> String {
    let mut bytes = whole();
    let data = section(&bytes, SectionKind::Data);
    let entry = *File::parse(&bytes).unwrap().tensor(name).unwrap().entry();
    edit(&mut bytes[data.clone()], &entry);
    let end = (entry.data_offset + entry.data_len)
        .max(entry.scales_offset + entry.scales_len)
        .max(entry.sums_offset + entry.sums_len);
    let payload = entry.data_offset as usize..end as usize;
    let checksum = xxh3_64(&bytes[data][payload]);
    edit_entry(&mut bytes, name, |entry| entry.checksum = checksum);
    let file = File::parse(&bytes).unwrap();
    let message = file.verify().expect_err("it was accepted").to_string();
    assert!(message.contains(name), "{message}");
    message
}

#[test]
fn verify_reads_what_a_right_checksum_cannot_vouch_for() {
    let (fc1, patch) = ("vision.block.2.fc1.weight", "vision.patch_embed.weight");
    let set =
        |at: u64, value: &[u8], data: &mut [u8]| data[at as usize..][..value.len()].copy_from_slice(value);
    let message = verify_after(fc1, |data, e| set(e.data_offset + 77, &[0x80], data));
    assert!(message.contains("magnitude"), "{message}");
    let message = verify_after(fc1, |data, e| data[e.data_offset as usize + 77] ^= 1);
    assert!(message.contains("sum"), "{message}");
    let message = verify_after(fc1, |data, e| data[e.sums_offset as usize] ^= 1);
    assert!(message.contains("sum"), "{message}");
    // 72 channels in panels of 16: the last panel is half padding.
    let short = "text.block.0.fc1.weight";
    let padding = ocelli_kernels::layout::index_i8(72, 0, 16) as u64;
    let message = verify_after(short, |data, e| set(e.data_offset + padding, &[1], data));
    assert!(message.contains("padding"), "{message}");
    let message = verify_after(short, |data, e| set(e.scales_offset + 4 * 79, &1f32.to_le_bytes(), data));
    assert!(message.contains("padding of the scales"), "{message}");
    let message =
        verify_after("text.project.weight", |data, e| data[e.data_offset as usize..][..2].fill(0xff));
    assert!(message.contains("finite"), "{message}");
    let message = verify_after("text.token_embed", |data, e| set(e.data_offset + 9, &[0x80], data));
    assert!(message.contains("magnitude"), "{message}");
    let message = verify_after(patch, |data, e| set(e.data_offset + 10, &[0, 0x7c], data));
    assert!(message.contains("finite"), "{message}");
    let message =
        verify_after("vision.position", |data, e| set(e.data_offset, &f32::NAN.to_le_bytes(), data));
    assert!(message.contains("finite"), "{message}");
}

#[test]
fn the_configuration_must_make_sense() {
    let cases: [(fn(&mut Config), &str); 22] = [
        (|c| c.text.vocab = 4_000_000_000, "text.vocab"),
        (|c| c.text.context = u32::MAX, "text.context"),
        (|c| c.text.eos = c.text.vocab, "text.eos"),
        (|c| c.text.causal = 2, "text.causal"),
        (|c| c.text.tower.features |= 1 << 30, "text.tower.features"),
        (|c| c.text.reserved[9] = 1, "text.reserved"),
        (|c| c.vision.tower.width = 0, "vision.tower.width"),
        (|c| c.vision.tower.heads = 0, "vision.tower.heads"),
        (|c| (c.vision.tower.heads, c.vision.tower.head_dim) = (65536, 65536), "vision.tower.heads"),
        (|c| c.vision.tower.depth = 300, "vision.tower.depth"),
        (|c| c.vision.tower.norm_eps = f32::NAN, "vision.tower.norm_eps"),
        (|c| c.vision.tower.act = 77, "vision.tower.act"),
        (|c| c.vision.tower.pooling = Pooling::AttentionHead as u32, "vision.tower.pooling"),
        (|c| c.vision.patch = 0, "vision.patch"),
        (|c| c.vision.patch = 65, "vision.patch"),
        (|c| (c.vision.grid_rows, c.vision.grid_cols) = (65536, 65536), "vision.grid_cols"),
        (|c| c.preprocess.std[1] = 0.0, "preprocess.std"),
        (|c| c.preprocess.mean[2] = f32::INFINITY, "preprocess.mean"),
        (|c| c.preprocess.shortest = 63, "preprocess.shortest"),
        (|c| c.score.logit_scale = f32::NAN, "score.logit_scale"),
        (|c| c.score.embed_dim = 0, "score.embed_dim"),
        (|c| *c = Config { score: c.score, ..Config::zeroed() }, "vision.tower.depth"),
    ];
    for (edit, expected) in cases {
        let message = edit_config(edit);
        assert!(message.contains(expected), "{message}");
    }
    // What the tables do not hold.
    for (edit, expected) in [
        ((|c| c.text.vocab += 1) as fn(&mut Config), "text.token_embed"),
        (|c| c.vision.tower.depth += 1, "vision.block.3.norm1.weight is missing"),
        (|c| c.vision.tower.depth -= 1, "vision.block.2.norm1.weight is not one"),
        (|c| c.vision.tower.features |= feature::PATCH_BIAS, "vision.patch_embed.bias is missing"),
        (|c| c.vision.tower.features &= !feature::PRE_NORM, "vision.pre_norm.weight"),
        (|c| c.text = TextConfig::zeroed(), "text.token_embed is not one"),
    ] {
        let message = edit_config(edit);
        assert!(message.contains(expected), "{message}");
    }
}

/// Whatever one byte of CONFIG or TENSORS says, with checksums made right: an error or a file whose views hold.
#[test]
fn one_wrong_byte_with_right_checksums_never_panics() {
    let good = vision();
    let (mut accepted, mut refused) = (0, 0);
    for kind in [SectionKind::Config, SectionKind::Tensors, SectionKind::Strings] {
        for at in section(&good, kind) {
            for value in [0x00, 0x01, 0x40, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                if bytes[at] == value {
                    continue;
                }
                bytes[at] = value;
                reseal(&mut bytes);
                match File::parse(&bytes) {
                    Err(error) => {
                        refused += 1;
                        assert!(!error.to_string().is_empty());
                    }
                    Ok(file) => {
                        accepted += 1;
                        for tensor in file.tensors() {
                            let (rows, columns) = (tensor.n() - 1, tensor.k() - 1);
                            assert!(!tensor.get(rows, columns).is_nan());
                        }
                        assert!(file.weights("vision.block.0.qkv.weight").is_ok());
                    }
                }
            }
        }
    }
    // What passes: other epsilons, means and the like, ids, and checksums that only `verify` reads.
    assert!(accepted > 1000 && refused > 4 * accepted, "{accepted} accepted, {refused} refused");
}

/// Random headers of the right size must not panic either, nor random files.
#[test]
fn noise_is_refused() {
    for seed in 0..2000u64 {
        let mut bytes = AlignedBytes::new(&vec![0; 1024]);
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = xxh3_64(&(seed << 20 | i as u64).to_le_bytes()) as u8;
        }
        if seed % 2 == 0 {
            edit_header(&mut bytes, |h| {
                (h.magic, h.version, h.endian, h.header_len) = (MAGIC, VERSION, ENDIAN, HEADER as u32);
                (h.nr, h.k_group, h.k_align, h.signedness, h.reserved) = (16, 4, 16, SIGNED, 0);
                (h.file_len, h.sections) = (1024, h.sections % 10);
            });
        }
        assert!(File::parse(&bytes).is_err(), "seed {seed}");
    }
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
    assert_eq!((inside.label(1), inside.embedding(1)[9]), ("dog", -1.0));

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
    assert!(error_of(&AlignedBytes::read(&empty).unwrap()).contains("cut off"));
    for path in [absent.as_path(), folder.path()] {
        let message = AlignedBytes::read(path).unwrap_err().to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&empty, std::fs::Permissions::from_mode(0)).unwrap();
        // Root reads everything.
        if std::fs::File::open(&empty).is_err() {
            let message = AlignedBytes::read(&empty).unwrap_err().to_string();
            assert!(message.contains("empty") && message.contains("cannot read"), "{message}");
        }
    }
}
