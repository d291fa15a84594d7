//! Dense against pruned networks, interleaved: how much of the saved arithmetic is saved time.
//!
//! `cargo bench --bench latency` measures VGG-16 and ResNet-18 dense, at uniformly narrower widths and at
//! the widths of a pruned VGG-16, at batch 1 and 128, on 1 and 2 threads, and ends with a table of
//! ratios. It takes about 5 minutes. `--test` runs everything once.

#![expect(clippy::print_stdout, reason = "the tables are the result")]

use pleach_core::models;
use pleach_core::{Network, Shape};
use pleach_kernels::Isa;
use pleach_prune::latency::{Config, Measurement, Ratio, Speedup, measure};
use std::ops::ControlFlow;

/// Networks of one family, the dense one first: what it is, and its name.
type Family = &'static [(&'static str, &'static str)];

const FAMILIES: &[Family] = &[
    &[
        ("VGG-16", "vgg16"),
        ("VGG-16, half the filters", "vgg16:32,32,64,64,128,128,128,256,256,256,256,256,256"),
        ("VGG-16, 7.6x fewer MACs", "vgg16:21,43,67,73,101,93,71,53,37,29,23,19,31"),
    ],
    &[
        ("ResNet-18", "resnet18"),
        ("ResNet-18, half the filters", "resnet18:32,64,128,256"),
        ("ResNet-18, a quarter of the filters", "resnet18:16,32,64,128"),
    ],
];

/// Seconds of timed runs for each batch size and number of threads, three networks together.
const SECONDS: f64 = 25.0;

fn main() {
    let is_test = std::env::args().any(|arg| arg == "--test");
    let config = Config {
        seconds: if is_test { 0.0 } else { SECONDS },
        rounds: if is_test { [1, 1] } else { [11, 1000] },
        batches: if is_test { vec![1, 2] } else { vec![1, 128] },
        ..Config::new(Isa::from_env().unwrap(), 2)
    };
    let mut ratios = Vec::new();
    for family in FAMILIES {
        let nets: Vec<(&str, Network)> = family
            .iter()
            .map(|&(title, spec)| {
                let graph = models::build(spec, Shape::new(3, 32, 32), 10);
                (title, Network::init(graph.expect("a model of ours"), 42))
            })
            .collect();
        let nets: Vec<(&str, &Network)> = nets.iter().map(|(title, net)| (*title, net)).collect();
        let found = measure(&nets, &config, &mut |_, _, _| ControlFlow::Continue(()));
        print_rows(&found);
        let macs = |net: &str| found.rows.iter().find(|row| row.net == net).map(|row| row.macs);
        for ratio in found.ratios {
            let fewer = macs(&ratio.base).zip(macs(&ratio.net));
            let fewer = fewer.map_or(f64::NAN, |(base, net)| base as f64 / net as f64);
            ratios.push((fewer, ratio));
        }
    }
    print_ratios(&ratios);
}

fn print_rows(found: &Measurement) {
    let heads = ["network", "batch", "threads", "M MACs", "ms p50", "ms p90", "images/s"];
    let [net, batch, threads, macs, p50, p90, rate] = heads;
    println!("{net:<40} {batch:>5} {threads:>7} {macs:>8} {p50:>9} {p90:>9} {rate:>9}");
    for row in &found.rows {
        println!(
            "{:<40} {:>5} {:>7} {:>8.1} {:>9.3} {:>9.3} {:>9.0}",
            row.net,
            row.batch,
            row.threads,
            row.macs as f64 / 1e6,
            row.latency_ms_p50,
            row.latency_ms_p90,
            row.images_per_s
        );
    }
    println!();
}

fn print_ratios(ratios: &[(f64, Ratio)]) {
    let heads = ["times faster than dense", "batch", "threads", "MACs", "in turn", "warm"];
    let [net, batch, threads, macs, time, warm] = heads;
    let interval = "95 % interval, in turn";
    println!("{net:<40} {batch:>5} {threads:>7} {macs:>8} {time:>8} {warm:>8}  {interval}");
    for (macs, ratio) in ratios {
        let Speedup { speedup, low, high } = ratio.in_turn;
        let warm = ratio.warm.map_or(f64::NAN, |warm| warm.speedup);
        println!(
            "{:<40} {:>5} {:>7} {macs:>7.2}x {speedup:>7.2}x {warm:>7.2}x  {low:.2}x to {high:.2}x",
            ratio.net, ratio.batch, ratio.threads
        );
    }
}
