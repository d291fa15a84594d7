//! T4: a residual network.

use super::PaperTable;
use super::builder::{Builder, Way, amount_id};
use super::overview::{Overview, Shown};
use super::text::{AMOUNTS, AmountRow, SIZE, heads, network, run, speed};
use crate::report::{Rendered, Table};
use crate::reproduce::{Report, ReproduceError};

pub(super) const T4: PaperTable = PaperTable {
    id: "T4",
    question: "Does it hold for a residual network, and for the data set at hand? (RQ5)",
    cells,
    render,
};

/// What is pruned, and so how: by the method, and the best way that was found.
const WAYS: [(&str, &str); 2] = [("t4", "con_ent"), ("t4-best", "best")];

fn cells(builder: &mut Builder<'_>) -> Result<(), ReproduceError> {
    let base = builder.residual()?;
    let (seed, model) = (builder.settings.seed, builder.settings.residual_name());
    let mut nets = vec![base.id.clone()];
    let amounts = builder.settings.residual_amounts.clone();
    let configs = [builder.pruning(seed), builder.best(&base, seed)];
    let ways: Vec<Way> = WAYS
        .into_iter()
        .zip(configs)
        .map(|((id, name), config)| Way {
            id: id.into(),
            about: format!("of {model} by {name}"),
            config,
        })
        .collect();
    nets.extend(builder.prune_on(&base, &amounts, &ways).concat());
    builder.speed("t4-speed", nets);
    Ok(())
}

fn render(report: &Report) -> Rendered {
    let mut rows = Vec::new();
    for &amount in &report.settings.residual_amounts {
        let runs = WAYS.into_iter().filter_map(|(id, name)| {
            let run = run(report, &amount_id(id, amount))?;
            Some(AmountRow::of_run(amount, name, run).cells())
        });
        rows.extend(runs);
    }
    let base = network(report, "base-residual");
    if let (Some(base), false) = (base, rows.is_empty()) {
        let row = AmountRow {
            amount: 1.0,
            way: "base",
            facts: &base.facts,
            activation_bytes: base.activation_bytes,
            lost: String::new(),
            base_macs: base.facts.macs,
            epochs: None,
        };
        rows.insert(0, row.cells());
    }
    let title = format!(
        "**T4.** {} on {}: both phases to each amount, and the best way that was found (settings.best in \
         run.toml), each amount on from the one before.",
        report.settings.residual_name(),
        report.dataset
    );
    let columns = heads(&[&AMOUNTS[..], &SIZE, &["epochs"]].concat());
    let table = Table { name: "t4-residual".into(), title, columns, rows };
    let table = Some(table).filter(|table| !table.rows.is_empty());
    let speed = speed(report, "t4-speed", "t4-speed");
    let tables = overview(report).into_iter().chain(table).chain(speed).collect();
    Rendered { tables, figures: Vec::new() }
}

/// The ways side by side.
fn overview(report: &Report) -> Option<Table> {
    let overview = Overview {
        report,
        of: T4.id,
        model: report.settings.residual_name(),
        base: "base-residual",
        amounts: &report.settings.residual_amounts,
        ways: WAYS.map(|(id, name)| Shown { name, id: id.into(), timed: true }).into(),
    };
    overview.table()
}
