//! Plans of pruning runs: explained, edited, replayed.

use crate::TINY;
use crate::command::{assert_keys, json, pleach};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A run that prunes once, within seconds.
fn prune(run: &Path) -> Value {
    let args = ["prune", TINY, "--macs", "2x", "--max-drop", "100", "--epochs-budget", "0"];
    let less = ["--calibration", "100", "--bench-seconds", "0", "--json", "-o"];
    json(&[&args[..], &less, &[run.to_str().unwrap()]].concat())
}

fn plan(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("plan.json")).unwrap()).unwrap()
}

fn explain(run: &Path, layer: &str) -> Value {
    json(&["inspect", run.to_str().unwrap(), "--explain", layer, "--json"])
}

#[test]
fn every_filter_is_explained_by_its_score_and_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    prune(&run);
    let plan = plan(&run);
    for layer in ["features.0", "features.7"] {
        let found = explain(&run, layer);
        assert_keys(&found, &["schema", "plan", "layer", "group", "unprunable", "filters"]);
        assert_eq!(found["schema"], "pleach.explain/1");
        let filters = found["filters"].as_array().unwrap();
        let kept: Vec<&Value> = plan["kept"][layer].as_array().unwrap().iter().collect();
        for filter in filters {
            assert_keys(filter, &["filter", "kept", "returned", "score", "removed", "undone"]);
            assert!(filter["score"].is_f64(), "{filter}");
            assert_eq!(filter["kept"], kept.contains(&&filter["filter"]), "{filter}");
            assert_eq!(filter["removed"].is_null(), filter["kept"] == true);
            if let Some(removed) = filter["removed"].as_object() {
                let [score, threshold] = ["score", "threshold"].map(|key| removed[key].as_f64());
                assert!(score <= threshold && removed["phase"] == "once", "{filter}");
            }
        }
        assert!(filters.iter().any(|filter| filter["kept"] == true), "{layer}");
    }
    let text = pleach().arg("inspect").arg(&run).args(["--explain", "features.0"]).output();
    let text = String::from_utf8(text.unwrap().stdout).unwrap();
    assert!(text.contains("features.0: ") && text.contains("of 8 filters stayed"), "{text}");
    let output = pleach().arg("inspect").arg(&run).args(["--explain", "features.99"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are classifier, features.0"));
}

#[test]
fn an_edited_plan_is_replayed_to_the_filter_and_its_run_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let [run, edited, again] = ["run", "edited", "again"].map(|name| folder.path().join(name));
    prune(&run);
    let mut plan = plan(&run);
    plan["kept"]["features.0"] = json!([0, 3, 5]);
    let file = folder.path().join("edited.json");
    fs::write(&file, plan.to_string()).unwrap();
    let file = file.to_str().unwrap();
    // One of them is for removals too, of which there are none to be fine-tuned.
    let flags = ["--final-epochs=0.05", "--batch=250", "--calibration=100", "--bench-seconds=0"];
    let replay = |out: &Path, args: &[&str]| {
        let out = ["--max-drop", "100", "--json", "-o", out.to_str().unwrap()];
        json(&[&["prune", TINY], args, &flags, &out].concat())
    };
    let dry = replay(&edited, &["--plan", file, "-n"]);
    assert!(!edited.exists(), "nothing is written");
    let found = replay(&edited, &["--plan", file]);
    assert_eq!(found["pruned"]["widths"][0], 3);
    assert_eq!(found["pruned"]["macs"], dry["replayed"]["macs"]);
    let steps = found["steps"].as_array().unwrap();
    assert_eq!(
        (steps.len(), &steps[0]["phase"], &found["target_met"]),
        (1, &"replay".into(), &true.into())
    );
    let kept = fs::read(edited.join("plan.json")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept["kept"], plan["kept"]);
    assert_eq!(explain(&edited, "features.0")["filters"][1]["removed"]["phase"], "replay");
    let page = fs::read_to_string(edited.join("report.html")).unwrap();
    assert!(page.contains("By a plan that was given: 1 of 1 removals stand"), "{page}");

    let toml = edited.join("run.toml");
    replay(&again, &["-c", toml.to_str().unwrap()]);
    let bytes = |run: &Path| fs::read(run.join("pruned.safetensors")).unwrap();
    assert!(bytes(&edited) == bytes(&again), "the same bytes");
}

#[test]
fn a_plan_that_does_not_fit_is_refused_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    prune(&run);
    let (plan, file) = (plan(&run), folder.path().join("edited.json"));
    let refused = |edit: &dyn Fn(&mut Value), net: &str, flags: &[&str]| {
        let mut edited = plan.clone();
        edit(&mut edited);
        fs::write(&file, edited.to_string()).unwrap();
        let out = folder.path().join("out");
        let mut command = pleach();
        command.args(["prune", net]).args(flags).arg("--plan").arg(&file).arg("-o").arg(&out);
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(!out.exists());
        stderr
    };
    let kept = |layer: &'static str, kept: Value| {
        move |plan: &mut Value| plan["kept"][layer] = kept.clone()
    };
    let as_it_is = |_: &mut Value| {};
    for (says, found) in [
        ("keeps channel 8 of features.0", refused(&kept("features.0", json!([1, 8])), TINY, &[])),
        ("channels must ascend", refused(&kept("features.0", json!([3, 1])), TINY, &[])),
        ("would keep none of its 8 channels", refused(&kept("features.0", json!([])), TINY, &[])),
        ("channels of features.9", refused(&kept("features.9", json!([0])), TINY, &[])),
        (
            "channel 0 of layer classifier cannot be removed",
            refused(&kept("classifier", json!([1])), TINY, &[]),
        ),
        (
            "features.0 has 8 filters, but this one's has 32",
            refused(&as_it_is, "vgg-small:32,8,12,12,16,16", &[]),
        ),
        ("the plan is malformed", refused(&|plan| plan["kept"] = json!(3), TINY, &[])),
        ("the plan has schema \"x\"", refused(&|plan| plan["schema"] = json!("x"), TINY, &[])),
        ("'--plan <FILE>' cannot be used with", refused(&as_it_is, TINY, &["--macs", "2x"])),
        (
            "--phase has no effect: --plan says what is removed",
            refused(&as_it_is, TINY, &["--phase", "global"]),
        ),
    ] {
        assert!(found.contains(says), "{says:?}: {found}");
    }
}

#[test]
fn the_report_of_a_run_is_made_again_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let found = prune(&run);
    let page = fs::read(run.join("report.html")).unwrap();
    let widths = fs::read(run.join("figure-widths.svg")).unwrap();
    for name in ["report.html", "figure-widths.svg"] {
        fs::remove_file(run.join(name)).unwrap();
    }
    let report = |args: &[&str]| {
        let output = pleach().arg("report").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let path = run.to_str().unwrap();
    assert!(report(&[path]).contains("report.html"));
    assert!(fs::read(run.join("report.html")).unwrap() == page, "the same page");
    assert!(fs::read(run.join("figure-widths.svg")).unwrap() == widths, "the same figure");
    let markdown = report(&[path, "-o", "-"]);
    for part in ["# vgg-small", "multiply-adds", "![", "/run/figure-widths.svg)"] {
        assert!(markdown.contains(part), "{part} in {markdown}");
    }
    let out = folder.path().join("elsewhere.md");
    report(&[path, "-o", out.to_str().unwrap()]);
    assert!(fs::read_to_string(out).unwrap().contains("](run/figure-widths.svg)"));
    let document: Value = serde_json::from_str(&report(&[path, "-o", "-", "--json"])).unwrap();
    assert_eq!(document, found);
    // A file of it alone, from its result.
    let result = run.join("result.json");
    let out = folder.path().join("other.json");
    report(&[result.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert_eq!(serde_json::from_slice::<Value>(&fs::read(out).unwrap()).unwrap(), found);
    // Beside another one, an early result.
    let early = concat!(env!("CARGO_MANIFEST_DIR"), "/results/vgg16-cifar10.json");
    let table = report(&[&format!("{path}/"), early]);
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| /")).collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert!(rows[0].starts_with(&format!("| {path} | con_ent | ")), "{table}");
    assert!(
        rows[1].starts_with(&format!("| {early} | con_ent | 33 | 90.96 | 90.02 | ")),
        "{table}"
    );
    for (kind, part) in
        [("html", "<svg"), ("md", "| run |"), ("csv", "run,"), ("tex", "\\begin{tabular}")]
    {
        let out = folder.path().join(format!("runs.{kind}"));
        report(&[path, early, "-o", out.to_str().unwrap()]);
        assert!(fs::read_to_string(out).unwrap().contains(part), "{kind}");
    }
    let document: Value = serde_json::from_str(&report(&[path, early, "--json"])).unwrap();
    assert_eq!(document["schema"], "pleach.runs/1");
    assert_eq!(document["runs"][0]["result"]["pruned"], found["pruned"]);
    let refused = |args: &[&str], says: &str| {
        let output = pleach().arg("report").args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(says), "{says:?}: {text}");
    };
    let other = run.join("other.json");
    fs::copy(&result, &other).unwrap();
    refused(&[other.to_str().unwrap()], "name the run's folder, or result.json in it");
    let mut edited = found.clone();
    edited["base"]["accuracy"] = json!(1.7e308);
    fs::write(&other, edited.to_string()).unwrap();
    let out = folder.path().join("edited.html");
    let output = pleach().arg("report").args([other, result]).arg("-o").arg(&out).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("numbers that cannot be"), "{text}");
    let study = concat!(env!("CARGO_MANIFEST_DIR"), "/results/vgg16-quarter-cifar10");
    refused(&[path, study], "is a study: only pruning runs are compared");
    refused(
        &[path, early, "-o", "runs.svg"],
        "runs.svg: expected a name that ends in .html, .md, .csv",
    );
}
