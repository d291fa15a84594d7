//! `pleach compare`: two networks side by side.

use crate::TINY;
use crate::command::{assert_keys, json, pleach};
use pleach_core::checkpoint::{self, Dtype, Meta};
use pleach_core::{Network, Shape, models};
use serde_json::Value;

const HALF: &str = "vgg-small:4,4,6,6,8,8";

#[test]
fn two_networks_are_compared_in_size_layer_by_layer_and_in_time() {
    let args = ["compare", TINY, HALF, "--batch", "1,2", "-t", "1", "--seconds", "0.02", "--json"];
    let found = json(&args);
    let keys = ["schema", "a", "b", "ratios", "layers", "latency", "speedup"];
    assert_keys(&found, &keys);
    assert_eq!(found["schema"], "pleach.compare/1");
    let inspect = |net: &str| json(&["inspect", net, "--json"]);
    for (side, net) in [("a", TINY), ("b", HALF)] {
        let (side, alone) = (&found[side], inspect(net));
        let sizes = ["net", "model", "widths", "macs", "params", "bytes", "activation_bytes"];
        assert_keys(side, &sizes);
        for key in ["macs", "params", "bytes", "model"] {
            assert_eq!(side[key], alone[key], "{key} of {net}");
        }
    }
    let number = |side: &str, key: &str| found[side][key].as_f64().unwrap();
    for key in ["macs", "params", "bytes", "activation_bytes"] {
        let ratio = number("a", key) / number("b", key);
        assert!((number("ratios", key) - ratio).abs() < 1e-12, "{key}");
        // Activations of 4 and of 8 channels both have a stride of 16.
        assert!(ratio > 1.0 || (key == "activation_bytes" && ratio == 1.0), "{key}: {ratio}");
    }
    let layers = found["layers"].as_array().unwrap();
    for side in ["a", "b"] {
        for key in ["macs", "params", "bytes"] {
            let sum: u64 = layers.iter().map(|layer| layer[side][key].as_u64().unwrap()).sum();
            assert_eq!(sum, found[side][key].as_u64().unwrap(), "{key}");
        }
    }
    assert_eq!(found["latency"].as_array().unwrap().len(), 2 * 2);
    let speedup = found["speedup"].as_array().unwrap();
    assert_eq!(speedup.len(), 2);
    assert_eq!((&speedup[0]["base"], &speedup[0]["net"]), (&TINY.into(), &HALF.into()));
}

#[test]
fn a_layer_that_only_one_network_has_stands_there_alone() {
    let found = json(&["compare", TINY, "resnet20", "--seconds", "0", "--json"]);
    assert_eq!(found["latency"], serde_json::json!([]));
    let layers = found["layers"].as_array().unwrap().iter();
    let (both, one): (Vec<_>, Vec<_>) =
        layers.partition(|layer| layer["a"].is_object() && layer["b"].is_object());
    assert!(both.iter().all(|layer| layer["name"] != "features.0"));
    let of_vgg = one.iter().find(|layer| layer["name"] == "features.0").unwrap();
    assert!(of_vgg["b"].is_null());
    assert!(one.iter().any(|layer| layer["name"] == "layer1.0.conv1" && layer["a"].is_null()));
}

#[test]
fn outputs_are_compared_on_validation_images_or_on_test_images_if_asked() {
    let compare = |b: &str, flags: &[&str]| {
        json(&[&["compare", TINY, b, "--seconds", "0", "--json"], flags].concat())["outputs"]
            .clone()
    };
    assert!(compare(HALF, &[]).is_null(), "random weights, and no data is named");
    let same = compare(TINY, &["--test"]);
    assert_eq!((&same["split"], &same["images"]), (&"test".into(), &2000.into()));
    assert_eq!((&same["same_top1"], &same["max_logit_difference"]), (&1.0.into(), &0.0.into()));
    assert_eq!(same["drop"]["points"], 0.0);
    let eval = json(&["eval", TINY, "--json"]);
    assert_eq!((&same["a"]["accuracy"], &same["b"]["loss"]), (&eval["accuracy"], &eval["loss"]));

    // Trained on the built-in data, both are measured on it unasked, on the images that choices are made by.
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let args = ["--model", TINY, "-e", "0.1", "-b", "200", "-q", "--json", "-o"];
    pleach().arg("train").args(args).arg(&run).assert().success();
    let best = run.join("best.safetensors");
    let best = best.to_str().unwrap();
    let args = ["compare", best, best, "--seconds", "0", "--json"];
    assert_eq!(json(&args)["outputs"]["split"], "validation");
    let text = pleach().args(["compare", best, TINY, "--test", "--seconds", "0"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    for part in
        ["2,000 test images of shapes", "of the images are put into the same class", "A / B"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn logits_that_are_not_finite_are_counted_and_are_in_no_class() {
    let mut network = Network::init(models::build(TINY, Shape::new(3, 32, 32), 10).unwrap(), 1);
    // The classifier's weights.
    let at = network.params().len() - 2;
    network.params_mut()[at].value.iter_mut().for_each(|x| *x = x.signum() * f32::MAX);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("huge.safetensors");
    let meta = Meta { model: "vgg-small".into(), ..Meta::default() };
    checkpoint::save(&file, &network, &meta, Dtype::F32, false).unwrap();
    let compare = |flags: &[&str]| {
        let mut command = pleach();
        command.current_dir(&folder).args(["compare", "huge.safetensors", "huge.safetensors"]);
        let output = command.args(["--test", "--seconds", "0"]).args(flags).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        let says = " of 2000 images have logits that are not finite";
        assert_eq!(stderr.matches(says).count(), 2, "of each network: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    };
    let found: Value = serde_json::from_str(&compare(&["--json"])).unwrap();
    let outputs = &found["outputs"];
    let bad = outputs["a"]["not_finite"].as_u64().unwrap();
    assert!(bad > 0 && outputs["b"]["not_finite"] == bad, "{outputs}");
    assert_eq!(outputs["same_top1"], (2000 - bad) as f64 / 2000.0);
    for key in ["max_logit_difference", "max_relative_logit_difference"] {
        assert!(outputs[key].is_null(), "{key} in {outputs}");
    }
    let text = compare(&[]);
    assert!(text.contains("images into no class by A, "), "{text}");
}
