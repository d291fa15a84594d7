//! Reports of pruning runs, from what the runs left in their folders.

use pleach_prune::report::{self, Picture, RESULT, ReportError};
use pleach_prune::run_dir::RunDir;
use pleach_prune::train_run::METRICS;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A finished run's folder: that of one which is committed, with another result and other metrics.
fn run(edit: impl FnOnce(&mut Value), metrics: &[Value]) -> (tempfile::TempDir, RunDir) {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/vgg16-cifar10-10x-given");
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["run.toml", "env.json"] {
        fs::copy(committed.join(name), folder.path().join(name)).expect("it is committed");
    }
    let result = fs::read_to_string(committed.join(RESULT)).expect("it is committed");
    let mut result: Value = serde_json::from_str(&result).expect("it is JSON");
    edit(&mut result);
    fs::write(folder.path().join(RESULT), result.to_string()).expect("it can be written");
    let lines: String = metrics.iter().map(|line| format!("{line}\n")).collect();
    fs::write(folder.path().join(METRICS), lines).expect("it can be written");
    let run = RunDir::existing(folder.path()).expect("it is there");
    (folder, run)
}

fn epoch(phase: &str, images: u32, loss: f64) -> Value {
    json!({ "event": "epoch", "phase": phase, "images": images, "loss": loss, "accuracy": 0.5 })
}

fn step(epochs: f64, accuracy: f64) -> Value {
    json!({ "event": "step", "epochs": epochs, "accuracy": accuracy })
}

#[test]
fn curves_of_fine_tuning_go_on_from_removal_to_removal() {
    let metrics = [
        epoch("global", 100, 2.0),
        epoch("global", 50, 1.5),
        step(1.5, 0.25),
        // Of less than an epoch there is no line.
        step(0.25, 0.75),
        epoch("final", 100, 1.0),
    ];
    let (_folder, run) =
        run(|result| result["pruned"]["validation_accuracy"] = 0.5.into(), &metrics);
    let page = report::pruning(&run).expect("it has a report");
    let section = page.sections.iter().find(|section| section.id == "tuning").expect("it is there");
    let lines = |name: &str| -> Vec<(String, Vec<(f64, f64)>)> {
        let figure = section.figures.iter().find(|figure| figure.name() == name);
        let Some(Picture::Lines(figure)) = figure else { panic!("no figure {name}") };
        figure.series.iter().map(|line| (line.name.clone(), line.points.clone())).collect()
    };
    let expected = [("global", vec![(1.0, 2.0), (1.5, 1.5)]), ("final", vec![(2.75, 1.0)])];
    assert_eq!(lines("loss"), expected.map(|(name, points)| (name.to_owned(), points)));
    let training = vec![(1.0, 50.0), (1.5, 50.0), (2.75, 50.0)];
    let validation = vec![(1.5, 25.0), (1.75, 75.0), (2.75, 50.0)];
    assert_eq!(
        lines("accuracy").into_iter().map(|line| line.1).collect::<Vec<_>>(),
        [training, validation]
    );
}

#[test]
fn a_run_without_fine_tuning_has_no_curves_of_it() {
    let (_folder, run) = run(|_| (), &[step(0.0, 0.5)]);
    let page = report::pruning(&run).expect("it has a report");
    assert!(page.sections.iter().all(|section| section.id != "tuning"));
}

#[test]
fn a_summary_says_how_a_run_went_and_why_it_fell_short() {
    let summary = |edit: fn(&mut Value)| {
        let (_folder, run) = run(edit, &[]);
        report::pruning(&run).expect("it has a report").summary
    };
    let met = summary(|_| ());
    assert!(met.starts_with("By con_ent+l1 and the layerwise phase alone: "), "{met}");
    assert!(!met.contains("missed") && !met.contains("More accuracy was lost"), "{met}");
    let far = summary(|result| {
        result["target_met"] = false.into();
        result["target"]["left"] = 40_000_000.into();
    });
    assert!(far.ends_with(" The target was missed."), "{far}");
    let lossy = summary(|result| result["target_met"] = false.into());
    assert!(lossy.ends_with(" More accuracy was lost than was allowed."), "{lossy}");
    let given = summary(|result| result["steps"][0]["phase"] = "replay".into());
    assert!(given.starts_with("By a plan that was given: "), "{given}");
    let once = summary(|result| {
        result["phases"] = "both".into();
        let steps = result["steps"].as_array_mut().expect("it has steps");
        steps.iter_mut().for_each(|step| step["phase"] = "once".into());
    });
    assert!(once.starts_with("By con_ent+l1, at once and without fine-tuning: "), "{once}");
    let after = summary(|result| result["sha256"]["after"] = "00".into());
    assert!(after.contains(", on from where another run ended: "), "{after}");
}

#[test]
fn a_run_without_a_result_or_with_one_that_is_none_has_no_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = RunDir::existing(folder.path()).expect("it is there");
    assert!(matches!(report::pruning(&empty), Err(ReportError::Unfinished(_))));
    let refused = |edit: fn(&mut Value), metrics: &[Value], says: &str| {
        let (_folder, run) = run(edit, metrics);
        let error = report::pruning(&run).expect_err("it is refused").to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(
        |result| result["schema"] = "pleach.prune/9".into(),
        &[],
        "its schema is \"pleach.prune/9\"",
    );
    refused(|result| result["steps"] = 3.into(), &[], "result.json: ");
    let wild = [epoch("final", 100, 1e200)];
    refused(|_| (), &wild, "metrics.jsonl: numbers that cannot be those of \"Training loss\"");
}
