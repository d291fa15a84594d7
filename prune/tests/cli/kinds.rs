//! Runs of the two verbs that take time: small ones, and what they leave.

use crate::command::process;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// As few multiply-adds as this model has.
pub(crate) const LEAST: &str = "vgg-small:2,2,3,3,4,4";

pub(crate) struct Kind {
    pub(crate) verb: &'static str,
    pub(crate) args: &'static [&'static str],
    /// Files that end with the same bytes.
    exact: &'static [&'static str],
    /// JSON and lines of JSON that end alike, but for times.
    alike: &'static [&'static str],
}

pub(crate) static TRAIN: Kind = Kind {
    verb: "train",
    args: &["--model", LEAST, "-e", "1.3", "-b", "500", "--lr", "0.02", "-t", "1"],
    exact: &["last.safetensors", "best.safetensors", "run.toml"],
    alike: &["metrics.jsonl", "result.json"],
};

/// Rounds of phase I, trials of phase II, two epochs at the end, and a measurement.
pub(crate) static PRUNE: Kind = Kind {
    verb: "prune",
    args: &[
        LEAST,
        "--macs=1.4x",
        "--max-drop=100",
        "--calibration=50",
        "--batch=250",
        "--global-step=0.2",
        "--global-epochs=0.1",
        "--layerwise-step=0.4",
        "--layerwise-epochs=0.05",
        "--final-epochs=1.2",
        "--bench-seconds=0.1",
        "-t1",
    ],
    exact: &["pruned.safetensors", "plan.json", "run.toml"],
    alike: &["metrics.jsonl", "result.json"],
};

impl Kind {
    /// What begins a run, or goes on with it.
    pub(crate) fn command(&self, run: &Path) -> Command {
        let mut command = process();
        command.arg(self.verb).args(self.args).args(["-q", "--resume"]).arg(run);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn finish(&self, run: &Path) {
        let output = self.command(run).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a run leaves that nothing disturbs.
    pub(crate) fn whole(&'static self) -> &'static Whole {
        static WHOLES: [OnceLock<Whole>; 2] = [const { OnceLock::new() }; 2];
        WHOLES[usize::from(self.verb == PRUNE.verb)].get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let run = folder.path().join("run");
            let started = Instant::now();
            self.finish(&run);
            Whole { kind: self, duration: started.elapsed(), found: Found::of(self, &run) }
        })
    }
}

/// What a run leaves that nothing disturbs, and the time it takes.
pub(crate) struct Whole {
    kind: &'static Kind,
    pub(crate) duration: Duration,
    found: Found,
}

/// The names of a run's files, and what stands in those that count.
#[derive(PartialEq)]
struct Found {
    names: Vec<String>,
    exact: Vec<Vec<u8>>,
    alike: Vec<Value>,
}

impl Whole {
    pub(crate) fn assert_is_what_is_in(&self, run: &Path, when: &str) {
        let (found, expected) = (Found::of(self.kind, run), &self.found);
        assert_eq!(found.names, expected.names, "the same files, {when}");
        for ((name, a), b) in self.kind.exact.iter().zip(&found.exact).zip(&expected.exact) {
            assert!(a == b, "{name} has the same bytes, {when}");
        }
        assert_eq!(found.alike, expected.alike, "{when}");
    }
}

impl Found {
    fn of(kind: &Kind, run: &Path) -> Self {
        let exact = kind.exact.iter().map(|name| fs::read(run.join(name)).unwrap());
        let alike = kind.alike.iter().map(|name| {
            let text = fs::read_to_string(run.join(name)).unwrap();
            let whole = serde_json::from_str(&text);
            let lines = || text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let mut value = whole.unwrap_or_else(|_| Value::Array(lines()));
            forget_times(&mut value);
            value
        });
        let names = contents(run).into_keys().collect();
        Self { names, exact: exact.collect(), alike: alike.collect() }
    }
}

/// The files in a folder.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = entries.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    files.collect()
}

/// Removes what is measured with a clock, and paths.
fn forget_times(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(forget_times),
        Value::Object(fields) => {
            for key in ["seconds", "images_per_s", "latency", "layers", "speedup", "best"] {
                fields.remove(key);
            }
            fields.values_mut().for_each(forget_times);
        }
        _ => {}
    }
}
