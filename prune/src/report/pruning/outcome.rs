//! What a run came to, and where the time of its network goes.

use crate::latency::{LayerRow, Row, Speedup};
use crate::phases::{PairedDrop, StepRecord};
use crate::plan::Plan;
use crate::report::result::PruneResult;
use crate::report::{
    Axis, Figure, Marks, Picture, RowSeries, Rows, Section, Series, Table, grouped,
};

/// Base and pruned network in numbers, and what changed: accuracy with the drop's interval, multiply-adds,
/// parameters, bytes, and measured times.
#[must_use]
pub fn headline(result: &PruneResult) -> Table {
    let (base, pruned) = (&result.base, &result.pruned.facts);
    let PairedDrop { points, low, high } = result.drop;
    let mut rows = vec![vec![
        "test accuracy".to_owned(),
        percent(base.accuracy),
        percent(pruned.accuracy),
        format!("{:+.2} points ({:+.2} to {:+.2})", 0.0 - points, 0.0 - high, 0.0 - low),
    ]];
    let counts = [
        ("MACs an image", base.macs, pruned.macs),
        ("parameters", base.params, pruned.params),
        ("bytes (f32)", base.bytes, pruned.bytes),
    ];
    rows.extend(counts.map(|(name, base, pruned)| {
        let fewer = format!("{} fewer", times_fewer(base, pruned));
        vec![name.to_owned(), grouped(base), grouped(pruned), fewer]
    }));
    for ([base, pruned], ratio) in pairs(result).zip(&result.speedup) {
        let setting = setting(base.batch, base.threads);
        let mut row = |name: String, [base, pruned]: [f64; 2], by: Speedup| {
            let Speedup { speedup, low, high } = by;
            let faster = format!("{speedup:.2}x faster ({low:.2} to {high:.2})");
            rows.push(vec![name, format!("{base:.3}"), format!("{pruned:.3}"), faster]);
        };
        let in_turn = [base.latency_ms_p50, pruned.latency_ms_p50];
        row(format!("ms, {setting}"), in_turn, ratio.in_turn);
        if let (Some(base), Some(pruned), Some(by)) =
            (base.warm_ms_p50, pruned.warm_ms_p50, ratio.warm)
        {
            row(format!("ms, warm, {setting}"), [base, pruned], by);
        }
    }
    Table {
        name: "headline".into(),
        title: "Before and after; in parentheses, 95 % intervals. Times are of a whole batch, right after the \
                other network; warm, after other batches of the same"
            .into(),
        columns: ["", "base", "pruned", "change"].map(Into::into).to_vec(),
        rows,
    }
}

/// What the page says first.
pub(super) fn summary(result: &PruneResult) -> String {
    let PruneResult { steps, epochs, seconds, criterion, phases, reference, .. } = result;
    let kept = steps.iter().filter(|step| step.accepted).count();
    let phases = match serde_json::to_value(phases) {
        Ok(serde_json::Value::String(name)) if name != "both" => format!("the {name} phase alone"),
        _ => "both phases".to_owned(),
    };
    let any = |phase: &str| steps.iter().any(|step| step.phase == phase);
    let how = match (any("replay"), any("once")) {
        (true, _) => "By a plan that was given".to_owned(),
        (false, true) => format!("By {criterion}, at once and without fine-tuning"),
        (false, false) => format!("By {criterion} and {phases}"),
    };
    let (from, since) = match result.sha256.contains_key("after") {
        true => (", on from where another run ended", " since the base network"),
        false => ("", ""),
    };
    let missed = match (result.target_met, &result.target) {
        (true, _) => "",
        (false, Some(target)) if target.left > target.limit => " The target was missed.",
        (false, _) => " More accuracy was lost than was allowed.",
    };
    format!(
        "{how}{from}: {kept} of {} removals stand, {epochs:.1} epochs of fine-tuning{since}, {seconds:.0} s. \
         Steps were judged by validation accuracy against the base's {reference} accuracy; the test images \
         were read once for each network.{missed}",
        steps.len()
    )
}

pub(super) fn result(result: &PruneResult) -> Section {
    let series = pairs(result).map(|[base, pruned]| {
        let per_image = |row: &Row| row.latency_ms_p50 / row.batch as f64;
        let point = |row: &Row, accuracy: f64| (per_image(row), 100.0 * accuracy);
        Series {
            name: setting(base.batch, base.threads),
            points: vec![
                point(base, result.base.accuracy),
                point(pruned, result.pruned.facts.accuracy),
            ],
            joined: true,
        }
    });
    let series: Vec<Series> = series.collect();
    let figure = Figure {
        name: "time".into(),
        title: "Accuracy against measured time, before and after".into(),
        x: axis("time an image (ms)"),
        y: axis("test accuracy (%)"),
        series,
    };
    let figures = (!figure.series.is_empty()).then_some(Picture::Lines(figure));
    let mut text = Vec::new();
    if !result.without_bias_update.is_empty() {
        text.push(format!(
            "Nothing could stand in for the removed inputs of {}, for lack of a bias or batch norm.",
            result.without_bias_update.join(", ")
        ));
    }
    Section {
        id: "result".into(),
        label: "Result".into(),
        heading: "Result".into(),
        text,
        tables: vec![headline(result)],
        figures: figures.into_iter().collect(),
    }
}

/// Multiply-adds and validation accuracy of the network that a run went on from, if that was another's: the plan
/// has both runs' steps, the result its own.
fn start(result: &PruneResult, plan: &Plan) -> Option<(u64, f64)> {
    let (earlier, own) =
        plan.steps.split_at_checked(plan.steps.len().checked_sub(result.steps.len())?)?;
    let last = earlier.iter().rfind(|step| step.accepted)?;
    Some((last.macs, own.first()?.accuracy_before))
}

/// Accuracy against multiply-adds from removal to removal.
pub(super) fn steps(result: &PruneResult, plan: Option<&Plan>) -> Section {
    let steps = || result.steps.iter();
    let point = |macs: u64, accuracy: f64| (macs as f64 / 1e6, 100.0 * accuracy);
    let tuned = |step: &StepRecord| point(step.macs, step.accuracy);
    let base = point(result.base.macs, result.base.validation_accuracy);
    let start = plan.and_then(|plan| start(result, plan));
    let start = start.map_or(base, |(macs, accuracy)| point(macs, accuracy));
    let last = &result.pruned.facts;
    let kept = steps().filter(|step| step.accepted);
    let series = [
        ("kept", [start].into_iter().chain(kept.map(tuned)).collect(), true),
        ("undone", steps().filter(|step| !step.accepted).map(tuned).collect(), false),
        (
            "right after surgery",
            steps()
                .filter_map(|step| Some(point(step.macs, step.accuracy_after_surgery?)))
                .collect(),
            false,
        ),
        ("in the end", vec![point(last.macs, last.validation_accuracy)], false),
    ];
    let series = series.into_iter().filter(|(_, points, _): &(_, Vec<_>, _)| !points.is_empty());
    let figure = Figure {
        name: "steps".into(),
        title: "Accuracy against multiply-adds, removal by removal".into(),
        x: axis("multiply-adds an image (M)"),
        y: axis("validation accuracy (%)"),
        series: series
            .map(|(name, points, joined)| Series { name: name.into(), points, joined })
            .collect(),
    };
    let mut phases: Vec<&str> = Vec::new();
    steps().for_each(|step| {
        if !phases.contains(&&*step.phase) {
            phases.push(&step.phase);
        }
    });
    let rows = phases.into_iter().map(|phase| {
        let of_phase = || steps().filter(|step| step.phase == phase);
        let kept: Vec<&StepRecord> = of_phase().filter(|step| step.accepted).collect();
        let sum = |value: fn(&StepRecord) -> f64| of_phase().map(value).sum::<f64>();
        let last = |text: fn(&StepRecord) -> String| {
            kept.last().map_or_else(|| "-".into(), |step| text(step))
        };
        vec![
            phase.to_owned(),
            of_phase().count().to_string(),
            kept.len().to_string(),
            kept.iter().map(|step| step.removed).sum::<usize>().to_string(),
            last(|step| grouped(step.macs)),
            last(|step| percent(step.accuracy)),
            format!("{:.2}", sum(|step| step.epochs)),
            format!("{:.0}", sum(|step| step.seconds)),
        ]
    });
    let columns = [
        "phase",
        "removals tried",
        "kept",
        "channels removed",
        "MACs after it",
        "validation accuracy after it",
        "epochs",
        "seconds",
    ];
    Section {
        id: "steps".into(),
        label: "Steps".into(),
        heading: "From removal to removal".into(),
        text: Vec::new(),
        tables: vec![Table {
            name: "phases".into(),
            title: "What each phase did; coupled channels count once. The final fine-tuning comes after it".into(),
            columns: columns.map(Into::into).to_vec(),
            rows: rows.collect(),
        }],
        figures: vec![Picture::Lines(figure)],
    }
}

/// Share of the multiply-adds against share of the time, layer by layer; nothing where it was not measured.
pub(super) fn time(result: &PruneResult) -> Option<Section> {
    let of_net = |net: &'static str| result.layers.iter().filter(move |row| row.net == net);
    let pruned: Vec<&LayerRow> = of_net("pruned").collect();
    let first = *pruned.first()?;
    let base: Vec<&LayerRow> = of_net("base").collect();
    let at = setting(first.batch, first.threads);
    let share = |name: &str, value: fn(&LayerRow) -> f64| RowSeries {
        name: name.into(),
        values: pruned.iter().map(|row| vec![100.0 * value(row)]).collect(),
    };
    let figure = Rows {
        name: "shares".into(),
        title: format!("The pruned network's multiply-adds and time, {at}"),
        x: "share of the network (%)".into(),
        labels: pruned.iter().map(|row| row.layer.clone()).collect(),
        series: vec![
            share("multiply-adds", |row| row.macs_share),
            share("time", |row| row.time_share),
        ],
        marks: Marks::Bars,
    };
    let rows = pruned.iter().map(|row| {
        let before = base.iter().find(|other| other.layer == row.layer);
        let macs = |row: &LayerRow| format!("{:.2}", row.macs as f64 / 1e6);
        let ms = |row: &LayerRow| format!("{:.4}", row.ms_p50);
        let dash = || "-".to_owned();
        let fewer = before
            .filter(|_| row.macs > 0)
            .map_or_else(dash, |before| format!("{:.2}x", before.macs as f64 / row.macs as f64));
        let faster =
            before.map_or_else(dash, |before| format!("{:.2}x", before.ms_p50 / row.ms_p50));
        vec![
            row.layer.clone(),
            row.kernel.clone(),
            before.map_or_else(dash, |row| macs(row)),
            macs(row),
            fewer,
            before.map_or_else(dash, |row| ms(row)),
            ms(row),
            faster,
        ]
    });
    let columns =
        ["layer", "computed by", "M MACs, base", "pruned", "fewer", "ms, base", "pruned", "faster"];
    Some(Section {
        id: "time".into(),
        label: "Time".into(),
        heading: "Where the time goes, and what limits the speed-up".into(),
        text: vec![why(result, &pruned, &at)],
        tables: vec![Table {
            name: "layers".into(),
            title: format!(
                "Each step of inference, {at}; medians, a layer with what runs in its pass"
            ),
            columns: columns.map(Into::into).to_vec(),
            rows: rows.collect(),
        }],
        figures: vec![Picture::Rows(figure)],
    })
}

/// What keeps time from falling as multiply-adds do.
fn why(result: &PruneResult, pruned: &[&LayerRow], at: &str) -> String {
    /// A layer below this share of the time explains nothing, in per cent.
    const LEAST: f64 = 3.0;
    let factor = result.base.macs as f64 / result.pruned.facts.macs.max(1) as f64;
    let first = pruned[0];
    let same = |ratio: &&crate::latency::Ratio| {
        (ratio.batch, ratio.threads) == (first.batch, first.threads)
    };
    let mut text = match result.speedup.iter().find(same) {
        Some(ratio) => format!(
            "With {at}, multiply-adds are {factor:.2} times fewer, and the network is {:.2} times as fast.",
            ratio.in_turn.speedup
        ),
        None => format!("Multiply-adds are {factor:.2} times fewer."),
    };
    let others = pruned.iter().filter(|row| row.macs == 0);
    let others: f64 = others.map(|row| 100.0 * row.time_share).fold(0.0, |sum, share| sum + share);
    text.push_str(&format!(" Steps without multiply-adds take {others:.1} % of the time."));
    let mut slow: Vec<(f64, f64, &str)> = pruned
        .iter()
        .filter(|row| row.macs > 0)
        .map(|row| (100.0 * row.time_share, 100.0 * row.macs_share, &*row.layer))
        .filter(|(time, macs, _)| *time >= LEAST && *time >= 1.5 * macs)
        .collect();
    slow.sort_by(|a, b| (b.0 - b.1).total_cmp(&(a.0 - a.1)));
    let slow: Vec<String> = slow
        .into_iter()
        .take(5)
        .map(|(time, macs, layer)| {
            format!("{layer} ({time:.1} % of the time for {macs:.1} % of the multiply-adds)")
        })
        .collect();
    if !slow.is_empty() {
        text.push_str(&format!(
            " These take half as much again as their share, or more: {}. Layers of few channels or small maps \
             reach less of the processor's peak.",
            slow.join(", ")
        ));
    }
    text
}

/// The measurements of both networks alike.
pub(super) fn pairs(result: &PruneResult) -> impl Iterator<Item = [&Row; 2]> {
    let of_net = |net: &'static str| result.latency.iter().filter(move |row| row.net == net);
    of_net("base").zip(of_net("pruned")).map(|(base, pruned)| [base, pruned])
}

pub(super) fn setting(batch: usize, threads: usize) -> String {
    format!("batch {batch}, {threads} {}", if threads == 1 { "thread" } else { "threads" })
}

/// How many times less `pruned` is than `base`: `2.00x`.
pub(super) fn times_fewer(base: u64, pruned: u64) -> String {
    format!("{:.2}x", base as f64 / pruned.max(1) as f64)
}

fn percent(accuracy: f64) -> String {
    format!("{:.2} %", 100.0 * accuracy)
}

pub(super) fn axis(label: &str) -> Axis {
    Axis { label: label.into(), logarithmic: false }
}
