//! T3: criteria side by side.

use super::PaperTable;
use super::builder::{Builder, Compared};
use super::text::{epochs, heads, percent, spread};
use crate::channels::Channels;
use crate::compare::{Curve, Point};
use crate::criteria::{self, ConEnt};
use crate::ranking::Ranking;
use crate::report::{Axis, Figure, Rendered, Series, Table};
use crate::reproduce::cell::{Found, Work};
use crate::reproduce::{Report, ReproduceError};

pub(super) const T3: PaperTable = PaperTable {
    id: "T3",
    question: "Is conditional entropy a good criterion? (RQ1)",
    cells,
    render,
};

/// The criterion whose definitions are compared.
const CON_ENT: &str = "con_ent";

/// The cell of another definition of it.
fn variant(name: &str, seed: u64) -> String {
    format!("t3-{CON_ENT}-{name}-s{seed}")
}

fn cells(builder: &mut Builder<'_>) -> Result<(), ReproduceError> {
    for seed in builder.settings.seeds() {
        let base = builder.narrow(seed)?;
        for name in criteria::fitting(&base.graph, &Channels::of(&base.graph)) {
            let about = format!("criterion {name}, seed {seed}");
            let id = format!("t3-{name}-s{seed}");
            builder.curve(id, about, &base, &Compared::criterion(name), seed);
        }
        let filters = builder.effort().ranked_filters;
        if filters > 0 {
            for (name, con_ent) in ConEnt::variants() {
                let about = format!("con_ent, {name}, seed {seed}");
                let how = Compared { con_ent, tuned: false, ..Compared::criterion(CON_ENT) };
                builder.curve(variant(name, seed), about, &base, &how, seed);
            }
            // Half of the calibration images tell losses of single removals well enough.
            let calibration = builder.effort().calibration / 2;
            let layers = Channels::of(&base.graph).prunable_layers().len() as f64;
            let macs = layers * filters as f64 * calibration as f64 * base.graph.macs() as f64;
            let work = Work::Ranking { base: base.id.clone(), filters, calibration, seed };
            builder.add(
                format!("t3-rank-s{seed}"),
                format!("single filters, seed {seed}"),
                (&base, macs),
                work,
            );
        }
    }
    Ok(())
}

fn render(report: &Report) -> Rendered {
    let names = criteria::names();
    let curves: Vec<(String, Vec<&Curve>)> = names
        .iter()
        .map(|name| ((*name).to_owned(), over_seeds(report, |seed| format!("t3-{name}-s{seed}"))))
        .filter(|(_, curves)| !curves.is_empty())
        .collect();
    let what = |when: &str| {
        format!(
            "{} on {}: validation accuracy (%) {when}, every layer having lost the same share of its \
             channels, lowest scores first, with the mean bias update",
            report.settings.narrow, report.dataset
        )
    };
    let (after, tuned) = (what("right after surgery"), what(&after_tuning(report)));
    let tables = [
        curve_table("t3-criteria", format!("**T3.** {after}."), "criterion", &curves, accuracy),
        curve_table(
            "t3-tuned",
            format!("**T3, fine-tuned.** {tuned}."),
            "criterion",
            &curves,
            tuned_accuracy,
        ),
        variants(report, &after),
        rank_table(report),
    ];
    let figures = [
        figure("t3-criteria", "Criteria, right after surgery", &curves, accuracy),
        figure("t3-tuned", "Criteria, fine-tuned", &curves, tuned_accuracy),
    ];
    Rendered {
        tables: tables.into_iter().flatten().collect(),
        figures: figures.into_iter().flatten().collect(),
    }
}

/// Definitions of conditional entropy, right after surgery; nothing if there is the default's alone.
fn variants(report: &Report, after: &str) -> Option<Table> {
    let default = over_seeds(report, |seed| format!("t3-{CON_ENT}-s{seed}"));
    let others = ConEnt::variants()
        .map(|(name, _)| (name.to_owned(), over_seeds(report, |seed| variant(name, seed))));
    let mut curves = vec![("the default".to_owned(), default)];
    curves.extend(others);
    curves.retain(|(_, curves)| !curves.is_empty());
    let title = format!(
        "**T3, definitions of {CON_ENT}.** {after}. Each differs from the default in one setting."
    );
    (curves.len() > 1).then(|| curve_table("t3-con_ent", title, "definition", &curves, accuracy))?
}

pub(super) fn after_tuning(report: &Report) -> String {
    format!("after {} of fine-tuning", epochs(report.settings.effort.curve_epochs))
}

pub(super) fn accuracy(point: &Point) -> Option<f64> {
    Some(point.accuracy)
}

pub(super) fn tuned_accuracy(point: &Point) -> Option<f64> {
    point.tuned_accuracy
}

/// The curves of all seeds that are done.
pub(super) fn over_seeds(report: &Report, id: impl Fn(u64) -> String) -> Vec<&Curve> {
    let curve = |seed| match report.found(&id(seed))? {
        Found::Curve(curve) => Some(curve),
        _ => None,
    };
    report.settings.seeds().filter_map(curve).collect()
}

/// One row a name, one column a share; nothing if no point has the value.
pub(super) fn curve_table(
    name: &str,
    title: String,
    head: &str,
    curves: &[(String, Vec<&Curve>)],
    value: fn(&Point) -> Option<f64>,
) -> Option<Table> {
    let points = &curves.first()?.1.first()?.points;
    points.iter().find_map(value)?;
    let mut columns = heads(&[head, "seeds"]);
    columns.extend(points.iter().map(|point| {
        format!(
            "{} % removed ({:.2} M MACs)",
            percent(point.share).trim_end_matches(".00"),
            point.macs as f64 / 1e6
        )
    }));
    let rows = curves.iter().map(|(name, curves)| {
        let mut row = vec![name.clone(), curves.len().to_string()];
        row.extend((0..points.len()).map(|i| {
            let found: Vec<f64> =
                curves.iter().filter_map(|c| Some(100.0 * value(c.points.get(i)?)?)).collect();
            spread(&found, 2)
        }));
        row
    });
    Some(Table { name: name.into(), title, columns, rows: rows.collect() })
}

/// Mean accuracy over seeds against the share of multiply-adds removed.
pub(super) fn figure(
    name: &str,
    title: &str,
    curves: &[(String, Vec<&Curve>)],
    value: fn(&Point) -> Option<f64>,
) -> Option<Figure> {
    let series = curves.iter().map(|(name, curves)| {
        let count = curves.first().map_or(0, |curve| curve.points.len());
        let points = (0..count).filter_map(|i| {
            let found: Vec<f64> = curves.iter().filter_map(|c| value(c.points.get(i)?)).collect();
            let macs = curves.first()?.points[i].macs as f64 / 1e6;
            (!found.is_empty())
                .then(|| (macs, 100.0 * found.iter().sum::<f64>() / found.len() as f64))
        });
        Series { name: name.clone(), points: points.collect(), joined: true }
    });
    let series: Vec<Series> = series.filter(|series| !series.points.is_empty()).collect();
    (!series.is_empty()).then(|| Figure {
        name: name.into(),
        title: title.into(),
        x: Axis { label: "multiply-adds per image (M)".into(), logarithmic: false },
        y: Axis { label: "validation accuracy (%)".into(), logarithmic: false },
        series,
    })
}

fn rank_table(report: &Report) -> Option<Table> {
    let ranking = |seed| match report.found(&format!("t3-rank-s{seed}"))? {
        Found::Ranking(ranking) => Some(ranking),
        _ => None,
    };
    let rankings: Vec<&Ranking> = report.settings.seeds().filter_map(ranking).collect();
    let rows = rankings.first()?.rows.iter().map(|row| {
        let same: Vec<_> = rankings
            .iter()
            .filter_map(|ranking| ranking.rows.iter().find(|r| r.criterion == row.criterion))
            .collect();
        vec![
            row.criterion.clone(),
            same.len().to_string(),
            spread(&same.iter().map(|row| row.within).collect::<Vec<_>>(), 3),
            spread(&same.iter().map(|row| row.across).collect::<Vec<_>>(), 3),
        ]
    });
    Some(Table {
        name: "t3-ranks".into(),
        title: format!(
            "**T3, ranks.** {} on {}: Spearman's rank correlation of each criterion's scores with the rise of \
             the loss when a filter alone is removed ({} filters a layer).",
            report.settings.narrow, report.dataset, report.settings.effort.ranked_filters
        ),
        columns: heads(&["criterion", "seeds", "within a layer", "over all layers"]),
        rows: rows.collect(),
    })
}
