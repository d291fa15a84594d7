//! T1: the two phases together, and each alone.

use super::PaperTable;
use super::builder::Builder;
use super::text::{
    SIZE, drop_points, epochs, heads, network, percent, run, size, speed, spread, times,
};
use crate::phases::{Phases, PruneConfig};
use crate::report::{Rendered, Table};
use crate::reproduce::{Report, ReproduceError, Settings};

pub(super) const T1: PaperTable = PaperTable {
    id: "T1",
    question: "Do the two phases together compress more than either alone, at the same drop? (RQ2, RQ4)",
    cells,
    render,
};

const PHASES: [(&str, Phases, &str); 3] = [
    ("both", Phases::Both, "both phases"),
    ("global", Phases::Global, "the global phase alone"),
    ("layerwise", Phases::Layerwise, "the layer-wise phase alone"),
];

/// The names of the pruning runs of T1 on the network itself.
pub(super) fn ids() -> impl Iterator<Item = String> {
    PHASES.iter().map(|(name, ..)| format!("t1-{name}"))
}

fn cells(builder: &mut Builder<'_>) -> Result<(), ReproduceError> {
    let base = builder.base()?;
    let mut nets = vec![base.id.clone()];
    let seed = builder.settings.seed;
    for (id, (_, phases, about)) in ids().zip(PHASES) {
        let config = PruneConfig { phases, ..builder.pruning(seed) };
        nets.push(builder.prune(id, about.into(), &base, config));
    }
    builder.speed("t1-speed", nets);
    if builder.effort().seeds > 1 {
        for seed in builder.settings.seeds() {
            let base = builder.narrow(seed)?;
            for (name, phases, about) in PHASES {
                let config = PruneConfig { phases, ..builder.pruning(seed) };
                let about = format!("{about}, narrow, seed {seed}");
                builder.prune(format!("t1-{name}-narrow-s{seed}"), about, &base, config);
            }
        }
    }
    Ok(())
}

fn render(report: &Report) -> Rendered {
    let speed = speed(report, "t1-speed", "t1-speed");
    Rendered {
        tables: phases(report).into_iter().chain(narrow(report)).chain(speed).collect(),
        figures: Vec::new(),
    }
}

fn settings(settings: &Settings) -> String {
    let prune = &settings.prune;
    let recovery = match prune.recovery {
        0.0 => String::new(),
        points => format!(" ({points:.2} more before the final fine-tuning)"),
    };
    format!(
        "at most {:.2} points of accuracy lost{recovery}, no target, {} of fine-tuning",
        prune.max_drop,
        epochs(settings.effort.prune_epochs)
    )
}

fn phases(report: &Report) -> Option<Table> {
    let mut columns = vec!["network", "test acc %", "drop (95 %)", "val acc %", "fewer MACs"];
    columns.extend(SIZE);
    columns.extend(["tuning epochs", "steps kept / undone", "seconds"]);
    let mut rows = Vec::new();
    if let Some(base) = network(report, "base") {
        let facts = &base.facts;
        let mut row = vec!["base".to_owned(), percent(facts.accuracy), String::new()];
        row.extend([percent(facts.validation_accuracy), times(1, 1)]);
        row.extend(size(facts, base.activation_bytes));
        row.extend([String::new(), String::new(), String::new()]);
        rows.push(row);
    }
    for (id, (name, ..)) in ids().zip(PHASES) {
        let Some(run) = run(report, &id) else { continue };
        let kept = run.steps.iter().filter(|step| step.accepted).count();
        let name = match run.target_met {
            true => name.to_owned(),
            false => format!("{name} (beyond the limit)"),
        };
        let mut row = vec![name, percent(run.pruned.accuracy), drop_points(&run.drop)];
        row.push(percent(run.pruned.validation_accuracy));
        row.push(times(run.base.macs, run.pruned.macs));
        row.extend(size(&run.pruned, run.activation_bytes));
        row.push(format!("{:.2}", run.epochs));
        row.push(format!("{kept} / {}", run.steps.len() - kept));
        row.push(format!("{:.0}", run.seconds));
        rows.push(row);
    }
    let title = format!(
        "**T1.** {} on {}: {}.",
        report.settings.model_name(),
        report.dataset,
        settings(&report.settings)
    );
    let table = Table { name: "t1-phases".into(), title, columns: heads(&columns), rows };
    (table.rows.len() > 1).then_some(table)
}

/// The same over seeds.
fn narrow(report: &Report) -> Option<Table> {
    let columns = [
        "phases",
        "seeds",
        "beyond the limit",
        "test acc %",
        "drop (points)",
        "fewer MACs",
        "fewer parameters",
    ];
    let rows = PHASES.iter().filter_map(|(name, ..)| {
        let runs: Vec<_> = report
            .settings
            .seeds()
            .filter_map(|seed| run(report, &format!("t1-{name}-narrow-s{seed}")))
            .collect();
        let ratio = |base: u64, pruned: u64| base as f64 / pruned.max(1) as f64;
        let of = |value: &dyn Fn(&crate::report::RunReport) -> f64| -> String {
            spread(&runs.iter().map(|run| value(run)).collect::<Vec<_>>(), 2)
        };
        (!runs.is_empty()).then(|| {
            vec![
                (*name).to_owned(),
                runs.len().to_string(),
                runs.iter().filter(|run| !run.target_met).count().to_string(),
                of(&|run| 100.0 * run.pruned.accuracy),
                of(&|run| run.drop.points),
                of(&|run| ratio(run.base.macs, run.pruned.macs)),
                of(&|run| ratio(run.base.params, run.pruned.params)),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    let title = format!(
        "**T1, over seeds.** {} on {}: {}. Mean and standard deviation; each seed has a base network of \
         its own.",
        report.settings.narrow,
        report.dataset,
        settings(&report.settings)
    );
    let table = Table { name: "t1-narrow".into(), title, columns: heads(&columns), rows };
    (!table.rows.is_empty()).then_some(table)
}
