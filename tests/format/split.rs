//! Metadata and DATA in two pieces of memory: only numbers come from DATA.

use super::*;
use std::os::unix::fs::FileExt;

/// Where DATA begins.
fn cut(bytes: &[u8]) -> usize {
    Header::data_range(bytes, bytes.len() as u64).unwrap().start as usize
}

/// Everything that is said about the tensors beside their values.
fn described(file: &File<'_>) -> Vec<String> {
    let describe = |tensor: Tensor<'_>| format!("{} {:?}", tensor.name(), tensor.entry());
    file.tensors().map(describe).collect()
}

#[test]
fn two_pieces_say_what_the_whole_says() {
    let bytes = whole();
    let range = Header::data_range(&bytes[..HEADER], bytes.len() as u64).unwrap();
    assert_eq!(range, cut(&bytes) as u64..bytes.len() as u64);
    let (metadata, data) = bytes.split_at(range.start as usize);
    let (metadata, data) = (AlignedBytes::new(metadata), AlignedBytes::new(data));
    let (file, one) = (File::parse_split(&metadata, &data).unwrap(), File::parse(&bytes).unwrap());
    file.verify().unwrap();
    assert_eq!(described(&file), described(&one));
    assert_eq!((file.model_id(), file.tokenizer()), (one.model_id(), one.tokenizer()));
    assert_eq!(file.bytes_len(), bytes.len());
    // An error in DATA names the place in the file.
    let mut damaged = AlignedBytes::new(&data);
    damaged[0] ^= 1;
    let Err(Error::Checksum { offset, .. }) =
        File::parse_split(&metadata, &damaged).and_then(|file| file.verify())
    else {
        panic!("the change went unnoticed");
    };
    assert_eq!(offset, range.start);
}

#[test]
fn the_pieces_must_be_the_file() {
    let bytes = vision();
    let (metadata, data) = bytes.split_at(cut(&bytes));
    let refuse = |metadata: &[u8], data: &[u8], expected: &str| {
        let (metadata, data) = (AlignedBytes::new(metadata), AlignedBytes::new(data));
        let message = File::parse_split(&metadata, &data).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    refuse(metadata, &data[..data.len() - 1], "cut off");
    refuse(metadata, &[], "cut off");
    refuse(&[], data, "an empty file");
    refuse(&metadata[..8], data, "cut off inside the header");
    refuse(&metadata[..HEADER], data, "cut off");
    refuse(&bytes[..metadata.len() + 64], &data[64..], "where the metadata end");
    refuse(&bytes[..metadata.len() - 64], &bytes[metadata.len() - 64..], "where the metadata end");
    let shifted = AlignedBytes::new(&[&[0; 4], data].concat());
    let message = File::parse_split(&AlignedBytes::new(metadata), &shifted[4..]).unwrap_err().to_string();
    assert!(message.contains("multiple of 64"), "{message}");
}

/// Moves STRINGS behind DATA, with everything else right.
#[test]
fn data_must_be_the_last_section() {
    let good = vision();
    let mut sections = header(&good).sections().to_vec();
    let strings = sections.iter().position(|entry| entry.kind == SectionKind::Strings as u32).unwrap();
    let moved = sections.remove(strings);
    sections.push(moved);
    let mut bytes = vec![0; HEADER];
    for entry in &mut sections {
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        let (start, len) = (entry.offset as usize, entry.len as usize);
        entry.offset = bytes.len() as u64;
        bytes.extend_from_slice(&good[start..start + len]);
    }
    bytes[..HEADER].copy_from_slice(bytemuck::bytes_of(&Header::new(&sections)));
    assert!(error_of(&AlignedBytes::new(&bytes)).contains("DATA is not the last section"));
}

#[test]
fn metadata_beyond_the_limit_are_not_read() {
    let mut bytes = vision();
    edit_header(&mut bytes, |header| {
        let last = header.sections as usize - 1;
        header.table[last - 1].len = MAX_METADATA + 1;
        header.table[last].offset = (header.table[last - 1].offset + MAX_METADATA + 1).next_multiple_of(64);
        header.file_len = header.table[last].offset + header.table[last].len;
    });
    let error = Header::data_range(&bytes[..HEADER], header(&bytes).file_len).unwrap_err().to_string();
    assert!(error.contains("too many bytes before DATA"), "{error}");
}

/// A map of DATA whose file is overwritten after parsing: every view keeps its name, type, shape and place.
#[test]
fn when_data_change_after_parsing_only_numbers_do() {
    let bytes = whole();
    let (metadata, data) = bytes.split_at(cut(&bytes));
    let metadata = AlignedBytes::new(metadata);
    let changing = tempfile::tempfile().unwrap();
    changing.write_all_at(data, 0).unwrap();
    // SAFETY: the file is changed below, between reads on this one thread and never during one; it is not cut.
    let map = unsafe { memmap2::Mmap::map(&changing) }.unwrap();
    let file = File::parse_split(&metadata, &map).unwrap();
    let before = described(&file);
    let (tokenizer, id) = (file.tokenizer().map(String::from), file.model_id());
    let mut row = vec![0.0; 64];
    for seed in 0..4 {
        let noise: Vec<u8> = numbers(seed << 40, 256)
            .zip(data)
            .map(|(n, &byte)| if seed == 0 { !byte } else { n as u8 })
            .collect();
        changing.write_all_at(&noise, 0).unwrap();
        assert_eq!(map[..], noise[..], "the map does not show the change");
        assert_eq!(described(&file), before);
        assert_eq!((file.tokenizer(), file.model_id()), (tokenizer.as_deref(), id));
        for tensor in file.tensors() {
            tensor.get(tensor.n() - 1, tensor.k() - 1);
            match tensor.layout() {
                Layout::Vector => assert!(tensor.vector().unwrap().len() >= tensor.n()),
                Layout::Table => {
                    let table = tensor.table().unwrap();
                    assert_eq!((table.n(), table.k()), (tensor.n(), tensor.k()));
                    table.row_into(tensor.n() - 1, &mut row);
                }
                Layout::Panels => {
                    let weights = tensor.weights().unwrap();
                    assert_eq!((weights.n(), weights.k()), (tensor.n(), tensor.k()));
                }
            }
        }
        assert!(file.verify().is_err());
    }
    changing.write_all_at(data, 0).unwrap();
    file.verify().unwrap();
}
