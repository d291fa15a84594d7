//! The record parser takes what is right, names what is wrong, and never panics.

use pleach_datasets::cifar::records::{PIXELS, Records};
use pleach_datasets::cifar::{CIFAR_10, CIFAR_100, Layout};
use proptest::prelude::*;
use std::path::Path;

fn parse<'a>(layout: &Layout, bytes: &'a [u8], records: usize) -> Result<Records<'a>, String> {
    Records::parse(layout, Path::new("file"), bytes, records).map_err(|error| error.to_string())
}

/// The bytes of records with these labels, whose pixels are the number of the record.
fn bytes(layout: &Layout, labels: &[(u8, u8)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, &(coarse, class)) in labels.iter().enumerate() {
        if layout.label_bytes == 2 {
            bytes.push(coarse);
        }
        bytes.push(class);
        bytes.resize(bytes.len() + PIXELS, i as u8);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_parsed_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..4 * PIXELS),
        records in 0_usize..5,
    ) {
        for layout in [&CIFAR_10, &CIFAR_100] {
            if let Ok(parsed) = parse(layout, &bytes, records) {
                prop_assert_eq!(parsed.len(), records);
                prop_assert!(parsed.iter().all(|(class, _)| (class as usize) < layout.classes));
            }
        }
    }

    #[test]
    fn right_records_come_back_as_they_were(classes in prop::collection::vec(0_u8..100, 0..8)) {
        for layout in [&CIFAR_10, &CIFAR_100] {
            let labels: Vec<(u8, u8)> = classes
                .iter()
                .map(|&class| (class % 20, class % layout.classes as u8))
                .map(|(coarse, class)| (coarse.min(class % 20), class))
                .collect();
            let bytes = bytes(layout, &labels);
            let parsed = parse(layout, &bytes, labels.len()).unwrap();
            prop_assert_eq!(parsed.len(), labels.len());
            prop_assert_eq!(parsed.is_empty(), labels.is_empty());
            for (i, (class, pixels)) in parsed.iter().enumerate() {
                prop_assert_eq!(class, u32::from(labels[i].1));
                prop_assert_eq!(pixels, vec![i as u8; PIXELS]);
            }
        }
    }

    #[test]
    fn a_wrong_label_is_found_where_it_is(at in 0_usize..8, label in 10_u8..) {
        let mut bytes = bytes(&CIFAR_10, &[(0, 3); 8]);
        bytes[at * CIFAR_10.record_len()] = label;
        prop_assert_eq!(
            parse(&CIFAR_10, &bytes, 8).unwrap_err(),
            format!(
                "file: at byte {}: expected a label below 10 in record {at}, found {label}",
                at * 3073
            )
        );
    }

    #[test]
    fn a_wrong_length_is_found_at_the_shorter_end(len in 0_usize..5 * 3073) {
        prop_assume!(len != 3 * 3073);
        let bytes = vec![0; len];
        prop_assert_eq!(
            parse(&CIFAR_10, &bytes, 3).unwrap_err(),
            format!(
                "file: at byte {}: expected 9219 bytes (3 records of 3073 bytes), found {len} bytes",
                len.min(9219)
            )
        );
    }
}
