use super::{Report, RunReport, Table};
use crate::bias_update::BiasUpdate;
use crate::compare::Curve;
use crate::latency::Ratio;
use crate::phases::Facts;

/// All tables of a report, those without rows left out.
#[must_use]
pub fn tables(report: &Report) -> Vec<Table> {
    let all =
        [phases(report), speed(report), criteria(report), bias_updates(report), paper(report)];
    all.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn heads(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}

fn percent(fraction: f64) -> String {
    format!("{:.2}", 100.0 * fraction)
}

fn times(base: u64, pruned: u64) -> String {
    format!("{:.2}x", base as f64 / pruned.max(1) as f64)
}

fn size(facts: &Facts, activation_bytes: usize) -> [String; 4] {
    [
        format!("{:.2}", facts.macs as f64 / 1e6),
        format!("{:.3}", facts.params as f64 / 1e6),
        format!("{:.0}", facts.bytes as f64 / 1e3),
        format!("{:.0}", activation_bytes as f64 / 1e3),
    ]
}

/// T1: the phases together and one by one, and whatever else was run.
fn phases(report: &Report) -> Table {
    let columns = [
        "network",
        "test acc %",
        "drop (95 %)",
        "val acc %",
        "MACs (M)",
        "fewer MACs",
        "parameters (M)",
        "weights (kB)",
        "activations (kB)",
        "tuning epochs",
        "steps kept / undone",
        "seconds",
    ];
    let mut rows = Vec::new();
    if let Some(facts) = &report.base.facts {
        let [macs, params, bytes, activations] = size(facts, report.base.activation_bytes);
        let mut row = vec!["base".to_owned(), percent(facts.accuracy), String::new()];
        row.extend([percent(facts.validation_accuracy), macs, times(1, 1), params, bytes]);
        row.extend([activations, String::new(), String::new(), String::new()]);
        rows.push(row);
    }
    for run in &report.runs {
        let [macs, params, bytes, activations] = size(&run.pruned, run.activation_bytes);
        let kept = run.steps.iter().filter(|step| step.accepted).count();
        let mut row = vec![run.name.clone(), percent(run.pruned.accuracy), drop(run)];
        row.extend([percent(run.pruned.validation_accuracy), macs]);
        row.extend([times(run.base.macs, run.pruned.macs), params, bytes, activations]);
        row.push(format!("{:.2}", run.epochs));
        row.push(format!("{kept} / {}", run.steps.len() - kept));
        row.push(format!("{:.0}", run.seconds));
        rows.push(row);
    }
    let title = match report.runs.first() {
        Some(run) => format!(
            "**T1.** Pruned networks at the same settings: at most {:.2} points of accuracy lost{}, {}, {} \
             of fine-tuning.",
            run.config.max_drop,
            match run.config.recovery {
                0.0 => String::new(),
                points => format!(" ({points:.2} more before the final fine-tuning)"),
            },
            run.config.target.map_or("no target".to_owned(), |target| {
                format!("{} fewer of its unit at most", target.amount)
            }),
            run.config
                .epochs_budget
                .map_or("the settings' epochs".to_owned(), |epochs| format!("{epochs} epochs")),
        ),
        None => "**T1.** Pruned networks.".into(),
    };
    Table { name: "phases", title, columns: heads(&columns), rows }
}

fn drop(run: &RunReport) -> String {
    format!("{:+.2} ({:+.2} to {:+.2})", run.drop.points, run.drop.low, run.drop.high)
}

/// Measured speed of each run's network against the base.
fn speed(report: &Report) -> Table {
    let columns = [
        "network",
        "batch",
        "threads",
        "base p50 (ms)",
        "p50 (ms)",
        "p90 (ms)",
        "img/s",
        "faster (95 %)",
        "fewer MACs",
    ];
    let rows = report.latency.ratios.iter().filter_map(|ratio| {
        let row = |net: &str| {
            let mut rows = report.latency.rows.iter();
            rows.find(|row| {
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
            faster(ratio),
            times(base.macs, net.macs),
        ])
    });
    let isa = report.latency.rows.first().map_or("", |row| row.isa.as_str());
    Table {
        name: "speed",
        title: format!(
            "**Speed.** Time of a whole batch ({isa}), all networks in turn in random order; ratios of \
             medians with bootstrap intervals."
        ),
        columns: heads(&columns),
        rows: rows.collect(),
    }
}

fn faster(ratio: &Ratio) -> String {
    format!("{:.2}x ({:.2} to {:.2})", ratio.speedup, ratio.low, ratio.high)
}

/// T3: criteria side by side.
fn criteria(report: &Report) -> Table {
    let curves = report.curves.iter().filter(|curve| curve.bias_update == BiasUpdate::Mean);
    curve_table(
        "criteria",
        "**T3.** Criteria: validation accuracy (%) right after every layer lost the same share of its \
         channels, lowest scores first, with the mean bias update and without fine-tuning.",
        "criterion",
        &curves.map(|curve| (curve.criterion.clone(), curve)).collect::<Vec<_>>(),
    )
}

/// T5: bias updates side by side, for the first criterion.
fn bias_updates(report: &Report) -> Table {
    let name = report.curves.first().map_or("", |curve| curve.criterion.as_str());
    let curves = report.curves.iter().filter(|curve| curve.criterion == name);
    let update = |curve: &Curve| match curve.bias_update {
        BiasUpdate::None => "none",
        BiasUpdate::Mean => "mean",
        BiasUpdate::MaxEntropy => "max_entropy",
    };
    curve_table(
        "bias-updates",
        &format!(
            "**T5.** Bias updates with {name}: validation accuracy (%) as in T3, right after surgery."
        ),
        "bias update",
        &curves.map(|curve| (update(curve).to_owned(), curve)).collect::<Vec<_>>(),
    )
}

fn curve_table(name: &'static str, title: &str, head: &str, curves: &[(String, &Curve)]) -> Table {
    let mut columns = vec![head.to_owned()];
    let points = curves.first().map_or(&[][..], |(_, curve)| &curve.points);
    columns.extend(points.iter().map(|point| {
        format!("{:.0} % removed ({:.2} M MACs)", 100.0 * point.share, point.macs as f64 / 1e6)
    }));
    let row = |(name, curve): &(String, &Curve)| {
        let points = curve.points.iter().map(|point| percent(point.accuracy));
        std::iter::once(name.clone()).chain(points).collect()
    };
    Table { name, title: title.into(), columns, rows: curves.iter().map(row).collect() }
}

/// What Min et al. 2018 (2PFPCE) report for VGG-16 on CIFAR-10, as their abstract has it: fewer
/// FLOPs, share of inference time saved, accuracy lost in points.
const PAPER: (f64, f64, f64) = (10.0, 0.46, 2.0);

/// T6: the paper against ours.
fn paper(report: &Report) -> Table {
    let columns = [
        "network",
        "fewer MACs",
        "faster",
        "accuracy lost (points)",
        "share of the MACs speed-up that is measured",
    ];
    let (fewer, saved, lost) = PAPER;
    let published = 1.0 / (1.0 - saved);
    let mut rows = vec![vec![
        "2PFPCE, VGG-16 on CIFAR-10 (as published)".to_owned(),
        format!("{fewer:.2}x"),
        format!("{published:.2}x"),
        format!("{lost:.2}"),
        format!("{:.0} %", 100.0 * published / fewer),
    ]];
    for run in &report.runs {
        for ratio in report.latency.ratios.iter().filter(|ratio| ratio.net == run.name) {
            let fewer = run.base.macs as f64 / run.pruned.macs.max(1) as f64;
            rows.push(vec![
                format!(
                    "{}, {} on {}, batch {}, threads {}",
                    run.name, report.model, report.dataset, ratio.batch, ratio.threads
                ),
                format!("{fewer:.2}x"),
                faster(ratio),
                drop(run),
                format!("{:.0} %", 100.0 * ratio.speedup / fewer),
            ]);
        }
    }
    let title = "**T6.** The paper against ours: what fewer MACs gained in measured time.".into();
    Table { name: "paper", title, columns: heads(&columns), rows }
}
