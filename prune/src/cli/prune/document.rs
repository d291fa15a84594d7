//! What a pruning run reports.

use crate::cli::output::{grouped, table};
use pleach_core::models;
use pleach_prune::latency::{Measurement, Ratio, Row};
use pleach_prune::phases::{Counted, Facts, Outcome, PairedDrop, Phases, PruneConfig, StepRecord};
use pleach_prune::run_dir::RunDir;
use serde::{Deserialize, Serialize};
use std::fs;

/// The document's file in the run's folder.
pub(super) const RESULT: &str = "result.json";

const SCHEMA: &str = "pleach.prune/1";

/// `result.json`: `pleach.prune/1`.
#[derive(Serialize, Deserialize)]
pub(super) struct Document {
    schema: String,
    criterion: String,
    phases: Phases,
    base: Size,
    pruned: Pruned,
    steps: Vec<StepRecord>,
    speedup: Vec<Ratio>,
    latency: Vec<Row>,
    /// What the target counts; `None` without one.
    #[serde(default)]
    pub(super) target: Option<Counted>,
    pub(super) target_met: bool,
    /// Test accuracy lost, in points.
    drop: PairedDrop,
    /// Points lost against the reference, on its split, by which the run decided.
    pub(super) drop_points: f64,
    reference: String,
    epochs: f64,
    seed: u64,
    without_bias_update: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Size {
    accuracy: f64,
    macs: u64,
    params: u64,
    bytes: u64,
    validation_accuracy: f64,
}

#[derive(Serialize, Deserialize)]
struct Pruned {
    #[serde(flatten)]
    size: Size,
    widths: Vec<usize>,
}

impl Size {
    fn new(facts: &Facts) -> Self {
        let &Facts { accuracy, validation_accuracy, macs, params, bytes } = facts;
        Self { accuracy, macs, params, bytes, validation_accuracy }
    }
}

impl Document {
    pub(super) fn new(config: &PruneConfig, outcome: &Outcome, speed: &Measurement) -> Self {
        Self {
            schema: SCHEMA.into(),
            criterion: config.criterion.clone(),
            phases: config.phases,
            base: Size::new(&outcome.base),
            pruned: Pruned {
                size: Size::new(&outcome.pruned),
                widths: models::widths(outcome.network.graph()),
            },
            steps: outcome.steps.clone(),
            speedup: speed.ratios.clone(),
            latency: speed.rows.clone(),
            target: outcome.target,
            target_met: outcome.target_met,
            drop: outcome.test_drop,
            drop_points: outcome.drop_points,
            reference: outcome.reference.into(),
            epochs: outcome.epochs,
            seed: config.seed,
            without_bias_update: outcome.without_bias_update.clone(),
        }
    }

    /// The result of a run that was finished before.
    pub(super) fn of(run: &RunDir) -> Option<Self> {
        let text = fs::read_to_string(run.file(RESULT)).ok()?;
        serde_json::from_str(&text).ok().filter(|document: &Self| document.schema == SCHEMA)
    }

    /// The document as people read it.
    pub(super) fn text(&self, run: &RunDir) -> String {
        let (base, pruned) = (&self.base, &self.pruned.size);
        let fewer = |a: u64, b: u64| format!("{:.2}x fewer", a as f64 / b.max(1) as f64);
        let counts = [
            ("MACs an image", base.macs, pruned.macs),
            ("parameters", base.params, pruned.params),
            ("bytes (f32)", base.bytes, pruned.bytes),
        ];
        let percent = |accuracy: f64| format!("{:.2} %", 100.0 * accuracy);
        let PairedDrop { points, low, high } = self.drop;
        let mut rows = vec![vec![
            "test accuracy".to_owned(),
            percent(base.accuracy),
            percent(pruned.accuracy),
            format!("{:+.2} points ({:+.2} to {:+.2})", -points, -high, -low),
        ]];
        rows.extend(counts.map(|(name, base, pruned)| {
            vec![name.to_owned(), grouped(base), grouped(pruned), fewer(base, pruned)]
        }));
        let rows_of =
            |net: &str| self.latency.iter().filter(move |row| row.net == net).collect::<Vec<_>>();
        for ((base, pruned), ratio) in
            rows_of("base").iter().zip(rows_of("pruned")).zip(&self.speedup)
        {
            let threads = if base.threads == 1 { "thread" } else { "threads" };
            rows.push(vec![
                format!("ms, batch {}, {} {threads}", base.batch, base.threads),
                format!("{:.3}", base.latency_ms_p50),
                format!("{:.3}", pruned.latency_ms_p50),
                format!("{:.2}x faster ({:.2} to {:.2})", ratio.speedup, ratio.low, ratio.high),
            ]);
        }
        let widths: Vec<String> = self.pruned.widths.iter().map(ToString::to_string).collect();
        format!(
            "{}\nwidths {}\nin {}: pruned.safetensors, plan.json, result.json, metrics.jsonl, run.toml, \
             env.json\n",
            table(&["", "base", "pruned", ""], rows),
            widths.join(","),
            run.path().display()
        )
    }
}
