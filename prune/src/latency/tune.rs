//! Which algorithm computes each convolution fastest on this CPU: measured instead of estimated.
//!
//! Every algorithm that applies and is no baseline runs the convolution with a bias and a ReLU, in rounds
//! in which each runs once, in an order drawn anew. As in the network, inputs are in the cache, and weights
//! come from where they are when the next batch comes: each algorithm has so many copies of its packed
//! weights that, before a copy's turn comes again, as many bytes of weights are read as the network has
//! of weights and activations, or 64 MB. Residuals and pooling, which some algorithms compute in the same
//! pass, are left out.

use super::statistics::median;
use super::{Config, Progress, title, with_each_number_of_threads};
use pleach_core::Network;
use pleach_core::infer::{Plan, PlanOptions};
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_kernels::conv2d::{
    Activation, Algorithm, Conv2dGeometry, FORWARD, PreparedConv2d, Storage,
};
use pleach_kernels::{AlignedBuffer, Context};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

/// Seconds of measurement for an algorithm of a convolution, unless its rounds are too few or too many.
const SECONDS: f64 = 0.03;

/// Rounds at least and at most.
const ROUNDS: [usize; 2] = [5, 200];

/// Bytes of weights that push the ones read before them out of the caches. There are no more copies than
/// rounds, so that tiny weights may stay.
const MEMORY: usize = 64 << 20;

/// How much longer than the fastest the cost table's choice may take, as a part, and be kept.
const TIE: f64 = 0.02;

/// What chooses the algorithm of a convolution.
#[derive(Clone, Debug, Default)]
pub enum Choice {
    /// The estimated cost.
    #[default]
    CostTable,
    /// A measurement; the estimated cost where that has none.
    Measured(Tuning),
}

impl Choice {
    /// The network called `net`, prepared for batches of up to `batch` images, by this choice, with weights
    /// stored as `weights`.
    #[must_use]
    pub fn plan(
        &self,
        cx: &Context,
        (net, network): (&str, &Network),
        batch: usize,
        weights: Storage,
    ) -> Plan {
        let threads = cx.threads().count();
        let choose = |g: &Conv2dGeometry| match self {
            Self::CostTable => None,
            Self::Measured(tuning) => tuning.find(net, batch, threads, g).map(|of| of.algorithm),
        };
        Plan::with_options(cx, network, batch, &PlanOptions { choose: Some(&choose), weights })
    }
}

/// The fastest algorithms of the convolutions of some networks, for one instruction set.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    layers: Vec<Tuned>,
}

#[derive(Clone, Debug)]
struct Tuned {
    row: AlgorithmRow,
    /// With the images of a part as its batch.
    geometry: Conv2dGeometry,
    algorithm: &'static Algorithm,
}

impl Tuning {
    /// One row for each convolution of each network, batch size and number of threads.
    #[must_use]
    pub fn rows(&self) -> Vec<&AlgorithmRow> {
        self.layers.iter().map(|layer| &layer.row).collect()
    }

    /// What was found for a convolution; layers of the same geometry share it.
    fn find(&self, net: &str, batch: usize, threads: usize, g: &Conv2dGeometry) -> Option<&Tuned> {
        let same =
            |row: &AlgorithmRow| (row.batch, row.threads) == (batch, threads) && row.net == net;
        self.layers.iter().find(|layer| layer.geometry == *g && same(&layer.row))
    }
}

/// Which algorithm was chosen for a convolution, linear layers included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlgorithmRow {
    /// The network.
    pub net: String,
    /// Images of a batch.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// The layer.
    pub layer: String,
    /// Images of the batch that go through the layer at once, for which it was measured.
    pub part: usize,
    /// The algorithm chosen: the fastest, or the cost table's if that takes at most 2 % longer.
    pub algorithm: String,
    /// What the cost table would have chosen.
    pub cost_table: String,
    /// Median time of each algorithm for the part, in milliseconds. Layers of the same geometry have the
    /// same times.
    pub ms_p50: BTreeMap<String, f64>,
}

/// Measures the algorithms of the convolutions that `nets` consist of in inference. `progress` is told
/// the layers done of those of each network in each configuration, and ends the measurement with a `Break`;
/// what was finished until then is returned.
///
/// # Panics
/// If a batch size is 0.
pub fn tune(nets: &[(&str, &Network)], config: &Config, progress: Progress<'_>) -> Tuning {
    let mut tuning = Tuning::default();
    with_each_number_of_threads(config, |cx, threads| {
        for &batch in &config.batches {
            for (net, network) in nets {
                let title = format!("algorithms of {net}, {}", title(batch, threads));
                let plan = Plan::new(cx, network, batch);
                let footprint = footprint(&plan);
                let steps = plan.steps().filter_map(|step| step.geometry.map(|g| (step, g)));
                let steps: Vec<_> = steps.collect();
                for (done, &(step, g)) in steps.iter().enumerate() {
                    progress(&title, done, steps.len())?;
                    let (algorithm, ms_p50) = match tuning.find(net, batch, threads, &g) {
                        Some(same) => (same.algorithm, same.row.ms_p50.clone()),
                        None => fastest(cx, &g, step.kernel, footprint, config),
                    };
                    let row = AlgorithmRow {
                        net: (*net).to_owned(),
                        batch,
                        threads,
                        layer: step.name.to_owned(),
                        part: g.n,
                        algorithm: algorithm.name.to_owned(),
                        cost_table: step.kernel.to_owned(),
                        ms_p50,
                    };
                    tuning.layers.push(Tuned { row, geometry: g, algorithm });
                }
            }
        }
        ControlFlow::Continue(())
    });
    tuning
}

/// Bytes that pass through the caches between one batch and the next.
fn footprint(plan: &Plan) -> usize {
    plan.steps().map(|step| step.weight_bytes).sum::<usize>() + plan.arena_bytes()
}

/// The fastest algorithm of `g`, for which the cost table chooses the one called `table`, and the
/// milliseconds of all, where `footprint` bytes are read before the same weights are.
fn fastest(
    cx: &Context,
    g: &Conv2dGeometry,
    table: &str,
    footprint: usize,
    config: &Config,
) -> (&'static Algorithm, BTreeMap<String, f64>) {
    let is_candidate = |algorithm: &Algorithm| {
        let competes = !algorithm.is_baseline(cx.isa(), g);
        (algorithm.applies)(g) && (competes || algorithm.name == table)
    };
    let algorithms: Vec<&'static Algorithm> =
        FORWARD.iter().filter(|algorithm| is_candidate(algorithm)).collect();
    let times = times(cx, g, &algorithms, footprint.min(MEMORY), config);
    let ms = algorithms.iter().zip(&times).map(|(by, time)| (by.name.to_owned(), 1e3 * time));
    (algorithms[choose(&algorithms, &times, table)], ms.collect())
}

/// The place of the algorithm with the least of `times`, or of the one called `table` if that is as good.
fn choose(algorithms: &[&'static Algorithm], times: &[f64], table: &str) -> usize {
    let places = 0..algorithms.len();
    let best = places.clone().min_by(|&a, &b| times[a].total_cmp(&times[b]));
    let best = best.expect("the cost table chose one of them");
    let mut ties = places.filter(|&i| times[i] <= (1.0 + TIE) * times[best]);
    ties.find(|&i| algorithms[i].name == table).unwrap_or(best)
}

/// Median seconds of each of `algorithms`, where `between` bytes of weights are read before the same ones.
fn times(
    cx: &Context,
    g: &Conv2dGeometry,
    algorithms: &[&'static Algorithm],
    between: usize,
    config: &Config,
) -> Vec<f64> {
    let mut rng =
        Rng::new(config.seed, Purpose::Measurement, g.n as u64, cx.threads().count() as u64);
    let mut src = AlignedBuffer::zeros(g.src_len());
    for pixel in src.chunks_exact_mut(g.src_stride()) {
        pixel[..g.ic].fill_with(|| rng.uniform() as f32);
    }
    let mut weights = || (rng.uniform() - 0.5) as f32;
    let weights: Vec<f32> = (0..g.weights_len()).map(|_| weights()).collect();
    let (bias, activation) = (vec![0.1; g.oc], Activation::Relu);
    let prepared: Vec<PreparedConv2d> = algorithms
        .iter()
        .map(|&by| PreparedConv2d::new(cx, g, &weights, Some(&bias), activation, Some(by)))
        .map(|conv| conv.stored_as(config.weights))
        .collect();
    let bytes: usize = prepared.iter().map(|conv| conv.packed_bytes()).sum();
    let copies = between.div_ceil(bytes.max(1)).clamp(1, ROUNDS[1]);
    let scratch = prepared.iter().map(|conv| conv.scratch_len(g.n)).max().unwrap_or(0);
    let mut copies: Vec<Vec<PreparedConv2d>> = vec![prepared; copies];
    // Clones share their weights: now each has its own, and they lie as those of a plan do.
    PreparedConv2d::join_weights(copies.iter_mut().flatten());

    let (mut dst, mut scratch) = (AlignedBuffer::zeros(g.dst_len()), AlignedBuffer::zeros(scratch));
    let mut time = |round: usize, algorithm: usize| {
        let conv = &copies[round % copies.len()][algorithm];
        let started = Instant::now();
        conv.forward(cx, g.n, &src, None, &mut dst, &mut scratch);
        started.elapsed().as_secs_f64()
    };
    let mut order: Vec<usize> = (0..algorithms.len()).collect();
    let rounds = cx.threads().region(|| {
        // The first round touches the memory; the second says how long a round is.
        order.iter().for_each(|&i| _ = time(0, i));
        let round: f64 = order.iter().map(|&i| time(1, i)).sum();
        let rounds = SECONDS * order.len() as f64 / round.max(1e-9);
        let rounds = (rounds as usize).clamp(ROUNDS[0], ROUNDS[1]);
        let rounds = (2..2 + rounds).map(|round| {
            rng.shuffle(&mut order);
            let mut times = vec![0.0; order.len()];
            order.iter().for_each(|&i| times[i] = time(round, i));
            times
        });
        rounds.collect::<Vec<_>>()
    });
    let of = |i: usize| median(rounds.iter().map(|round| round[i]).collect());
    (0..algorithms.len()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::run::images;
    use pleach_core::{Shape, models};
    use pleach_kernels::Isa;

    fn tuned(spec: &str) -> (Network, Config, Tuning) {
        let net = Network::init(models::build(spec, Shape::new(3, 32, 32), 10).unwrap(), 1);
        let config = Config { batches: vec![2], ..Config::new(Isa::from_env().unwrap(), 1) };
        let tuning = tune(&[("net", &net)], &config, &mut |_, _, _| ControlFlow::Continue(()));
        (net, config, tuning)
    }

    /// Checks that the logits by `choice` are those by the cost table to 1e-4.
    fn assert_agrees(net: (&str, &Network), config: &Config, choice: &Choice, hint: &str) {
        let (cx, input) = (Context::new(config.isa, 1), images(net.1, 2, 1));
        let [expected, found] = [&Choice::CostTable, choice]
            .map(|choice| choice.plan(&cx, net, 2, Storage::F32).run(&cx, &input).to_nchw());
        let scale = expected.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-4 * scale, "{hint}: {a} {b}");
        }
    }

    #[test]
    fn a_tuned_plan_runs_the_algorithms_measured_and_gives_the_same_logits_to_1e_4() {
        let (net, config, tuning) = tuned("vgg-small");
        let layers = tuning.rows().into_iter().cloned().collect::<Vec<_>>();
        let choice = Choice::Measured(tuning);
        let plan = choice.plan(&Context::new(config.isa, 1), ("net", &net), 2, Storage::F32);
        let steps = plan.steps().filter(|step| step.geometry.is_some());
        let found: Vec<_> = steps.map(|step| (step.name, step.kernel)).collect();
        let rows = layers.iter().map(|row| (row.layer.as_str(), row.algorithm.as_str()));
        assert_eq!(found, rows.collect::<Vec<_>>());
        assert_agrees(("net", &net), &config, &choice, "measured");
    }

    #[test]
    fn any_algorithm_that_a_measurement_may_choose_gives_the_same_logits_to_1e_4() {
        let (net, config, tuning) = tuned("vgg-small:8,8,12,12,16,16");
        for algorithm in FORWARD {
            let mut tuning = tuning.clone();
            let measured = |layer: &&mut Tuned| layer.row.ms_p50.contains_key(algorithm.name);
            let layers = tuning.layers.iter_mut().filter(measured);
            layers.for_each(|layer| layer.algorithm = algorithm);
            assert_agrees(("net", &net), &config, &Choice::Measured(tuning), algorithm.name);
        }
    }

    #[test]
    fn the_cost_tables_choice_is_kept_unless_another_is_clearly_faster() {
        let algorithms: Vec<&'static Algorithm> = FORWARD.iter().take(3).collect();
        let (second, third) = (algorithms[1].name, algorithms[2].name);
        assert_eq!(choose(&algorithms, &[1.0, 1.015, 3.0], second), 1);
        assert_eq!(choose(&algorithms, &[1.0, 1.03, 3.0], second), 0);
        assert_eq!(choose(&algorithms, &[1.0, 1.015, 3.0], third), 0);
    }

    #[test]
    fn a_measurement_that_is_ended_keeps_what_it_finished() {
        let (net, config, _) = tuned("vgg-small:8,8,12,12,16,16");
        let tuning = tune(&[("net", &net)], &config, &mut |_, done, _| match done {
            0 | 1 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
        assert_eq!(tuning.rows().len(), 2);
    }
}
