//! `pleach inspect RUN --explain LAYER`

use crate::cli::common::{Common, read};
use crate::cli::exit::{self, usage};
use crate::cli::output;
use anyhow::{Context as _, Result};
use pleach_prune::explain::{Explanation, Filter, Removal, explain};
use pleach_prune::plan::Plan;
use pleach_prune::prune_run::PLAN;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    plan: &'a Path,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

pub(super) fn run(common: &Common, run: &str, layer: &str) -> Result<u8> {
    let path = plan_path(Path::new(run))?;
    let plan = Plan::from_json(&read(&path)?).with_context(|| path.display().to_string())?;
    let explanation = explain(&plan, layer).map_err(|error| usage(error.to_string()))?;
    if common.json {
        let schema = "pleach.explain/1";
        output::json(&Document { schema, plan: &path, explanation: &explanation })?;
    } else {
        output::print(&text(&explanation))?;
    }
    Ok(exit::OK)
}

/// The plan of a run's folder, or the file itself.
fn plan_path(run: &Path) -> Result<PathBuf> {
    if !run.is_dir() {
        return match run.exists() {
            true => Ok(run.into()),
            false => Err(usage(format!("{}: there is no such run", run.display()))),
        };
    }
    let path = run.join(PLAN);
    match path.exists() {
        true => Ok(path),
        false => Err(usage(format!(
            "{} has no plan.json: name the folder of a pruning run that removed something",
            run.display()
        ))),
    }
}

fn text(explanation: &Explanation) -> String {
    let Explanation { layer, group, unprunable, filters } = explanation;
    let kept = filters.iter().filter(|filter| filter.kept).count();
    let mut text = format!("{layer}: {kept} of {} filters stayed\n", filters.len());
    if group.len() > 1 {
        text += &format!("filters of {} go together\n", group.join(", "));
    }
    if let Some(reason) = unprunable {
        return text + &format!("none can be removed: {reason}\n");
    }
    let score = |score: Option<f64>| score.map(|score| format!("{score:.4}")).unwrap_or_default();
    let rows = filters.iter().map(|filter| {
        let (fate, threshold) = match &filter.removed {
            Some(removal) => (by(removal), removal.threshold),
            None if filter.returned => ("came back, for no time".to_owned(), None),
            None if filter.kept => ("stayed".to_owned(), None),
            None => ("went by hand".to_owned(), None),
        };
        vec![filter.filter.to_string(), fate, score(filter.score), score(threshold), undone(filter)]
    });
    let table = output::listing(&["filter", "", "score", "threshold", "undone"], rows.collect());
    text + &table
        + "a step of the phases removes the lowest scores, up to its threshold; scores of what stayed are of the last step\n"
}

fn by(removal: &Removal) -> String {
    format!("went in step {} ({}, {})", removal.step, removal.phase, removal.criterion)
}

/// The steps that went without the filter and lost too much.
fn undone(filter: &Filter) -> String {
    let steps = filter.undone.iter().map(|removal| {
        format!("step {} ({}) lost {:.2} points", removal.step, removal.phase, removal.drop_points)
    });
    steps.collect::<Vec<_>>().join(", ")
}
