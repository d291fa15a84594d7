//! What became of each layer's filters.

use super::Run;
use crate::criteria;
use crate::plan::Plan;
use crate::report::{Marks, Picture, RowSeries, Rows, Section, Table};
use std::collections::BTreeSet;

/// A layer that makes channels, in the original network's order.
struct Layer<'a> {
    name: &'a str,
    before: usize,
    kept: &'a [usize],
    /// Why none of its channels can be removed, if so.
    unprunable: Option<&'a str>,
}

fn layers(plan: &Plan) -> Vec<Layer<'_>> {
    let mut seen = BTreeSet::new();
    let names = plan.groups.iter().flat_map(|group| &group.layers);
    let names = names.filter(|name| seen.insert(*name));
    let layers = names.map(|name| Layer {
        name,
        before: plan.width(name),
        kept: plan.kept.get(name).map_or(&[][..], Vec::as_slice),
        unprunable: plan.unprunable(name),
    });
    // The image is in a group too, and has nothing to keep.
    layers.filter(|layer| plan.kept.contains_key(layer.name)).collect()
}

/// Widths before and after.
pub(super) fn widths(plan: &Plan) -> Section {
    let layers = layers(plan);
    let widths = |name: &str, width: fn(&Layer<'_>) -> usize| RowSeries {
        name: name.into(),
        values: layers.iter().map(|layer| vec![width(layer) as f64]).collect(),
    };
    let figure = Rows {
        name: "widths".into(),
        title: "Widths before and after".into(),
        x: "channels".into(),
        labels: layers.iter().map(|layer| layer.name.to_owned()).collect(),
        series: vec![
            widths("before", |layer| layer.before),
            widths("after", |layer| layer.kept.len()),
        ],
        marks: Marks::Bars,
    };
    let rows = layers.iter().map(|layer| {
        let (before, after) = (layer.before, layer.kept.len());
        vec![
            layer.name.to_owned(),
            before.to_string(),
            after.to_string(),
            format!("{:.1} %", 100.0 * after as f64 / before.max(1) as f64),
            layer.unprunable.map_or_else(String::new, |reason| format!("not pruned: {reason}")),
        ]
    });
    Section {
        id: "widths".into(),
        label: "Widths".into(),
        heading: "What is left of each layer".into(),
        text: Vec::new(),
        tables: vec![Table {
            name: "widths".into(),
            title: "Channels of the layers that make them".into(),
            columns: ["layer", "before", "after", "left", ""].map(Into::into).to_vec(),
            rows: rows.collect(),
        }],
        figures: vec![Picture::Rows(figure)],
    }
}

/// How the original network's filters were scored, and which of them are gone; nothing where the run has
/// scored none, or no plan.
pub(super) fn scores(run: &Run) -> Option<Section> {
    let plan = run.plan.as_ref()?;
    // The run that this one goes on from may have chosen by another.
    let criterion = plan.steps.first().map_or(&run.result.criterion, |step| &step.criterion);
    let in_nats = criteria::named(criterion).is_ok_and(|criterion| criterion.in_nats());
    let scored: Vec<Scored<'_>> = layers(plan)
        .into_iter()
        .filter_map(|layer| {
            let scores = plan.scores.get(layer.name)?;
            let mean = scores.iter().map(|score| f64::from(score.abs())).sum::<f64>();
            let mean = mean / scores.len().max(1) as f64;
            let scale = if in_nats || mean == 0.0 { 1.0 } else { 1.0 / mean };
            let kept: BTreeSet<usize> = layer.kept.iter().copied().collect();
            let of = |is_kept: bool| {
                let scores = scores.iter().enumerate();
                let scores = scores.filter(|(i, _)| kept.contains(i) == is_kept);
                scores.map(|(_, &score)| f64::from(score) * scale).collect()
            };
            Some(Scored { name: layer.name, kept: of(true), removed: of(false) })
        })
        .collect();
    if scored.is_empty() {
        return None;
    }
    let unit = if in_nats { "nats" } else { "over the layer's mean" };
    let series = |name: &str, values: fn(&Scored<'_>) -> Vec<f64>| RowSeries {
        name: name.into(),
        values: scored.iter().map(values).collect(),
    };
    let figure = Rows {
        name: "scores".into(),
        title: format!("{criterion} of the original network's filters"),
        x: format!("{criterion} ({unit})"),
        labels: scored.iter().map(|layer| layer.name.to_owned()).collect(),
        series: vec![
            series("kept", |layer| layer.kept.clone()),
            series("removed", |layer| layer.removed.clone()),
        ],
        marks: Marks::Ticks,
    };
    let mean = |values: &[f64]| match values.len() {
        0 => "-".to_owned(),
        n => format!("{:.3}", values.iter().sum::<f64>() / n as f64),
    };
    let end = |values: &[f64], of: fn(f64, f64) -> f64| {
        values.iter().copied().reduce(of).map_or_else(|| "-".to_owned(), |x| format!("{x:.3}"))
    };
    let rows = scored.iter().map(|Scored { name, kept, removed }| {
        vec![
            (*name).to_owned(),
            (kept.len() + removed.len()).to_string(),
            removed.len().to_string(),
            mean(kept),
            mean(removed),
            end(kept, f64::min),
            end(removed, f64::max),
        ]
    });
    let columns = [
        "layer",
        "filters",
        "removed",
        "mean of the kept",
        "of the removed",
        "least kept",
        "largest removed",
    ];
    Some(Section {
        id: "scores".into(),
        label: "Scores".into(),
        heading: "How filters were scored".into(),
        text: vec![
            "Scores are of the original network, before the first removal. Each later removal was scored anew, in \
             the network as it then was, and joined over layers that share channels: so that what is removed need \
             not be lowest here."
                .into(),
        ],
        tables: vec![Table {
            name: "scores".into(),
            title: format!("{criterion}, {unit}"),
            columns: columns.map(Into::into).to_vec(),
            rows: rows.collect(),
        }],
        figures: vec![Picture::Rows(figure)],
    })
}

/// A layer's scores.
struct Scored<'a> {
    name: &'a str,
    kept: Vec<f64>,
    removed: Vec<f64>,
}
