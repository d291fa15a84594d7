//! What a run may not destroy: what it reads, and what an earlier one found.

use crate::TINY;
use crate::command::pleach;
use std::fs;
use std::path::Path;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What is said of a command that ends with `code`.
fn fails(args: &[&str], code: i32) -> String {
    let output = pleach().args(args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    stderr
}

#[test]
fn a_run_is_not_overwritten_by_one_that_reads_its_network() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    fs::create_dir_all(run.join("cells/base")).unwrap();
    for name in ["best.safetensors", "cells/base/best.safetensors"] {
        let net = run.join(name);
        let export = ["export", TINY, "--format", "safetensors", "-o", net.to_str().unwrap()];
        pleach().args(export).assert().success();
        let before = (names(&run), fs::read(&net).unwrap());
        let (net, out) = (net.to_str().unwrap(), ["--force", "-o", run.to_str().unwrap()]);
        for args in [
            &["prune", net, "--macs", "2x"][..],
            &["prune", net, "--macs", "2x", "-n"],
            &["train", "--init", net],
            &["train", "--model", TINY, "--teacher", net],
            &["reproduce", "--quick", "--base", net],
        ] {
            let said = fails(&[args, &out].concat(), 2);
            assert!(said.contains("which --force overwrites"), "{args:?}: {said}");
        }
        assert!(before == (names(&run), fs::read(net).unwrap()), "{net}");
    }
}

#[test]
fn a_result_that_cannot_be_read_is_not_made_again_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let [trained, pruned] = ["trained", "pruned"].map(|name| folder.path().join(name));
    let [train, prune] = [&trained, &pruned].map(|run| run.to_str().unwrap());
    pleach().args(["train", "--model", TINY, "-e", "0.1", "-o", train]).assert().success();
    let brief = ["--epochs-budget", "0", "--calibration", "100", "--bench-seconds", "0"];
    let args = ["prune", TINY, "--macs", "2x", "--max-drop", "100", "-o", prune];
    pleach().args(args).args(brief).assert().success();
    // It is finished, and what it would go on from may go.
    fs::remove_file(trained.join("last.safetensors")).unwrap();
    for (verb, run) in [("train", &trained), ("prune", &pruned)] {
        let (result, metrics) = (run.join("result.json"), run.join("metrics.jsonl"));
        let before = (fs::read_to_string(&result).unwrap(), fs::read(&metrics).unwrap());
        let resume = [verb, "--resume", run.to_str().unwrap(), "--json"];
        let output = pleach().args(resume).output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), before.0.trim_end());
        let schema = format!("pleach.{verb}/1");
        for wrong in [before.0.replacen('{', "{,", 1), before.0.replace(&schema, "pleach.x/9")] {
            fs::write(&result, &wrong).unwrap();
            let said = fails(&resume, 1);
            assert!(said.contains("result.json"), "{said}");
            assert_eq!(fs::read_to_string(&result).unwrap(), wrong);
            assert!(fs::read(&metrics).unwrap() == before.1, "{verb} begins again");
        }
    }
}
