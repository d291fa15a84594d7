//! Records with any labels and any length are parsed or refused, and no class is out of range.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_datasets::cifar::{CIFAR_10, CIFAR_100, records::Records};
use std::path::Path;

fuzz_target!(|data: (bool, u8, u8, &[u8])| {
    let (fine, records, missing, labels) = data;
    let layout = if fine { &CIFAR_100 } else { &CIFAR_10 };
    // Only labels are input: a fuzzer would need thousands of bytes to reach a second record.
    let mut bytes = Vec::new();
    for (i, labels) in labels.chunks(layout.label_bytes).take(64).enumerate() {
        bytes.extend(labels);
        bytes.resize((i + 1) * layout.record_len(), 0);
    }
    bytes.truncate(bytes.len().saturating_sub(missing.saturating_sub(200).into()));
    if let Ok(parsed) = Records::parse(layout, Path::new("fuzz"), &bytes, records.into()) {
        assert_eq!(parsed.len(), usize::from(records));
        assert!(parsed.iter().all(|(class, _)| (class as usize) < layout.classes));
    }
});
