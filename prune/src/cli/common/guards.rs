//! What is refused before anything is done.

use super::{Common, DataArgs};
use crate::cli::config::Origin;
use crate::cli::exit::usage;
use anyhow::{Result, bail};
use pleach_core::autograd::Tape;
use pleach_core::graph::Graph;
use pleach_prune::environment;
use pleach_prune::run_dir::RunDir;
use std::fs;
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

/// The same of a file that `flag` names; and if there is no folder for it, or if, overwriting or not, it is one of the
/// `inputs`, each with what the command line calls it, by whatever path, or something else than a file.
pub(in crate::cli) fn check_place<'a>(
    (flag, path): (&str, &Path),
    force: bool,
    inputs: impl IntoIterator<Item = (&'a str, &'a Path)>,
) -> Result<()> {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
    let place = canonical(path);
    if let Some((input, _)) = inputs.into_iter().find(|(_, input)| canonical(input) == place) {
        let path = path.display();
        return Err(usage(format!("{flag} {path} would overwrite {input}: name another file")));
    }
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        bail!("cannot write {}: it is no regular file", path.display());
    }
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
    fn a_file_that_is_read_is_not_written_by_whatever_path_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("below")).unwrap();
        fs::write(path("a"), "").unwrap();
        let check = |out: &str, inputs: &[(&str, &str)]| {
            let inputs: Vec<_> = inputs.iter().map(|(name, input)| (*name, path(input))).collect();
            let inputs = inputs.iter().map(|(name, input)| (*name, input.as_path()));
            check_place(("--out", &path(out)), true, inputs).map_err(|error| error.to_string())
        };
        for (out, input) in [("a", "a"), ("a", "below/../a"), ("new", "new")] {
            let refused = check(out, &[("--data", "below"), ("NET", input)]).unwrap_err();
            assert!(refused.ends_with(" would overwrite NET: name another file"), "{refused}");
        }
        assert_eq!(check("a", &[("NET", "b"), ("--data", "below")]), Ok(()));
        assert!(check("below", &[]).unwrap_err().ends_with("below: it is no regular file"));
    }

    #[test]
    fn a_batch_beyond_the_memory_is_refused_with_what_it_takes() {
        let refused = fits_in(Some(25_000_000_000), 26_000_000_000, 2048).unwrap_err();
        assert!(refused.starts_with("a batch of 2048 images takes 26.0 GB at least"), "{refused}");
        assert_eq!(fits_in(Some(25_000_000_000), 25_000_000_000, 2048), Ok(()));
        assert_eq!(fits_in(None, u64::MAX, 2048), Ok(()), "where nobody knows");
    }
}
