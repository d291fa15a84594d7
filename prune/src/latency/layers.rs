//! Where a network's time goes, layer by layer.

use super::statistics::median;
use super::{Config, images, title};
use pleach_core::infer::Plan;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::{Network, Tensor};
use pleach_kernels::{Context, peak};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::time::Instant;

/// Rounds of the multiply-add loop that the peak is taken from: about 50 microseconds.
const PEAK_ITERATIONS: u64 = 10_000;

/// One step of one network's inference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// The network.
    pub net: String,
    /// Images of a batch.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// The layer that the step began as.
    pub layer: String,
    /// What computes it: for convolutions, linear layers included, the algorithm.
    pub kernel: String,
    /// Multiply-adds per image, those on padding included.
    pub macs: u64,
    /// Bytes of weights, packed and stored as they are read.
    pub weight_bytes: usize,
    /// Median time for the batch, in milliseconds.
    pub ms_p50: f64,
    /// The part of all steps' median times.
    pub time_share: f64,
    /// The part of the network's multiply-adds.
    pub macs_share: f64,
    /// Billions of operations a second, two for each of `macs`: what a direct convolution would have to
    /// reach.
    pub effective_gflops: f64,
    /// That, as a part of what a loop of multiply-adds reached beside it on as many threads.
    pub peak_share: f64,
    /// Billions of bytes a second of weights, inputs and outputs, each counted once.
    pub gb_per_s: f64,
    /// How many times faster than the layer of the same name in the first network, if that has one.
    pub speedup: Option<f64>,
}

/// Measures the layers of `nets` in inference, in rounds as [`measure`](super::measure) does; speed-ups
/// are against the first. `progress` as there.
///
/// # Panics
/// If a batch size is 0.
pub fn measure_layers(
    nets: &[(&str, &Network)],
    config: &Config,
    progress: &mut dyn FnMut(&str, usize, usize) -> ControlFlow<()>,
) -> Vec<LayerRow> {
    let mut found: Vec<LayerRow> = Vec::new();
    for &threads in &config.threads {
        let cx = Context::new(config.isa, threads);
        for &batch in &config.batches {
            let title = title(batch, threads);
            let mut runs: Vec<Run> = nets
                .iter()
                .map(|&(net, network)| Run {
                    plan: config.choice.plan(&cx, (net, network), batch, config.weights),
                    input: images(network, batch, config.seed),
                    rounds: Vec::new(),
                })
                .collect();
            let count = config.rounds_of(|| runs.iter_mut().for_each(|run| run.once(&cx)));
            runs.iter_mut().for_each(|run| run.rounds.clear());
            let mut rng = Rng::new(config.seed, Purpose::Measurement, batch as u64, threads as u64);
            let mut order: Vec<usize> = (0..runs.len()).collect();
            let mut peaks = Vec::with_capacity(count);
            for done in 0..count {
                if progress(&title, done, count).is_break() {
                    return found;
                }
                rng.shuffle(&mut order);
                order.iter().for_each(|&i| runs[i].once(&cx));
                let started = Instant::now();
                let operations = peak::multiply_adds(&cx, PEAK_ITERATIONS);
                peaks.push(operations / started.elapsed().as_secs_f64());
            }
            let peak = median(peaks) * threads as f64;
            let first = found.len();
            for ((name, _), run) in nets.iter().zip(&runs) {
                let rows = run.rows(name, batch, threads, peak);
                let base: Vec<(String, f64)> = match found.len() == first {
                    true => Vec::new(),
                    false => found[first..]
                        .iter()
                        .filter(|row| row.net == nets[0].0)
                        .map(|row| (row.layer.clone(), row.ms_p50))
                        .collect(),
                };
                found.extend(rows.into_iter().map(|row| {
                    let base = base.iter().find(|(layer, _)| *layer == row.layer);
                    LayerRow { speedup: base.map(|(_, ms)| ms / row.ms_p50), ..row }
                }));
            }
        }
    }
    found
}

/// A network being timed.
struct Run {
    plan: Plan,
    input: Tensor,
    /// Seconds of every step in every round.
    rounds: Vec<Vec<f64>>,
}

impl Run {
    fn once(&mut self, cx: &Context) {
        let mut times = vec![0.0; self.plan.steps().count()];
        let mut last = Instant::now();
        self.plan.run_with(cx, &self.input, |step| {
            let now = Instant::now();
            times[step] += (now - last).as_secs_f64();
            last = now;
        });
        self.rounds.push(times);
    }

    fn rows(&self, net: &str, batch: usize, threads: usize, peak: f64) -> Vec<LayerRow> {
        let steps: Vec<_> = self.plan.steps().collect();
        let of = |step: usize| median(self.rounds.iter().map(|round| round[step]).collect());
        let seconds: Vec<f64> = (0..steps.len()).map(of).collect();
        let (total, macs) = (seconds.iter().sum::<f64>(), self.plan.macs());
        let rows = steps.iter().zip(&seconds).map(|(step, &seconds)| {
            let operations = 2.0 * step.macs as f64 * batch as f64;
            let bytes = step.weight_bytes + batch * step.map_bytes;
            LayerRow {
                net: net.to_owned(),
                batch,
                threads,
                layer: step.name.to_owned(),
                kernel: step.kernel.to_owned(),
                macs: step.macs,
                weight_bytes: step.weight_bytes,
                ms_p50: 1e3 * seconds,
                time_share: seconds / total,
                macs_share: step.macs as f64 / macs.max(1) as f64,
                effective_gflops: 1e-9 * operations / seconds,
                peak_share: operations / seconds / peak,
                gb_per_s: 1e-9 * bytes as f64 / seconds,
                speedup: None,
            }
        });
        rows.collect()
    }
}
