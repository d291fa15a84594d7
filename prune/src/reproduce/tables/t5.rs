//! T5: what stands in for removed channels.

use super::PaperTable;
use super::builder::{Builder, Compared};
use super::t3::{accuracy, after_tuning, curve_table, over_seeds, tuned_accuracy};
use crate::bias_update::BiasUpdate;
use crate::compare::Curve;
use crate::criteria::CRITERIA;
use crate::report::Rendered;
use crate::reproduce::{Report, ReproduceError};

pub(super) const T5: PaperTable = PaperTable {
    id: "T5",
    question: "What is the bias update worth, right after surgery and after fine-tuning?",
    cells,
    render,
};

const UPDATES: [(&str, BiasUpdate); 3] = [
    ("none", BiasUpdate::None),
    ("mean", BiasUpdate::Mean),
    ("max_entropy", BiasUpdate::MaxEntropy),
];

fn cells(builder: &mut Builder<'_>) -> Result<(), ReproduceError> {
    let criterion = CRITERIA[0].name();
    for seed in builder.settings.seeds() {
        let bases = [("", Some(builder.narrow(seed)?)), ("-nobn", builder.narrow_nobn(seed)?)];
        for (suffix, base) in bases.iter().filter_map(|(s, base)| Some((s, base.as_ref()?))) {
            for (name, update) in UPDATES {
                let about = format!("bias update {name}{suffix}, seed {seed}");
                let id = format!("t5-{name}{suffix}-s{seed}");
                let how = Compared { bias_update: update, ..Compared::criterion(criterion) };
                builder.curve(id, about, base, &how, seed);
            }
        }
    }
    Ok(())
}

fn render(report: &Report) -> Rendered {
    let settings = &report.settings;
    let models = [("", Some(&settings.narrow)), ("-nobn", settings.narrow_nobn.as_ref())];
    let tables = models.into_iter().filter_map(|(suffix, model)| Some((suffix, model?))).flat_map(
        |(suffix, model)| {
            let curves: Vec<(String, Vec<&Curve>)> = UPDATES
                .iter()
                .map(|(name, _)| {
                    let id = |seed| format!("t5-{name}{suffix}-s{seed}");
                    ((*name).to_owned(), over_seeds(report, id))
                })
                .filter(|(_, curves)| !curves.is_empty())
                .collect();
            let title = |when: &str| {
                format!(
                    "**T5.** {model} on {}, {}: validation accuracy (%) {when}.",
                    report.dataset,
                    CRITERIA[0].name()
                )
            };
            let table = |name: &str, when: &str, value| {
                curve_table(&format!("{name}{suffix}"), title(when), "bias update", &curves, value)
            };
            [
                table("t5-updates", "right after surgery", accuracy),
                table("t5-tuned", &after_tuning(report), tuned_accuracy),
            ]
        },
    );
    Rendered { tables: tables.flatten().collect(), figures: Vec::new() }
}
