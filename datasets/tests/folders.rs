//! Folders of CIFAR files: whole ones open, and whatever is wrong is named with its place.

mod common;

use common::{copy, names, replace};
use pleach_datasets::cifar::{CIFAR_10, CIFAR_100, Layout};
use pleach_datasets::{Split, class_counts, open, verify};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tempfile::{TempDir, tempdir};

/// Whole folders, shared by the tests that run at one time and removed after the last of them.
struct Whole {
    dir: TempDir,
}

impl Whole {
    fn get() -> Arc<Self> {
        static SHARED: Mutex<Weak<Whole>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let dir = tempdir().unwrap();
            common::folder(&CIFAR_10, dir.path());
            common::folder(&CIFAR_100, dir.path());
            let whole = Arc::new(Self { dir });
            *shared = Arc::downgrade(&whole);
            whole
        })
    }

    fn folder(&self, layout: &Layout) -> PathBuf {
        self.dir.path().join(layout.folder)
    }
}

struct Case {
    name: &'static str,
    layout: &'static Layout,
    /// Spoils a folder.
    spoil: fn(&Path),
    /// What the message says, after the path of the folder.
    message: &'static str,
}

/// Every case: what is done to a whole folder, and the whole message after the folder's path.
const CASES: &[Case] = &[
    Case {
        name: "a training file is missing",
        layout: &CIFAR_10,
        spoil: |dir| fs::remove_file(dir.join("data_batch_3.bin")).unwrap(),
        message: "/data_batch_3.bin: expected a file of 30730000 bytes, found no such file",
    },
    Case {
        name: "the test file is missing",
        layout: &CIFAR_100,
        spoil: |dir| fs::remove_file(dir.join("test.bin")).unwrap(),
        message: "/test.bin: expected a file of 30740000 bytes, found no such file",
    },
    Case {
        name: "a file is a folder",
        layout: &CIFAR_10,
        spoil: |dir| {
            fs::remove_file(dir.join("data_batch_3.bin")).unwrap();
            fs::create_dir(dir.join("data_batch_3.bin")).unwrap();
        },
        message: "/data_batch_3.bin: expected a file, found a folder",
    },
    Case {
        name: "a file is truncated in the middle of a record",
        layout: &CIFAR_10,
        spoil: |dir| resize(dir, "data_batch_2.bin", 30_729_000),
        message: "/data_batch_2.bin: at byte 30729000: expected 30730000 bytes (10000 records of \
                  3073 bytes), found 30729000 bytes",
    },
    Case {
        name: "a file lacks a record",
        layout: &CIFAR_10,
        spoil: |dir| resize(dir, "data_batch_2.bin", 30_726_927),
        message: "/data_batch_2.bin: at byte 30726927: expected 30730000 bytes (10000 records of \
                  3073 bytes), found 30726927 bytes",
    },
    Case {
        name: "a file is empty",
        layout: &CIFAR_100,
        spoil: |dir| resize(dir, "train.bin", 0),
        message: "/train.bin: at byte 0: expected 153700000 bytes (50000 records of 3074 bytes), \
                  found 0 bytes",
    },
    Case {
        name: "a file has a byte too many",
        layout: &CIFAR_10,
        spoil: |dir| resize(dir, "test_batch.bin", 30_730_001),
        message: "/test_batch.bin: at byte 30730000: expected 30730000 bytes (10000 records of \
                  3073 bytes), found 30730001 bytes",
    },
    Case {
        name: "a file is the other data set's",
        layout: &CIFAR_10,
        spoil: |dir| resize(dir, "test_batch.bin", 30_740_000),
        message: "/test_batch.bin: at byte 30730000: expected 30730000 bytes (10000 records of \
                  3073 bytes), found 30740000 bytes (the size of cifar-100's test.bin)",
    },
    Case {
        name: "the training file is the test file",
        layout: &CIFAR_100,
        spoil: |dir| {
            fs::remove_file(dir.join("train.bin")).unwrap();
            fs::hard_link(dir.join("test.bin"), dir.join("train.bin")).unwrap();
        },
        message: "/train.bin: at byte 30740000: expected 153700000 bytes (50000 records of 3074 \
                  bytes), found 30740000 bytes (the size of cifar-100's test.bin)",
    },
    Case {
        name: "a label is out of range",
        layout: &CIFAR_10,
        spoil: |dir| poke(dir, "data_batch_5.bin", 7 * 3073, 10),
        message: "/data_batch_5.bin: at byte 21511: expected a label below 10 in record 7, found 10",
    },
    Case {
        name: "a fine label is out of range",
        layout: &CIFAR_100,
        spoil: |dir| poke(dir, "test.bin", 9_999 * 3074 + 1, 255),
        message: "/test.bin: at byte 30736927: expected a label below 100 in record 9999, found 255",
    },
    Case {
        name: "a coarse label is out of range",
        layout: &CIFAR_100,
        spoil: |dir| poke(dir, "test.bin", 3074, 20),
        message: "/test.bin: at byte 3074: expected a coarse label below 20 in record 1, found 20",
    },
    Case {
        name: "a coarse label contradicts an earlier one",
        layout: &CIFAR_100,
        spoil: |dir| poke(dir, "test.bin", 101 * 3074, 3),
        message: "/test.bin: at byte 310474: expected coarse label 1 in record 101, as before for \
                  class 1 (aquarium_fish), found 3",
    },
    Case {
        name: "one label is another one",
        layout: &CIFAR_10,
        spoil: |dir| poke(dir, "test_batch.bin", 0, 9),
        message: "/test_batch.bin: expected 1000 test images of class 0 (airplane), found 999",
    },
    Case {
        name: "one training label is another one",
        layout: &CIFAR_10,
        spoil: |dir| poke(dir, "data_batch_1.bin", 0, 9),
        message: ": expected 5000 train images of class 0 (airplane), found 4999",
    },
    Case {
        name: "a training file is there twice",
        layout: &CIFAR_10,
        spoil: |dir| {
            fs::remove_file(dir.join("data_batch_4.bin")).unwrap();
            fs::hard_link(dir.join("test_batch.bin"), dir.join("data_batch_4.bin")).unwrap();
        },
        message: "/test_batch.bin: expected images of its own, found a copy of \
                  DIR/data_batch_4.bin",
    },
    Case {
        name: "the class names are another data set's",
        layout: &CIFAR_10,
        spoil: |dir| replace(&dir.join("batches.meta.txt"), names(&CIFAR_100).as_bytes()),
        message: "/batches.meta.txt: at byte 0: expected \"airplane\", the name of class 0, found \
                  \"apple\"",
    },
    Case {
        name: "two class names are exchanged",
        layout: &CIFAR_10,
        spoil: |dir| {
            let text = names(&CIFAR_10).replace("cat\ndeer", "deer\ncat");
            replace(&dir.join("batches.meta.txt"), text.as_bytes());
        },
        message: "/batches.meta.txt: at byte 25: expected \"cat\", the name of class 3, found \
                  \"deer\"",
    },
    Case {
        name: "a class name is missing",
        layout: &CIFAR_100,
        spoil: |dir| {
            let text = names(&CIFAR_100).replace("worm\n", "");
            replace(&dir.join("fine_label_names.txt"), text.as_bytes());
        },
        message: "/fine_label_names.txt: at byte 721: expected \"worm\", the name of class 99, \
                  found the end of the file",
    },
    Case {
        name: "there is a class name too many",
        layout: &CIFAR_10,
        spoil: |dir| {
            let text = names(&CIFAR_10) + "van";
            replace(&dir.join("batches.meta.txt"), text.as_bytes());
        },
        message: "/batches.meta.txt: at byte 61: expected no more class names, found \"van\"",
    },
    Case {
        name: "the class names are endless",
        layout: &CIFAR_10,
        spoil: |dir| replace(&dir.join("batches.meta.txt"), &vec![b'\n'; 1 << 17]),
        message: "/batches.meta.txt: at byte 65536: expected at most 65536 bytes of class names, \
                  found more",
    },
    Case {
        name: "the two data sets are mixed",
        layout: &CIFAR_10,
        spoil: |dir| {
            let other = Whole::get().folder(&CIFAR_100);
            fs::hard_link(other.join("train.bin"), dir.join("train.bin")).unwrap();
        },
        message: ": expected the files of one data set, found cifar-10 in DIR and cifar-100 in DIR",
    },
    Case {
        name: "there is nothing",
        layout: &CIFAR_10,
        spoil: |dir| {
            fs::remove_dir_all(dir).unwrap();
            fs::create_dir(dir).unwrap();
        },
        message: ": expected the files of cifar-10 (cifar-10-batches-bin) or cifar-100 \
                  (cifar-100-binary), found nothing",
    },
    Case {
        name: "it is the Python version",
        layout: &CIFAR_10,
        spoil: |dir| {
            fs::remove_dir_all(dir).unwrap();
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("data_batch_1"), [0x80]).unwrap();
        },
        message: ": expected the files of cifar-10 (cifar-10-batches-bin) or cifar-100 \
                  (cifar-100-binary), found the Python version, where the binary version is needed",
    },
    Case {
        name: "it is something else",
        layout: &CIFAR_10,
        spoil: |dir| {
            fs::remove_dir_all(dir).unwrap();
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("notes.txt"), "notes").unwrap();
        },
        message: ": expected the files of cifar-10 (cifar-10-batches-bin) or cifar-100 \
                  (cifar-100-binary), found notes.txt",
    },
];

/// Cuts a file, or lengthens it with zeros.
fn resize(dir: &Path, name: &str, len: usize) {
    let mut bytes = fs::read(dir.join(name)).unwrap();
    bytes.resize(len, 0);
    replace(&dir.join(name), &bytes);
}

/// Changes one byte of a file.
fn poke(dir: &Path, name: &str, offset: usize, byte: u8) {
    let mut bytes = fs::read(dir.join(name)).unwrap();
    bytes[offset] = byte;
    replace(&dir.join(name), &bytes);
}

#[test]
fn whatever_is_wrong_with_a_folder_is_named_with_its_place() {
    let whole = Whole::get();
    for case in CASES {
        let dir = tempdir().unwrap();
        let folder = copy(&whole.folder(case.layout), dir.path());
        (case.spoil)(&folder);
        let shown = folder.display().to_string();
        let expected = format!("{shown}{}", case.message.replace("DIR", &shown));
        for error in [open(Some(&folder)).err(), verify::verify(&folder).err()] {
            let message = error.unwrap_or_else(|| panic!("{}: it opened", case.name)).to_string();
            assert_eq!(message, expected, "{}", case.name);
        }
    }
}

#[test]
fn a_whole_folder_opens_by_its_name_or_by_the_one_above() {
    let whole = Whole::get();
    for layout in [&CIFAR_10, &CIFAR_100] {
        let dir = tempdir().unwrap();
        let folder = copy(&whole.folder(layout), dir.path());
        for path in [folder.as_path(), dir.path()] {
            let dataset = open(Some(path)).unwrap();
            assert_eq!(dataset.spec().name, layout.name);
            assert_eq!(dataset.spec().classes, layout.classes);
            assert_eq!(dataset.spec().class_names.len(), layout.classes);
            assert_eq!(common::sizes(&*dataset), [45_000, 5_000, 10_000]);
            let last = dataset.pixels(Split::Test, 9_999);
            assert_eq!(last.len(), dataset.spec().image_len());
            let test_file = layout.files.len() as u32 - 1;
            assert_eq!(last[..4], (test_file << 24 | 9_999).to_be_bytes());
            assert_eq!(dataset.label(Split::Test, 9_999) as usize, layout.classes - 1);
        }
    }
}

#[test]
fn a_folder_above_two_data_sets_is_refused() {
    let whole = Whole::get();
    let above = whole.dir.path();
    let message = open(Some(above)).err().unwrap().to_string();
    let above = above.display();
    let expected = format!(
        "{above}: expected the files of one data set, found cifar-10 in \
         {above}/cifar-10-batches-bin and cifar-100 in {above}/cifar-100-binary"
    );
    assert_eq!(message, expected);
}

#[test]
fn an_archive_counts_where_the_files_of_its_data_set_are_not_there_too() {
    let whole = Whole::get();
    let dir = tempdir().unwrap();
    copy(&whole.folder(&CIFAR_100), dir.path());
    let archive = dir.path().join(CIFAR_10.archive.file_name);
    fs::write(&archive, "").unwrap();
    let message = open(Some(dir.path())).err().unwrap().to_string();
    let above = dir.path().display();
    let expected = format!(
        "{above}: expected the files of one data set, found cifar-10 in \
         {above}/cifar-10-binary.tar.gz and cifar-100 in {above}/cifar-100-binary"
    );
    assert_eq!(message, expected);
    fs::rename(&archive, dir.path().join(CIFAR_100.archive.file_name)).unwrap();
    assert_eq!(open(Some(dir.path())).unwrap().spec().name, "cifar-100");
}

#[test]
fn a_folder_without_class_names_opens() {
    let whole = Whole::get();
    let dir = tempdir().unwrap();
    let folder = copy(&whole.folder(&CIFAR_10), dir.path());
    fs::remove_file(folder.join("batches.meta.txt")).unwrap();
    assert_eq!(open(Some(&folder)).unwrap().spec().class_names[3], "cat");
}

#[test]
fn a_path_to_nothing_and_a_path_to_a_plain_file_are_refused() {
    let whole = Whole::get();
    let dir = tempdir().unwrap();
    let path = dir.path().join("data");
    let message = open(Some(&path)).err().unwrap().to_string();
    assert!(message.starts_with(&format!("{}: ", path.display())), "{message}");
    let file = whole.folder(&CIFAR_10).join("data_batch_1.bin");
    let message = open(Some(&file)).err().unwrap().to_string();
    let expected = format!(
        "{}: at byte 0: expected a folder or a .tar.gz archive, which starts with the bytes 1f 8b, \
         found the bytes 00 00",
        file.display()
    );
    assert_eq!(message, expected);
}

/// Which images are in a split, by the first four bytes of each.
fn images(folder: &Path, split: Split) -> HashSet<Vec<u8>> {
    let dataset = open(Some(folder)).unwrap();
    (0..dataset.len(split)).map(|i| dataset.pixels(split, i)[..4].to_vec()).collect()
}

#[test]
fn train_and_validation_divide_the_images_and_are_balanced() {
    let whole = Whole::get();
    let folder = whole.folder(&CIFAR_100);
    let dataset = open(Some(&folder)).unwrap();
    assert_eq!(class_counts(&*dataset, Split::Train), [450; 100]);
    assert_eq!(class_counts(&*dataset, Split::Validation), [50; 100]);
    let (train, validation) = (images(&folder, Split::Train), images(&folder, Split::Validation));
    assert_eq!((train.len(), validation.len()), (45_000, 5_000));
    assert!(train.is_disjoint(&validation));
}

#[test]
fn reordered_records_verify_and_keep_their_split() {
    let whole = Whole::get();
    let dir = tempdir().unwrap();
    let folder = copy(&whole.folder(&CIFAR_10), dir.path());
    // The records of two files backwards, and a hundred of each exchanged.
    let backwards = |name: &str| -> Vec<u8> {
        let bytes = fs::read(folder.join(name)).unwrap();
        bytes.chunks_exact(3073).rev().flatten().copied().collect()
    };
    let (mut first, mut second) = (backwards("data_batch_1.bin"), backwards("data_batch_2.bin"));
    first[..100 * 3073].swap_with_slice(&mut second[..100 * 3073]);
    replace(&folder.join("data_batch_1.bin"), &first);
    replace(&folder.join("data_batch_2.bin"), &second);
    let report = verify::verify(&folder).unwrap();
    let before = verify::verify(&whole.folder(&CIFAR_10)).unwrap();
    assert_eq!(report.class_counts, [vec![4_500; 10], vec![500; 10], vec![1_000; 10]]);
    assert_eq!((report.mean, report.std), (before.mean, before.std));
    assert_eq!(report.files.len(), 7);
    assert_ne!(report.files[0].sha256, before.files[0].sha256);
    assert_eq!(report.files[2].sha256, before.files[2].sha256);
    for split in Split::ALL {
        assert_eq!(images(&folder, split), images(&whole.folder(&CIFAR_10), split), "{split}");
    }
}

#[test]
fn statistics_that_are_not_the_published_ones_are_a_warning() {
    let whole = Whole::get();
    let report = verify::verify(&whole.folder(&CIFAR_10)).unwrap();
    assert_eq!(report.warnings.len(), 3, "{:?}", report.warnings);
    assert!(report.warnings[1].ends_with("not the published 0.4822 and 0.2435"));
}
