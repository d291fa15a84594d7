//! Which algorithm computes each convolution fastest on this CPU: measured instead of estimated.
//!
//! Every algorithm that applies and is no baseline runs the convolution with a bias and a ReLU, in rounds
//! in which each runs once, in an order drawn anew. As in a network, inputs are where the last run left
//! them, and weights come from memory: each algorithm has so many copies of its packed weights that
//! 64 MB of weights, those of the others counted too, are read before a copy's turn comes again. Residuals
//! and pooling, which some algorithms compute in the same pass, are left out.

use super::statistics::median;
use super::{Config, title};
use pleach_core::Network;
use pleach_core::infer::{Plan, PlanOptions};
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_kernels::conv2d::{
    Activation, Algorithm, Conv2dGeometry, FORWARD, PreparedConv2d, Storage, named,
};
use pleach_kernels::{AlignedBuffer, Context};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::time::Instant;

/// Seconds of measurement for an algorithm of a convolution, unless its rounds are too few or too many.
const SECONDS: f64 = 0.03;

/// Rounds at least and at most.
const ROUNDS: [usize; 2] = [5, 200];

/// Bytes of weights that are read before the same ones are read again: more than caches hold. There are no
/// more copies than rounds, so that tiny weights may stay.
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
    /// `network` prepared for batches of up to `batch` images, by this choice, with weights stored as
    /// `weights`.
    #[must_use]
    pub fn plan(&self, cx: &Context, network: &Network, batch: usize, weights: Storage) -> Plan {
        let threads = cx.threads().count();
        let choose = |g: &Conv2dGeometry| match self {
            Self::CostTable => None,
            Self::Measured(tuning) => tuning.fastest.get(&(threads, *g)).map(|of| of.algorithm),
        };
        Plan::with_options(cx, network, batch, &PlanOptions { choose: Some(&choose), weights })
    }
}

/// The fastest algorithms of the convolutions of some networks, for one instruction set.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// By number of threads and geometry, whose batch is that of a part.
    fastest: HashMap<(usize, Conv2dGeometry), Fastest>,
    layers: Vec<AlgorithmRow>,
}

impl Tuning {
    /// One row for each convolution of each network, batch size and number of threads.
    #[must_use]
    pub fn layers(&self) -> &[AlgorithmRow] {
        &self.layers
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

#[derive(Clone, Debug)]
struct Fastest {
    algorithm: &'static Algorithm,
    ms_p50: BTreeMap<String, f64>,
}

/// Measures the algorithms of the convolutions that `nets` consist of in inference. `progress` is told
/// the layers done of those there are in each configuration, and ends the measurement with a `Break`;
/// what was finished until then is returned.
///
/// # Panics
/// If a batch size is 0.
pub fn tune(
    nets: &[(&str, &Network)],
    config: &Config,
    progress: &mut dyn FnMut(&str, usize, usize) -> ControlFlow<()>,
) -> Tuning {
    let mut tuning = Tuning::default();
    for &threads in &config.threads {
        let cx = Context::new(config.isa, threads);
        for &batch in &config.batches {
            let title = format!("algorithms for {}", title(batch, threads));
            let plans: Vec<_> =
                nets.iter().map(|(name, net)| (*name, Plan::new(&cx, net, batch))).collect();
            let layers: Vec<_> = plans
                .iter()
                .flat_map(|(net, plan)| plan.steps().map(move |step| (*net, step)))
                .filter_map(|(net, step)| step.geometry.map(|g| (net, step, g)))
                .collect();
            for (done, &(net, step, g)) in layers.iter().enumerate() {
                if progress(&title, done, layers.len()).is_break() {
                    return tuning;
                }
                let fastest = tuning
                    .fastest
                    .entry((cx.threads().count(), g))
                    .or_insert_with(|| fastest(&cx, &g, step.kernel, config));
                tuning.layers.push(AlgorithmRow {
                    net: net.to_owned(),
                    batch,
                    threads,
                    layer: step.name.to_owned(),
                    part: g.n,
                    algorithm: fastest.algorithm.name.to_owned(),
                    cost_table: step.kernel.to_owned(),
                    ms_p50: fastest.ms_p50.clone(),
                });
            }
        }
    }
    tuning
}

/// Measures the algorithms of `g`, for which the cost table chooses the one called `table`.
fn fastest(cx: &Context, g: &Conv2dGeometry, table: &str, config: &Config) -> Fastest {
    let table = named(FORWARD, table).expect("plans choose from this list");
    let is_candidate = |algorithm: &Algorithm| {
        let competes = !algorithm.is_baseline(cx.isa(), g);
        (algorithm.applies)(g) && (competes || algorithm.name == table.name)
    };
    let algorithms: Vec<&'static Algorithm> =
        FORWARD.iter().filter(|algorithm| is_candidate(algorithm)).collect();
    let times = times(cx, g, &algorithms, config);
    let chosen = choose(&algorithms, &times, table.name);
    let name = |algorithm: &Algorithm| algorithm.name.to_owned();
    let ms = times.iter().map(|seconds| 1e3 * seconds);
    let ms_p50 = algorithms.iter().map(|algorithm| name(algorithm)).zip(ms).collect();
    Fastest { algorithm: algorithms[chosen], ms_p50 }
}

/// The place of the algorithm with the least of `times`, or of the one called `table` if that is as good.
fn choose(algorithms: &[&'static Algorithm], times: &[f64], table: &str) -> usize {
    let places = 0..algorithms.len();
    let best = places.clone().min_by(|&a, &b| times[a].total_cmp(&times[b]));
    let best = best.expect("the cost table chose one of them");
    let mut ties = places.filter(|&i| times[i] <= (1.0 + TIE) * times[best]);
    ties.find(|&i| algorithms[i].name == table).unwrap_or(best)
}

/// Median seconds of each of `algorithms`.
fn times(
    cx: &Context,
    g: &Conv2dGeometry,
    algorithms: &[&'static Algorithm],
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
    let copies = MEMORY.div_ceil(bytes.max(1)).clamp(1, ROUNDS[1]);
    let scratch = prepared.iter().map(|conv| conv.scratch_len(g.n)).max().unwrap_or(0);
    let copies: Vec<Vec<PreparedConv2d>> = vec![prepared; copies];

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
    use crate::latency::images;
    use pleach_core::{Shape, models};
    use pleach_kernels::Isa;

    fn tuned(spec: &str) -> (Network, Config, Tuning) {
        let net = Network::init(models::build(spec, Shape::new(3, 32, 32), 10).unwrap(), 1);
        let config = Config { batches: vec![2], ..Config::new(Isa::from_env().unwrap(), 1) };
        let tuning = tune(&[(spec, &net)], &config, &mut |_, _, _| ControlFlow::Continue(()));
        (net, config, tuning)
    }

    /// Checks that the logits by `choice` are those by the cost table to 1e-4.
    fn assert_agrees(net: &Network, config: &Config, choice: &Choice, hint: &str) {
        let (cx, input) = (Context::new(config.isa, 1), images(net, 2, 1));
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
        let layers = tuning.layers().to_vec();
        let choice = Choice::Measured(tuning);
        let plan = choice.plan(&Context::new(config.isa, 1), &net, 2, Storage::F32);
        let steps = plan.steps().filter(|step| step.geometry.is_some());
        let found: Vec<_> = steps.map(|step| (step.name, step.kernel)).collect();
        let rows = layers.iter().map(|row| (row.layer.as_str(), row.algorithm.as_str()));
        assert_eq!(found, rows.collect::<Vec<_>>());
        assert_agrees(&net, &config, &choice, "measured");
    }

    #[test]
    fn any_algorithm_that_a_measurement_may_choose_gives_the_same_logits_to_1e_4() {
        let (net, config, tuning) = tuned("vgg-small:8,8,12,12,16,16");
        for algorithm in FORWARD {
            let mut tuning = tuning.clone();
            let measured = tuning.fastest.values_mut();
            measured
                .filter(|fastest| fastest.ms_p50.contains_key(algorithm.name))
                .for_each(|fastest| fastest.algorithm = algorithm);
            assert_agrees(&net, &config, &Choice::Measured(tuning), algorithm.name);
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
        assert_eq!(tuning.layers().len(), 2);
    }
}
