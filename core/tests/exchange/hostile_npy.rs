//! Arrays that are none are refused, each with its reason.

use crate::npy::file;
use pleach_core::npy::{self, NpyError};
use std::path::Path;

fn refusal(bytes: &[u8]) -> String {
    let error = npy::read(Path::new("evil.npy"), bytes).expect_err("a hostile file");
    let NpyError::Format { offset, .. } = &error else { panic!("{error}") };
    assert!(*offset <= bytes.len() as u64);
    error.to_string()
}

#[test]
fn every_lie_of_a_header_is_named() {
    let header = |descr: &str, order: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")
    };
    let huge = "(18446744073709551615, 18446744073709551615)";
    for (header, data, says) in [
        (header("'<f4'", "False", "(2,)"), 7, "expected F32 of shape [2], found 7 bytes"),
        (header("'<f4'", "False", "(2,)"), 9, "expected F32 of shape [2], found 9 bytes"),
        (header("'<f8'", "False", "(1,)"), 4, "expected F64 of shape [1], found 4 bytes"),
        (header("'<f4'", "False", huge), 4, "18446744073709551615], found 4 bytes"),
        (header("'<f4'", "False", "(4611686018427387905,)"), 4, "found 4 bytes"),
        (header("'<f4'", "True", "(0, 18446744073709551615, 7)"), 4, "found 4 bytes"),
        (header("'<f4'", "False", "(18446744073709551616,)"), 4, "expected a dimension"),
        (header("'<f4'", "False", "(-1,)"), 4, "expected a dimension"),
        (header("'<f4'", "False", "[1]"), 4, "expected '('"),
        (header("'<f4'", "False", "(1"), 4, "expected a dimension"),
        (header("'<f4'", "False", "(1 1)"), 4, "expected ')'"),
        (header("'<f4'", "False", &"(1,".repeat(40)), 4, "expected a dimension"),
        (header("'<f4'", "False", &format!("({})", "1,".repeat(33))), 4, "at most 32 dimensions"),
        (header("'<f4'", "0", "(1,)"), 4, "expected True or False"),
        (
            header("'>f4'", "False", "(1,)"),
            4,
            "little-endian floats: '<f4', '<f8' or '<f2', found \">f4\"",
        ),
        (header("'<i8'", "False", "(1,)"), 8, "found \"<i8\""),
        (header("'|O'", "False", "(1,)"), 8, "found \"|O\""),
        (header("[('a', '<f4')]", "False", "(1,)"), 4, "expected little-endian floats"),
        (header("'<f4", "False", "(1,)"), 4, "expected"),
        (header("'<\\x664'", "False", "(1,)"), 4, "expected a string without escapes"),
        ("{'descr': '<f4', 'shape': (1,), }".into(), 4, "descr, fortran_order and shape"),
        ("{'descr': '<f4', 'descr': '<f4', }".into(), 4, "each key once, found \"descr\""),
        ("{'descr': '<f4', 'extra': 1, }".into(), 4, "found \"extra\""),
        ("{}".into(), 0, "descr, fortran_order and shape"),
        (String::new(), 4, "expected '{'"),
        ("{".repeat(60_000), 4, "expected a string"),
        (header("'<f4'", "False", "(1,)") + "; import os", 4, "expected the end of the header"),
        (header("'<f4'", "False", "(1,)") + "\u{e9}", 4, "expected the end of the header"),
    ] {
        let error = refusal(&file(1, &header, &vec![0; data]));
        assert!(error.contains(says), "{header}: {error}");
    }
}

#[test]
fn files_that_end_early_or_are_of_another_kind_are_named() {
    assert!(refusal(b"").contains("a .npy file"));
    assert!(refusal(b"PK\x03\x04").contains("a .npy file"));
    assert!(refusal(b"\x93NUMPY").contains("a version and a header"));
    assert!(refusal(b"\x93NUMPY\x01\0\x76").contains("a version and a header"));
    assert!(refusal(b"\x93NUMPY\x04\0\0\0\0\0").contains("version 1.0, 2.0 or 3.0, found 4.0"));
    assert!(refusal(b"\x93NUMPY\x01\x01\0\0").contains("found 1.1"));
    assert!(refusal(b"\x93NUMPY\x01\0\x02\0{").contains("a header of at most 1 bytes, found 2"));
    let long = file(2, &" ".repeat(70_000), &[]);
    assert!(refusal(&long).contains("a header of at most 65536 bytes, found 70000"));
    assert!(refusal(&[&b"\x93NUMPY\x03\0"[..], &[0xFF; 4]].concat()).contains("found 4294967295"));
}

#[test]
fn every_truncation_is_refused_and_no_changed_byte_ends_in_a_panic() {
    let header = "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }\n";
    let whole = file(1, header, &[1; 24]);
    let path = Path::new("evil.npy");
    npy::read(path, &whole).expect("the file as it was");
    for len in 0..whole.len() {
        assert!(npy::read(path, &whole[..len]).is_err(), "{len} bytes");
    }
    for position in 0..whole.len() {
        for byte in 0..=255 {
            let mut bytes = whole.clone();
            bytes[position] = byte;
            if let Ok(array) = npy::read(path, &bytes) {
                assert_eq!(array.values.len(), array.shape.iter().product::<usize>());
            }
        }
    }
}
