//! What a pruning run would do.

use super::check::least;
use super::file::File;
use crate::cli::common::Common;
use crate::cli::exit;
use crate::cli::output::{self, counted, grouped};
use anyhow::Result;
use pleach_core::graph::Graph;
use pleach_prune::channels::Channels;
use pleach_prune::phases::{Phases, PruneConfig};
use pleach_prune::plan;
use pleach_prune::surgery;
use pleach_prune::target::{Meter, Unit};
use serde::Serialize;
use std::path::PathBuf;

/// `pleach.prune-plan/1`.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    net: &'a str,
    /// The run that it would go on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    criterion: &'a str,
    phases: Phases,
    macs: u64,
    params: u64,
    /// That can be removed.
    channels: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Goal>,
    /// Of a plan that is replayed: what its network will have.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<Replayed>,
    max_drop_points: f64,
    epochs_budget: Option<f64>,
    out: String,
}

#[derive(Serialize)]
struct Goal {
    unit: Unit,
    /// How many times fewer.
    factor: f64,
    /// Of a latency target these are known when the run has measured the layers.
    #[serde(flatten)]
    counts: Option<Counts>,
}

/// Of the target's unit: what there is, what may be left, and what is left with every layer at its floor.
#[derive(Serialize)]
struct Counts {
    count: u64,
    limit: u64,
    least: u64,
}

#[derive(Serialize)]
struct Replayed {
    macs: u64,
    params: u64,
    channels: usize,
}

pub(super) fn run(common: &Common, file: &File, graph: &Graph, out: PathBuf) -> Result<u8> {
    let config = &file.prune;
    let channels = Channels::of(graph);
    let replayed = match &config.replay {
        Some(keeps) => {
            let kept = plan::kept_of(graph, &channels, keeps)?;
            let pruned = surgery::shrink(graph, &channels, &kept);
            let channels = Channels::of(&pruned).prunable().len();
            Some(Replayed { macs: pruned.macs(), params: pruned.trainable(), channels })
        }
        None => None,
    };
    let floor = surgery::shrink(graph, &channels, &least(graph, &channels, config));
    let target = config.target.map(|target| Goal {
        unit: target.unit,
        factor: target.amount.factor(),
        counts: Meter::new(target.unit, None).map(|meter| Counts {
            count: meter.count(graph),
            limit: meter.limit(graph, target.amount),
            least: meter.count(&floor),
        }),
    });
    let document = Document {
        schema: "pleach.prune-plan/1",
        net: &file.net,
        after: file.after.as_deref().map(output::shown),
        criterion: &config.criterion,
        phases: config.phases,
        macs: graph.macs(),
        params: graph.trainable(),
        channels: channels.prunable().len(),
        target,
        replayed,
        max_drop_points: config.max_drop,
        epochs_budget: config.epochs_budget,
        out: output::shown(&out),
    };
    if common.json {
        output::json(&document)?;
    } else {
        output::print(&text(&document, config))?;
    }
    Ok(exit::OK)
}

fn text(document: &Document<'_>, config: &PruneConfig) -> String {
    let Document { net, criterion, macs, channels, out, .. } = document;
    let drop = counted(document.max_drop_points, "point");
    let phases = match config.phases {
        Phases::Both => "both phases",
        Phases::Global => "phase I",
        Phases::Layerwise => "phase II",
    };
    let how = match (&document.target, &document.replayed) {
        (_, Some(Replayed { macs, channels, .. })) => {
            format!(
                "by a plan, which leaves {} MACs and {channels} channels, losing at most {drop}",
                grouped(*macs)
            )
        }
        (Some(Goal { unit, factor, counts }), None) => {
            let counts = counts.as_ref().map(|Counts { count, limit, least }| {
                let [count, limit, least] = [count, limit, least].map(|count| grouped(*count));
                format!(" (from {count} to {limit}; with every layer at its floor {least})")
            });
            format!(
                "by {criterion} in {phases} to {factor:.2}x {}{}, losing at most {drop}",
                match unit {
                    Unit::Latency =>
                        "less time, in nanoseconds by the table of its layers".to_owned(),
                    unit => format!("fewer {unit}"),
                },
                counts.unwrap_or_default()
            )
        }
        (None, None) => {
            format!("by {criterion} in {phases} as far as losing at most {drop} allows")
        }
    };
    let epochs = match config.epochs_budget {
        Some(0.0) => "without fine-tuning".to_owned(),
        Some(epochs) => format!("in {} of fine-tuning", counted(epochs, "epoch")),
        None => format!("with {} of fine-tuning at the end", counted(config.final_epochs, "epoch")),
    };
    let from = match &document.after {
        Some(after) => format!("on from where {after} ended, "),
        None => String::new(),
    };
    format!(
        "would prune {net} ({} MACs, {channels} channels that can be removed) {from}{how}, {epochs}, into {}\n",
        grouped(*macs),
        out
    )
}
