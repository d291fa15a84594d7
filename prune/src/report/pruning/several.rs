//! Several runs beside each other.

use super::outcome::{axis, pairs, setting, times_fewer};
use crate::phases::{Facts, PairedDrop};
use crate::report::result::PruneResult;
use crate::report::{Block, Figure, Page, Picture, Section, Series, Table};

/// A finished run.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedResult {
    /// What it is called.
    pub name: String,
    /// What it found.
    pub result: PruneResult,
}

/// Batch size and threads.
type Setting = (usize, usize);

/// Pruning runs, a row each: what they lost, how much smaller their networks are, and how much faster.
#[must_use]
pub fn runs_table(runs: &[NamedResult]) -> Table {
    let settings = settings(runs);
    let columns = [
        "run",
        "criterion",
        "epochs",
        "base, %",
        "pruned, %",
        "change, points",
        "within limits",
        "fewer MACs",
        "fewer parameters",
    ];
    let times =
        settings.iter().map(|&(batch, threads)| format!("faster, {}", setting(batch, threads)));
    let rows = runs.iter().map(|NamedResult { name, result }| {
        let (base, pruned) = (&result.base, &result.pruned.facts);
        let PairedDrop { points, low, high } = result.drop;
        let known = [
            name.clone(),
            chosen_by(result).to_owned(),
            format!("{:.0}", result.epochs),
            format!("{:.2}", 100.0 * base.accuracy),
            format!("{:.2}", 100.0 * pruned.accuracy),
            format!("{:+.2} ({:+.2} to {:+.2})", 0.0 - points, 0.0 - high, 0.0 - low),
            if result.target_met { "yes" } else { "no" }.to_owned(),
            times_fewer(base.macs, pruned.macs),
            times_fewer(base.params, pruned.params),
        ];
        known.into_iter().chain(settings.iter().map(|&at| faster(result, at))).collect()
    });
    Table {
        name: "runs".into(),
        title: "Test accuracy before and after, the change with its 95 % interval; whether the target was met within \
                the drop limit; times right after the other network and then warm, after batches of the same; epochs \
                are of fine-tuning"
            .into(),
        columns: columns.map(Into::into).into_iter().chain(times).collect(),
        rows: rows.collect(),
    }
}

/// Pruning runs as a page: [`runs_table`], and accuracy against multiply-adds and against measured time.
#[must_use]
pub fn runs(runs: &[NamedResult]) -> Page {
    let mut networks = Vec::new();
    for NamedResult { result: PruneResult { model, dataset, .. }, .. } in runs {
        let name = format!("{model} on {dataset}");
        // An early version did not write them.
        if !model.is_empty() && !networks.contains(&name) {
            networks.push(name);
        }
    }
    let networks =
        if networks.is_empty() { String::new() } else { format!(": {}", networks.join(", ")) };
    let millions = |facts: &Facts| facts.macs as f64 / 1e6;
    let macs = curves(runs, |result| [millions(&result.base), millions(&result.pruned.facts)]);
    let mut figures = vec![figure("macs", "multiply-adds", "multiply-adds an image (M)", macs)];
    let measured = |at: &Setting| runs.iter().all(|run| times(&run.result, *at).is_some());
    if let Some(at) = settings(runs).into_iter().find(measured) {
        let all = curves(runs, |result| times(result, at).expect("all runs have measured it"));
        let what = format!("measured time, {}", setting(at.0, at.1));
        figures.push(figure("time", &what, "time an image (ms)", all));
    }
    let hashes = runs.iter().filter_map(|NamedResult { name, result }| {
        Some(format!("{}  {name}\n", result.sha256.get("pruned")?))
    });
    let hashes = Block {
        text: "Each run's folder has its settings, in run.toml. SHA-256 of the pruned networks:"
            .into(),
        code: hashes.collect(),
        tables: Vec::new(),
    };
    Page {
        title: format!("{} pruning runs{networks}", runs.len()),
        summary: "Times compare where runs measured on the same machine; the factors are each within one run.".into(),
        sections: vec![Section {
            id: "runs".into(),
            label: "Runs".into(),
            heading: "Side by side".into(),
            text: Vec::new(),
            tables: vec![runs_table(runs)],
            figures,
        }],
        repeat: vec![hashes],
        figure_prefix: super::FIGURE_PREFIX,
    }
}

/// What the run's filters were chosen by.
fn chosen_by(result: &PruneResult) -> &str {
    match result.steps.iter().any(|step| step.phase == "replay") {
        true => "a given plan",
        false => &result.criterion,
    }
}

/// What was measured in any run, in the order of the runs.
fn settings(runs: &[NamedResult]) -> Vec<Setting> {
    let mut settings = Vec::new();
    for ratio in runs.iter().flat_map(|run| &run.result.speedup) {
        let at = (ratio.batch, ratio.threads);
        if !settings.contains(&at) {
            settings.push(at);
        }
    }
    settings
}

/// How much faster the pruned network is, in turn and warm; a dash where it was not measured.
fn faster(result: &PruneResult, at: Setting) -> String {
    match result.speedup.iter().find(|ratio| (ratio.batch, ratio.threads) == at) {
        Some(ratio) => {
            let warm = ratio.warm.map(|warm| format!(", {:.2}x", warm.speedup));
            format!("{:.2}x{}", ratio.in_turn.speedup, warm.unwrap_or_default())
        }
        None => "-".into(),
    }
}

/// Milliseconds an image of both networks, in turn.
fn times(result: &PruneResult, at: Setting) -> Option<[f64; 2]> {
    let [base, pruned] = pairs(result).find(|[base, _]| (base.batch, base.threads) == at)?;
    Some([base, pruned].map(|row| row.latency_ms_p50 / row.batch as f64))
}

/// A line for the runs from one base by one criterion, from the base of the first on.
fn curves(runs: &[NamedResult], cost: impl Fn(&PruneResult) -> [f64; 2]) -> Vec<Series> {
    let mut lines: Vec<(&Facts, Series)> = Vec::new();
    for NamedResult { result, .. } in runs {
        let (base, pruned) = (&result.base, &result.pruned.facts);
        let [before, after] = cost(result);
        let name = format!("{} from {:.2} %", chosen_by(result), 100.0 * base.accuracy);
        let point = |x: f64, facts: &Facts| (x, 100.0 * facts.accuracy);
        match lines.iter_mut().find(|(of, line)| *of == base && line.name == name) {
            Some((_, line)) => line.points.push(point(after, pruned)),
            None => {
                let points = vec![point(before, base), point(after, pruned)];
                lines.push((base, Series { name, points, joined: true }));
            }
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

fn figure(name: &str, against: &str, x: &str, series: Vec<Series>) -> Picture {
    Picture::Lines(Figure {
        name: name.into(),
        title: format!("Test accuracy against {against}"),
        x: axis(x),
        y: axis("test accuracy (%)"),
        series,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> Vec<NamedResult> {
        let results = [
            ("both", include_str!("../../../results/vgg16-cifar10.json")),
            ("given", include_str!("../../../results/vgg16-cifar10-10x-given/result.json")),
            ("cutmix", include_str!("../../../results/vgg16-cifar10-10x-cutmix/result.json")),
        ];
        results
            .map(|(name, json)| NamedResult {
                name: name.into(),
                result: serde_json::from_str(json).unwrap(),
            })
            .into()
    }

    #[test]
    fn each_run_has_a_row_with_what_its_result_says() {
        let table = runs_table(&committed());
        let columns = &table.columns[9..];
        assert_eq!(columns[0], "faster, batch 1, 1 thread");
        assert_eq!(columns.len(), 4, "two batch sizes, two numbers of threads");
        let given = table.rows[1].join(" | ");
        let expected = "given | con_ent+l1 | 77 | 90.96 | 90.77 | -0.19 (-0.63 to +0.25) | yes | 10.05x | 6.29x | \
                        6.47x, 8.47x | ";
        assert!(given.starts_with(expected), "{given}");
        // An early run did not measure warm, and one lost more than it was allowed.
        assert_eq!((&*table.rows[0][9], &*table.rows[2][6]), ("4.06x", "no"));
        let fewer = NamedResult { name: "fast".into(), ..committed().remove(0) };
        let unmeasured = PruneResult { speedup: Vec::new(), ..fewer.result.clone() };
        let runs = [fewer, NamedResult { name: "untimed".into(), result: unmeasured }];
        assert!(runs_table(&runs).rows[1][9..].iter().all(|cell| cell == "-"));
    }

    #[test]
    fn runs_from_one_base_by_one_criterion_are_a_line() {
        let mut all = committed();
        let again = NamedResult { name: "again".into(), ..all[1].clone() };
        all.push(again);
        let page = runs(&all);
        assert_eq!(page.title, "4 pruning runs: vgg16 on cifar-10");
        let figures = &page.sections[0].figures;
        assert_eq!(figures.iter().map(Picture::name).collect::<Vec<_>>(), ["macs", "time"]);
        let Picture::Lines(macs) = &figures[0] else { panic!("lines") };
        let lines: Vec<_> =
            macs.series.iter().map(|series| (&*series.name, series.points.len())).collect();
        let expected = [
            ("con_ent from 90.96 %", 2),
            ("con_ent+l1 from 90.96 %", 3),
            ("con_ent+l1 from 94.19 %", 2),
        ];
        assert_eq!(lines, expected);
        assert!(page.to_html().contains("Test accuracy against measured time, batch 1, 1 thread"));
        // Without times that all runs measured there is no figure of them.
        all[0].result.latency.clear();
        assert_eq!(runs(&all).sections[0].figures.len(), 1);
    }
}
