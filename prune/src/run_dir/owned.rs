//! What in a folder is a run's.

use super::{STATE_PREFIX, lock};
use crate::prune_run::{LATENCY, PLAN, PRUNED};
use crate::report::{FIGURE_PREFIX, PAGE, RESULT};
use crate::train_run::{BEST, LAST, METRICS};
use std::fs;
use std::path::Path;

const SETTINGS: &str = "run.toml";

/// What runs write. With `--force`, what of it an earlier run left in a folder goes first.
const FILES: &[&str] =
    &[SETTINGS, "env.json", METRICS, LAST, BEST, PRUNED, PLAN, LATENCY, RESULT, PAGE];

/// The verbs that leave runs.
const VERBS: &[&str] = &["train", "prune", "reproduce"];

/// Whether runs write files of this name.
pub(super) fn is_of_a_run(name: &str) -> bool {
    let is_figure = name.starts_with(FIGURE_PREFIX) && name.ends_with(".svg");
    FILES.contains(&name) || is_state(name) || is_figure
}

/// Whether unfinished runs go on from files of this name.
pub(super) fn is_state(name: &str) -> bool {
    let kinds = [".json", ".safetensors", ".npy"];
    name.starts_with(STATE_PREFIX) && kinds.iter().any(|kind| name.ends_with(kind))
}

/// Whether a folder has the lock of a run, which is there from the run's first moment on and stays.
pub(super) fn has_lock(folder: &Path) -> bool {
    folder.join(lock::FILE).exists()
}

/// Whether there is a run in a folder, by its settings, or, if it was killed before it wrote them, by its lock, for
/// which `locked` stands.
pub(super) fn has_run(folder: &Path, locked: bool) -> bool {
    let path = folder.join(SETTINGS);
    if !path.exists() {
        return locked;
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    let verb = table.get("verb").and_then(toml::Value::as_str);
    verb.is_some_and(|verb| VERBS.contains(&verb))
}

#[cfg(test)]
mod tests {
    use super::super::{RunDir, RunDirError};
    use super::*;

    #[test]
    fn by_force_only_a_run_is_overwritten_whatever_files_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let mine = ["plan.json", "report.html", "figure-paper.svg", "run.toml"];
        mine.iter().for_each(|name| fs::write(folder.path().join(name), "mine").unwrap());
        let create = || RunDir::create(Some(folder.path()), "train", true);
        for settings in ["mine", "verb = 1\n", "verb = \"cook\"\n"] {
            fs::write(folder.path().join("run.toml"), settings).unwrap();
            let refused = create().unwrap_err();
            assert!(matches!(refused, RunDirError::NoRun(_)), "{refused}");
            assert!(RunDir::planned(Some(folder.path()), "train", true).is_err());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), mine.len(), "not even a lock");
        // A lock beside settings of another program is of a run that was to be gone on with and is none.
        fs::write(folder.path().join(lock::FILE), "").unwrap();
        assert!(matches!(create().unwrap_err(), RunDirError::NoRun(_)));
        // A run that was killed before it wrote its settings.
        fs::remove_file(folder.path().join("run.toml")).unwrap();
        assert_eq!(create().unwrap().names().unwrap(), [lock::FILE]);
    }

    #[test]
    fn a_folder_of_which_nothing_would_go_is_taken_by_force() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("log.txt"), "mine").unwrap();
        let create = |force| RunDir::create(Some(folder.path()), "train", force);
        assert!(matches!(create(false).unwrap_err(), RunDirError::NotEmpty(_)));
        assert!(create(true).unwrap().file("log.txt").exists());
    }
}
