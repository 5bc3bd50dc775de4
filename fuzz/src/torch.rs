//! Checkpoints of PyTorch: an archive whose directory, pickle and bytes are the input.

use ocelli_tools::source::Tensors;
use std::fs::write;

/// Most elements of a tensor that are read.
const MAX_ELEMENTS: usize = 1 << 20;

/// The file itself; or after a byte 0 a pickle, which is then the only entry beside a storage.
pub fn run(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.bin");
    let bytes = match data.split_first() {
        Some((0, pickle)) => archive(&[("a/data.pkl", pickle), ("a/data/0", &[0; 256])]),
        _ => data.to_vec(),
    };
    write(&path, bytes).expect("a file in a temporary folder");
    let Ok(tensors) = Tensors::open(&[path]) else { return };
    for name in tensors.names() {
        let shape = &tensors.get(name).expect("a tensor that is named").shape;
        let count: usize = shape.iter().product();
        if count <= MAX_ELEMENTS {
            // Its type may be one that is not read.
            let _ = tensors.read(name, 0..count, &mut vec![0.0; count]);
        }
    }
}

/// A ZIP archive of stored entries.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let (start, len) = (bytes.len() as u32, data.len() as u32);
        let mut sizes = [0; 12];
        sizes[4..8].copy_from_slice(&len.to_le_bytes());
        sizes[8..].copy_from_slice(&len.to_le_bytes());
        let names = [name.len() as u16, 0].map(u16::to_le_bytes).concat();
        bytes.extend([b"PK\x03\x04", &[0; 10][..], &sizes, &names, name.as_bytes(), data].concat());
        directory.extend([b"PK\x01\x02", &[0; 12][..], &sizes, &names, &[0; 10]].concat());
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, len, count) =
        (bytes.len() as u32, directory.len() as u32, (entries.len() as u16).to_le_bytes());
    bytes.extend(directory);
    bytes.extend(
        [b"PK\x05\x06", &[0; 4][..], &count, &count, &len.to_le_bytes(), &start.to_le_bytes(), &[0; 2]]
            .concat(),
    );
    bytes
}

/// A pickle as `torch.save` writes it, in the form that [`run`] takes: `{"a": a tensor of 2x2}`.
pub fn pickle() -> Vec<u8> {
    let tensor = b"X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0\
        cpuK\x06tQK\x01K\x02K\x02\x86K\x02K\x01\x86\x89ccollections\nOrderedDict\n)Rt";
    [&b"\0\x80\x02ccollections\nOrderedDict\n)Rq\0"[..], tensor, b"Rs."].concat()
}
