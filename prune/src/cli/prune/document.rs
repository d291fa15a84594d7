//! What a pruning run reports.

use crate::cli::output::table;
use pleach_core::models;
use pleach_prune::latency::{LayerRow, Measurement};
use pleach_prune::phases::{Outcome, PruneConfig};
use pleach_prune::report::{self, PruneResult, Pruned, RESULT_SCHEMA, ReportError};
use pleach_prune::run_dir::RunDir;
use std::collections::BTreeMap;

/// What a run found beside its outcome.
pub(super) struct Findings<'a> {
    pub(super) model: &'a str,
    pub(super) dataset: &'a str,
    pub(super) speed: Measurement,
    pub(super) layers: Vec<LayerRow>,
    pub(super) sha256: BTreeMap<String, String>,
}

pub(super) fn result(
    config: &PruneConfig,
    outcome: &Outcome,
    findings: Findings<'_>,
) -> PruneResult {
    let Findings { model, dataset, speed, layers, sha256 } = findings;
    PruneResult {
        schema: RESULT_SCHEMA.into(),
        model: model.into(),
        dataset: dataset.into(),
        criterion: config.criterion.clone(),
        phases: config.phases,
        base: outcome.base.clone(),
        pruned: Pruned {
            facts: outcome.pruned.clone(),
            widths: models::widths(outcome.network.graph()),
        },
        steps: outcome.steps.clone(),
        speedup: speed.ratios,
        latency: speed.rows,
        layers,
        target: outcome.target,
        target_met: outcome.target_met,
        drop: outcome.test_drop,
        drop_points: outcome.drop_points,
        reference: outcome.reference.into(),
        epochs: outcome.epochs,
        seed: config.seed,
        without_bias_update: outcome.without_bias_update.clone(),
        sha256,
        seconds: outcome.seconds,
    }
}

/// The result of a run that was finished before; one that cannot be read is not made again over it.
pub(super) fn of(run: &RunDir) -> Result<Option<PruneResult>, ReportError> {
    match report::pruning_result(run) {
        Ok(result) => Ok(Some(result)),
        Err(ReportError::Unfinished(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The result as people read it.
pub(super) fn text(result: &PruneResult, run: &RunDir) -> String {
    let rows = report::headline(result).rows;
    let widths: Vec<String> = result.pruned.widths.iter().map(ToString::to_string).collect();
    format!(
        "{}\nwidths {}\nin {}: pruned.safetensors, report.html, plan.json, result.json, metrics.jsonl, run.toml, \
         env.json\n",
        table(&["", "base", "pruned", ""], rows),
        widths.join(","),
        run.path().display()
    )
}
