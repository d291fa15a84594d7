//! No bytes make the reader of arrays panic, and an array has as many values as its shape says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_core::npy;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_first() else { return };
    match mode % 3 {
        0 => check(data),
        // A header whose length is right, and data.
        1 => {
            let Some((&len, rest)) = data.split_first() else { return };
            let (header, values) = rest.split_at(usize::from(len).min(rest.len()));
            let len = [header.len() as u8, 0];
            check(&[b"\x93NUMPY\x01\0", &len[..], header, values].concat());
        }
        // A sound header, parts of which are replaced.
        _ => {
            let mut header = *b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
            let (patches, values) = data.split_at(data.len() / 2);
            for patch in patches.chunks_exact(2) {
                header[usize::from(patch[0]) % header.len()] = patch[1];
            }
            let len = [header.len() as u8, 0];
            check(&[b"\x93NUMPY\x01\0", &len[..], &header, values].concat());
        }
    }
});

fn check(bytes: &[u8]) {
    if let Ok(array) = npy::read(Path::new("fuzzed"), bytes) {
        assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
    }
}
