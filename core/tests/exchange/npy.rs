//! Arrays survive their files, and NumPy's are read.

use pleach_core::npy::{self, Array};
use std::fs;
use std::path::Path;

/// A file with this text as header and this data.
pub(crate) fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let len = header.len();
    let len = match version {
        1 => (len as u16).to_le_bytes().to_vec(),
        _ => (len as u32).to_le_bytes().to_vec(),
    };
    [b"\x93NUMPY", &[version, 0][..], &len, header.as_bytes(), data].concat()
}

fn read(bytes: &[u8]) -> Array {
    npy::read(Path::new("x.npy"), bytes).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn arrays_of_any_shape_survive_the_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    for shape in [&[][..], &[7], &[0], &[2, 3], &[2, 0, 4], &[1, 2, 3, 4], &[20, 300]] {
        let len: usize = shape.iter().product();
        let values: Vec<f32> = (0..len).map(|i| i as f32 * 0.37 - 1.0).collect();
        npy::save(&path, shape, &values).unwrap();
        assert_eq!(npy::load(&path).unwrap(), Array { shape: shape.to_vec(), values });
    }
}

#[test]
fn files_are_byte_for_byte_numpys() {
    // import numpy as np; np.save("x.npy", np.array([1, -2], "<f4")); print(open("x.npy", "rb").read())
    let expected = [
        &b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"[..],
        &[b' '; 60],
        b"\n\x00\x00\x80?\x00\x00\x00\xc0",
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    npy::save(&path, &[2], &[1.0, -2.0]).unwrap();
    assert_eq!(fs::read(path).unwrap(), expected.concat());
}

#[test]
fn versions_types_and_both_orders_are_read() {
    let expected = Array { shape: vec![2, 3], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] };
    for version in [1, 2, 3] {
        for (descr, fortran) in [("<f4", false), ("<f8", false), ("<f2", false), ("<f4", true)] {
            let order = if fortran { [1, 4, 2, 5, 3, 6] } else { [1, 2, 3, 4, 5, 6] };
            let data: Vec<u8> = order
                .into_iter()
                .flat_map(|value: u8| match descr {
                    "<f8" => f64::from(value).to_le_bytes().to_vec(),
                    "<f4" => f32::from(value).to_le_bytes().to_vec(),
                    _ => half::f16::from_f32(value.into()).to_le_bytes().to_vec(),
                })
                .collect();
            let fortran = if fortran { "True" } else { "False" };
            let header =
                format!("{{\"shape\":(2 , 3),'fortran_order':{fortran},'descr':'{descr}'}}\n");
            assert_eq!(read(&file(version, &header, &data)), expected, "{version} {header}");
        }
    }
    let python_2 = "{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 1L,), }";
    assert_eq!(read(&file(1, python_2, &[0; 4])), Array { shape: vec![1, 1], values: vec![0.0] });
}
