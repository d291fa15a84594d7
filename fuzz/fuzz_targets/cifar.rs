//! Any bytes are CIFAR records or an error, and a class that comes out is one that exists.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_datasets::cifar::{CIFAR_10, CIFAR_100, records::Records};
use std::path::Path;

fuzz_target!(|data: (u8, bool, &[u8])| {
    let (records, fine, bytes) = data;
    let layout = if fine { &CIFAR_100 } else { &CIFAR_10 };
    if let Ok(parsed) = Records::parse(layout, Path::new("fuzz"), bytes, records.into()) {
        assert_eq!(parsed.len(), usize::from(records));
        assert!(parsed.iter().all(|(class, _)| (class as usize) < layout.classes));
    }
});
