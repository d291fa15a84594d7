//! The run that another goes on from.

use super::File;
use crate::cli::exit::usage;
use crate::cli::output::grouped;
use anyhow::{Context as _, Result};
use pleach_core::graph::Graph;
use pleach_core::{Network, checkpoint};
use pleach_datasets::Dataset;
use pleach_prune::channels::Channels;
use pleach_prune::phases::Earlier;
use pleach_prune::plan::{self, Plan};
use pleach_prune::prune_run::{PLAN, PRUNED};
use pleach_prune::report::{PruneResult, pruning_result};
use pleach_prune::run_dir::RunDir;
use pleach_prune::surgery;
use pleach_prune::target::Meter;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What the run in `path` left, if it is finished and of the same base network and data set, and if `file`'s target
/// goes further. `sha256` has the hash of `base`'s file, if it is one.
pub(super) fn earlier(
    path: &Path,
    file: &File,
    base: &Network,
    sha256: &BTreeMap<String, String>,
    dataset: &dyn Dataset,
) -> Result<Earlier> {
    let run = RunDir::existing(path)?;
    let result = pruning_result(&run)?;
    of_the_same(&result, file, sha256, dataset)
        .map_err(|wrong| usage(format!("--after {}: {wrong}", path.display())))?;
    let plan_file = run.file(PLAN);
    let read = || {
        let text = fs::read_to_string(&plan_file)?;
        let plan = Plan::from_json(&text)?;
        let channels = Channels::of(base.graph());
        let kept = plan::kept(base.graph(), &channels, &plan)?;
        anyhow::Ok((plan, surgery::shrink(base.graph(), &channels, &kept)))
    };
    let (plan, expected) = read().with_context(|| plan_file.display().to_string())?;
    let network = checkpoint::load(&run.file(PRUNED))?.network;
    if *network.graph() != expected {
        let [network, plan] = [run.file(PRUNED), plan_file];
        let (network, plan) = (network.display(), plan.display());
        return Err(usage(format!("{network} is not the network that {plan} leaves")));
    }
    goes_further(path, file, base.graph(), network.graph())?;
    let PruneResult { epochs, without_bias_update, .. } = result;
    Ok(Earlier { network, plan, epochs, without_bias_update })
}

/// What differs, if something does.
fn of_the_same(
    result: &PruneResult,
    file: &File,
    sha256: &BTreeMap<String, String>,
    dataset: &dyn Dataset,
) -> Result<(), String> {
    let name = &dataset.spec().name;
    // Early versions wrote neither data set nor hashes.
    if !result.dataset.is_empty() && result.dataset != *name {
        return Err(format!("its data set is {}, that of this run is {name}", result.dataset));
    }
    match [&result.sha256, sha256].map(|hashes| hashes.get("base")) {
        [Some(then), Some(now)] if then == now => Ok(()),
        [Some(then), now] => {
            let now = now.map_or("no file", String::as_str);
            Err(format!("the SHA-256 of its base network is {then}, that of {} is {now}", file.net))
        }
        // What a model's name stands for is from the seed.
        [None, None] if result.seed != file.prune.seed => Err(format!(
            "its seed is {}, that of this run is {}: the base networks differ",
            result.seed, file.prune.seed
        )),
        [None, _] => Ok(()),
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
