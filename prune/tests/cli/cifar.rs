//! The verbs on a folder of CIFAR-10's files, with as many images as the official ones, made up.

use crate::TINY;
use crate::command::{json, pleach};
use pleach_datasets::cifar::CIFAR_10;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The files in `dir`: classes in turn, each image all of its class's grey but for its number.
fn folder(dir: &Path) -> PathBuf {
    let folder = dir.join(CIFAR_10.folder);
    fs::create_dir(&folder).unwrap();
    for (number, file) in CIFAR_10.files.iter().enumerate() {
        let mut bytes = Vec::with_capacity(file.records * CIFAR_10.record_len());
        for record in 0..file.records {
            let class = (record % CIFAR_10.classes) as u8;
            bytes.push(class);
            bytes.extend(((number as u32) << 24 | record as u32).to_be_bytes());
            bytes.resize((record + 1) * CIFAR_10.record_len(), 25 * class);
        }
        fs::write(folder.join(file.name), bytes).unwrap();
    }
    let names: String = CIFAR_10.class_names().map(|name| format!("{name}\n")).collect();
    fs::write(folder.join(CIFAR_10.names_file), names).unwrap();
    folder
}

/// One folder for all, since it takes 184 MB.
#[test]
fn a_folder_of_cifar_10_is_verified_trained_on_gone_on_with_and_evaluated() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path());
    let place = data.to_str().unwrap();
    let splits = serde_json::json!([45_000, 5_000, 10_000]);

    let report = json(&["data", "verify", place, "--json"]);
    assert_eq!(report["schema"], "pleach.data-verify/1");
    assert_eq!((&report["dataset"], &report["images"]), (&"cifar-10".into(), &splits));
    let counts = [4_500, 500, 1_000].map(|count| vec![count; 10]);
    assert_eq!(report["class_counts"], serde_json::to_value(counts).unwrap());
    // Of the greys 0, 25, ..., 225; the numbers are in the first channel.
    let green = |key: &str| 255.0 * report[key][1].as_f64().unwrap();
    assert!((green("mean") - 112.5).abs() < 1e-9, "{report}");
    assert!((green("std") - 25.0 * 8.25f64.sqrt()).abs() < 1e-9, "{report}");
    assert_eq!(report["warnings"].as_array().unwrap().len(), 3, "{report}");
    let files = report["files"].as_array().unwrap();
    let test = files.iter().find(|file| file["path"].as_str().unwrap().ends_with("test_batch.bin"));
    let bytes = fs::read(data.join("test_batch.bin")).unwrap();
    let sha256 = format!("{:x}", Sha256::digest(bytes));
    assert_eq!((files.len(), &test.unwrap()["sha256"]), (7, &sha256.into()));

    let info = json(&["data", "info", "--data", place, "--json"]);
    assert_eq!((&info["dataset"], &info["images"]), (&"cifar-10".into(), &splits));
    assert_eq!((&info["class_names"][3], &info["image"][1]), (&"cat".into(), &32.into()));

    let run = dir.path().join("run");
    let out = run.to_str().unwrap();
    let args = ["train", "--model", TINY, "-e", "0.01", "--data", place, "-o", out, "--json"];
    let found = json(&args);
    assert_eq!((&found["dataset"], &found["best_epoch"]), (&"cifar-10".into(), &1.into()));
    assert_eq!(json(&["train", "--resume", out, "--json"]), found, "it is finished");

    // As it was before its first epoch was saved; and the data have moved.
    let read = |name: &str| fs::read(run.join(name)).unwrap();
    let networks = ["best.safetensors", "last.safetensors"];
    let before = networks.map(read);
    for name in networks.into_iter().chain(["metrics.jsonl", "result.json"]) {
        fs::remove_file(run.join(name)).unwrap();
    }
    let moved = dir.path().join("moved");
    fs::rename(&data, &moved).unwrap();
    let moved = moved.to_str().unwrap();
    let output = pleach().args(["train", "--resume", out]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(place), "{said}");
    assert_eq!(json(&["train", "--resume", out, "--data", moved, "--json"]), found);
    assert!(networks.map(read) == before, "the same bytes");

    let best = run.join(networks[0]);
    let best = best.to_str().unwrap();
    // The folder above has nothing else that is a data set.
    let above = dir.path().to_str().unwrap();
    fs::rename(moved, &data).unwrap();
    let eval = json(&["eval", best, "--data", above, "--json"]);
    assert_eq!((&eval["dataset"], &eval["images"]), (&"cifar-10".into(), &10_000.into()));
    assert_eq!((&eval["accuracy"], &eval["loss"]), (&found["test_accuracy"], &found["test_loss"]));
    let output = pleach().args(["eval", best, "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("was trained on cifar-10, not on shapes"), "{said}");
    let shapes: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shapes["dataset"], &shapes["images"]), (&"shapes".into(), &2_000.into()));
}
