//! What a pruning run would do.

use super::check::least;
use super::file::File;
use crate::cli::common::Common;
use crate::cli::exit;
use crate::cli::output::{self, grouped};
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
    out: PathBuf,
}

/// Of the target's unit: what there is, what may be left, and what is left with every layer at its floor.
#[derive(Serialize)]
struct Goal {
    unit: Unit,
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
    // What a latency target asks for is known when a run has measured the layers.
    let target = config.target.and_then(|target| {
        let meter = Meter::new(target.unit, None)?;
        let limit = meter.limit(graph, target.amount);
        Some(Goal {
            unit: target.unit,
            count: meter.count(graph),
            limit,
            least: meter.count(&floor),
        })
    });
    let document = Document {
        schema: "pleach.prune-plan/1",
        net: &file.net,
        criterion: &config.criterion,
        phases: config.phases,
        macs: graph.macs(),
        params: graph.trainable(),
        channels: channels.prunable().len(),
        target,
        replayed,
        max_drop_points: config.max_drop,
        epochs_budget: config.epochs_budget,
        out,
    };
    if common.json {
        output::json(&document)?;
    } else {
        output::print(&text(&document, config))?;
    }
    Ok(exit::OK)
}

fn text(document: &Document<'_>, config: &PruneConfig) -> String {
    let Document { net, criterion, macs, channels, out, max_drop_points: drop, .. } = document;
    let phases = match config.phases {
        Phases::Both => "both phases",
        Phases::Global => "phase I",
        Phases::Layerwise => "phase II",
    };
    let how = match (&document.target, &document.replayed) {
        (_, Some(Replayed { macs, channels, .. })) => {
            format!("by a plan, which leaves {} MACs and {channels} channels", grouped(*macs))
        }
        (Some(Goal { unit, count, limit, least }), None) => format!(
            "by {criterion} in {phases} from {} to {} {unit} (with every layer at its floor {}), losing at most \
             {drop} points",
            grouped(*count),
            grouped(*limit),
            grouped(*least)
        ),
        (None, None) => {
            format!("by {criterion} in {phases} as far as losing at most {drop} points allows")
        }
    };
    let epochs = match config.epochs_budget {
        Some(0.0) => "without fine-tuning".to_owned(),
        Some(epochs) => format!("in {epochs} epochs of fine-tuning"),
        None => format!("with {} epochs of fine-tuning at the end", config.final_epochs),
    };
    format!(
        "would prune {net} ({} MACs, {channels} channels that can be removed) {how}, {epochs}, into {}\n",
        grouped(*macs),
        out.display()
    )
}
