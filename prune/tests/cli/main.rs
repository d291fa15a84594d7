//! The `pleach` command as its users meet it.

mod after;
mod bad_input;
mod browser;
mod cifar;
mod command;
mod compare;
mod config;
mod crash;
mod dry_run;
mod exchange;
mod faults;
mod guide;
mod help;
mod kept;
mod kinds;
mod latency;
mod overwrite;
mod plans;
mod png;
mod reproduce;
mod train;
mod trainable;
mod wrong_settings;
mod wrong_values;

use command::{assert_keys, json, pleach};
use serde_json::Value;
use std::fs;

/// About 0.5 M MACs: every verb ends within seconds.
const TINY: &str = "vgg-small:8,8,12,12,16,16";

#[test]
fn inspect_counts_vgg16_as_everybody_does() {
    let found = json(&["inspect", "vgg16", "--json"]);
    assert_keys(&found, &["schema", "model", "macs", "params", "bytes", "layers"]);
    assert_eq!(found["schema"], "pleach.inspect/1");
    assert_eq!(found["macs"], 313_201_664);
    assert_eq!(found["params"], 14_724_042);
    let layers = found["layers"].as_array().unwrap();
    let expected = [
        "name",
        "kind",
        "in_channels",
        "out_channels",
        "size",
        "macs",
        "params",
        "bytes",
        "activation_bytes",
        "groups",
        "prunable",
        "unprunable",
    ];
    layers.iter().for_each(|layer| assert_keys(layer, &expected));
    let prunable = layers.iter().filter(|layer| layer["prunable"] == true);
    assert_eq!(prunable.count(), 13, "the convolutions, and not the classifier");
    let classifier = layers.iter().find(|layer| layer["name"] == "classifier").unwrap();
    assert_eq!((&classifier["macs"], &classifier["prunable"]), (&5120.into(), &false.into()));
    assert_eq!(classifier["unprunable"], "joined with the outputs of the network");
    let bytes: u64 = layers.iter().map(|layer| layer["bytes"].as_u64().unwrap()).sum();
    assert_eq!(bytes, found["bytes"]);
    let first = &layers[0];
    assert_eq!(
        (&first["in_channels"], &first["activation_bytes"]),
        (&3.into(), &(4 * 64 * 1024).into())
    );
}

#[test]
fn inspect_says_why_a_layer_cannot_be_pruned() {
    let layers = json(&["inspect", "resnet20", "--json"])["layers"].clone();
    let groups = |name: &str| {
        let layer = layers.as_array().unwrap().iter().find(|layer| layer["name"] == name);
        layer.unwrap()["groups"].clone()
    };
    assert_eq!(groups("layer1.0.conv2"), groups("conv1"), "joined by a residual sum");
    assert_ne!(groups("layer1.0.conv1"), groups("conv1"));
    let text = pleach().args(["inspect", "resnet20"]).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("yes, with layer1.0.conv2"), "{text}");
    assert!(text.contains("no: joined with the outputs of the network"), "{text}");
}

#[test]
fn eval_reports_the_test_set_and_is_the_same_on_any_number_of_threads() {
    let eval = |threads| json(&["eval", TINY, "--json", "-t", threads]);
    let one = eval("1");
    let expected = ["schema", "dataset", "weights", "images", "accuracy", "loss", "images_per_s"];
    assert_keys(&one, &expected);
    assert_eq!((&one["schema"], &one["dataset"]), (&"pleach.eval/1".into(), &"shapes".into()));
    assert_eq!(one["images"], 2000);
    assert!((0.0..=1.0).contains(&one["accuracy"].as_f64().unwrap()));
    assert!(one["images_per_s"].as_f64().unwrap() > 0.0);
    let three = eval("3");
    assert_eq!((&one["accuracy"], &one["loss"]), (&three["accuracy"], &three["loss"]));
}

#[test]
fn bench_compares_all_networks_with_the_first() {
    for (flag, mode) in [(None, "infer"), (Some("--train"), "train")] {
        let half = "vgg-small:4,4,6,6,8,8";
        let args = ["bench", TINY, half, "--batch", "1,3", "--threads", "1,2", "--seconds", "0.02"];
        let args: Vec<&str> = args.into_iter().chain(["--json"]).chain(flag).collect();
        let found = json(&args);
        assert_keys(&found, &["schema", "weights", "rows", "ratios"]);
        assert_eq!(found["schema"], "pleach.bench/1");
        let rows = found["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2 * 2 * 2);
        for row in rows {
            let expected = [
                "net",
                "mode",
                "batch",
                "threads",
                "isa",
                "macs",
                "latency_ms_p50",
                "latency_ms_p90",
                "images_per_s",
                "warm_ms_p50",
            ];
            let warm = usize::from(mode == "infer");
            assert_keys(row, &expected[..9 + warm]);
            assert_eq!(row["mode"], mode);
            let number = |key: &str| row[key].as_f64().unwrap();
            assert!(number("latency_ms_p50") <= number("latency_ms_p90"));
            let rate = number("batch") / number("latency_ms_p50") * 1e3;
            assert!((number("images_per_s") / rate - 1.0).abs() < 1e-9);
        }
        let ratios = found["ratios"].as_array().unwrap();
        assert_eq!(ratios.len(), 2 * 2);
        for ratio in ratios {
            let expected = ["base", "net", "batch", "threads", "speedup", "low", "high", "warm"];
            assert_keys(ratio, &expected[..7 + usize::from(mode == "infer")]);
            assert_eq!((&ratio["base"], &ratio["net"]), (&TINY.into(), &half.into()));
            let number = |key: &str| ratio[key].as_f64().unwrap();
            assert!(number("low") <= number("high") && number("speedup") > 0.0);
        }
    }
}

#[test]
fn bench_tune_names_the_algorithm_of_each_convolution_and_runs_it() {
    let args = ["bench", TINY, "--tune", "--per-layer", "--batch", "1,3", "--threads", "1"];
    let found = json(&[&args[..], &["--seconds", "0.05", "--json"]].concat());
    assert_keys(&found, &["schema", "weights", "rows", "ratios", "algorithms", "layers"]);
    let algorithms = found["algorithms"].as_array().unwrap();
    for row in algorithms {
        let keys =
            ["net", "batch", "threads", "layer", "part", "algorithm", "cost_table", "ms_p50"];
        assert_keys(row, &keys);
        let ms = row["ms_p50"].as_object().unwrap();
        assert!(ms.values().all(|ms| ms.as_f64().unwrap() > 0.0), "{row}");
        let time = |key: &str| ms[row[key].as_str().unwrap()].as_f64().unwrap();
        assert!(time("algorithm") <= time("cost_table"), "{row}");
    }
    // Batch, layer and kernel of the steps that have multiply-adds.
    let steps = found["layers"].as_array().unwrap().iter();
    let steps = steps.filter(|step| step["macs"].as_u64() > Some(0));
    let steps: Vec<_> = steps.map(|step| ["batch", "layer", "kernel"].map(|k| &step[k])).collect();
    assert_eq!(steps.len(), 2 * 7, "six convolutions and the classifier");
    let rows = algorithms.iter().map(|row| ["batch", "layer", "algorithm"].map(|k| &row[k]));
    assert_eq!(rows.collect::<Vec<_>>(), steps);
}

#[test]
fn bench_train_per_layer_splits_a_step_into_its_passes() {
    let half = "vgg-small:4,4,6,6,8,8";
    let args = ["bench", TINY, half, "--train", "--per-layer", "--batch", "3", "--threads", "2"];
    let args = [&args[..], &["--seconds", "0.02"]].concat();
    let found = json(&[&args[..], &["--json"]].concat());
    let (rows, pruned): (Vec<&Value>, Vec<&Value>) =
        found["layers"].as_array().unwrap().iter().partition(|row| row["net"] == TINY);
    assert!(rows.iter().all(|row| row["speedup"].is_null()));
    for rows in [&rows, &pruned] {
        let number = |row: &Value, key: &str| row[key].as_f64().unwrap();
        let sum: f64 = rows.iter().map(|row| number(row, "time_share")).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        assert!(rows.iter().all(|row| number(row, "ms_p50") > 0.0));
        let of_kind = |kind: &str, pass: &str| {
            rows.iter().filter(|row| row["kind"] == kind && row["pass"] == pass).count()
        };
        // Nothing needs the gradient with respect to the images.
        for (pass, convolutions) in [("forward", 6), ("backward_data", 5), ("backward_weights", 6)]
        {
            assert_eq!((of_kind("conv2d", pass), of_kind("linear", pass)), (convolutions, 1));
        }
        assert_eq!(of_kind("batch_norm2d", "forward"), 6);
        assert_eq!(of_kind("relu", "forward"), 0, "their batch norms did their work");
        let macs: u64 = rows.iter().filter_map(|row| row["macs"].as_u64()).sum();
        let first = rows.iter().find(|row| row["kind"] == "conv2d").unwrap()["macs"].as_u64();
        let (net, total) = (&rows[0]["net"], found["rows"].as_array().unwrap());
        let total = total.iter().find(|row| row["net"] == *net).unwrap()["macs"].as_u64();
        assert_eq!(macs + first.unwrap(), 3 * total.unwrap());
        for row in rows.iter().filter(|row| row["kind"] == "conv2d") {
            assert_ne!(row["kernel"], "conv2d", "an algorithm");
            assert!(number(row, "effective_gflops") > 0.0 && number(row, "peak_share") > 0.0);
        }
        let last: Vec<_> = rows[rows.len() - 2..].iter().map(|row| &row["layer"]).collect();
        assert_eq!(last, ["loss", "optimizer"]);
    }
    assert!(pruned.iter().all(|row| row["speedup"].as_f64() > Some(0.0)));
    let text = String::from_utf8(pleach().args(&args).output().unwrap().stdout).unwrap();
    let header = |text: &str, words: &str| {
        text.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == words)
    };
    assert!(header(&text, "kind forward backward_data backward_weights ms % of time speed-up"));
    assert!(text.contains("\nvgg-small:4,4,6,6,8,8, batch 3, threads 2:\n"), "{text}");
}

#[test]
fn weights_are_stored_as_asked() {
    let bench = |weights: &str| {
        let args = ["bench", TINY, "--batch", "1", "--threads", "1", "--seconds", "0.01"];
        let found = json(&[&args[..], &["--weights", weights, "--per-layer", "--json"]].concat());
        assert_eq!(found["weights"], weights);
        let steps = found["layers"].as_array().unwrap().iter();
        steps.map(|step| step["weight_bytes"].as_u64().unwrap()).sum::<u64>()
    };
    let (whole, half) = (bench("f32"), bench("f16"));
    assert!(half < whole && bench("bf16") == half, "{half} of {whole} bytes");
    let found = json(&["eval", TINY, "--weights", "bf16", "--json"]);
    assert_eq!(found["weights"], "bf16");
    let output = pleach().args(["bench", TINY, "--weights", "f16", "--train"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn bench_tune_tells_where_the_measurement_differs() {
    let args = ["bench", TINY, "--tune", "--batch", "1", "--threads", "1", "--seconds", "0.05"];
    let text = String::from_utf8(pleach().args(args).output().unwrap().stdout).unwrap();
    assert!(text.contains("\nmeasured: "), "{text}");
    let output = pleach().args(args).arg("--train").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn prune_once_meets_its_target_and_its_network_needs_no_code() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let out = run.to_str().unwrap();
    let found = json(&[
        "prune",
        TINY,
        "--macs",
        "2x",
        "--max-drop",
        "100",
        "--epochs-budget",
        "0",
        "--calibration",
        "200",
        "--bench-seconds",
        "0.01",
        "--verify",
        "-o",
        out,
        "--json",
    ]);
    for key in ["schema", "criterion", "phases", "base", "pruned", "steps", "speedup"] {
        assert!(found.get(key).is_some(), "{key}");
    }
    assert_eq!(found["schema"], "pleach.prune/1");
    let macs = |net: &str| found[net]["macs"].as_u64().unwrap();
    assert!(2 * macs("pruned") <= macs("base"));
    for key in ["accuracy", "macs", "params", "bytes"] {
        assert!(found["base"][key].is_number() && found["pruned"][key].is_number(), "{key}");
    }
    assert!(!found["speedup"].as_array().unwrap().is_empty());
    for name in [
        "pruned.safetensors",
        "plan.json",
        "result.json",
        "metrics.jsonl",
        "report.html",
        "env.json",
    ] {
        assert!(run.join(name).exists(), "{name}");
    }
    let result: Value =
        serde_json::from_slice(&fs::read(run.join("result.json")).unwrap()).unwrap();
    assert_eq!(result, found);

    let pruned = run.join("pruned.safetensors");
    let pruned = pruned.to_str().unwrap();
    assert_eq!(json(&["inspect", pruned, "--json"])["macs"], found["pruned"]["macs"]);
    assert_eq!(json(&["eval", pruned, "--json"])["accuracy"], found["pruned"]["accuracy"]);
    let widths: Vec<String> =
        found["pruned"]["widths"].as_array().unwrap().iter().map(Value::to_string).collect();
    let spec = format!("vgg-small:{}", widths.join(","));
    assert_eq!(json(&["inspect", &spec, "--json"])["macs"], found["pruned"]["macs"]);

    // The settings of a run make it again, to the bit.
    let again = folder.path().join("again");
    let toml = run.join("run.toml");
    let repeat = ["prune", TINY, "-c", toml.to_str().unwrap(), "--bench-seconds", "0", "-o"];
    pleach().args(repeat).arg(&again).assert().success();
    let bytes = |run: &std::path::Path| fs::read(run.join("pruned.safetensors")).unwrap();
    assert!(bytes(&run) == bytes(&again), "the same bytes");
}

#[test]
fn a_target_that_the_drop_forbids_saves_the_best_network_and_exits_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    // A network that was trained, of which hardly a channel is left.
    let net = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guide/network.pth");
    let args = ["prune", net, "--macs", "20x", "--max-drop", "0", "--epochs-budget", "0"];
    let less = ["--calibration", "100", "--bench-seconds", "0", "-o"];
    let output = pleach().args(args).args(less).arg(&run).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("the target was missed"), "{stderr}");
    let pruned = run.join("pruned.safetensors");
    let [pruned, base] = [pruned.to_str().unwrap(), net]
        .map(|net| json(&["inspect", net, "--json"])["macs"].as_u64().unwrap());
    assert!(20 * pruned > base, "{pruned} of {base}");
}

#[test]
fn data_info_tells_of_the_built_in_data_set_and_of_folders() {
    let found = json(&["data", "info", "--json"]);
    assert_eq!(
        (&found["schema"], &found["dataset"]),
        (&"pleach.data-info/1".into(), &"shapes".into())
    );
    assert_eq!(found["images"], serde_json::json!([8000, 2000, 2000]));
    // An argument beats the flag's variable, but not the flag.
    for (args, variable, says) in [
        (&["info"][..], "nowhere", "nowhere: No such file"),
        (&["info", "here"], "nowhere", "here: No such file"),
        (&["verify"], "nowhere", "nowhere: No such file"),
        (&["info", "here", "--data", "there"], "nowhere", "name one data set"),
    ] {
        let mut command = pleach();
        let output = command.arg("data").args(args).env("PLEACH_DATA", variable).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(says), "{args:?}: {stderr}");
    }
}

#[test]
fn env_names_the_instruction_sets_of_this_machine() {
    let found = json(&["env", "--json", "-t", "2"]);
    assert_eq!((&found["schema"], &found["threads"]), (&"pleach.env/1".into(), &2.into()));
    let isas = found["isas"].as_array().unwrap();
    assert_eq!(isas.last().unwrap(), "portable");
    for isa in isas.iter().filter_map(Value::as_str) {
        assert_eq!(json(&["env", "--json", "--isa", isa])["isa"], isa);
        let output = pleach().env("PLEACH_ISA", isa).args(["env", "--json"]).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["isa"], isa);
    }
}
