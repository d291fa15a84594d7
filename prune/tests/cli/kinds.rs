//! Runs of the verbs that take time: small ones, and what they leave.

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
    /// Whether the folder is made first, and what goes on has its settings from there alone.
    folder_first: bool,
    whole: OnceLock<Whole>,
}

pub(crate) static TRAIN: Kind = Kind {
    verb: "train",
    args: &["--model", LEAST, "-e", "1.3", "-b", "500", "--lr", "0.02"],
    folder_first: false,
    whole: OnceLock::new(),
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
    ],
    folder_first: false,
    whole: OnceLock::new(),
};

/// A base network, both phases, each alone, and a measurement.
pub(crate) static REPRODUCE: Kind = Kind {
    verb: "reproduce",
    args: &["T1", "--quick"],
    folder_first: true,
    whole: OnceLock::new(),
};

/// Makes the folder of a study if there is none, with less work in each cell than there is an option for.
fn make_study(kind: &Kind, run: &Path) {
    let file = run.join("run.toml");
    if file.exists() {
        return;
    }
    let mut command = process();
    command.arg(kind.verb).args(kind.args).args(["--list-cells", "-o"]).arg(run);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    let mut text = fs::read_to_string(&file).unwrap();
    for (line, instead) in [
        ("model = \"vgg-small\"", format!("model = \"{LEAST}\"")),
        ("base_epochs = 14.0", "base_epochs = 1.2".into()),
        ("prune_epochs = 5.0", "prune_epochs = 0.4".into()),
        ("calibration = 1000", "calibration = 50".into()),
        ("latency_seconds = 0.5", "latency_seconds = 0.02".into()),
        ("batch = 64", "batch = 250".into()),
        ("global_step = 0.1", "global_step = 0.2".into()),
        ("global_epochs = 0.4", "global_epochs = 0.05".into()),
        ("layerwise_step = 0.2", "layerwise_step = 0.4".into()),
        ("layerwise_epochs = 0.2", "layerwise_epochs = 0.05".into()),
    ] {
        assert!(text.contains(line), "{line}");
        text = text.replace(line, &instead);
    }
    fs::write(&file, text).unwrap();
}

impl Kind {
    /// What begins a run, or goes on with it.
    pub(crate) fn command(&self, run: &Path) -> Command {
        let mut command = self.resume(run);
        command.arg("-q").stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// The same, which prints what it always does.
    pub(crate) fn resume(&self, run: &Path) -> Command {
        let mut command = process();
        command.args([self.verb, "-t1"]);
        if self.folder_first {
            make_study(self, run);
        } else {
            command.args(self.args);
        }
        command.arg("--resume").arg(run);
        command
    }

    pub(crate) fn finish(&self, run: &Path) {
        let output = self.command(run).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a run leaves that nothing disturbs.
    pub(crate) fn whole(&self) -> &Whole {
        self.whole.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let run = folder.path().join("run");
            let started = Instant::now();
            self.finish(&run);
            Whole { duration: started.elapsed(), files: found(&run) }
        })
    }
}

/// What a run leaves that nothing disturbs, and the time it takes.
pub(crate) struct Whole {
    pub(crate) duration: Duration,
    files: BTreeMap<String, Found>,
}

impl Whole {
    pub(crate) fn assert_is_what_is_in(&self, run: &Path, when: &str) {
        let files = found(run);
        assert!(files.keys().eq(self.files.keys()), "{:?} {when}", files.keys());
        for ((name, found), expected) in files.iter().zip(self.files.values()) {
            match (found, expected) {
                (Found::Json(a), Found::Json(b)) => assert_eq!(a, b, "{name} {when}"),
                (found, expected) => assert!(found == expected, "the bytes of {name} {when}"),
            }
        }
    }
}

/// Of a file, what ends alike in all runs.
#[derive(PartialEq)]
enum Found {
    /// Every byte.
    Bytes(Vec<u8>),
    /// What is not measured with a clock.
    Json(Value),
    /// That it is there: it is made from the others, or says who was here.
    Name,
}

fn found(run: &Path) -> BTreeMap<String, Found> {
    let found = |(path, bytes): (String, Vec<u8>)| {
        let name = path.rsplit('/').next().unwrap();
        let found = match name {
            "run.toml" | "plan.json" => Found::Bytes(bytes),
            name if name.ends_with(".safetensors") => Found::Bytes(bytes),
            "metrics.jsonl" | "result.json" | "cell.json" | "report.json" => {
                let text = str::from_utf8(&bytes).unwrap();
                let whole = serde_json::from_str(text);
                let lines =
                    || text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                let mut value = whole.unwrap_or_else(|_| Value::Array(lines()));
                forget_times(&mut value);
                Found::Json(value)
            }
            _ => Found::Name,
        };
        (path, found)
    };
    contents(run).into_iter().map(found).collect()
}

/// The files in a folder and in those below it, by their path from there.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let below = contents(&entry.path()).into_iter();
            files.extend(below.map(|(path, bytes)| (format!("{name}/{path}"), bytes)));
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    files
}

/// Removes what is measured with a clock, and paths.
fn forget_times(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(forget_times),
        Value::Object(fields) => {
            for key in [
                "seconds",
                "images_per_s",
                "latency",
                "latency_ms_p50",
                "latency_ms_p90",
                "warm_ms_p50",
                "warm",
                "layers",
                "speedup",
                "ratios",
                "best",
            ] {
                fields.remove(key);
            }
            fields.values_mut().for_each(forget_times);
        }
        _ => {}
    }
}
