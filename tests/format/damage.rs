//! Damaged files: cut, flipped, poisoned, random.

use super::*;

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
        assert!(
            message.contains(if len == 0 { "an empty file" } else { "cut off" }),
            "cut to {len}: {message}"
        );
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
    let padding = ocelli_kernels::pack::index_i8(72, 0, 16) as u64;
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
