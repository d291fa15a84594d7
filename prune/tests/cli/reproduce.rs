//! `pleach reproduce`: what it lists and what it refuses. Its work is tested as the library's.

use crate::command::pleach;
use crate::kinds::LEAST;
use serde_json::{Value, json};

#[test]
fn a_run_that_is_none_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let output = pleach().args(["reproduce", "--resume", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere: there is no such run"));

    std::fs::write(folder.path().join("run.toml"), "verb = \"train\"\n").unwrap();
    let output = pleach().args(["reproduce", "--resume"]).arg(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("settings of \"train\", expected of \"reproduce\""), "{stderr}");

    std::fs::remove_file(folder.path().join("run.toml")).unwrap();
    let output = pleach().args(["reproduce", "--resume"]).arg(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("has no run.toml: there is nothing to go on with"), "{stderr}");
}

#[test]
fn a_seed_cannot_be_changed_in_the_middle_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("study");
    let list = ["reproduce", "t1", "--quick", "--seed", "7", "--list-cells", "--json", "-o"];
    let output = pleach().args(list).arg(&run).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["schema"], "pleach.reproduce-cells/1");
    assert_eq!(found["cells"], json!(["base", "t1-both", "t1-global", "t1-layerwise"]));
    let go_on = |seed: &str| {
        let mut command = pleach();
        command.args(["reproduce", "--list-cells", "--resume"]).arg(&run).env("PLEACH_SEED", seed);
        command.output().unwrap()
    };
    // Workers may inherit the variable that the study was begun with.
    assert!(go_on("7").status.success());
    let output = go_on("1");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("was begun with seed 7 (see "), "{stderr}");
    assert!(stderr.contains("not with 1: leave PLEACH_SEED out"), "{stderr}");
}

#[test]
fn the_data_cannot_be_changed_in_the_middle_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("study");
    let list = ["reproduce", "t1", "--quick", "--list-cells", "-o"];
    pleach().args(list).arg(&run).assert().success();
    let go_on = |flag: Option<&str>, variable: &str| {
        let mut command = pleach();
        command.args(["reproduce", "--list-cells", "--resume"]).arg(&run);
        let output = command.args(flag).env("PLEACH_DATA", variable).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let settings = std::fs::read(run.join("run.toml")).unwrap();
    for (flag, origin) in [(Some("--data=nowhere"), "--data"), (None, "PLEACH_DATA")] {
        let (code, stderr) = go_on(flag, "nowhere");
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("was begun with the built-in data (see "), "{stderr}");
        assert!(stderr.contains(&format!("not with nowhere: leave {origin} out")), "{stderr}");
    }
    // Settings alone are no study yet: whoever does one again brings the data.
    std::fs::remove_file(run.join("env.json")).unwrap();
    let (code, stderr) = go_on(Some("--data=nowhere"), "");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("nowhere: "), "{stderr}");
    pleach().args(["reproduce", "--list-cells", "--resume"]).arg(&run).assert().success();
    assert!(run.join("env.json").exists() && go_on(None, "nowhere").0 == Some(2));
    assert!(std::fs::read(run.join("run.toml")).unwrap() == settings);
}

#[test]
fn cells_are_listed_by_name_for_workers_and_each_can_be_done_alone() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("study");
    let list = |args: &[&str]| {
        let output = pleach().arg("reproduce").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let path = run.to_str().unwrap();
    let all = list(&["t1", "--quick", "-o", path, "--list-cells"]);
    assert_eq!(all, "base\nt1-both\nt1-global\nt1-layerwise\n", "speed is not for workers");
    assert_eq!(list(&["--resume", path, "--list-cells"]), all, "none was done");
    let merged = list(&["--resume", path, "--merge"]);
    assert!(
        merged.contains("0 of 5 cells") && merged.contains("No cell of it is done"),
        "{merged}"
    );

    // The report is made again from its JSON alone.
    let page = std::fs::read(run.join("report.html")).unwrap();
    std::fs::remove_file(run.join("report.html")).unwrap();
    let out = folder.path().join("other.md");
    let report = |args: &[&str]| pleach().arg("report").args(args).output().unwrap();
    let text = String::from_utf8(report(&[path]).stdout).unwrap();
    assert!(text.contains("0 of 5 cells are in") && text.contains("report.html"), "{text}");
    assert!(std::fs::read(run.join("report.html")).unwrap() == page, "the same page");
    let markdown = report(&[path, "-o", "-"]).stdout;
    for (flag, code) in [(None, 0), (None, 2), (Some("--force"), 0)] {
        let args = [path, "-o", out.to_str().unwrap(), "--json"].into_iter().chain(flag);
        let output = report(&args.collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(std::fs::read(&out).unwrap() == markdown);
    let output = report(&[path, "-o", "report.pdf"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("ends in .html, .md or .json"));

    let output = pleach().args(["reproduce", "--resume", path, "--cell", "t2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this study has no cell \"t2\""));
}

#[test]
fn another_run_takes_a_studys_folder_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("study");
    let path = run.to_str().unwrap();
    let done = |args: &[&str]| {
        let output = pleach().args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    done(&["reproduce", "t1", "--quick", "-o", path, "--list-cells"]);
    let made = concat!(env!("CARGO_MANIFEST_DIR"), "/results/vgg16-quarter-cifar10/report.json");
    std::fs::copy(made, run.join("report.json")).unwrap();
    done(&["report", path]);
    std::fs::create_dir_all(run.join("cells/base")).unwrap();
    std::fs::write(run.join("cells/base/cell.lock"), "").unwrap();
    let mine = ["t3-mine.txt", "t3-mine.csv", "t1-phases.csv"];
    for name in mine.into_iter().chain(["latency.json"]) {
        std::fs::write(run.join(name), "").unwrap();
    }
    let left = |name: &str| run.join(name).exists();
    let tables = ["t3-criteria.svg", "t3-criteria.csv", "t3-criteria.tex", "t2-freeze.json"];
    let theirs = ["report.json", "report.md", "report.html", "cells", "latency.json"];
    let theirs = theirs.into_iter().chain(tables);
    assert!(theirs.clone().all(left));
    done(&["train", "--model", LEAST, "-e", "0.01", "-b", "10", "--force", "-o", path]);
    for name in theirs {
        assert!(!left(name), "{name}");
    }
    assert!(mine.into_iter().all(left) && left("result.json"));

    // Of what only has the name, nothing goes.
    std::fs::create_dir_all(run.join("cells/mine")).unwrap();
    let mine = ["cells/mine/notes.txt", "report.json", "report.md", "t3-criteria.csv"];
    for name in mine {
        std::fs::write(run.join(name), "{\"schema\": \"mine\"}").unwrap();
    }
    done(&["train", "--model", LEAST, "-e", "0.01", "-b", "10", "--force", "-o", path]);
    assert!(mine.into_iter().all(left));
}

#[test]
fn tables_budgets_and_bases_that_cannot_be_leave_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("study");
    let cases: [(&[&str], &str); 8] = [
        (&["T7"], "there is no table \"T7\": use T1, T2, T3, T4, T5, T6"),
        (&["T1", "--narrow", "vgg61"], "no model called \"vgg61\""),
        (&["T1", "--model", "vgg61"], "no model called \"vgg61\""),
        (&["T1", "--residual", "resnet20"], "--residual has no effect"),
        (&["T4", "--residual", "resnet20", "--residual-base", "x"], "cannot be used with"),
        (&["T4", "--seeds", "5"], "--seeds has no effect"),
        (&["T1", "--budget", "none"], "expected a number of hours above 0"),
        (&["T1", "--quick", "--budget", "1e-9"], "is too small: the least"),
    ];
    for (args, expected) in cases {
        let output = pleach().arg("reproduce").args(args).arg("-o").arg(&run).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(!run.exists(), "{args:?}");
    }
}
