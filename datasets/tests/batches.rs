//! Batches are pure functions of their key, and loaders only make them early.

use pleach_datasets::batches::{Batch, BatchSpec, Border, CROP_PADDING, Epoch, Loader, fill};
use pleach_datasets::{Dataset, Spec, Split, class_balanced, verify};
use std::sync::Arc;

const STRIDE: usize = 16;

/// Images whose every byte is known: image `i` has class `i % 3`, and channel `c` of its pixel
/// `(y, x)` is `i + 64 c + 7 y + x`, wrapped.
struct Ramp {
    spec: Spec,
    images: Vec<Vec<u8>>,
}

impl Ramp {
    fn new(n: usize) -> Self {
        let spec = Spec {
            name: "ramp".to_string(),
            classes: 3,
            channels: 3,
            height: 8,
            width: 8,
            mean: vec![0.5, 0.25, 0.125],
            std: vec![0.5, 0.25, 2.0],
            class_names: ["a", "b", "c"].map(String::from).to_vec(),
        };
        let image = |i: usize| {
            let pixel = |p: usize| (i + 64 * (p / 64) + 7 * (p % 64 / 8) + p % 8) as u8;
            (0..3 * 64).map(pixel).collect()
        };
        Self { spec, images: (0..n).map(image).collect() }
    }

    /// With two more channels: the first two, upside down.
    fn of_five(n: usize) -> Self {
        let Self { mut spec, mut images } = Self::new(n);
        (spec.channels, spec.mean, spec.std) = (5, vec![0.125; 5], vec![0.5, 1.0, 2.0, 4.0, 8.0]);
        for image in &mut images {
            let more: Vec<u8> = image[..128].iter().map(|byte| 255 - byte).collect();
            image.extend(more);
        }
        Self { spec, images }
    }
}

impl Dataset for Ramp {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn len(&self, _: Split) -> usize {
        self.images.len()
    }

    fn label(&self, _: Split, index: usize) -> u32 {
        (index % 3) as u32
    }

    fn pixels(&self, _: Split, index: usize) -> &[u8] {
        &self.images[index]
    }
}

fn make(dataset: &dyn Dataset, spec: &BatchSpec, index: usize) -> Batch {
    let n = spec.batch_len(dataset, index);
    let mut images = vec![f32::NAN; n * 64 * spec.channel_stride];
    let mut labels = vec![99; 7];
    assert_eq!(fill(dataset, spec, index, &mut images, &mut labels), n);
    let mut batch = Batch::default();
    Epoch::new(dataset, spec).fill_batch(index, &mut batch);
    assert_eq!((batch.n, &batch.labels), (n, &labels));
    assert_eq!(batch.images, images);
    let labels = batch.samples.iter().map(|&sample| dataset.label(spec.split, sample));
    assert!(labels.eq(batch.labels.iter().copied()), "its samples are those of {index}");
    batch
}

#[test]
fn pixels_are_normalised_channels_last_and_pad_lanes_are_zero() {
    let dataset = Ramp::new(5);
    let batch = make(&dataset, &BatchSpec::in_order(Split::Test, 2, STRIDE), 1);
    assert_eq!(batch.labels, [2, 0]);
    let spec = dataset.spec();
    for (n, image) in batch.images.chunks_exact(64 * STRIDE).enumerate() {
        for (p, pixel) in image.chunks_exact(STRIDE).enumerate() {
            for (c, &value) in pixel[..3].iter().enumerate() {
                let byte = dataset.images[2 + n][64 * c + p];
                let expected = (f32::from(byte) / 255.0 - spec.mean[c]) / spec.std[c];
                assert_eq!(value, expected, "image {n}, pixel {p}, channel {c}");
            }
            assert_eq!(pixel[3..], [0.0; STRIDE - 3]);
        }
    }
}

#[test]
fn images_have_as_many_channels_as_their_data_set_says() {
    let dataset = Ramp::of_five(2);
    let batch = make(&dataset, &BatchSpec::in_order(Split::Test, 2, STRIDE), 0);
    for (n, image) in batch.images.chunks_exact(64 * STRIDE).enumerate() {
        for (p, pixel) in image.chunks_exact(STRIDE).enumerate() {
            let normalised = |c: usize| {
                let byte = f32::from(dataset.images[n][64 * c + p]);
                (byte / 255.0 - dataset.spec.mean[c]) / dataset.spec.std[c]
            };
            let expected: Vec<f32> = (0..5).map(normalised).collect();
            assert_eq!(pixel[..5], expected, "image {n}, pixel {p}");
        }
    }
    let (mean, std) = verify::statistics(&dataset);
    let of = |c: usize| dataset.images.iter().flat_map(move |image| &image[64 * c..][..64]);
    for c in 0..5 {
        let values: Vec<f64> = of(c).map(|&byte| f64::from(byte) / 255.0).collect();
        let expected = values.iter().sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|value| (value - expected).powi(2)).sum::<f64>();
        let deviation = (squares / values.len() as f64).sqrt();
        assert!((mean[c] - expected).abs() < 1e-9 && (std[c] - deviation).abs() < 1e-9, "{c}");
    }
}

#[test]
#[should_panic(expected = "a mean and a deviation a channel")]
fn channels_without_a_mean_are_a_bug() {
    let mut dataset = Ramp::of_five(2);
    dataset.spec.mean.pop();
    let _ = Epoch::new(&dataset, &BatchSpec::in_order(Split::Test, 2, STRIDE));
}

#[test]
fn a_channel_stride_of_three_is_dense() {
    let dataset = Ramp::new(2);
    let dense = make(&dataset, &BatchSpec::in_order(Split::Test, 2, 3), 0);
    let padded = make(&dataset, &BatchSpec::in_order(Split::Test, 2, STRIDE), 0);
    let kept: Vec<f32> =
        padded.images.chunks_exact(STRIDE).flat_map(|pixel| pixel[..3].to_vec()).collect();
    assert_eq!(dense.images, kept);
}

/// Channel 0 of a view of an image in a border, moved and maybe mirrored.
fn view(
    image: &[u8],
    (down, right, mirrored): (isize, isize, bool),
    border: Border,
    spec: &Spec,
) -> Vec<f32> {
    // Pixels -4 to 11 of a row or a column.
    let reflected = [4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3];
    let mut seen = Vec::new();
    for y in 0..8 {
        for x in 0..8 {
            let x = if mirrored { 7 - x } else { x };
            let (y, x) = (y + down, x + right);
            let inside = (0..8).contains(&y) && (0..8).contains(&x);
            let byte = match border {
                Border::Black if inside => image[(8 * y + x) as usize],
                Border::Black => 0,
                Border::Reflect => {
                    image[8 * reflected[(y + 4) as usize] + reflected[(x + 4) as usize]]
                }
            };
            seen.push((f32::from(byte) / 255.0 - spec.mean[0]) / spec.std[0]);
        }
    }
    seen
}

/// What the first image of a data set is seen as in an epoch: how far down and right, and whether
/// mirrored.
fn seen(dataset: &Ramp, border: Border, seed: u64, epoch: u64) -> (isize, isize, bool) {
    seen_within(CROP_PADDING, dataset, border, seed, epoch)
}

/// The same with another padding.
fn seen_within(
    padding: usize,
    dataset: &Ramp,
    border: Border,
    seed: u64,
    epoch: u64,
) -> (isize, isize, bool) {
    let mut spec = BatchSpec::training(1, STRIDE, seed, epoch);
    (spec.shuffle, spec.padding, spec.border) = (false, padding, border);
    let batch = make(dataset, &spec, 0);
    let first: Vec<f32> = batch.images.iter().step_by(STRIDE).copied().collect();
    let keys = (-4..=4).flat_map(|down| {
        (-4..=4).flat_map(move |right| [false, true].map(|mirrored| (down, right, mirrored)))
    });
    keys.into_iter()
        .find(|&key| view(&dataset.images[0], key, border, &dataset.spec) == first)
        .expect("what is seen is a crop of the image in its border")
}

#[test]
fn augmentation_reaches_every_crop_and_both_flips_and_nothing_else() {
    let dataset = Ramp::new(1);
    // Eight pixels that are moved by 4 in their reflection and mirrored are those moved by 3, and the other
    // way round, on both sides: of each four views two look like others.
    for (border, views) in [(Border::Black, 9 * 9 * 2), (Border::Reflect, 9 * (9 * 2 - 4))] {
        let reached: std::collections::HashSet<_> =
            (0..2_000).map(|epoch| seen(&dataset, border, 3, epoch)).collect();
        assert_eq!(reached.len(), views, "{border:?}");
    }
    for padding in [0, 1, 2] {
        let reached: std::collections::HashSet<_> =
            (0..500).map(|epoch| seen_within(padding, &dataset, Border::Black, 3, epoch)).collect();
        let shifts = 2 * padding + 1;
        assert_eq!(reached.len(), shifts * shifts * 2, "moved by {padding} at most");
        let within = |x: isize| x.unsigned_abs() <= padding;
        assert!(reached.iter().all(|&(down, right, _)| within(down) && within(right)));
    }
}

#[test]
fn some_views_are_seen_in_turn_and_in_another_order() {
    let dataset = Ramp::new(20);
    let by_sample = |epoch: u64| {
        let spec = BatchSpec { cutout: 3, views: 4, ..BatchSpec::training(20, STRIDE, 3, epoch) };
        let batch = make(&dataset, &spec, 0);
        let images = batch.images.chunks_exact(64 * STRIDE).map(<[f32]>::to_vec);
        let mut seen: Vec<_> = batch.samples.iter().copied().zip(images).collect();
        seen.sort_by_key(|&(sample, _)| sample);
        (batch.samples, seen)
    };
    let epochs: Vec<_> = (0..8).map(by_sample).collect();
    for (a, b) in (0..8).flat_map(|a| (0..a).map(move |b| (a, b))) {
        assert_eq!(epochs[a].1 == epochs[b].1, a % 4 == b % 4, "views of epochs {b} and {a}");
        assert_ne!(epochs[a].0, epochs[b].0, "the order of epochs {b} and {a}");
    }
}

#[test]
fn a_square_around_any_pixel_is_cut_out_and_nothing_else_changes() {
    let dataset = Ramp::new(1);
    let mut centres = std::collections::HashSet::new();
    for epoch in 0..1_000 {
        let spec = BatchSpec::training(1, STRIDE, 3, epoch);
        let whole = make(&dataset, &spec, 0);
        let cut = make(&dataset, &BatchSpec { cutout: 3, ..spec }, 0);
        let pixels = whole.images.chunks_exact(STRIDE).zip(cut.images.chunks_exact(STRIDE));
        let changed: Vec<usize> =
            (0..).zip(pixels).filter(|(_, (whole, cut))| whole != cut).map(|(p, _)| p).collect();
        for &p in &changed {
            assert_eq!(cut.images[p * STRIDE..][..STRIDE], [0.0; STRIDE]);
        }
        let [y, x] = [8, 1].map(|step| {
            let at = |&p: &usize| p / step % 8;
            let first = changed.iter().map(at).min().expect("a pixel of the image");
            let last = changed.iter().map(at).max().expect("a pixel of the image");
            (first, last)
        });
        let area = (y.1 - y.0 + 1) * (x.1 - x.0 + 1);
        assert_eq!(changed.len(), area, "a rectangle, epoch {epoch}");
        let fits = |(first, last): (usize, usize)| match last - first {
            2 => true,
            1 => first == 0 || last == 7,
            _ => false,
        };
        assert!(fits(y) && fits(x), "epoch {epoch}: rows {y:?}, columns {x:?}");
        centres.insert((y, x));
    }
    assert_eq!(centres.len(), 64, "every pixel is a centre");
}

#[test]
fn a_rectangle_of_another_image_is_pasted_from_its_own_place() {
    let dataset = Ramp::new(20);
    for augment in [false, true] {
        let mut pastes = 0;
        for epoch in 0..50 {
            let spec = BatchSpec { augment, ..BatchSpec::training(20, STRIDE, 3, epoch) };
            let whole = make(&dataset, &spec, 0);
            let mixed = make(&dataset, &BatchSpec { cutmix: 0.5, ..spec }, 0);
            assert_eq!((&whole.samples, &whole.labels), (&mixed.samples, &mixed.labels));
            assert!(whole.pasted.is_empty());
            let pixel = |batch: &Batch, i: usize, p: usize| {
                batch.images[(i * 64 + p) * STRIDE..][..STRIDE].to_vec()
            };
            for (i, &(class, share)) in mixed.pasted.iter().enumerate() {
                let changed: Vec<usize> =
                    (0..64).filter(|&p| pixel(&whole, i, p) != pixel(&mixed, i, p)).collect();
                let pasted = (share * 64.0) as usize;
                assert_eq!(pasted as f32 / 64.0, share, "a number of pixels");
                assert!((changed.len()..=32).contains(&pasted), "at most half of the image");
                pastes += usize::from(pasted > 0);
                if changed.is_empty() {
                    continue;
                }
                let has_them = |&other: &usize| {
                    let same = |&p: &usize| pixel(&whole, other, p) == pixel(&mixed, i, p);
                    whole.labels[other] == class && changed.iter().all(same)
                };
                assert!((0..20).any(|other| has_them(&other)), "epoch {epoch}, image {i}");
                if !augment {
                    // No two of these images have a pixel in common.
                    let ends = |at: fn(usize) -> usize| {
                        let places = || changed.iter().map(|&p| at(p));
                        places().max().unwrap() + 1 - places().min().unwrap()
                    };
                    let area = ends(|p| p / 8) * ends(|p| p % 8);
                    assert_eq!((changed.len(), area), (pasted, pasted), "a rectangle");
                }
            }
        }
        // Half of 1,000, but for one in 32, which are less than a pixel wide; four standard deviations are 63.
        assert!((421..=547).contains(&pastes), "{pastes}");
    }
}

#[test]
fn an_image_is_mirrored_in_every_other_epoch_from_a_random_one_of_two() {
    let dataset = Ramp::new(1);
    let mirrored_first = (0..200).filter(|&seed| {
        let mirrored: Vec<bool> =
            (0..4).map(|epoch| seen(&dataset, Border::Black, seed, epoch).2).collect();
        assert!(mirrored.windows(2).all(|pair| pair[0] != pair[1]), "{mirrored:?}");
        mirrored[0]
    });
    // 200 tosses of a coin: four standard deviations are 28.
    assert!((72..=128).contains(&mirrored_first.count()));
}

#[test]
fn a_batch_depends_on_seed_and_epoch_and_on_nothing_else() {
    let dataset = Ramp::new(50);
    let spec = |seed, epoch| BatchSpec::training(8, STRIDE, seed, epoch);
    let base = make(&dataset, &spec(1, 2), 3);
    for other in [0, 5, 1] {
        make(&dataset, &spec(1, 2), other);
    }
    assert_eq!(base, make(&dataset, &spec(1, 2), 3));
    assert_ne!(base.images, make(&dataset, &spec(2, 2), 3).images);
    assert_ne!(base.images, make(&dataset, &spec(1, 3), 3).images);
}

#[test]
fn the_augmentation_of_an_image_does_not_depend_on_its_batch() {
    let dataset = Ramp::new(20);
    let mut spec = BatchSpec::training(20, STRIDE, 1, 2);
    let all = make(&dataset, &spec, 0);
    spec.indices = Some(vec![13]);
    spec.batch = 1;
    let alone = make(&dataset, &spec, 0);
    assert!(all.images.chunks_exact(64 * STRIDE).any(|image| image == alone.images));
}

#[test]
fn an_epoch_shows_every_image_once() {
    let dataset = Ramp::new(23);
    let mut spec = BatchSpec::training(5, STRIDE, 9, 0);
    spec.augment = false;
    spec.drop_last = false;
    assert_eq!(spec.batches(&dataset), 5);
    let mut firsts = Vec::new();
    for index in 0..5 {
        let batch = make(&dataset, &spec, index);
        assert_eq!(batch.n, if index < 4 { 5 } else { 3 });
        firsts.extend(batch.images.iter().step_by(64 * STRIDE).map(|value| value.to_bits()));
    }
    let mut expected: Vec<u32> =
        (0..23).map(|byte| ((byte as f32 / 255.0 - 0.5) / 0.5).to_bits()).collect();
    assert_ne!(firsts, expected, "the order is not the split's own");
    firsts.sort_unstable();
    expected.sort_unstable();
    assert_eq!(firsts, expected);
    spec.drop_last = true;
    assert_eq!(spec.batches(&dataset), 4);
}

#[test]
fn a_subset_has_only_its_indices() {
    let dataset = Ramp::new(30);
    let mut spec = BatchSpec::in_order(Split::Train, 2, STRIDE);
    spec.indices = Some(vec![29, 4, 7]);
    assert_eq!(spec.batches(&dataset), 2);
    assert_eq!(make(&dataset, &spec, 0).labels, [2, 1]);
    assert_eq!(make(&dataset, &spec, 1).labels, [1]);
}

#[test]
#[should_panic(expected = "batch 3 is beyond the end of the epoch")]
fn a_batch_after_the_last_one_is_a_bug() {
    let dataset = Ramp::new(6);
    let _ = BatchSpec::in_order(Split::Train, 2, STRIDE).batch_len(&dataset, 3);
}

#[test]
fn a_loader_gives_what_fill_gives_with_and_without_its_buffers_back() {
    let dataset: Arc<dyn Dataset> = Arc::new(Ramp::new(41));
    for drop_last in [false, true] {
        let mut spec = BatchSpec::training(6, STRIDE, 5, 1);
        spec.drop_last = drop_last;
        for gives_back in [false, true] {
            let mut loader = Loader::new(Arc::clone(&dataset), spec.clone());
            let batches = spec.batches(&*dataset);
            assert_eq!(loader.len(), batches);
            for index in 0..batches {
                let batch = loader.next().expect("a batch");
                assert_eq!(batch, make(&*dataset, &spec, index), "batch {index}");
                if gives_back {
                    loader.give_back(batch);
                }
            }
            assert_eq!(loader.next(), None);
            assert_eq!(loader.next(), None);
        }
    }
}

#[test]
fn a_loader_goes_on_in_the_middle_of_an_epoch() {
    let dataset: Arc<dyn Dataset> = Arc::new(Ramp::new(40));
    let spec = BatchSpec::training(4, STRIDE, 5, 1);
    let all: Vec<Batch> = Loader::new(Arc::clone(&dataset), spec.clone()).collect();
    let rest: Vec<Batch> = Loader::starting_at(Arc::clone(&dataset), spec.clone(), 7).collect();
    assert_eq!(rest, all[7..]);
    assert_eq!(Loader::starting_at(dataset, spec, 10).count(), 0);
}

#[test]
fn a_loader_dropped_early_has_let_go_of_the_data_set() {
    let dataset: Arc<dyn Dataset> = Arc::new(Ramp::new(1_000));
    for taken in [0, 1, 5] {
        let mut loader = Loader::new(Arc::clone(&dataset), BatchSpec::training(2, STRIDE, 0, 0));
        for _ in 0..taken {
            loader.next();
        }
        drop(loader);
        assert_eq!(Arc::strong_count(&dataset), 1, "its thread has ended");
    }
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn a_panic_of_the_loaders_thread_reaches_its_reader() {
    let mut spec = BatchSpec::in_order(Split::Train, 1, STRIDE);
    spec.indices = Some(vec![3]);
    Loader::new(Arc::new(Ramp::new(3)), spec).next();
}

#[test]
fn calibration_images_are_balanced_seeded_and_different() {
    let dataset = Ramp::new(100);
    let chosen = class_balanced(&dataset, Split::Train, 31, 7);
    assert_eq!(chosen, class_balanced(&dataset, Split::Train, 31, 7));
    assert_ne!(chosen, class_balanced(&dataset, Split::Train, 31, 8));
    let mut unique = chosen.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), 31);
    for class in 0..3 {
        let count = chosen.iter().filter(|&&i| dataset.label(Split::Train, i) == class).count();
        assert!((10..=11).contains(&count), "{count} of class {class}");
    }
    assert_eq!(class_balanced(&dataset, Split::Train, 1_000, 7).len(), 100);
}
