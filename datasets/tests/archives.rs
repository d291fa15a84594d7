//! The official archives' form: whole ones open, and whatever is wrong is named with its place.

mod common;

use common::{archive, members};
use pleach_datasets::cifar::{CIFAR_10, CIFAR_100};
use pleach_datasets::{Split, open, verify};
use std::fs;
use std::path::Path;
use tempfile::tempdir;

type Member = (String, Vec<u8>);

fn error(path: &Path) -> String {
    open(Some(path)).err().expect("it does not open").to_string()
}

#[test]
fn an_archive_gives_the_same_data_set_as_its_folder() {
    let dir = tempdir().unwrap();
    let path = dir.path().join(CIFAR_10.archive.file_name);
    archive(&path, &members(&CIFAR_10));
    let folder = dir.path().join("unpacked");
    fs::create_dir(&folder).unwrap();
    let from_folder = open(Some(&common::folder(&CIFAR_10, &folder))).unwrap();
    // By its own name, and as the only thing of interest in a folder.
    fs::rename(&folder, dir.path().join("elsewhere")).unwrap();
    for named in [&path, dir.path()] {
        let from_archive = open(Some(named)).unwrap();
        assert_eq!(from_archive.spec(), from_folder.spec());
        for split in Split::ALL {
            assert_eq!(from_archive.len(split), from_folder.len(split));
            for index in (0..from_archive.len(split)).step_by(499) {
                assert_eq!(from_archive.pixels(split, index), from_folder.pixels(split, index));
                assert_eq!(from_archive.label(split, index), from_folder.label(split, index));
            }
        }
    }
    let report = verify::verify(&path).unwrap();
    assert_eq!(report.files.len(), 1);
    assert_eq!(report.files[0].bytes, fs::metadata(&path).unwrap().len());
    assert!(report.warnings[0].starts_with("not the official archive cifar-10-binary.tar.gz"));
}

#[test]
fn members_may_come_in_any_order_and_with_company() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("data");
    let mut members = members(&CIFAR_100);
    members.reverse();
    members.insert(0, ("cifar-100-binary/readme.html".to_string(), vec![b'x'; 5_000]));
    archive(&path, &members);
    let dataset = open(Some(&path)).unwrap();
    assert_eq!(dataset.spec().name, "cifar-100");
    assert_eq!(common::sizes(&*dataset), [45_000, 5_000, 10_000]);
}

#[test]
fn whatever_is_wrong_with_a_member_is_named_with_its_place() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    let name = |file: &str| format!("cifar-10-batches-bin/{file}");
    let cases: [(Vec<Member>, &str); 7] = [
        (
            vec![(name("data_batch_1.bin"), vec![0; 3073])],
            "/cifar-10-batches-bin/data_batch_1.bin: at byte 3073: expected 30730000 bytes (10000 \
             records of 3073 bytes), found 3073 bytes",
        ),
        (
            vec![(name("data_batch_1.bin"), common::file(&CIFAR_10, 0))],
            "/cifar-10-batches-bin/data_batch_2.bin: expected a file of 30730000 bytes, found no \
             such file",
        ),
        (
            vec![
                (name("data_batch_1.bin"), common::file(&CIFAR_10, 0)),
                ("again/data_batch_1.bin".to_string(), common::file(&CIFAR_10, 0)),
            ],
            "/again/data_batch_1.bin: expected one such file, found a second one after \
             ARCHIVE/cifar-10-batches-bin/data_batch_1.bin",
        ),
        (
            vec![
                (name("data_batch_1.bin"), common::file(&CIFAR_10, 0)),
                ("cifar-100-binary/test.bin".to_string(), vec![0; 10]),
            ],
            "/cifar-100-binary/test.bin: expected files of cifar-10 only, found a file of cifar-100",
        ),
        (
            vec![("cifar-10-batches-py/data_batch_1".to_string(), vec![0x80])],
            ": expected the files of cifar-10 (cifar-10-batches-bin) or cifar-100 \
             (cifar-100-binary), found the Python version, where the binary version is needed",
        ),
        (
            vec![("README".to_string(), Vec::new())],
            ": expected the files of cifar-10 (cifar-10-batches-bin) or cifar-100 \
             (cifar-100-binary), found README",
        ),
        (
            Vec::new(),
            ": expected the files of cifar-10 (cifar-10-batches-bin) or cifar-100 \
             (cifar-100-binary), found nothing",
        ),
    ];
    for (members, expected) in cases {
        archive(&path, &members);
        let shown = path.display().to_string();
        assert_eq!(error(&path), format!("{shown}{}", expected.replace("ARCHIVE", &shown)));
    }
}

#[test]
fn a_label_out_of_range_is_found_in_an_archive_too() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    let mut members = members(&CIFAR_10);
    members[1].1[3073 * 5] = 77;
    archive(&path, &members);
    assert!(
        error(&path).ends_with(
            "/data_batch_2.bin: at byte 15365: expected a label below 10 in record 5, found 77"
        ),
        "{}",
        error(&path)
    );
}

#[test]
fn damage_of_the_archive_itself_is_found() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    archive(&path, &members(&CIFAR_10));
    let whole = fs::read(&path).unwrap();
    let says_damaged = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        let message = error(&path);
        let expected = "expected a whole .tar.gz archive (the offset counts unpacked bytes), found";
        assert!(message.contains(expected), "{what}: {message}");
        assert!(message.contains(": at byte "), "{what}: {message}");
    };
    says_damaged(&whole[..whole.len() / 2], "cut in half");
    says_damaged(&whole[..whole.len() - 1], "the last byte cut off");
    let mut bytes = whole.clone();
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 1;
    says_damaged(&bytes, "another checksum");
    let mut bytes = whole.clone();
    bytes.extend(b"more");
    says_damaged(&bytes, "bytes after the end");
    let mut bytes = whole;
    bytes.truncate(12);
    says_damaged(&bytes, "only a header");
    fs::write(&path, [0x1f]).unwrap();
    assert!(error(&path).ends_with("found a file of 1 bytes"), "{}", error(&path));
}

#[test]
fn an_archive_that_unpacks_without_end_is_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    archive(&path, &[("bomb".to_string(), vec![0; (1 << 28) + 1])]);
    let message = error(&path);
    assert!(message.ends_with("found more than 268435456 bytes"), "{message}");
}
