//! No archive makes the reader of data sets' archives panic, or take more than a little memory.
#![no_main]

use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;
use pleach_datasets::verify::verify;
use std::io::Write;
use tempfile::NamedTempFile;

/// The names of the files in official archives, and some others.
const NAMES: [&str; 8] = [
    "cifar-10-batches-bin/data_batch_1.bin",
    "cifar-10-batches-bin/test_batch.bin",
    "cifar-10-batches-bin/batches.meta.txt",
    "cifar-100-binary/train.bin",
    "cifar-100-binary/fine_label_names.txt",
    "../../data_batch_2.bin",
    "cifar-10-batches-bin/../data_batch_3.bin",
    "readme",
];

fuzz_target!(|data: (u8, Vec<(u8, u16, Vec<u8>)>, Vec<(u16, u8)>)| {
    let (mode, members, patches) = data;
    let mut tar = tar::Builder::new(Vec::new());
    for (name, len, start) in members.iter().take(16) {
        let mut bytes = start.clone();
        bytes.resize(bytes.len() + usize::from(*len) % 4096, 0);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        // Names that the builder would refuse are written by hand.
        let name = NAMES[usize::from(*name) % NAMES.len()].as_bytes();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_cksum();
        tar.append(&header, &bytes[..]).expect("memory takes all writes");
    }
    let mut bytes = tar.into_inner().expect("memory takes all writes");
    let patch = |bytes: &mut Vec<u8>| {
        for &(at, byte) in &patches {
            let len = bytes.len().max(1);
            if let Some(old) = bytes.get_mut(usize::from(at) % len) {
                *old = byte;
            }
        }
    };
    if mode % 2 == 0 {
        patch(&mut bytes);
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&bytes).expect("memory takes all writes");
    let mut bytes = gzip.finish().expect("memory takes all writes");
    if mode % 2 == 1 {
        patch(&mut bytes);
    }
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("a temporary file takes writes");
    verify(file.path()).expect_err("no data set is this small");
});
