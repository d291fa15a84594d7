//! The run that another goes on from.

use super::{File, sha256};
use crate::cli::exit::usage;
use crate::cli::output::grouped;
use anyhow::{Context as _, Result};
use pleach_core::checkpoint;
use pleach_core::graph::Graph;
use pleach_datasets::Dataset;
use pleach_prune::phases::Earlier;
use pleach_prune::plan::Plan;
use pleach_prune::prune_run::{PLAN, PRUNED};
use pleach_prune::report::{PruneResult, pruning_result};
use pleach_prune::run_dir::RunDir;
use pleach_prune::target::Meter;
use std::fs;
use std::path::Path;

/// What the run in `path` left, if it is finished and of the same base network and data set, and if `file`'s target
/// goes further.
pub(super) fn earlier(
    path: &Path,
    file: &File,
    base: &Graph,
    dataset: &dyn Dataset,
) -> Result<Earlier> {
    let run = RunDir::existing(path)?;
    let result = pruning_result(&run)?;
    of_the_same(path, &result, file, dataset)?;
    let plan = run.file(PLAN);
    let read = || {
        let text = fs::read_to_string(&plan)?;
        anyhow::Ok(Plan::from_json(&text)?)
    };
    let plan = read().with_context(|| plan.display().to_string())?;
    let network = checkpoint::load(&run.file(PRUNED))?.network;
    goes_further(path, file, base, network.graph())?;
    Ok(Earlier { network, plan, epochs: result.epochs })
}

/// Refuses the folder of that run for the new one, which would clear it.
pub(super) fn apart(path: &Path, out: Option<&Path>) -> Result<()> {
    let place = |path: &Path| path.canonicalize().ok();
    match out {
        Some(out) if place(out).is_some_and(|out| place(path) == Some(out)) => {
            let (path, out) = (path.display(), out.display());
            Err(usage(format!("--after {path}: the new run cannot be in the same folder, {out}")))
        }
        _ => Ok(()),
    }
}

fn of_the_same(
    path: &Path,
    result: &PruneResult,
    file: &File,
    dataset: &dyn Dataset,
) -> Result<()> {
    let (path, name) = (path.display(), &dataset.spec().name);
    // An early version did not write it.
    if !result.dataset.is_empty() && result.dataset != *name {
        return Err(usage(format!(
            "--after {path}: its data set is {}, expected {name}",
            result.dataset
        )));
    }
    match (result.sha256.get("base"), sha256(Path::new(&file.net))?) {
        (Some(then), Some(now)) if *then != now => Err(usage(format!(
            "--after {path}: its base network's SHA-256 is {then}, that of {} is {now}",
            file.net
        ))),
        _ => Ok(()),
    }
}

/// Refuses a target that is met already. How far a latency target is, is known when the run has measured the layers.
fn goes_further(path: &Path, file: &File, base: &Graph, pruned: &Graph) -> Result<()> {
    let Some(target) = file.prune.target else { return Ok(()) };
    let Some(meter) = Meter::new(target.unit, None) else { return Ok(()) };
    let (left, limit) = (meter.count(pruned), meter.limit(base, target.amount));
    if left > limit {
        return Ok(());
    }
    let [left, limit] = [left, limit].map(grouped);
    let (path, unit) = (path.display(), target.unit);
    Err(usage(format!(
        "--after {path}: its network has {left} {unit}, and the target is {limit}: give one that goes further"
    )))
}
