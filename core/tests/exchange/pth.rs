//! What `torch.save` wrote is read.

use crate::archive::{Entry, Tensor, dict, end, zip};
use crate::{fixture, logits};
use pleach_core::checkpoint::{self, Checkpoint, CheckpointError, Mismatch};
use pleach_core::{Shape, npy, tensor};
use std::fs;
use std::path::Path;

/// The images that the networks of the files are for.
const IMAGE: Shape = Shape::new(3, 6, 6);

fn load(name: &str) -> Checkpoint {
    checkpoint::load_state_dict(&fixture(name), None, IMAGE, None)
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn pytorchs_files_give_pytorchs_logits() {
    let images = npy::load(&fixture("images.npy")).unwrap();
    assert_eq!(images.shape, [4, 3, 6, 6]);
    let images = tensor::Tensor::from_nchw(4, IMAGE, &images.values);
    let expected = npy::load(&fixture("logits.npy")).unwrap();
    assert_eq!(expected.shape, [4, 2]);
    let plain = load("plain.pth");
    assert_eq!(plain.meta.model, "concat-small");
    for (a, b) in logits(&plain.network, &images).iter().zip(&expected.values) {
        assert!((a - b).abs() < 1e-5, "{a}, expected {b}");
    }
}

#[test]
fn checkpoints_types_strides_and_shared_storages_change_nothing() {
    assert_eq!(load("wrapped.pth").network, load("plain.pth").network);
}

#[test]
fn the_format_before_1_6_is_named() {
    let error = checkpoint::load_state_dict(&fixture("old.pth"), None, IMAGE, None).unwrap_err();
    let error = error.to_string();
    assert!(
        error.ends_with("the older format: load the file in PyTorch and save it again"),
        "{error}"
    );
}

/// Checks that a file is sound, and that all tensors in it are some of a small network's.
pub(crate) fn check(bytes: &[u8]) -> Result<(), CheckpointError> {
    let (path, arch) = (Path::new("evil.pth"), Some("concat-small:1,1,1,1,2"));
    match checkpoint::read_state_dict(path, bytes, arch, IMAGE, Some(2)) {
        Err(CheckpointError::Weights { mismatches, .. })
            if mismatches.iter().all(|mismatch| matches!(mismatch, Mismatch::Missing { .. })) =>
        {
            Ok(())
        }
        result => result.map(|_| ()),
    }
}

#[test]
fn archives_with_64_bit_fields_are_read() {
    let tensor = Tensor {
        name: "fc.weight",
        storage: "FloatStorage",
        key: "0",
        len: 4,
        offset: 0,
        shape: &[2, 2],
        strides: &[2, 1],
    };
    let mut large = Entry::new("net/data/0", [0; 16]);
    let pickle = Entry::new("net/data.pkl", dict(&[tensor]));
    let offset = 30 + pickle.name.len() + pickle.bytes.len();
    (large.size, large.compressed, large.offset) = (Some(u32::MAX), Some(u32::MAX), Some(u32::MAX));
    // An extra field of another kind, then the three fields.
    large.extra = b"\x07\0\x02\0ab\x01\0\x18\0".to_vec();
    large.extra.extend([16, 16, offset as u64].map(u64::to_le_bytes).concat());
    let mut bytes = zip(&[pickle, large]);
    // The end record by way of a 64-bit one.
    let short = bytes.split_off(bytes.len() - 22);
    let (size, start) = (&short[12..16], &short[16..20]);
    let at = bytes.len() as u64;
    bytes.extend(b"PK\x06\x06");
    bytes.extend([0; 8 + 2 + 2 + 4 + 4]);
    bytes.extend([2u64, 2].map(u64::to_le_bytes).concat());
    bytes.extend([size, &[0; 4], start, &[0; 4]].concat());
    bytes.extend(b"PK\x06\x07\0\0\0\0");
    bytes.extend(at.to_le_bytes());
    bytes.extend([1, 0, 0, 0]);
    bytes.extend(end(u16::MAX, u32::MAX, u32::MAX));
    check(&bytes).unwrap();
}

#[test]
fn every_truncation_is_refused_and_no_changed_byte_ends_in_a_panic() {
    let whole = fs::read(fixture("plain.pth")).unwrap();
    let path = Path::new("evil.pth");
    let arch = Some("concat-small");
    let read = |bytes: &[u8]| checkpoint::read_state_dict(path, bytes, arch, IMAGE, None);
    read(&whole).expect("the file as it was");
    for len in (0..whole.len()).rev() {
        assert!(read(&whole[..len]).is_err(), "{len} bytes");
    }
    let mut bytes = whole.clone();
    for position in (0..whole.len()).step_by(2) {
        for byte in [0, b'R', 0xFF] {
            bytes[position] = byte;
            if let Ok(found) = read(&bytes) {
                let values = found.network.params().iter().flat_map(|param| &param.value);
                assert!(values.clone().all(|value| value.is_finite()));
            }
        }
        bytes[position] = whole[position];
    }
}
