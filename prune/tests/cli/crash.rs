//! Runs that are killed at any moment, and go on: they end as those that are left alone.
//!
//! `PLEACH_CRASH_KILLS=50 cargo test --test cli crash` kills more often.

use crate::command::process;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// As few multiply-adds as this model has.
const LEAST: &str = "vgg-small:2,2,3,3,4,4";

struct Kind {
    verb: &'static str,
    args: &'static [&'static str],
    /// Files that end with the same bytes.
    exact: &'static [&'static str],
    /// JSON and lines of JSON that end alike, but for times.
    alike: &'static [&'static str],
}

const TRAIN: Kind = Kind {
    verb: "train",
    args: &["--model", LEAST, "-e", "1.3", "-b", "500", "--lr", "0.02", "-t", "1"],
    exact: &["last.safetensors", "best.safetensors", "run.toml"],
    alike: &["metrics.jsonl", "result.json"],
};

/// Rounds of phase I, trials of phase II, two epochs at the end, and a measurement.
const PRUNE: Kind = Kind {
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
    fn command(&self, run: &Path) -> Command {
        let mut command = process();
        command.arg(self.verb).args(self.args).args(["-q", "--resume"]).arg(run);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn finish(&self, run: &Path) {
        let output = self.command(run).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The files by name, and what stands in them.
    fn found(&self, run: &Path) -> (Vec<String>, Vec<Vec<u8>>, Vec<Value>) {
        let entries = fs::read_dir(run).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        let read = |name: &&str| {
            fs::read(run.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let alike = self.alike.iter().map(|name| {
            let text = String::from_utf8(read(name)).unwrap();
            let whole = serde_json::from_str(&text);
            let lines = || text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let mut value = whole.unwrap_or_else(|_| Value::Array(lines()));
            forget_times(&mut value);
            value
        });
        (names, self.exact.iter().map(read).collect(), alike.collect())
    }
}

/// Removes what is measured with a clock, and paths.
fn forget_times(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(forget_times),
        Value::Object(fields) => {
            for key in ["seconds", "images_per_s", "latency", "speedup", "best"] {
                fields.remove(key);
            }
            fields.values_mut().for_each(forget_times);
        }
        _ => {}
    }
}

/// Fractions in `[0, 1)`: each `count` in a row have one in every `count`-th, in no order.
fn moments(count: u64) -> impl Iterator<Item = f64> {
    let mut state = 42u64;
    let mut random = move || {
        // SplitMix64 (Steele, Lea and Flood 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut left = Vec::new();
    std::iter::from_fn(move || {
        if left.is_empty() {
            left = (0..count).collect();
        }
        let stratum = left.swap_remove((random() * left.len() as f64) as usize);
        Some((stratum as f64 + random()) / count as f64)
    })
}

/// Waits so long, and then kills the run. Returns whether it was still there to be killed.
fn kill_after(mut command: Command, delay: Duration) -> bool {
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    while started.elapsed() < delay {
        if child.try_wait().unwrap().is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(1).min(delay));
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let code = output.status.code();
    assert!(matches!(code, None | Some(0)), "{}", String::from_utf8_lossy(&output.stderr));
    code.is_none()
}

#[cfg(unix)]
fn goes_on(kind: &Kind) {
    let kills = std::env::var("PLEACH_CRASH_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let started = Instant::now();
    kind.finish(&whole);
    let duration = started.elapsed();
    let expected = kind.found(&whole);

    let mut moments = moments(kills);
    let (mut killed, mut runs) = (0, 0);
    while killed < kills {
        runs += 1;
        let run = folder.path().join(format!("run-{runs}"));
        // Until it is through before its moment comes.
        while killed < kills
            && kill_after(kind.command(&run), duration.mul_f64(moments.next().unwrap()))
        {
            killed += 1;
        }
        kind.finish(&run);
        let found = kind.found(&run);
        assert_eq!(found.0, expected.0, "the same files, after {killed} kills");
        for ((name, found), expected) in kind.exact.iter().zip(&found.1).zip(&expected.1) {
            assert!(found == expected, "{name} has the same bytes, after {killed} kills");
        }
        assert_eq!(found.2, expected.2, "after {killed} kills");
    }
    println!("{}: {killed} kills in {runs} runs of {:.1} s", kind.verb, duration.as_secs_f64());
}

#[cfg(unix)]
#[test]
fn training_that_is_killed_again_and_again_ends_with_the_same_bits() {
    goes_on(&TRAIN);
}

#[cfg(unix)]
#[test]
fn pruning_that_is_killed_again_and_again_ends_with_the_same_bits() {
    goes_on(&PRUNE);
}
