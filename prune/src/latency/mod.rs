//! Networks' speed on this CPU, measured so that the comparison can be trusted: in turn, in random
//! order, with an interval.
//!
//! For each number of threads and each batch size, all networks are run in rounds. In a round each
//! has its turn, so that whatever disturbs the machine disturbs all of them alike. The order is drawn anew for each
//! round, but none that begins with the last of the round before: so no network follows itself, and two take strict
//! turns. In inference a network runs several times in its turn: first with what the network before it left in the
//! caches, at last *warm*, with its own weights and maps there, as in a program that runs no other network. Both are
//! reported. A network that is measured alone does follow itself, and its first times are warm ones. A ratio is that
//! of medians; its interval is a percentile bootstrap over whole rounds (Efron and Tibshirani 1993, chapter 13).

mod layers;
mod order;
mod run;
mod statistics;
mod table;
mod tune;

pub use layers::{LayerRow, measure_layers};
pub use table::{LAYER_TIMES_SCHEMA, LayerTime, LayerTimes, LayerTimesError};
pub use tune::{AlgorithmRow, Choice, Tuning, tune};

use pleach_core::Network;
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_kernels::conv2d::Storage;
use pleach_kernels::{Context, Isa, Threads};
use run::Run;
use serde::{Deserialize, Serialize};
use statistics::{quantile, ratio_of_medians};
use std::ops::ControlFlow;
use std::time::Instant;

/// What is timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// The logits of a batch, by a prepared [`Plan`](pleach_core::Plan).
    #[default]
    Infer,
    /// A training step: forward, loss, backward, optimiser.
    Train,
}

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is timed.
    pub work: Work,
    /// What chooses the algorithms of convolutions in inference.
    pub choice: Choice,
    /// How their weights are stored in inference.
    pub weights: Storage,
    /// Batch sizes.
    pub batches: Vec<usize>,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// The instruction set.
    pub isa: &'static Isa,
    /// Seconds of timed runs for each number of threads and batch size, all networks together.
    pub seconds: f64,
    /// Rounds at least, whatever they last, and at most.
    pub rounds: [usize; 2],
    /// The seed of images, orders and resamples.
    pub seed: u64,
}

impl Config {
    /// Inference by the cost table with `f32` weights at batch 1 and 128, with one thread and with `threads`, 3
    /// seconds each and between 11 and 1,000 rounds.
    #[must_use]
    pub fn new(isa: &'static Isa, threads: usize) -> Self {
        let mut threads = vec![1, threads];
        threads.dedup();
        let work = Work::Infer;
        Self {
            work,
            choice: Choice::CostTable,
            weights: Storage::F32,
            batches: vec![1, 128],
            threads,
            isa,
            seconds: 3.0,
            rounds: [11, 1000],
            seed: 42,
        }
    }

    /// The rounds that [`Config::seconds`] are enough for, after one of warming up.
    fn rounds_of(&self, mut round: impl FnMut()) -> usize {
        // The first round touches the memory; the second says how long a round is.
        round();
        let started = Instant::now();
        round();
        let seconds = started.elapsed().as_secs_f64().max(1e-9);
        let [least, most] = self.rounds;
        ((self.seconds / seconds) as usize).clamp(least, most.max(least))
    }
}

/// What a configuration is called while it is measured.
fn title(batch: usize, threads: usize) -> String {
    format!("batch {batch}, {threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// One network's speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The network.
    pub net: String,
    /// What was timed.
    pub mode: Work,
    /// Images of a batch.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// The instruction set.
    pub isa: String,
    /// Multiply-adds of the network, per image.
    pub macs: u64,
    /// Median time of a whole batch, in milliseconds, right after another network; of a network that is measured
    /// alone, after itself.
    pub latency_ms_p50: f64,
    /// Its 90 % quantile.
    pub latency_ms_p90: f64,
    /// Images a second, at the median.
    pub images_per_s: f64,
    /// Median time of a whole batch, in milliseconds, after other batches of the same network; `None` in
    /// training, and in what earlier versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_ms_p50: Option<f64>,
}

/// A ratio of median times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speedup {
    /// The base's time over the network's.
    pub speedup: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of its 95 % interval.
    pub high: f64,
}

/// How much faster a network is than the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The first network.
    pub base: String,
    /// The network.
    pub net: String,
    /// Images of a batch.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// By the times of [`Row::latency_ms_p50`].
    #[serde(flatten)]
    pub in_turn: Speedup,
    /// By those of [`Row::warm_ms_p50`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<Speedup>,
}

/// What a measurement found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// One row for each network, batch size and number of threads.
    pub rows: Vec<Row>,
    /// The networks after the first against it.
    pub ratios: Vec<Ratio>,
}

/// Is told, of each configuration by its title, how much is done of what is planned, and ends a measurement
/// with a `Break`.
pub type Progress<'a> = &'a mut (dyn FnMut(&str, usize, usize) -> ControlFlow<()> + Send);

/// Calls `work` with a context for each number of threads, always on one of these, until it breaks.
fn with_each_number_of_threads(
    config: &Config,
    mut work: impl FnMut(&Context, usize) -> ControlFlow<()> + Send,
) {
    for &threads in &config.threads {
        let work = || work(&Context::with_this_thread(config.isa, threads), threads);
        if Threads::apart(work).is_break() {
            return;
        }
    }
}

/// Measures `nets`, the first of which is the base. `progress` is told the rounds done; what was finished
/// until it ends the measurement is returned.
///
/// # Panics
/// If a batch size is 0, or neither rounds nor seconds ask for one.
pub fn measure(nets: &[(&str, &Network)], config: &Config, progress: Progress<'_>) -> Measurement {
    let mut found = Measurement::default();
    with_each_number_of_threads(config, |cx, threads| {
        for &batch in &config.batches {
            let title = title(batch, threads);
            let mut runs: Vec<Run> =
                nets.iter().map(|&net| Run::new(cx, net, batch, config)).collect();
            let mut rng = Rng::new(config.seed, Purpose::Measurement, batch as u64, threads as u64);
            let mut notify = |done, of| progress(&title, done, of);
            let Some(rounds) = time(cx, &mut runs, config, &mut rng, &mut notify) else {
                return ControlFlow::Break(());
            };
            let cold = |i: usize| rounds.iter().map(|round| round[i].first).collect::<Vec<f64>>();
            let warm =
                |i: usize| rounds.iter().map(|round| round[i].warm).collect::<Option<Vec<f64>>>();
            let rows = nets.iter().enumerate().map(|(i, (name, network))| {
                let mut times = cold(i);
                times.sort_unstable_by(f64::total_cmp);
                let median = quantile(&times, 0.5);
                Row {
                    net: (*name).into(),
                    mode: config.work,
                    batch,
                    threads,
                    isa: config.isa.name.into(),
                    macs: network.graph().macs(),
                    latency_ms_p50: 1e3 * median,
                    latency_ms_p90: 1e3 * quantile(&times, 0.9),
                    images_per_s: batch as f64 / median,
                    warm_ms_p50: warm(i).map(|times| 1e3 * statistics::median(times)),
                }
            });
            found.rows.extend(rows);
            for (i, (name, _)) in nets.iter().enumerate().skip(1) {
                let mut speedup = |base: Vec<f64>, net: Vec<f64>| {
                    let pairs: Vec<[f64; 2]> = base.into_iter().zip(net).map(Into::into).collect();
                    let [speedup, low, high] = ratio_of_medians(&pairs, &mut rng);
                    Speedup { speedup, low, high }
                };
                let in_turn = speedup(cold(0), cold(i));
                let warm = warm(0).zip(warm(i)).map(|(base, net)| speedup(base, net));
                let (base, net) = (nets[0].0.into(), (*name).into());
                found.ratios.push(Ratio { base, net, batch, threads, in_turn, warm });
            }
        }
        ControlFlow::Continue(())
    });
    found
}

/// What a network's turn in a round takes.
#[derive(Clone, Copy, Default)]
struct Turn {
    /// Seconds of the first run.
    first: f64,
    /// Those of the last, of inference.
    warm: Option<f64>,
}

impl Turn {
    fn take(cx: &Context, run: &mut Run, work: Work) -> Self {
        /// Runs after which a network finds in the caches what it ever will: of one that takes a quarter of a
        /// millisecond, the second and the third were measured to be slower than the fourth, which all later ones
        /// are as fast as.
        const WARM: usize = 6;
        /// What takes longer, in seconds, moves more than caches hold: the second run is as good.
        const LONG: f64 = 0.01;
        let mut once = || {
            let started = Instant::now();
            run.once(cx, &mut |_| ());
            started.elapsed().as_secs_f64()
        };
        let first = once();
        let more = match work {
            Work::Train => 0,
            Work::Infer if first > LONG => 1,
            Work::Infer => WARM - 1,
        };
        Self { first, warm: (0..more).map(|_| once()).last() }
    }
}

/// The turn of every network in every round.
fn time(
    cx: &Context,
    runs: &mut [Run],
    config: &Config,
    rng: &mut Rng,
    notify: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Option<Vec<Vec<Turn>>> {
    let count = config.rounds_of(|| {
        for run in runs.iter_mut() {
            Turn::take(cx, run, config.work);
        }
    });
    // In which they have run so far.
    let mut order: Vec<usize> = (0..runs.len()).collect();
    let mut rounds = Vec::with_capacity(count);
    for done in 0..count {
        if notify(done, count).is_break() {
            return None;
        }
        order::next_round(&mut order, rng);
        let mut turns = vec![Turn::default(); runs.len()];
        for &i in &order {
            turns[i] = Turn::take(cx, &mut runs[i], config.work);
        }
        rounds.push(turns);
    }
    Some(rounds)
}
