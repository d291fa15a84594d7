//! How fast batches are made: one thread, images a second, augmented and as they are, and with the
//! loader's thread.

use criterion::{BatchSize, Criterion, Throughput};
use pleach_datasets::batches::{Batch, BatchSpec, Epoch, Loader};
use pleach_datasets::{Dataset, Split, open};
use std::hint::black_box;
use std::sync::Arc;

const BATCH: usize = 128;
const STRIDE: usize = 16;

fn batches(criterion: &mut Criterion) {
    let dataset: Arc<dyn Dataset> = open(None).expect("the built-in data set").into();
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    let specs = [
        ("in_order", BatchSpec::in_order(Split::Train, BATCH, STRIDE)),
        ("augmented", BatchSpec::training(BATCH, STRIDE, 42, 0)),
    ];
    for (name, spec) in &specs {
        let epoch = Epoch::new(&*dataset, spec);
        let mut batch = Batch::default();
        // Pictures are drawn when they are first asked for: not in the measurement.
        epoch.fill_batch(3, &mut batch);
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                epoch.fill_batch(3, &mut batch);
                black_box(&batch);
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("epoch");
    let spec = BatchSpec::training(BATCH, STRIDE, 42, 0);
    group.throughput(Throughput::Elements((spec.batches(&*dataset) * BATCH) as u64));
    group.sample_size(10);
    group.bench_function("loader", |bencher| {
        bencher.iter(|| {
            let mut loader = Loader::new(Arc::clone(&dataset), spec.clone());
            while let Some(batch) = loader.next() {
                loader.give_back(black_box(batch));
            }
        });
    });
    group.bench_function("order", |bencher| {
        bencher.iter(|| black_box(Epoch::new(&*dataset, &spec)));
    });
    group.finish();
}

/// The first look at 500 images that are still to be drawn.
fn drawing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shapes");
    group.throughput(Throughput::Elements(500));
    group.sample_size(10);
    group.bench_function("draw", |bencher| {
        bencher.iter_batched(
            || open(None).expect("the built-in data set"),
            |dataset| {
                (0..500).for_each(|i| {
                    black_box(dataset.pixels(Split::Test, i));
                })
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    batches(&mut criterion);
    drawing(&mut criterion);
    criterion.final_summary();
}
