//! Ways of pruning side by side: a row an amount.

use super::builder::amount_id;
use super::text::{measurement, percent};
use crate::latency::Ratio;
use crate::report::Table;
use crate::reproduce::Report;

/// The batch size and threads of the times.
pub(super) const TIMED: (usize, usize) = (1, 1);

/// A way to every amount.
pub(super) struct Shown<'a> {
    /// What tables call it.
    pub(super) name: &'a str,
    /// Its cells, less the amount.
    pub(super) id: String,
    /// Whether its networks are measured.
    pub(super) timed: bool,
}

/// What the networks of all ways are worth.
pub(super) struct Overview<'a> {
    pub(super) report: &'a Report,
    /// The paper's table that it is of, `T6`, whose measurement's cell is `t6-speed`.
    pub(super) of: &'a str,
    /// What tables call the network that is pruned, and its cell.
    pub(super) model: &'a str,
    pub(super) base: &'a str,
    pub(super) amounts: &'a [f64],
    pub(super) ways: Vec<Shown<'a>>,
}

impl Overview<'_> {
    /// The table: test accuracy by each way, and how much faster the networks of those are that are measured.
    /// Nothing without a network.
    pub(super) fn table(&self) -> Option<Table> {
        let base = self.report.facts(self.base)?;
        let timed: Vec<&Shown<'_>> = self.ways.iter().filter(|way| way.timed).collect();
        let columns = ["fewer MACs".to_owned()]
            .into_iter()
            .chain(self.ways.iter().map(|way| format!("{}, %", way.name)))
            .chain(timed.iter().map(|way| format!("{}, faster", way.name)));
        let rows = self.amounts.iter().filter_map(|&amount| {
            let accuracies: Vec<String> =
                self.ways.iter().map(|way| self.accuracy(way, amount)).collect();
            if accuracies.iter().all(String::is_empty) {
                return None;
            }
            let faster = timed.iter().map(|way| self.faster(way, amount));
            Some([format!("{amount}x")].into_iter().chain(accuracies).chain(faster).collect())
        });
        let (batch, threads) = TIMED;
        let table = Table {
            name: self.name("overview"),
            title: format!(
                "**{}, overview.** {} on {}, base {} % test accuracy, {:.1} M multiply-adds. Test accuracy by each \
                 way, and how many times as fast as the base its networks are (threads: {threads}, batch: {batch}), \
                 right after another network and warm.",
                self.of,
                self.model,
                self.report.dataset,
                percent(base.accuracy),
                base.macs as f64 / 1e6
            ),
            columns: columns.collect(),
            rows: rows.collect(),
        };
        (!table.rows.is_empty()).then_some(table)
    }

    fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.of.to_lowercase())
    }

    fn accuracy(&self, way: &Shown<'_>, amount: f64) -> String {
        let facts = self.report.facts(&amount_id(&way.id, amount));
        facts.map(|facts| percent(facts.accuracy)).unwrap_or_default()
    }

    fn faster(&self, way: &Shown<'_>, amount: f64) -> String {
        let id = amount_id(&way.id, amount);
        let told = |ratio: &Ratio| {
            let warm = ratio.warm.as_ref().map(|warm| format!(", {:.2}x", warm.speedup));
            format!("{:.2}x{}", ratio.in_turn.speedup, warm.unwrap_or_default())
        };
        let ratio = measurement(self.report, &self.name("speed")).and_then(|measured| {
            measured
                .ratios
                .iter()
                .find(|ratio| ratio.net == id && (ratio.batch, ratio.threads) == TIMED)
        });
        ratio.map(told).unwrap_or_default()
    }
}
