//! Where a network's time goes, layer by layer: the steps of inference, or the passes of training.

use super::order::next_round;
use super::run::{Part, Run};
use super::statistics::median;
use super::{Config, Progress, title, with_each_number_of_threads};
use pleach_core::Network;
use pleach_core::layers::Pass;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_kernels::{Context, peak};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::time::Instant;

/// Rounds of each thread's loop of multiply-adds that the peak is taken from: about 50 microseconds.
const PEAK_ITERATIONS: u64 = 10_000;

/// One step of one network's inference, or one pass of one layer in a training step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRow {
    /// The network.
    pub net: String,
    /// Images of a batch.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// The layer that the step began as. In training also `loss` and `optimizer`.
    pub layer: String,
    /// The layer's kind; of the loss, the optimiser, and what earlier versions wrote of inference, nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The pass, if this is one of a layer in training. A batch norm's do what follows it too, and the layers
    /// whose work that was have no rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Pass>,
    /// What computes it: for convolutions, the algorithm (in inference for linear layers too).
    pub kernel: String,
    /// Multiply-adds per image, those on padding included; each pass of a convolution or linear layer has as
    /// many.
    pub macs: u64,
    /// Bytes of weights, packed and stored as they are read; only in inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_bytes: Option<usize>,
    /// Median time for the batch, in milliseconds.
    pub ms_p50: f64,
    /// The part of all median times.
    pub time_share: f64,
    /// The layer's part of the network's multiply-adds.
    pub macs_share: f64,
    /// Billions of operations a second, two for each of `macs`: what a direct convolution would have to
    /// reach.
    pub effective_gflops: f64,
    /// That, as a part of what a loop of multiply-adds reached beside it on all of these threads at once.
    pub peak_share: f64,
    /// Billions of bytes a second of weights, inputs and outputs, each counted once; only in inference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gb_per_s: Option<f64>,
    /// How many times faster than the same part of the first network, if that has one: of the same layer, kind
    /// and pass.
    pub speedup: Option<f64>,
}

/// Measures the parts of `nets` in inference or training, in rounds as [`measure`](super::measure) does;
/// speed-ups are against the first. `progress` as there.
///
/// # Panics
/// If a batch size is 0.
pub fn measure_layers(
    nets: &[(&str, &Network)],
    config: &Config,
    progress: Progress<'_>,
) -> Vec<LayerRow> {
    let mut found: Vec<LayerRow> = Vec::new();
    with_each_number_of_threads(config, |cx, threads| {
        for &batch in &config.batches {
            let title = title(batch, threads);
            let mut runs: Vec<Timed> =
                nets.iter().map(|&net| Timed::new(cx, net, batch, config)).collect();
            let count = config.rounds_of(|| runs.iter_mut().for_each(|run| run.once(cx)));
            runs.iter_mut().for_each(|run| run.rounds.clear());
            let mut rng = Rng::new(config.seed, Purpose::Measurement, batch as u64, threads as u64);
            let mut order: Vec<usize> = (0..runs.len()).collect();
            let mut peaks = Vec::with_capacity(count);
            for done in 0..count {
                progress(&title, done, count)?;
                next_round(&mut order, &mut rng);
                order.iter().for_each(|&i| runs[i].once(cx));
                peaks.push(multiply_add_rate(cx));
            }
            let peak = median(peaks);
            let mut base: Option<Vec<LayerRow>> = None;
            for ((name, network), run) in nets.iter().zip(&runs) {
                let mut rows = run.rows((name, network.graph().macs()), batch, threads, peak);
                match &base {
                    Some(base) => compare(&mut rows, base),
                    None => base = Some(rows.clone()),
                }
                found.extend(rows);
            }
        }
        ControlFlow::Continue(())
    });
    found
}

/// Operations a second of a loop of multiply-adds on all threads.
fn multiply_add_rate(cx: &Context) -> f64 {
    cx.threads().region(|| {
        // The first wakes the threads up.
        _ = peak::multiply_adds(cx, PEAK_ITERATIONS);
        let started = Instant::now();
        let operations = peak::multiply_adds(cx, PEAK_ITERATIONS);
        operations / started.elapsed().as_secs_f64()
    })
}

/// Says of each of `rows` how many times faster it is than the same part of `base`, if that has one.
fn compare(rows: &mut [LayerRow], base: &[LayerRow]) {
    fn part(row: &LayerRow) -> (&str, Option<&str>, Option<Pass>) {
        (&row.layer, row.kind.as_deref(), row.pass)
    }
    for row in rows {
        let same = base.iter().find(|other| part(other) == part(row));
        row.speedup = same.map(|other| other.ms_p50 / row.ms_p50);
    }
}

/// A network being timed.
struct Timed {
    run: Run,
    parts: Vec<Part>,
    /// Seconds of every part in every round.
    rounds: Vec<Vec<f64>>,
}

impl Timed {
    fn new(cx: &Context, net: (&str, &Network), batch: usize, config: &Config) -> Self {
        let run = Run::new(cx, net, batch, config);
        let parts = run.parts(cx, net.1.graph());
        Self { run, parts, rounds: Vec::new() }
    }

    fn once(&mut self, cx: &Context) {
        let mut times = vec![0.0; self.parts.len()];
        let mut last = Instant::now();
        self.run.once(cx, &mut |part| {
            let now = Instant::now();
            times[part] += (now - last).as_secs_f64();
            last = now;
        });
        self.rounds.push(times);
    }

    fn rows(
        &self,
        (net, macs): (&str, u64),
        batch: usize,
        threads: usize,
        peak: f64,
    ) -> Vec<LayerRow> {
        let of = |part: usize| median(self.rounds.iter().map(|round| round[part]).collect());
        let seconds: Vec<f64> = (0..self.parts.len()).map(of).collect();
        let total = seconds.iter().sum::<f64>();
        let parts = self.parts.iter().zip(&seconds);
        let parts = parts.filter(|(part, seconds)| part.pass.is_none() || **seconds > 0.0);
        let rows = parts.map(|(part, &seconds)| {
            let operations = 2.0 * part.macs as f64 * batch as f64;
            let traffic = part.bytes.map(|[weights, maps]| (weights + batch * maps) as f64);
            LayerRow {
                net: net.to_owned(),
                batch,
                threads,
                layer: part.layer.clone(),
                kind: part.kind.map(str::to_owned),
                pass: part.pass,
                kernel: part.kernel.clone(),
                macs: part.macs,
                weight_bytes: part.bytes.map(|[weights, _]| weights),
                ms_p50: 1e3 * seconds,
                time_share: seconds / total,
                macs_share: part.macs as f64 / macs.max(1) as f64,
                effective_gflops: 1e-9 * operations / seconds,
                peak_share: operations / seconds / peak,
                gb_per_s: traffic.map(|bytes| 1e-9 * bytes / seconds),
                speedup: None,
            }
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(layer: &str, kind: &str, pass: Pass, ms_p50: f64) -> LayerRow {
        LayerRow {
            net: "net".into(),
            batch: 1,
            threads: 1,
            layer: layer.into(),
            kind: Some(kind.into()),
            pass: Some(pass),
            kernel: kind.into(),
            macs: 0,
            weight_bytes: None,
            ms_p50,
            time_share: 0.5,
            macs_share: 0.0,
            effective_gflops: 0.0,
            peak_share: 0.0,
            gb_per_s: None,
            speedup: None,
        }
    }

    #[test]
    fn a_part_is_compared_with_that_of_the_same_layer_kind_and_pass() {
        let base =
            [row("1", "conv2d", Pass::Forward, 8.0), row("1", "conv2d", Pass::BackwardData, 6.0)];
        let mut rows = [
            row("1", "conv2d", Pass::BackwardData, 2.0),
            row("1", "conv2d", Pass::Forward, 2.0),
            row("1", "relu", Pass::Forward, 2.0),
            row("2", "conv2d", Pass::Forward, 2.0),
        ];
        compare(&mut rows, &base);
        assert_eq!(rows.map(|row| row.speedup), [Some(3.0), Some(4.0), None, None]);
    }
}
