//! `pleach train`: what a run leaves behind, and how it goes on.

use crate::TINY;
use crate::command::{json, pleach};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn train(out: &Path, epochs: &str) -> Value {
    let out = out.to_str().unwrap();
    json(&["train", "--model", TINY, "-e", epochs, "-b", "256", "--seed", "7", "-o", out, "--json"])
}

fn bytes(run: &Path, name: &str) -> Vec<u8> {
    fs::read(run.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The lines in the metrics of a run.
fn metrics(run: &Path) -> Vec<Value> {
    let text = String::from_utf8(bytes(run, "metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The epochs in the metrics of a run.
fn epochs(run: &Path) -> Vec<u64> {
    metrics(run).iter().map(|line| line["epoch"].as_u64().unwrap()).collect()
}

/// Whether the loss of the last epoch is lower than that of the first.
fn has_learnt(run: &Path) -> bool {
    let losses: Vec<f64> = metrics(run).iter().map(|line| line["loss"].as_f64().unwrap()).collect();
    losses.last() < losses.first()
}

#[test]
fn training_keeps_the_best_and_the_last_network_and_a_line_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let found = train(&run, "2");
    assert_eq!(found["schema"], "pleach.train/1");
    assert_eq!(epochs(&run), [1, 2]);
    let best = run.join("best.safetensors");
    let eval = json(&["eval", best.to_str().unwrap(), "--json"]);
    assert_eq!(eval["accuracy"], found["test_accuracy"]);
    assert!(has_learnt(&run), "the loss falls");

    // A finished run ends at once, well, and as it was.
    let last = bytes(&run, "last.safetensors");
    let again = json(&["train", "--resume", run.to_str().unwrap(), "--json"]);
    assert_eq!(again, found);
    assert!(bytes(&run, "last.safetensors") == last);
}

#[test]
fn training_is_the_same_bits_on_any_number_of_threads_and_after_an_interruption() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, resumed] = ["whole", "resumed"].map(|name| folder.path().join(name));
    train(&whole, "2");

    let args = ["train", "--model", TINY, "-e", "2", "-b", "256", "--seed", "7", "-t", "3"];
    let resume = |args: &[&str]| {
        let mut command = pleach();
        command.args(args).arg("--resume").arg(&resumed);
        command
    };
    stop_after_an_epoch(&args, &resumed);
    resume(&["train"]).assert().success();
    assert_eq!(epochs(&resumed), [1, 2]);
    for name in ["last.safetensors", "best.safetensors"] {
        assert!(bytes(&whole, name) == bytes(&resumed, name), "{name} has the same bits");
    }
    let output = resume(&["train", "--lr", "0.3"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("was begun with other settings"));
}

/// Without validation the best network is the last.
#[test]
fn all_images_are_trained_on_when_asked_for_and_nothing_is_chosen_by_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let path = run.to_str().unwrap();
    let args = ["train", "--model", TINY, "-e", "2", "-b", "256", "--all-images", "-o", path];
    let plan = json(&[&args[..], &["-n", "--json"]].concat());
    assert_eq!(plan["images"], 8000 + 2000, "those of training and validation");
    let found = json(&[&args[..], &["--json"]].concat());
    assert_eq!((&found["validation_accuracy"], &found["best_epoch"]), (&Value::Null, &2.into()));
    let metrics = String::from_utf8(bytes(&run, "metrics.jsonl")).unwrap();
    assert_eq!((metrics.lines().count(), metrics.contains("validation")), (2, false), "{metrics}");

    let names = ["best.safetensors", "last.safetensors"];
    let before = names.map(|name| bytes(&run, name));
    let compared = json(&[
        "compare",
        run.join(names[0]).to_str().unwrap(),
        run.join(names[1]).to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(compared["outputs"]["max_logit_difference"], 0.0, "{compared}");
    fs::remove_file(run.join("result.json")).unwrap();
    let output = pleach().args(["train", "--resume", path]).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("epoch 2 of 2, the last, without validation"), "{stdout}");
    assert!(names.map(|name| bytes(&run, name)) == before);
}

/// With what another training kept beside it, or without.
#[test]
fn a_network_that_there_is_is_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let [first, on] = ["first", "on"].map(|name| folder.path().join(name));
    let before = train(&first, "1");
    let begin = |from: &str, more: &[&str], out: &Path| {
        let from = first.join(from);
        let args = ["train", "-b", "256", "--init", from.to_str().unwrap(), "--json", "-f"];
        let output = pleach().args(args).args(more).arg("-o").arg(out).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let began = 100.0 * before["validation_accuracy"].as_f64().unwrap();
        assert!(stderr.contains(&format!("it begins with val {began:.2} %")), "{stderr}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["model"], from.to_str().unwrap());
        (found, bytes(out, "best.safetensors"))
    };
    let epochs = ["-e", "2", "--seed", "3"];
    let (found, best) = begin("best.safetensors", &epochs, &on);
    assert_eq!(found["epochs"], 2);
    let (_, again) = begin("last.safetensors", &epochs, &on);
    assert!(best == again, "velocities of the training before play no part");
}

/// Without batch norm, whose running statistics move at any rate.
#[test]
fn a_network_that_there_was_stays_the_best_where_no_epoch_is_better() {
    const PLAIN: &str = "vgg16-nobn:4,4,4,4,4,4,4,4,4,4,4,4,4";
    let folder = tempfile::tempdir().unwrap();
    let [net, run] = ["net.safetensors", "run"].map(|name| folder.path().join(name));
    pleach().args(["export", PLAIN, "--format", "safetensors", "-o"]).arg(&net).assert().success();
    let [net, out] = [&net, &run].map(|path| path.to_str().unwrap());
    let before = json(&["eval", net, "--json"]);
    let args =
        ["train", "--init", net, "-e", "0.1", "-b", "256", "--lr", "1e-12", "--json", "-o", out];
    let found = json(&args);
    assert_eq!(found["best_epoch"], 0, "{found}");
    for (key, of_eval) in [("test_accuracy", "accuracy"), ("test_loss", "loss")] {
        assert_eq!(found[key], before[of_eval], "{key}");
    }
    // What it began with is not needed to tell what came of it.
    fs::remove_file(net).unwrap();
    let output = pleach().args(["train", "--resume", out]).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("(as it was before the first epoch, the best by"), "{stdout}");
    assert_ne!(bytes(&run, "last.safetensors"), bytes(&run, "best.safetensors"));
}

/// With nothing but a teacher to learn from, labels play no part.
#[test]
fn a_network_learns_from_a_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let [first, taught] = ["first", "taught"].map(|name| folder.path().join(name));
    let before = train(&first, "4");
    let teacher = first.join("best.safetensors");
    let args = ["train", "--model", TINY, "-e", "4", "-b", "128", "--seed", "8", "--teacher"];
    let mut args = [&args[..], &[teacher.to_str().unwrap(), "--distill", "1", "--json"]].concat();
    let plan = json(&[&args[..], &["-n"]].concat());
    assert_eq!(plan["steps"], 248);
    args.extend(["-o", taught.to_str().unwrap()]);
    let found = json(&args);
    assert_eq!(found["teacher"], teacher.to_str().unwrap());
    assert_eq!(before.get("teacher"), None);
    assert!(has_learnt(&taught), "the loss falls");
    let toml = String::from_utf8(bytes(&taught, "run.toml")).unwrap();
    assert!(toml.contains("[teacher]") && toml.contains("temperature = 4.0"), "{toml}");
}

/// Starts a run in an empty folder, and interrupts it in its second epoch. One that is through before the signal comes,
/// as on a busy machine, starts again.
#[cfg(unix)]
fn stop_after_an_epoch(args: &[&str], run: &Path) {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;
    const TRIES: usize = 5;
    for _ in 0..TRIES {
        fs::create_dir(run).unwrap();
        let mut child = crate::command::process()
            .args(args)
            .args(["--progress", "lines", "--resume"])
            .arg(run)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("epoch") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "the run has a first epoch");
        }
        crate::command::send("INT", &child);
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        match child.wait().unwrap().code() {
            Some(130) => {
                assert!(rest.contains("--resume"), "{rest}");
                return;
            }
            Some(0) => fs::remove_dir_all(run).unwrap(),
            code => panic!("{code:?}: {rest}"),
        }
    }
    panic!("{TRIES} runs were through before they could be interrupted");
}

#[cfg(not(unix))]
fn stop_after_an_epoch(args: &[&str], run: &Path) {
    fs::create_dir(run).unwrap();
    pleach().args(args).arg("--resume").arg(run).assert().success();
}

#[test]
fn a_loss_that_is_no_number_exits_with_4_and_keeps_the_last_good_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&run, "1");
    let toml = String::from_utf8(bytes(&run, "run.toml")).unwrap();
    let wild = toml.replace("epochs = 1.0", "epochs = 2.0").replace("lr = 0.05", "lr = 1e20");
    assert_ne!(wild, toml);
    fs::write(run.join("run.toml"), wild).unwrap();
    // As it is before the run is finished.
    fs::remove_file(run.join("result.json")).unwrap();
    let names = ["last.safetensors", "best.safetensors", "metrics.jsonl"];
    let before = names.map(|name| bytes(&run, name));
    let output = pleach().args(["train", "--resume"]).arg(&run).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("training diverged: a loss of"), "{stderr}");
    assert!(stderr.contains("holds the network after epoch 1"), "{stderr}");
    assert!(names.map(|name| bytes(&run, name)) == before);
}
