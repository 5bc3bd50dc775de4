//! Pickles by hand, and hostile ones.

use super::*;

const TENSOR: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQK\x01K\x02K\x02\x86K\x02K\x01\x86\x89NtR";

/// The error for `pickle`.
fn refused(pickle: &[u8]) -> String {
    tensors(pickle).map(|found| found.len()).unwrap_err()
}

/// `{name: tensor}` after what `before` leaves on the stack.
fn with_tensor(name: &str) -> Vec<u8> {
    let len = (name.len() as u32).to_le_bytes();
    [b"X", &len[..], name.as_bytes(), TENSOR].concat()
}

#[test]
fn a_tensor_is_a_view_of_a_storage() {
    let pickle = [b"\x80\x02}", &with_tensor("a.b")[..], b"s."].concat();
    let found = tensors(&pickle).unwrap();
    let (name, view) = &found[0];
    assert_eq!((name.as_str(), view.key.as_str(), view.dtype), ("a.b", "0", Dtype::F32));
    assert_eq!((view.elements, view.offset), (6, 1));
    assert_eq!((&view.shape[..], &view.strides[..]), (&[2, 2][..], &[2, 1][..]));
}

#[test]
fn integers_of_any_length_are_signed() {
    for (bytes, value) in [
        (&b"\x8a\x00."[..], 0),
        (b"\x8a\x01\xff.", -1),
        (b"\x8a\x02\x00\x80.", -32768),
        (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", i64::MAX),
        (b"J\xfe\xff\xff\xff.", -2),
        (b"M\xff\xff.", 65535),
    ] {
        let mut machine = machine(bytes);
        while machine.step().unwrap() {}
        assert!(matches!(machine.pop().unwrap(), Value::Int(found) if found == value), "{bytes:?}");
    }
}

#[test]
fn what_no_state_dict_needs_is_refused() {
    for (pickle, says) in [
        (&b""[..], "cut off"),
        (b"cos\nsystem\nX\x02\0\0\0ls\x85R.", "would run os.system"),
        (b"\x8c\x02os\x8c\x06system\x93.", "would run os.system"),
        (b"cposix\nsystem\n.", "posix.system"),
        (b"i__builtin__\neval\n.", "instruction 0x69"),
        (b"K\x01.", "no dictionary"),
        (b".", "not there"),
        (b"t.", "lacks a mark"),
        (b"K\x01s.", "lacks a value"),
        (b"K\x01K\x01K\x02s.", "no dictionary or list"),
        (b"}(K\x01u.", "lacks a value"),
        (b"h\x05.", "does not remember"),
        (b"q\x00.", "nothing to remember"),
        (b"\x85.", "lacks items"),
        (b"K\x01(\x85.", "over a mark"),
        (b"(K\x01tQ.", "not described"),
        (b"ccollections\nOrderedDict\nK\x01\x85R.", "otherwise than"),
        (b"c__torch__\nM\n)R.", "otherwise than"),
        (b"}K\x01b.", "no dictionary"),
        (b"X\xff\xff\xff\xffa.", "cut off"),
        (b"\x8a\x09123456789.", "9 bytes"),
        // A dictionary in itself.
        (b"}q\x00K\x01h\x00s.", "or themselves"),
    ] {
        let problem = refused(pickle);
        assert!(problem.contains(says), "{:?}: {problem}", String::from_utf8_lossy(pickle));
    }
}

/// Dictionaries that hold the one before twice: few bytes, and 2^40 ways down.
#[test]
fn few_bytes_cannot_ask_for_much() {
    let mut pickle = [b"}", &with_tensor("t")[..], b"sq\x00"].concat();
    for i in 0..40u8 {
        pickle.extend([&b"}K\x01h"[..], &[i], b"sK\x02h", &[i], b"sq", &[i + 1]].concat());
    }
    pickle.push(b'.');
    assert!(refused(&pickle).contains("too much"));
    // A tuple in a tuple, a million times: nothing is nested in memory.
    let deep = [b"K\x01".to_vec(), vec![0x85; 1 << 20], b".".to_vec()].concat();
    assert!(refused(&deep).contains("no dictionary"));
    // A module whose attributes are its own.
    assert_eq!(tensors(b"c__torch__\nM\n)\x81}b.").unwrap().len(), 0);
    assert_eq!(tensors(b"c__torch__\nM\n)\x81q\x00h\x00b.").unwrap().len(), 0);
}
