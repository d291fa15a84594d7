//! Whole data sets of plain images, on disk: real in structure, made up in content.

#![allow(dead_code, reason = "each test file uses its own part")]

use flate2::Compression;
use flate2::write::GzEncoder;
use pleach_datasets::Split;
use pleach_datasets::cifar::Layout;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Pixel bytes of a record.
const PIXELS: usize = 3072;

/// The bytes of file `index` of `layout`: classes in turn, each image of one grey and different
/// from every other by its first four bytes.
pub(crate) fn file(layout: &Layout, index: usize) -> Vec<u8> {
    let file = &layout.files[index];
    let mut bytes = Vec::with_capacity(file.records * layout.record_len());
    for record in 0..file.records {
        let class = (record % layout.classes) as u8;
        if layout.label_bytes == 2 {
            bytes.push(class % 20);
        }
        bytes.push(class);
        bytes.extend(((index as u32) << 24 | record as u32).to_be_bytes());
        bytes.resize(bytes.len() + PIXELS - 4, class * 2);
    }
    bytes
}

/// The text of the file of class names.
pub(crate) fn names(layout: &Layout) -> String {
    layout.class_names().map(|name| format!("{name}\n")).collect::<String>() + "\n"
}

/// A folder with all files of `layout`, in `dir`.
pub(crate) fn folder(layout: &Layout, dir: &Path) -> PathBuf {
    let folder = dir.join(layout.folder);
    fs::create_dir(&folder).unwrap();
    for (index, data) in layout.files.iter().enumerate() {
        fs::write(folder.join(data.name), file(layout, index)).unwrap();
    }
    fs::write(folder.join(layout.names_file), names(layout)).unwrap();
    folder
}

/// A folder in `dir` that shares the files of `whole`, which `change` may then replace.
pub(crate) fn copy(whole: &Path, dir: &Path) -> PathBuf {
    let copy = dir.join(whole.file_name().unwrap());
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(whole).unwrap() {
        let entry = entry.unwrap();
        fs::hard_link(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    copy
}

/// Writes `bytes` to a file of its own, whatever the name was linked to.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

/// A `.tar.gz` at `path` of `members`: names and bytes.
pub(crate) fn archive(path: &Path, members: &[(String, Vec<u8>)]) {
    let mut tar =
        tar::Builder::new(GzEncoder::new(File::create(path).unwrap(), Compression::fast()));
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
}

/// All members of the archive of `layout`.
pub(crate) fn members(layout: &Layout) -> Vec<(String, Vec<u8>)> {
    let mut members: Vec<_> = (0..layout.files.len())
        .map(|i| (format!("{}/{}", layout.folder, layout.files[i].name), file(layout, i)))
        .collect();
    members.push((format!("{}/{}", layout.folder, layout.names_file), names(layout).into_bytes()));
    members
}

/// Images of every split, in the order of `Split::ALL`.
pub(crate) fn sizes(dataset: &dyn pleach_datasets::Dataset) -> [usize; 3] {
    Split::ALL.map(|split| dataset.len(split))
}
