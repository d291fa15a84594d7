//! The built-in data set.

use pleach_datasets::{Split, class_counts, open, verify};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::thread;

#[test]
fn every_split_is_balanced() {
    let dataset = open(None).unwrap();
    assert_eq!(dataset.spec().name, "shapes");
    assert_eq!(Split::ALL.map(|split| dataset.len(split)), [8_000, 2_000, 2_000]);
    for split in Split::ALL {
        assert_eq!(class_counts(&*dataset, split), vec![dataset.len(split) / 10; 10]);
    }
}

#[test]
fn no_image_is_in_two_places() {
    let dataset = open(None).unwrap();
    let mut seen = HashSet::new();
    for split in Split::ALL {
        for index in 0..dataset.len(split) {
            assert!(seen.insert(Sha256::digest(dataset.pixels(split, index))), "{split} {index}");
        }
    }
}

/// The digest was printed by this test: it holds on every machine, since drawing uses nothing but
/// exactly rounded arithmetic and `libm`.
#[test]
fn the_images_are_the_same_bytes_everywhere_and_always() {
    let mut hasher = Sha256::new();
    let dataset = open(None).unwrap();
    for split in Split::ALL {
        for index in 0..200 {
            hasher.update(dataset.pixels(split, index));
        }
    }
    let digest: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "8deb48a799488ac014a23f50bdf66f242355850d14a8a84cb667949b5ba8a573");
}

#[test]
fn images_are_the_same_whoever_draws_them_and_in_whatever_order() {
    let (shared, alone) = (open(None).unwrap(), open(None).unwrap());
    thread::scope(|scope| {
        for first in [0, 75, 150, 225] {
            let shared = &shared;
            scope.spawn(move || {
                for index in 0..300 {
                    shared.pixels(Split::Test, (first + index) % 300);
                }
            });
        }
    });
    for index in (0..300).rev() {
        let drawn = alone.pixels(Split::Test, index);
        assert_eq!(shared.pixels(Split::Test, index), drawn, "{index}");
    }
}

#[test]
fn its_normalisation_is_that_of_its_pixels() {
    let dataset = open(None).unwrap();
    let (mean, std) = verify::statistics(&*dataset);
    let info = verify::info(&*dataset);
    for channel in 0..3 {
        assert!((mean[channel] - f64::from(info.mean[channel])).abs() < 0.002, "{mean:?}");
        assert!((std[channel] - f64::from(info.std[channel])).abs() < 0.002, "{std:?}");
    }
}

/// The nearest mean image of a class, the plainest linear classifier of pixels.
#[test]
fn a_linear_classifier_of_pixels_is_lost() {
    let dataset = open(None).unwrap();
    let mut means = vec![vec![0.0_f64; 3072]; 10];
    for index in 0..dataset.len(Split::Train) {
        let mean = &mut means[dataset.label(Split::Train, index) as usize];
        for (sum, &byte) in mean.iter_mut().zip(dataset.pixels(Split::Train, index)) {
            *sum += f64::from(byte) / 800.0;
        }
    }
    let distance = |mean: &[f64], pixels: &[u8]| -> f64 {
        mean.iter().zip(pixels).map(|(mean, &byte)| (mean - f64::from(byte)).powi(2)).sum()
    };
    let right = (0..dataset.len(Split::Test))
        .filter(|&index| {
            let pixels = dataset.pixels(Split::Test, index);
            let distances = means.iter().map(|mean| distance(mean, pixels));
            let nearest = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
            nearest.is_some_and(|(class, _)| class as u32 == dataset.label(Split::Test, index))
        })
        .count();
    assert!((140..600).contains(&right), "{right} of 2000 are right");
}
