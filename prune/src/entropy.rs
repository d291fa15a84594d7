//! Entropies of binned samples, in nats. Pure functions on slices.

use serde::{Deserialize, Serialize};

/// Samples sorted into bins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binned {
    /// The bin of each sample, below `count`.
    pub bins: Vec<u32>,
    /// The number of bins, some of which may be empty; at least 1.
    pub count: usize,
}

/// How a filter's responses are sorted into bins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binning {
    /// Equal widths over the filter's own range.
    #[default]
    PerFilter,
    /// Equal widths over the range of the whole layer.
    PerLayer,
    /// Equal numbers of samples (as far as ties allow), by the filter's own quantiles.
    EqualFrequency,
}

/// All samples in one bin: the condition that says nothing.
#[must_use]
pub fn one_bin(samples: usize) -> Binned {
    Binned { bins: vec![0; samples], count: 1 }
}

/// `count` bins of equal width over `[min, max]`; samples outside go to the nearest bin. An empty
/// range (a constant filter) has one bin.
///
/// # Panics
/// If `count` is 0.
#[must_use]
pub fn equal_width(samples: &[f32], min: f32, max: f32, count: usize) -> Binned {
    assert!(count > 0, "samples go into at least one bin");
    let (min, width) = (f64::from(min), f64::from(max) - f64::from(min));
    if width.is_nan() || width <= 0.0 {
        return one_bin(samples.len());
    }
    let scale = count as f64 / width;
    let bin = |&sample: &f32| (((f64::from(sample) - min) * scale) as u32).min(count as u32 - 1);
    Binned { bins: samples.iter().map(bin).collect(), count }
}

/// At most `count` bins between the samples' quantiles. Edge `k` is the sample of rank
/// `floor(k * N / count)` (from 0), an edge belongs to the bin above it, and tied edges merge, so
/// equal samples always share a bin and no bin is empty.
///
/// # Panics
/// If `count` is 0.
#[must_use]
pub fn quantiles(samples: &[f64], count: usize) -> Binned {
    assert!(count > 0, "samples go into at least one bin");
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = (1..count)
        .filter_map(|k| sorted.get(k * samples.len() / count).copied())
        .filter(|edge| *edge > sorted[0])
        .collect();
    edges.dedup();
    let bin = |sample: &f64| edges.partition_point(|edge| edge <= sample) as u32;
    Binned { bins: samples.iter().map(bin).collect(), count: edges.len() + 1 }
}

/// One bin for each label up to the largest.
#[must_use]
pub fn classes(labels: &[u32]) -> Binned {
    let count = labels.iter().max().map_or(1, |&max| max as usize + 1);
    Binned { bins: labels.to_vec(), count }
}

/// One bin for each pair of a bin of `a` and a bin of `b`.
///
/// # Panics
/// If the numbers of samples differ.
#[must_use]
pub fn joint(a: &Binned, b: &Binned) -> Binned {
    assert_eq!(a.bins.len(), b.bins.len(), "both have the same samples");
    let pairs = a.bins.iter().zip(&b.bins);
    let bins = pairs.map(|(&a, &z)| a * b.count as u32 + z).collect();
    Binned { bins, count: a.count * b.count }
}

/// A correction of the bias of entropies estimated from few samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// None: the plug-in estimate.
    #[default]
    None,
    /// Miller and Madow (Miller 1955): an entropy estimated from `n` samples in `k` occupied bins
    /// grows by `(k - 1) / 2n`. It can exceed the logarithm of the number of bins.
    MillerMadow,
}

/// `H(A | Z) = - sum_z p(z) sum_a p(a|z) ln p(a|z)`, in nats, between 0 and `ln(a.count)` (without
/// correction). With a correction, each `H(A | Z = z)` is corrected.
///
/// # Panics
/// If the numbers of samples differ.
#[must_use]
pub fn conditional(a: &Binned, z: &Binned, correction: Correction) -> f64 {
    assert_eq!(a.bins.len(), z.bins.len(), "both have the same samples");
    let mut table = vec![0u32; z.count * a.count];
    for (&a_bin, &z_bin) in a.bins.iter().zip(&z.bins) {
        table[z_bin as usize * a.count + a_bin as usize] += 1;
    }
    let mut sum = 0.0;
    for row in table.chunks_exact(a.count) {
        let total: u32 = row.iter().sum();
        let occupied = row.iter().filter(|&&n| n > 0);
        // n_z * H(A | Z = z) = - sum_a n_az ln(n_az / n_z)
        for &n in occupied.clone() {
            sum -= f64::from(n) * libm::log(f64::from(n) / f64::from(total));
        }
        if correction == Correction::MillerMadow && total > 0 {
            sum += (occupied.count() - 1) as f64 / 2.0;
        }
    }
    sum / a.bins.len().max(1) as f64
}

/// `H(A) = - sum_a p(a) ln p(a)`, in nats.
#[must_use]
pub fn entropy(a: &Binned, correction: Correction) -> f64 {
    conditional(a, &one_bin(a.bins.len()), correction)
}
