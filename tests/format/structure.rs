//! Files that were not damaged but lie, or come from another version.

use super::*;
use bytemuck::Zeroable;

#[test]
fn the_header_says_what_does_not_fit() {
    let cases: [Case<Header>; 15] = [
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
    let cases: [Case<Header>; 9] = [
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
fn errors_name_the_byte() {
    let named = |bytes: &[u8], place: usize| {
        let message = error_of(bytes);
        assert!(message.contains(&format!("at byte {place}:")), "{message}, not {place}");
    };
    let mut bytes = vision();
    let padding = section(&bytes, SectionKind::Strings).end + 3;
    bytes[padding] = 1;
    named(&bytes, padding);
    let mut bytes = vision();
    let text = section(&bytes, SectionKind::Provenance);
    bytes[text.start + 5] = 0xff;
    reseal(&mut bytes);
    named(&bytes, text.start + 5);
    for i in 0..3 {
        let mut bytes = vision();
        edit_header(&mut bytes, |h| h.table[i].offset += 64);
        named(&bytes, core::mem::offset_of!(Header, table) + i * size_of::<SectionEntry>());
    }
}

#[test]
fn tensors_must_be_what_the_configuration_demands() {
    let (qkv, norm) = ("vision.block.1.qkv.weight", "vision.final_norm.bias");
    type Named = (&'static str, fn(&mut TensorEntry), &'static str);
    let cases: [Named; 19] = [
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
fn the_configuration_must_make_sense() {
    let cases: [Case<Config>; 49] = [
        (|c| c.text.vocab = 4_000_000_000, "text.vocab"),
        (|c| c.text.context = u32::MAX, "text.context"),
        (|c| c.text.eos = c.text.vocab, "text.eos"),
        (|c| c.text.causal = 2, "text.causal"),
        (|c| c.text.tower.features |= 1 << 30, "text.tower.features"),
        (|c| c.text.reserved[8] = 1, "text.reserved"),
        (|c| c.vision.tower.width = 0, "vision.tower.width"),
        (|c| c.vision.tower.heads = 0, "vision.tower.heads"),
        (|c| (c.vision.tower.heads, c.vision.tower.head_dim) = (65536, 65536), "vision.tower.heads"),
        (|c| c.vision.tower.depth = 300, "vision.tower.depth"),
        (|c| c.vision.tower.norm_eps = f32::NAN, "vision.tower.norm_eps"),
        (|c| c.vision.tower.act = 77, "vision.tower.act"),
        (|c| c.vision.tower.pooling = Pooling::Last as u32, "vision.tower.pooling"),
        (|c| c.vision.tower.merge_most = 9, "vision.tower.merge_most"),
        (|c| (c.vision.tower.merge_most, c.vision.tower.merge_first) = (1, 2), "vision.tower.merge_first"),
        (|c| c.vision.tower.merge_first = 1, "vision.tower.merge_first"),
        (|c| (c.vision.tower.merge_most, c.vision.tower.merge_power) = (1, 4), "vision.tower.merge_power"),
        (|c| c.vision.tower.merge_power = 1, "vision.tower.merge_power"),
        (
            |c| {
                c.vision.tower.merge_most = 1;
                (c.vision.rope, c.vision.rope_theta) = (Rope::Centred as u32, 100.0);
            },
            "0 with rotary positions",
        ),
        (|c| c.text.tower.merge_most = 1, "text.tower.merge_most"),
        (|c| c.vision.patch = 0, "vision.patch"),
        (|c| c.vision.patch = 65, "vision.patch"),
        (
            |c| (c.vision.height, c.vision.width, c.vision.patch) = (8192, 8192, 32),
            "fewer than 65536 patches",
        ),
        (|c| (c.vision.grid_rows, c.vision.grid_cols) = (65536, 65536), "vision.grid_cols"),
        (|c| c.preprocess.std[1] = 0.0, "preprocess.std"),
        (|c| c.preprocess.mean[2] = f32::INFINITY, "preprocess.mean"),
        (|c| c.preprocess.shortest = 0, "preprocess.shortest"),
        (|c| c.preprocess.shortest = 8193, "preprocess.shortest"),
        (|c| c.text.tower.features &= !feature::FINAL_NORM, "text.tower.features"),
        (|c| c.vision.pool_heads = 2, "vision.pool_heads"),
        (|c| c.vision.prefix_tokens = 0, "vision.prefix_tokens"),
        (|c| c.vision.prefix_tokens = 70, "vision.prefix_tokens"),
        (|c| c.vision.position_prefix = 2, "vision.position_prefix"),
        (|c| c.vision.position = Position::None as u32, "vision.grid_rows"),
        (|c| c.vision.interpolation = Interpolation::Computed as u32, "vision.interpolation"),
        (|c| c.vision.rope = 9, "vision.rope"),
        (|c| c.vision.rope = Rope::Centred as u32, "vision.rope_theta"),
        (|c| c.vision.rope_theta = 100.0, "vision.rope_theta"),
        (|c| c.vision.sincos_temperature = 10_000.0, "vision.sincos_temperature"),
        (|c| c.vision.max_patches = 16, "vision.max_patches"),
        (
            |c| {
                (c.vision.max_patches, c.preprocess.mode) = (16, ResizeMode::Naflex as u32);
                (c.vision.interpolation, c.preprocess.shortest) = (Interpolation::Fixed as u32, 0);
            },
            "vision.max_patches",
        ),
        (
            |c| {
                (c.vision.max_patches, c.preprocess.mode) = (16, ResizeMode::Naflex as u32);
                (c.vision.rope, c.vision.rope_theta) = (Rope::Centred as u32, 100.0);
            },
            "vision.max_patches",
        ),
        (|c| c.vision.position = Position::ScaledAverage as u32, "vision.pyramid"),
        (|c| c.text.canonical = 99, "text.canonical"),
        (|c| c.vision.tower.features |= feature::CLASSIFIER, "score.kind"),
        (|c| c.score.classes = 10, "score.classes"),
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
        (|c| c.vision.tower.features |= feature::GATED_MLP, "vision.block.0.fc1.weight"),
        (|c| c.vision.tower.pooling = Pooling::AttentionHead as u32, "vision.head.query is missing"),
        (|c| c.vision.prefix_tokens = 5, "vision.registers is missing"),
        (|c| c.text = TextConfig::zeroed(), "text.token_embed is not one"),
    ] {
        let message = edit_config(edit);
        assert!(message.contains(expected), "{message}");
    }
}
