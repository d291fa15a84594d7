//! No archive and no pickle makes the reader of PyTorch's files panic, or takes more than a little time or
//! memory; what comes out of it are finite values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_core::Shape;
use pleach_core::checkpoint;
use std::path::Path;

/// Sound files, to be damaged.
const SOUND: [&[u8]; 2] = [
    include_bytes!("../../core/tests/exchange/plain.pth"),
    include_bytes!("../../core/tests/exchange/wrapped.pth"),
];

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else { return };
    match mode % 5 {
        0 => check(mode, &[b"PK\x03\x04", data].concat()),
        // A pickle in a sound archive, with a storage.
        1 => check(mode, &archive(&[b"\x80\x02", data].concat())),
        // The pickle of a sound file, parts of which are replaced or removed.
        2 => {
            let mut pickle = pickle_of(SOUND[0]).to_vec();
            patch(&mut pickle, data);
            check(mode, &archive(&pickle));
        }
        which => {
            let mut bytes = SOUND[usize::from(which) - 3].to_vec();
            patch(&mut bytes, data);
            check(mode, &bytes);
        }
    }
});

/// Replaces bytes, and removes those after them where a patch says so.
fn patch(bytes: &mut Vec<u8>, data: &[u8]) {
    for patch in data.chunks_exact(4) {
        if bytes.is_empty() {
            return;
        }
        let at = usize::from(u16::from_le_bytes([patch[0], patch[1]])) % bytes.len();
        bytes[at] = patch[2];
        let end = (at + usize::from(patch[3].saturating_sub(200))).min(bytes.len());
        bytes.drain(at..end);
    }
}

/// The pickle is the first file.
fn pickle_of(bytes: &[u8]) -> &[u8] {
    let end = bytes[4..].windows(4).position(|magic| magic == b"PK\x07\x08").unwrap() + 4;
    let start = bytes.windows(2).position(|start| start == b"\x80\x02").unwrap();
    &bytes[start..end]
}

/// An archive with this pickle and a storage of 64 bytes.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    let storage = [0; 64];
    for (name, contents) in [("n/data.pkl", pickle), ("n/data/0", &storage[..])] {
        let (start, len) = (bytes.len() as u32, contents.len() as u32);
        let lens = [len.to_le_bytes(), len.to_le_bytes()].concat();
        let name_len = [name.len() as u8, 0];
        bytes.extend([b"PK\x03\x04", &[0; 14][..], &lens, &name_len, &[0; 2]].concat());
        bytes.extend([name.as_bytes(), contents].concat());
        directory.extend([b"PK\x01\x02", &[0; 16][..], &lens, &name_len, &[0; 12]].concat());
        directory.extend([&start.to_le_bytes(), name.as_bytes()].concat());
    }
    let (start, size) = (bytes.len() as u32, directory.len() as u32);
    bytes.extend(directory);
    let place = [size.to_le_bytes(), start.to_le_bytes()].concat();
    bytes.extend([b"PK\x05\x06\0\0\0\0\x02\0\x02\0", &place[..], &[0; 2]].concat());
    bytes
}

fn check(mode: u8, bytes: &[u8]) {
    // A search for the architecture builds every model, which takes a hundred times as long as the rest.
    let searched = if mode / 5 % 8 == 7 { &[None][..] } else { &[] };
    for &arch in [Some("concat-small")].iter().chain(searched) {
        let image = Shape::new(3, 6, 6);
        if let Ok(found) =
            checkpoint::read_state_dict(Path::new("fuzzed"), bytes, arch, image, None)
        {
            let mut values = found.network.params().iter().flat_map(|param| &param.value);
            assert!(values.all(|value| value.is_finite()));
        }
    }
}
