//! What is refused before anything is done.

use super::{Common, DataArgs};
use crate::cli::config::Origin;
use crate::cli::exit::usage;
use anyhow::{Result, bail};
use pleach_core::autograd::Tape;
use pleach_core::graph::Graph;
use pleach_prune::environment;
use pleach_prune::run_dir::RunDir;
use std::path::Path;

/// An error if `--data` is given where, for this reason, no data is read. A variable is there for all commands.
pub(in crate::cli) fn refuse_data(common: &Common, data: &DataArgs, why: &str) -> Result<()> {
    match (&data.data, common.origin("data")) {
        (Some(_), Origin::Flag(flag)) => Err(usage(format!("{flag} has no effect: {why}"))),
        _ => Ok(()),
    }
}

/// Refuses a training step whose maps the machine's memory cannot hold: it would be killed without a word.
pub(in crate::cli) fn check_memory(graph: &Graph, batch: usize) -> Result<()> {
    let bytes = Tape::map_bytes_at_least(graph, batch) as u64;
    fits_in(environment::memory(), bytes, batch).map_err(usage)
}

fn fits_in(memory: Option<u64>, bytes: u64, batch: usize) -> Result<(), String> {
    match memory {
        Some(memory) if bytes > memory => Err(format!(
            "a batch of {batch} images takes {:.1} GB at least, and this machine has {:.1}: take fewer (--batch)",
            bytes as f64 / 1e9,
            memory as f64 / 1e9
        )),
        _ => Ok(()),
    }
}

/// `error`, from opening `files`, which a run reads that is gone on with; says where those are looked for that are not
/// there.
pub(in crate::cli) fn located(
    run: &RunDir,
    files: Vec<&Path>,
    error: anyhow::Error,
) -> anyhow::Error {
    // Whatever else it is, a model's name is no path.
    let is_path = |path: &Path| path.extension().is_some() || path.components().count() > 1;
    let is_lost = |path: &&Path| path.is_relative() && is_path(path) && !path.exists();
    match files.into_iter().find(is_lost) {
        Some(path) => error.context(format!(
            "{} names {} as seen from the folder in which the run was begun",
            run.file("run.toml").display(),
            path.display()
        )),
        None => error,
    }
}

/// An error if there is a file already and it is not to be overwritten.
pub(in crate::cli) fn refuse_to_overwrite(path: &Path, force: bool) -> Result<()> {
    match path.exists() && !force {
        true => {
            Err(usage(format!("{} is there already; overwrite it with --force", path.display())))
        }
        false => Ok(()),
    }
}

/// The same, or if there is no folder for it.
pub(in crate::cli) fn check_place(path: &Path, force: bool) -> Result<()> {
    refuse_to_overwrite(path, force)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            bail!("cannot write {}: there is no folder {}", path.display(), folder.display())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_beyond_the_memory_is_refused_with_what_it_takes() {
        let refused = fits_in(Some(25_000_000_000), 26_000_000_000, 2048).unwrap_err();
        assert!(refused.starts_with("a batch of 2048 images takes 26.0 GB at least"), "{refused}");
        assert_eq!(fits_in(Some(25_000_000_000), 25_000_000_000, 2048), Ok(()));
        assert_eq!(fits_in(None, u64::MAX, 2048), Ok(()), "where nobody knows");
    }
}
