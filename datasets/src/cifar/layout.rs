//! The facts about the two data sets.

use super::records::PIXELS;
use crate::registry::{Archive, Format, Place};
use crate::{DataError, Dataset, Split};

/// How a CIFAR data set lies on disk, and what is in it.
#[derive(Debug)]
pub struct Layout {
    /// `cifar-10` or `cifar-100`.
    pub name: &'static str,
    /// The folder in the official archive.
    pub folder: &'static str,
    /// How many classes there are.
    pub classes: usize,
    /// How many groups of classes there are, where records carry them.
    pub coarse_classes: Option<usize>,
    /// Label bytes of a record; the last one is the class.
    pub label_bytes: usize,
    /// The files of records; training files follow one another in this order.
    pub files: &'static [DataFile],
    /// The text file of class names.
    pub names_file: &'static str,
    /// The class names in label order, with white space between them.
    pub class_names: &'static str,
    /// Per-channel mean of the training pixels, as fractions of 255.
    pub mean: [f32; 3],
    /// Per-channel standard deviation of the training pixels, as fractions of 255.
    pub std: [f32; 3],
    /// The official archive.
    pub archive: Archive,
}

/// One file of records.
#[derive(Debug)]
pub struct DataFile {
    /// Its name.
    pub name: &'static str,
    /// `Train` (of which a tenth is for validation) or `Test`.
    pub split: Split,
    /// How many records it has.
    pub records: usize,
}

impl Layout {
    /// Bytes of a record.
    #[must_use]
    pub const fn record_len(&self) -> usize {
        self.label_bytes + PIXELS
    }

    /// The class names in label order.
    pub fn class_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.class_names.split_ascii_whitespace()
    }

    /// Records of all files of `split` together.
    #[must_use]
    pub fn records(&self, split: Split) -> usize {
        self.files.iter().filter(|file| file.split == split).map(|file| file.records).sum()
    }
}

impl Format for Layout {
    fn folder(&self) -> &'static str {
        self.folder
    }

    fn owns(&self, file_name: &str) -> bool {
        self.files.iter().any(|file| file.name == file_name)
    }

    fn archive(&self) -> Archive {
        self.archive
    }

    fn open(&'static self, place: &Place) -> Result<Box<dyn Dataset>, DataError> {
        Ok(Box::new(super::open(self, place)?))
    }
}

/// Every layout.
pub(super) const ALL: [&Layout; 2] = [&CIFAR_10, &CIFAR_100];

/// The file, of any layout, that has `len` bytes.
pub(super) fn file_of_len(len: u64) -> Option<(&'static Layout, &'static DataFile)> {
    ALL.into_iter().find_map(|layout| {
        let file = layout.files.iter().find(|f| (f.records * layout.record_len()) as u64 == len)?;
        Some((layout, file))
    })
}

const fn train(name: &'static str, records: usize) -> DataFile {
    DataFile { name, split: Split::Train, records }
}

const fn test(name: &'static str, records: usize) -> DataFile {
    DataFile { name, split: Split::Test, records }
}

/// CIFAR-10: 50,000 training and 10,000 test images of 10 classes.
pub static CIFAR_10: Layout = Layout {
    name: "cifar-10",
    folder: "cifar-10-batches-bin",
    classes: 10,
    coarse_classes: None,
    label_bytes: 1,
    files: &[
        train("data_batch_1.bin", 10_000),
        train("data_batch_2.bin", 10_000),
        train("data_batch_3.bin", 10_000),
        train("data_batch_4.bin", 10_000),
        train("data_batch_5.bin", 10_000),
        test("test_batch.bin", 10_000),
    ],
    names_file: "batches.meta.txt",
    class_names: "airplane automobile bird cat deer dog frog horse ship truck",
    mean: [0.4914, 0.4822, 0.4465],
    std: [0.2470, 0.2435, 0.2616],
    archive: Archive {
        file_name: "cifar-10-binary.tar.gz",
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    },
};

/// CIFAR-100: 50,000 training and 10,000 test images of 100 classes in 20 groups.
pub static CIFAR_100: Layout = Layout {
    name: "cifar-100",
    folder: "cifar-100-binary",
    classes: 100,
    coarse_classes: Some(20),
    label_bytes: 2,
    files: &[train("train.bin", 50_000), test("test.bin", 10_000)],
    names_file: "fine_label_names.txt",
    class_names: "
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
        butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach
        couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster
        house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
        motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
        pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
        rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
        streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
        trout tulip turtle wardrobe whale willow_tree wolf woman worm
    ",
    mean: [0.5071, 0.4865, 0.4409],
    std: [0.2673, 0.2564, 0.2762],
    archive: Archive {
        file_name: "cifar-100-binary.tar.gz",
        sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    },
};
