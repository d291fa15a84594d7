//! What several tables show alike.

use crate::latency::{Measurement, Ratio, Row, Speedup};
use crate::phases::{Facts, PairedDrop};
use crate::report::RunReport;
use crate::report::Table;
use crate::reproduce::cell::Found;
use crate::reproduce::{NetworkReport, Report};

pub(super) fn heads(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}

/// A fraction in percent.
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.2}", 100.0 * fraction)
}

/// So many epochs.
pub(super) fn epochs(number: f64) -> String {
    if number == 1.0 { "1 epoch".into() } else { format!("{number} epochs") }
}

/// How many times fewer.
pub(super) fn times(base: u64, pruned: u64) -> String {
    format!("{:.2}x", base as f64 / pruned.max(1) as f64)
}

/// Mean and standard deviation of values over seeds; of one, itself; of none, a dash.
pub(super) fn spread(values: &[f64], digits: usize) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    match values.len() {
        0 => "-".into(),
        1 => format!("{mean:.digits$}"),
        _ => {
            let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
            format!("{mean:.digits$} ± {:.digits$}", (squares / (n - 1.0)).sqrt())
        }
    }
}

pub(super) fn drop_points(drop: &PairedDrop) -> String {
    format!("{:+.2} ({:+.2} to {:+.2})", drop.points, drop.low, drop.high)
}

pub(super) fn faster(by: &Speedup) -> String {
    format!("{:.2}x ({:.2} to {:.2})", by.speedup, by.low, by.high)
}

/// The same, and nothing where it was not measured.
pub(super) fn faster_warm(ratio: &Ratio) -> String {
    ratio.warm.as_ref().map(faster).unwrap_or_default()
}

/// Multiply-adds (M), parameters (M), bytes of weights (kB) and of activations (kB).
pub(super) fn size(facts: &Facts, activation_bytes: usize) -> [String; 4] {
    [
        format!("{:.2}", facts.macs as f64 / 1e6),
        format!("{:.3}", facts.params as f64 / 1e6),
        format!("{:.0}", facts.bytes as f64 / 1e3),
        format!("{:.0}", activation_bytes as f64 / 1e3),
    ]
}

/// The heads of [`size`].
pub(super) const SIZE: [&str; 4] =
    ["MACs (M)", "parameters (M)", "weights (kB)", "activations (kB)"];

/// What tables of several amounts say of a network before [`SIZE`], and epochs after it.
pub(super) const AMOUNTS: [&str; 6] =
    ["amount", "way", "test acc %", "drop (95 %)", "val acc %", "fewer MACs"];

/// A network in a table with these heads.
pub(super) struct AmountRow<'a> {
    pub(super) amount: f64,
    pub(super) way: &'a str,
    pub(super) facts: &'a Facts,
    pub(super) activation_bytes: usize,
    /// Points of test accuracy that it lost.
    pub(super) lost: String,
    /// Multiply-adds of the network that amounts are counted from.
    pub(super) base_macs: u64,
    pub(super) epochs: Option<f64>,
}

impl<'a> AmountRow<'a> {
    /// That of a way's run to an amount.
    pub(super) fn of_run(amount: f64, way: &'a str, run: &'a RunReport) -> Self {
        Self {
            amount,
            way,
            facts: &run.pruned,
            activation_bytes: run.activation_bytes,
            lost: drop_points(&run.drop),
            base_macs: run.base.macs,
            epochs: Some(run.epochs),
        }
    }

    pub(super) fn cells(self) -> Vec<String> {
        let Self { amount, way, facts, activation_bytes, lost, base_macs, epochs } = self;
        let mut row = vec![format!("{amount}x"), way.to_owned(), percent(facts.accuracy), lost];
        row.extend([percent(facts.validation_accuracy), times(base_macs, facts.macs)]);
        row.extend(size(facts, activation_bytes));
        row.push(epochs.map(|epochs| format!("{epochs:.2}")).unwrap_or_default());
        row
    }
}

/// A pruning run that is done.
pub(super) fn run<'a>(report: &'a Report, id: &str) -> Option<&'a RunReport> {
    match report.found(id)? {
        Found::Pruned(run) => Some(run),
        _ => None,
    }
}

/// A network, given or trained, that is done.
pub(super) fn network<'a>(report: &'a Report, id: &str) -> Option<&'a NetworkReport> {
    match report.found(id)? {
        Found::Network(network) => Some(network),
        _ => None,
    }
}

/// A measurement that is done.
pub(super) fn measurement<'a>(report: &'a Report, id: &str) -> Option<&'a Measurement> {
    match report.found(id)? {
        Found::Speed(measurement) => Some(measurement),
        _ => None,
    }
}

/// Measured speed of each network against the first.
pub(super) fn speed(report: &Report, name: &str, id: &str) -> Option<Table> {
    let columns = [
        "network",
        "batch",
        "threads",
        "base p50 (ms)",
        "p50 (ms)",
        "p90 (ms)",
        "img/s",
        "faster (95 %)",
        "base warm (ms)",
        "warm (ms)",
        "faster, warm (95 %)",
        "fewer MACs",
    ];
    let measured = measurement(report, id)?;
    let warm = |row: &Row| row.warm_ms_p50.map_or_else(String::new, |ms| format!("{ms:.3}"));
    let rows = measured.ratios.iter().filter_map(|ratio| {
        let row = |net: &str| {
            measured.rows.iter().find(|row| {
                (row.net.as_str(), row.batch, row.threads) == (net, ratio.batch, ratio.threads)
            })
        };
        let (base, net) = (row(&ratio.base)?, row(&ratio.net)?);
        Some(vec![
            ratio.net.clone(),
            ratio.batch.to_string(),
            ratio.threads.to_string(),
            format!("{:.3}", base.latency_ms_p50),
            format!("{:.3}", net.latency_ms_p50),
            format!("{:.3}", net.latency_ms_p90),
            format!("{:.0}", net.images_per_s),
            faster(&ratio.in_turn),
            warm(base),
            warm(net),
            faster_warm(ratio),
            times(base.macs, net.macs),
        ])
    });
    let isa = measured.rows.first().map_or("", |row| row.isa.as_str());
    Some(Table {
        name: name.into(),
        title: format!(
            "**Measured speed.** Time of a whole batch ({isa}), all networks in turn: right after another \
             network, and warm, after other batches of the same; ratios of medians with \
             bootstrap intervals."
        ),
        columns: heads(&columns),
        rows: rows.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_a_mean_and_a_sample_deviation() {
        assert_eq!(spread(&[1.0, 2.0, 3.0], 2), "2.00 ± 1.00");
        assert_eq!(spread(&[1.25], 2), "1.25");
        assert_eq!(spread(&[], 2), "-");
    }
}
