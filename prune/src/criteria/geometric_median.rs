use super::{Criterion, ScoreCx, filters};
use pleach_core::graph::NodeId;

/// The sum of a filter's Euclidean distances to all other filters of its layer: He et al. 2019,
/// "Filter Pruning via Geometric Median", equation 6. The filters nearest to the geometric median,
/// which the others can best stand in for, go first.
pub struct GeometricMedian;

impl Criterion for GeometricMedian {
    fn name(&self) -> &'static str {
        "geometric_median"
    }

    fn score(&self, cx: &ScoreCx<'_>, layer: NodeId) -> Vec<f32> {
        let filters: Vec<&[f32]> = filters(cx.network, layer).collect();
        let mut sums = vec![0.0; filters.len()];
        for (i, a) in filters.iter().enumerate() {
            for (j, b) in filters.iter().enumerate().skip(i + 1) {
                let distance = distance(a, b);
                sums[i] += distance;
                sums[j] += distance;
            }
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    // f32 sums over 64 differences each, added up in f64: vectorises, and loses nothing that counts.
    let part = |(a, b): (&[f32], &[f32])| {
        let mut sums = [0.0f32; 16];
        for (a, b) in a.chunks(16).zip(b.chunks(16)) {
            for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum += (a - b) * (a - b);
            }
        }
        f64::from(sums.iter().sum::<f32>())
    };
    libm::sqrt(a.chunks(64).zip(b.chunks(64)).map(part).sum())
}
