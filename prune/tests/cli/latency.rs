//! `pleach prune --latency`: a target that counts time.

use crate::TINY;
use crate::command::{json, pleach};
use serde_json::Value;
use std::fs;

#[test]
fn a_latency_target_is_counted_by_a_table_that_the_run_measures_and_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let args = ["prune", TINY, "--latency", "1.1x", "--max-drop", "100", "--epochs-budget", "0"];
    let args = [&args[..], &["--calibration", "100", "--bench-seconds", "0", "--json"]].concat();
    let plan = json(&[&args[..], &["-n"]].concat());
    assert_eq!(plan["target"]["unit"], "latency");
    assert_eq!(plan["target"].get("limit"), None, "nothing is measured before it begins");

    // How much time there is to be saved is the machine's.
    let output = pleach().args(&args).arg("-o").arg(&run).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("measuring what each layer takes at all widths"), "{stderr}");
    let found: Value = serde_json::from_slice(&output.stdout).expect(&stderr);
    let count = |key: &str| found["target"][key].as_u64().unwrap();
    let met = count("left") <= count("limit");
    assert_eq!((&found["target_met"], &found["target"]["unit"]), (&met.into(), &"latency".into()));
    assert_eq!(output.status.code(), Some(if met { 0 } else { 3 }), "{stderr}");
    assert!(count("left") <= count("base") && count("limit") < count("base"), "{found}");
    assert!(found["pruned"]["macs"].as_u64() < found["base"]["macs"].as_u64(), "{found}");

    let read = |name: &str| fs::read(run.join(name)).unwrap();
    let table: Value = serde_json::from_slice(&read("latency.json")).unwrap();
    assert_eq!(table["schema"], "pleach.layer-times/1");
    assert_eq!((&table["threads"], &table["batch"]), (&1.into(), &1.into()));
    let names = table["layers"].as_array().unwrap().iter();
    let names = names.flat_map(|layer| layer["names"].as_array().unwrap());
    assert_eq!(names.count(), 7, "six convolutions and the classifier");
    let page = String::from_utf8(read("report.html")).unwrap();
    assert!(page.contains("another run measures layers anew"), "{page}");
}
