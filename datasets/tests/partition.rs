//! Which images are for training, which for validation and which are chosen of them: never changed.

mod common;

use pleach_datasets::cifar::CIFAR_10;
use pleach_datasets::{Split, class_balanced, open};
use sha2::{Digest, Sha256};
use tempfile::tempdir;

/// By another implementation of the hash that divides images, in Python:
///
/// ```python
/// import hashlib, struct
/// def hash(file, record, grey):  # file, record: what the first four bytes of an image are here
///     first, state = struct.pack(">I", file << 24 | record) + bytes([grey] * 4), 0x706c656163680001
///     for word in [first] + [bytes([grey] * 8)] * 383:
///         product = (state ^ int.from_bytes(word, "little")) * 0x9e3779b97f4a7c15
///         turned = (state << 29 | state >> 35) & 2**64 - 1
///         state = product & 2**64 - 1 ^ product >> 64 ^ turned
///     return state
/// classes = [[] for _ in range(10)]
/// for file in range(5):
///     for record in range(10_000):
///         c = record % 10
///         classes[c].append((hash(file, record, 2 * c), file << 24 | record))
/// chosen = sorted(image for images in classes for _, image in sorted(images)[:500])
/// print(hashlib.sha256(b"".join(struct.pack(">I", image) for image in chosen)).hexdigest())
/// ```
#[test]
fn the_validation_images_of_cifar_are_the_same_always() {
    let dir = tempdir().unwrap();
    let dataset = open(Some(&common::folder(&CIFAR_10, dir.path()))).unwrap();
    let mut hasher = Sha256::new();
    for index in 0..dataset.len(Split::Validation) {
        hasher.update(&dataset.pixels(Split::Validation, index)[..4]);
    }
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "ba9a8d3f710db6988499e9d687dae60b737d30aab7eb2032764122ef14872f57");
}

/// With `block` of the test of core's random streams (`core/src/tensor/rng.rs`), in Python:
///
/// ```python
/// def shuffle(items, *key):
///     s = (word for counter in range(1 << 32)
///          for word in struct.unpack("<16I", block(struct.pack("<4Q", *key), counter)))
///     for last in range(len(items) - 1, 0, -1):
///         at = next(s) * (last + 1) >> 32
///         items[last], items[at] = items[at], items[last]
/// classes = [list(range(c, 2000, 10)) for c in range(10)]
/// for c, items in enumerate(classes): shuffle(items, 42, 3, 1, c)
/// chosen = [items[turn] for turn in range(2) for items in classes][:12]
/// shuffle(chosen, 42, 3, 1, 2**64 - 1)
/// ```
#[test]
fn the_images_chosen_of_a_split_are_the_same_always() {
    let chosen = class_balanced(&*open(None).unwrap(), Split::Validation, 12, 42);
    assert_eq!(chosen, [1669, 1238, 1741, 1123, 1787, 1400, 241, 370, 1262, 86, 1525, 624]);
}
