//! T2: freezing filters of maximum entropy while fine-tuning.

use super::PaperTable;
use super::builder::{Builder, to_amount};
use super::text::{epochs, heads, run, spread};
use crate::freeze::Rank;
use crate::phases::PruneConfig;
use crate::report::{Rendered, RunReport, Table};
use crate::reproduce::{Report, ReproduceError};

pub(super) const T2: PaperTable = PaperTable {
    id: "T2",
    question: "What does the maximum-entropy freeze do to over-fitting and final accuracy? (RQ3)",
    cells,
    render,
};

const FREEZES: [(&str, f64, Rank); 5] = [
    ("off", 0.0, Rank::Entropy),
    ("entropy-5", 0.05, Rank::Entropy),
    ("entropy-10", 0.1, Rank::Entropy),
    ("entropy-20", 0.2, Rank::Entropy),
    ("con_ent-10", 0.1, Rank::ConEnt),
];

fn cells(builder: &mut Builder<'_>) -> Result<(), ReproduceError> {
    let amount = builder.settings.freeze_amount;
    for seed in builder.settings.seeds() {
        let base = builder.narrow(seed)?;
        for (name, freeze, freeze_rank) in FREEZES {
            let config = PruneConfig { freeze, freeze_rank, ..builder.pruning(seed) };
            let about = format!("freeze {name}, {amount}x fewer MACs, seed {seed}");
            builder.prune(format!("t2-{name}-s{seed}"), about, &base, to_amount(config, amount));
        }
    }
    Ok(())
}

fn render(report: &Report) -> Rendered {
    let columns = [
        "freeze",
        "seeds",
        "training acc %",
        "val acc %",
        "test acc %",
        "training - val (points)",
        "drop (points)",
        "fewer MACs",
    ];
    let rows = FREEZES.iter().filter_map(|(name, ..)| {
        let seeds = report.settings.seeds();
        let runs: Vec<&RunReport> =
            seeds.filter_map(|seed| run(report, &format!("t2-{name}-s{seed}"))).collect();
        let of = |value: &dyn Fn(&RunReport) -> f64| -> String {
            spread(&runs.iter().map(|run| value(run)).collect::<Vec<_>>(), 2)
        };
        (!runs.is_empty()).then(|| {
            vec![
                (*name).to_owned(),
                runs.len().to_string(),
                of(&|run| 100.0 * run.train_accuracy),
                of(&|run| 100.0 * run.pruned.validation_accuracy),
                of(&|run| 100.0 * run.pruned.accuracy),
                of(&|run| 100.0 * (run.train_accuracy - run.pruned.validation_accuracy)),
                of(&|run| run.drop.points),
                of(&|run| run.base.macs as f64 / run.pruned.macs.max(1) as f64),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    let title = format!(
        "**T2.** {} on {}, pruned by both phases to {}x fewer MACs with {} of fine-tuning, in which \
         the filters of highest entropy (or conditional entropy) in each layer stay as they are: none, 5, 10 \
         or 20 %. Mean and standard deviation over seeds.",
        report.settings.narrow,
        report.dataset,
        report.settings.freeze_amount,
        epochs(report.settings.effort.prune_epochs)
    );
    let table = Table { name: "t2-freeze".into(), title, columns: heads(&columns), rows };
    Rendered {
        tables: Some(table).filter(|table| !table.rows.is_empty()).into_iter().collect(),
        figures: Vec::new(),
    }
}
