//! T6: the paper against ours, and accuracy against what is left, in multiply-adds and in time.

use super::PaperTable;
use super::builder::{Builder, Way, amount_id};
use super::overview::{Overview, Shown, TIMED};
use super::t1;
use super::text::{
    AMOUNTS, AmountRow, SIZE, drop_points, faster, faster_warm, heads, measurement, network,
    percent, run, speed,
};
use crate::phases::PruneConfig;
use crate::report::{Axis, Figure, Rendered, Series, Table};
use crate::reproduce::cell::Work;
use crate::reproduce::{Report, ReproduceError};

pub(super) const T6: PaperTable = PaperTable {
    id: "T6",
    question: "How do the decisions turn into multiply-adds, model size and time? (RQ4)",
    cells,
    render,
};

/// Criteria by which both phases get to each amount.
const CRITERIA: [&str; 3] = ["con_ent", "l1", RANDOM];
/// That whose networks are not timed: they have the widths that chance gave them.
const RANDOM: &str = "random";
/// The best way that was found.
const BEST: &str = "best";
/// The shape that the first of the criteria leads to, trained from scratch.
const SCRATCH: &str = "scratch";
/// What Min et al. 2018 (2PFPCE) report for VGG-16 on CIFAR-10, as their abstract has it: fewer
/// FLOPs, share of inference time saved, accuracy lost in points.
const PAPER: (f64, f64, f64) = (10.0, 0.46, 2.0);

/// The ways by pruning.
fn pruned() -> impl Iterator<Item = &'static str> {
    CRITERIA.into_iter().chain([BEST])
}

/// Those whose networks are timed.
fn timed() -> impl Iterator<Item = &'static str> {
    pruned().filter(|&way| way != RANDOM)
}

fn way_id(way: &str) -> String {
    format!("t6-{way}")
}

fn id(way: &str, amount: f64) -> String {
    amount_id(&way_id(way), amount)
}

fn cells(builder: &mut Builder<'_>) -> Result<(), ReproduceError> {
    let base = builder.base()?;
    let amounts = builder.settings.amounts.clone();
    if amounts.is_empty() {
        return (t1::T1.cells)(builder);
    }
    let seed = builder.settings.seed;
    let mut nets = vec![base.id.clone()];
    let ways: Vec<Way> = pruned()
        .map(|way| Way {
            id: way_id(way),
            about: format!("by {way}"),
            config: match way {
                BEST => builder.best(&base, seed),
                _ => PruneConfig { criterion: way.into(), ..builder.pruning(seed) },
            },
        })
        .collect();
    for (way, ids) in pruned().zip(builder.prune_on(&base, &amounts, &ways)) {
        if way != RANDOM {
            nets.extend(ids);
        }
    }
    for &amount in &amounts {
        let config = builder.scratch(&base.graph, seed);
        let macs = builder.images.training(&base.graph, config.epochs) / amount;
        let about = format!("the shape of {amount}x fewer MACs from scratch");
        let like = id(CRITERIA[0], amount);
        builder.add(id(SCRATCH, amount), about, (&base, macs), Work::Scratch { like, config });
    }
    builder.speed("t6-speed", nets);
    Ok(())
}

fn render(report: &Report) -> Rendered {
    let amounts = &report.settings.amounts;
    let (runs, measured) = match amounts.is_empty() {
        true => (t1::ids().collect(), "t1-speed"),
        false => {
            let ways = [CRITERIA[0], BEST].into_iter();
            let runs = ways.flat_map(|way| amounts.iter().map(move |&amount| id(way, amount)));
            (runs.collect::<Vec<_>>(), "t6-speed")
        }
    };
    let speed = speed(report, "t6-speed", "t6-speed");
    Rendered {
        tables: overview(report)
            .into_iter()
            .chain(paper(report, &runs, measured))
            .chain(ways(report))
            .chain(speed)
            .collect(),
        figures: macs_figure(report).into_iter().chain(time_figure(report)).collect(),
    }
}

/// The ways side by side.
fn overview(report: &Report) -> Option<Table> {
    let way = |name| Shown { name, id: way_id(name), timed: timed().any(|timed| timed == name) };
    let overview = Overview {
        report,
        of: T6.id,
        model: report.settings.model_name(),
        base: "base",
        amounts: &report.settings.amounts,
        ways: pruned().chain([SCRATCH]).map(way).collect(),
    };
    overview.table()
}

fn paper(report: &Report, ids: &[String], measured: &str) -> Option<Table> {
    let columns = [
        "network",
        "fewer MACs",
        "faster",
        "faster, warm",
        "accuracy lost (points)",
        "share of the MACs speed-up that is measured",
    ];
    let (fewer, saved, lost) = PAPER;
    let published = 1.0 / (1.0 - saved);
    let mut rows = vec![vec![
        "2PFPCE, VGG-16 on CIFAR-10 (as published)".to_owned(),
        format!("{fewer:.2}x"),
        format!("{published:.2}x"),
        String::new(),
        format!("{lost:.2}"),
        format!("{:.0} %", 100.0 * published / fewer),
    ]];
    let measured = measurement(report, measured)?;
    for id in ids {
        let Some(run) = run(report, id) else { continue };
        for ratio in measured.ratios.iter().filter(|ratio| ratio.net == *id) {
            let fewer = run.base.macs as f64 / run.pruned.macs.max(1) as f64;
            rows.push(vec![
                format!(
                    "{id}, {} on {}, batch {}, threads {}",
                    report.settings.model_name(),
                    report.dataset,
                    ratio.batch,
                    ratio.threads
                ),
                format!("{fewer:.2}x"),
                faster(&ratio.in_turn),
                faster_warm(ratio),
                drop_points(&run.drop),
                format!("{:.0} %", 100.0 * ratio.in_turn.speedup / fewer),
            ]);
        }
    }
    let title = "**T6.** The paper against ours: what fewer MACs gained in measured time.".into();
    let table = Table { name: "t6-paper".into(), title, columns: heads(&columns), rows };
    (table.rows.len() > 1).then_some(table)
}

/// Every way to every amount.
fn ways(report: &Report) -> Option<Table> {
    let columns = [&AMOUNTS[..], &SIZE, &["epochs"]].concat();
    let base = network(report, "base")?;
    let mut rows = Vec::new();
    for &amount in &report.settings.amounts {
        for way in pruned() {
            let run = run(report, &id(way, amount));
            rows.extend(run.map(|run| AmountRow::of_run(amount, way, run).cells()));
        }
        let Some(scratch) = network(report, &id(SCRATCH, amount)) else { continue };
        let lost = 100.0 * (base.facts.accuracy - scratch.facts.accuracy);
        let id = id(SCRATCH, amount);
        let epochs = report.cells.iter().find_map(|record| match &record.cell.work {
            Work::Scratch { config, .. } if record.cell.id == id => Some(config.epochs),
            _ => None,
        });
        let row = AmountRow {
            amount,
            way: SCRATCH,
            facts: &scratch.facts,
            activation_bytes: scratch.activation_bytes,
            lost: format!("{lost:+.2}"),
            base_macs: base.facts.macs,
            epochs,
        };
        rows.push(row.cells());
    }
    let title = format!(
        "**T6, amounts.** {} on {} (base {} % test accuracy): both phases to each amount by three criteria, \
         and the best way that was found (settings.best in run.toml), each amount on from the one before, and the \
         shape that con_ent led to, trained from scratch, whose drop has no interval. Epochs are those of \
         fine-tuning since the base, or of training.",
        report.settings.model_name(),
        report.dataset,
        percent(base.facts.accuracy)
    );
    let table = Table { name: "t6-amounts".into(), title, columns: heads(&columns), rows };
    (!table.rows.is_empty()).then_some(table)
}

fn accuracy_axis() -> Axis {
    Axis { label: "test accuracy (%)".into(), logarithmic: false }
}

/// Test accuracy and multiply-adds (M) of the network of each amount.
fn macs_figure(report: &Report) -> Option<Figure> {
    let point = |way: &str, amount: f64| {
        let facts = report.facts(&id(way, amount))?;
        Some((facts.macs as f64 / 1e6, 100.0 * facts.accuracy))
    };
    // Those in both figures first: a way has one colour.
    let series = timed().chain([RANDOM, SCRATCH]).map(|way| {
        let points = report.settings.amounts.iter().filter_map(|&amount| point(way, amount));
        Series { name: way.to_owned(), points: points.collect(), joined: true }
    });
    let series: Vec<Series> = series.filter(|series| !series.points.is_empty()).collect();
    (!series.is_empty()).then(|| Figure {
        name: "t6-macs".into(),
        title: format!("{} on {}", report.settings.model_name(), report.dataset),
        x: Axis { label: "multiply-adds per image (M)".into(), logarithmic: true },
        y: accuracy_axis(),
        series,
    })
}

/// Test accuracy against measured time.
fn time_figure(report: &Report) -> Option<Figure> {
    let measured = measurement(report, "t6-speed")?;
    let (batch, threads) = TIMED;
    let point = |way: &str, amount: f64| {
        let id = id(way, amount);
        let row = measured
            .rows
            .iter()
            .find(|row| (row.net.as_str(), row.batch, row.threads) == (&*id, batch, threads))?;
        Some((row.latency_ms_p50, 100.0 * run(report, &id)?.pruned.accuracy))
    };
    let series = timed().map(|way| {
        let points = report.settings.amounts.iter().filter_map(|&amount| point(way, amount));
        Series { name: way.to_owned(), points: points.collect(), joined: true }
    });
    let series: Vec<Series> = series.filter(|series| !series.points.is_empty()).collect();
    (!series.is_empty()).then(|| Figure {
        name: "t6-time".into(),
        title: format!("{} on {}", report.settings.model_name(), report.dataset),
        x: Axis {
            label: format!("milliseconds at batch {batch}, {threads} thread"),
            logarithmic: true,
        },
        y: accuracy_axis(),
        series,
    })
}
