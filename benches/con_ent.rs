//! Scoring one layer's filters by conditional entropy: 512 filters (the widest of VGG-16), by number
//! of calibration images and kind of bins.

use criterion::{BenchmarkId, Criterion, Throughput};
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_prune::criteria::ConEnt;
use pleach_prune::entropy::Binning;
use pleach_prune::evidence::LayerEvidence;
use std::hint::black_box;

const FILTERS: usize = 512;

fn con_ent(c: &mut Criterion) {
    let mut group = c.benchmark_group("con_ent");
    for images in [1000, 5000] {
        let mut rng = Rng::new(1, Purpose::Measurement, images as u64, 0);
        let responses = (0..FILTERS * images).map(|_| rng.normal().max(0.0) as f32).collect();
        let losses: Vec<f64> = (0..images).map(|_| rng.uniform()).collect();
        let labels = vec![0; images];
        let layer = LayerEvidence { channels: FILTERS, responses, ..LayerEvidence::default() };
        group.throughput(Throughput::Elements((FILTERS * images) as u64));
        let kinds = [
            ("per_filter", Binning::PerFilter),
            ("per_layer", Binning::PerLayer),
            ("equal_frequency", Binning::EqualFrequency),
        ];
        for (name, binning) in kinds {
            let settings = ConEnt { binning, ..ConEnt::default() };
            group.bench_function(BenchmarkId::new(name, images), |b| {
                b.iter(|| {
                    let condition = settings.condition(&losses, &labels);
                    black_box(settings.of_layer(black_box(&layer), &condition))
                });
            });
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    con_ent(&mut criterion);
    criterion.final_summary();
}
