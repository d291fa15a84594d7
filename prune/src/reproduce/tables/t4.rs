//! T4: a residual network.

use super::PaperTable;
use super::builder::{Builder, Way, amount_id};
use super::text::{SIZE, drop_points, heads, network, percent, run, size, speed, times};
use crate::report::{Rendered, Table};
use crate::reproduce::{Report, ReproduceError};

pub(super) const T4: PaperTable = PaperTable {
    id: "T4",
    question: "Does it hold for a residual network, and for the data set at hand? (RQ5)",
    cells,
    render,
};

fn cells(builder: &mut Builder<'_>) -> Result<(), ReproduceError> {
    let base = builder.residual()?;
    let seed = builder.settings.seed;
    let mut nets = vec![base.id.clone()];
    let amounts = builder.settings.residual_amounts.clone();
    let (id, about) = ("t4".into(), format!("of {}", base.model));
    let way = Way { id, about, config: builder.pruning(seed) };
    nets.extend(builder.prune_on(&base, &amounts, &[way]).concat());
    builder.speed("t4-speed", nets);
    Ok(())
}

fn render(report: &Report) -> Rendered {
    let mut columns = vec!["network", "test acc %", "drop (95 %)", "val acc %", "fewer MACs"];
    columns.extend(SIZE);
    columns.push("tuning epochs");
    let mut rows = Vec::new();
    if let Some(base) = network(report, "base-residual") {
        let mut row = vec!["base".to_owned(), percent(base.facts.accuracy), String::new()];
        row.extend([percent(base.facts.validation_accuracy), times(1, 1)]);
        row.extend(size(&base.facts, base.activation_bytes));
        row.push(String::new());
        rows.push(row);
    }
    for amount in &report.settings.residual_amounts {
        let Some(run) = run(report, &amount_id("t4", *amount)) else { continue };
        let mut row =
            vec![format!("{amount}x"), percent(run.pruned.accuracy), drop_points(&run.drop)];
        row.extend([
            percent(run.pruned.validation_accuracy),
            times(run.base.macs, run.pruned.macs),
        ]);
        row.extend(size(&run.pruned, run.activation_bytes));
        row.push(format!("{:.2}", run.epochs));
        rows.push(row);
    }
    let title = format!(
        "**T4.** {} on {}, both phases, each amount on from the one before.",
        report.settings.residual_name(),
        report.dataset
    );
    let table = Table { name: "t4-residual".into(), title, columns: heads(&columns), rows };
    let table = Some(table).filter(|table| table.rows.len() > 1);
    let speed = speed(report, "t4-speed", "t4-speed");
    Rendered { tables: table.into_iter().chain(speed).collect(), figures: Vec::new() }
}
