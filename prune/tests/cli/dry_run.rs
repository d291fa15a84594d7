//! `--dry-run`: what would be done, and nothing of it; and what is told on the way.

use crate::TINY;
use crate::command::{json, pleach};
use std::cmp::Ordering;
use std::fs;

#[test]
fn a_dry_run_checks_everything_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (
            &["train", "--model", TINY, "-e", "2", "-b", "100"],
            "for 2 epochs, 160 steps of 100, into runs/train-1",
        ),
        (&["prune", TINY, "--macs", "2x", "-o", "run"], "would prune vgg-small"),
        (&["prune", TINY, "--max-drop", "1"], "as far as losing at most 1 point allows"),
        (&["bench", TINY, "--batch", "1,2", "-t", "1"], "would time inference"),
        (&["export", TINY, "--format", "onnx", "-o", "x.onnx"], "into x.onnx"),
        (&["export", TINY, "--format", "pytorch", "-o", "x"], "x.safetensors and modeling_x.py"),
    ];
    for (args, says) in cases {
        for flag in ["-n", "--dry-run"] {
            let output = pleach().current_dir(&folder).args(args).arg(flag).output().unwrap();
            let (stdout, stderr) =
                (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
            let (stdout, stderr) = (stdout.unwrap(), stderr.unwrap());
            assert!(output.status.success() && stderr.is_empty(), "{args:?}: {stderr}");
            assert!(stdout.contains(says), "{args:?}: {stdout}");
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{args:?}");
        }
    }
    let found = json(&["prune", TINY, "--params", "30%", "-n", "--json"]);
    let goal = |key: &str| found["target"][key].as_u64().unwrap();
    assert_eq!(
        (&found["schema"], goal("limit")),
        (&"pleach.prune-plan/1".into(), goal("count") * 7 / 10)
    );
    assert!(goal("least") < goal("limit"));
}

#[test]
fn a_dry_run_fails_where_the_run_would() {
    for (args, says) in [
        (&["train", "--model", TINY, "-b", "9000", "-n"][..], "8000 training images"),
        (&["prune", TINY, "--macs", "5000x", "-n"], "is impossible"),
        (&["bench", "vgg17", "-n"], "neither a file nor a model"),
        (&["train", "--model", TINY, "-o", env!("CARGO_MANIFEST_DIR"), "-n"], "is not empty"),
    ] {
        let output = pleach().args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(says), "{args:?}: {stderr}");
    }
}

#[test]
fn an_import_that_is_dry_reads_the_file_and_leaves_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let [net, out] = ["net.safetensors", "out.safetensors"].map(|name| folder.path().join(name));
    pleach().args(["export", TINY, "--format", "safetensors", "-o"]).arg(&net).assert().success();
    let found =
        json(&["import", net.to_str().unwrap(), "-o", out.to_str().unwrap(), "-n", "--json"]);
    assert_eq!((&found["dry_run"], &found["model"]), (&true.into(), &"vgg-small".into()));
    assert!(!out.exists());
}

#[test]
fn lines_of_progress_are_full_and_quiet_has_none() {
    let stderr = |args: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let output = pleach().current_dir(&folder).args(args).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let train = ["train", "--model", TINY, "-e", "2", "-b", "400", "--progress", "lines"];
    let lines = stderr(&train);
    let epochs: Vec<&str> = lines.lines().filter(|line| line.starts_with("epoch")).collect();
    assert_eq!(epochs.len(), 2, "{lines}");
    for part in ["loss ", "acc ", "val ", "lr ", "img/s", "eta ", "best "] {
        assert!(epochs.iter().all(|line| line.contains(part)), "{part}: {lines}");
    }
    let curve = epochs[1].rsplit(' ').next().unwrap();
    let found = [0, 1].map(|i| {
        let (_, found) = epochs[i].split_once("val ").unwrap();
        found.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    });
    let expected = match found[0].total_cmp(&found[1]) {
        Ordering::Less => "▁█",
        Ordering::Equal => "▁▁",
        Ordering::Greater => "█▁",
    };
    assert_eq!(curve, expected, "{lines}");
    let bench = ["bench", TINY, "--batch", "1", "-t", "1", "--seconds", "0.01"];
    assert_eq!(stderr(&bench), "measuring, batch 1, 1 thread\n");
    for args in [&train[..7], &bench[..]] {
        assert_eq!(stderr(&[args, &["-q"]].concat()), "", "{args:?}");
        assert_eq!(stderr(&[args, &["--progress", "none"]].concat()), "", "{args:?}");
    }
    let verbose = stderr(&[&train[..], &["-v"]].concat());
    assert!(verbose.contains("train.batch = 400, from --batch"), "{verbose}");
}
