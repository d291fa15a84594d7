//! Weights and images that are not finite, and values that overflow.

use crate::TINY;
use crate::command::pleach;
use pleach_core::checkpoint::{self, Dtype, Meta};
use pleach_core::{Network, Shape, models, npy};
use serde_json::Value;
use std::path::Path;

/// The file of a tiny network, whose last tensor is `features.8.weight`.
fn tiny(change: impl FnOnce(&mut Network)) -> Vec<u8> {
    let graph = models::build(TINY, Shape::new(3, 32, 32), 10).unwrap();
    let mut network = Network::init(graph, 1);
    change(&mut network);
    let meta = Meta { model: "vgg-small".into(), ..Meta::default() };
    checkpoint::to_bytes(Path::new("tiny"), &network, &meta, Dtype::F32, false).unwrap()
}

#[test]
fn weights_that_are_not_finite_are_refused_by_every_verb_with_the_tensor_s_name() {
    let folder = tempfile::tempdir().unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bytes = tiny(|_| {});
        let end = bytes.len() - 4;
        bytes[end..].copy_from_slice(&bad.to_le_bytes());
        std::fs::write(folder.path().join("bad.safetensors"), bytes).unwrap();
        for args in [
            &["inspect", "bad.safetensors"][..],
            &["eval", "bad.safetensors"],
            &["bench", "bad.safetensors"],
            &["prune", "bad.safetensors", "--macs", "2x", "-o", "run"],
            &["import", "bad.safetensors", "-o", "net.safetensors"],
            &["export", "bad.safetensors", "--format", "onnx", "-o", "net.onnx"],
            &["reproduce", "T1", "--base", "bad.safetensors", "-o", "run"],
        ] {
            let output = pleach().current_dir(&folder).args(args).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
            let says = format!("features.8.weight[11] is {bad}, which is not finite");
            assert!(stderr.contains(&format!("bad.safetensors: {says}")), "{args:?}: {stderr}");
            let left = std::fs::read_dir(&folder).unwrap().count();
            assert_eq!(left, 1, "{args:?} leaves nothing behind");
        }
    }
}

/// In a folder, a network whose weights are finite and whose logits are not.
fn overflowing() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let bytes = tiny(|network| {
        let at = network.params().len() - 2;
        network.params_mut()[at].value.iter_mut().for_each(|x| *x = x.signum() * f32::MAX);
    });
    std::fs::write(folder.path().join("huge.safetensors"), bytes).unwrap();
    folder
}

#[test]
fn eval_of_a_network_whose_logits_overflow_has_no_loss_and_warns() {
    let folder = overflowing();
    let args = ["eval", "huge.safetensors", "--json"];
    let output = pleach().current_dir(&folder).args(args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains(" of 2000 images have logits that are not finite"), "{stderr}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["loss"], &found["images"]), (&Value::Null, &2000.into()));
    assert!(found["accuracy"].as_f64() < Some(0.5), "{found}");
}

#[test]
fn a_network_whose_values_overflow_is_not_pruned() {
    let folder = overflowing();
    for criterion in ["con_ent", "l1", "taylor"] {
        let args = ["prune", "huge.safetensors", "--macs", "2x", "--criterion", criterion];
        let args = [&args[..], &["--calibration", "50", "--force", "-o", "run"]].concat();
        let output = pleach().current_dir(&folder).args(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("the loss on the validation images is not finite"), "{stderr}");
        assert!(!folder.path().join("run/pruned.safetensors").exists());
    }
}

#[test]
fn eval_passes_images_that_are_not_finite_through_and_warns_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut values = vec![0.25; 3 * 3 * 32 * 32];
    values[3 * 32 * 32 + 500] = f32::NAN;
    npy::save(&folder.path().join("images.npy"), &[3, 3, 32, 32], &values).unwrap();
    let args = ["eval", TINY, "--input", "images.npy", "--logits", "logits.npy"];
    let output = pleach().current_dir(&folder).args(args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("1 of 3 images have logits that are not finite"), "{stderr}");
    let logits = npy::load(&folder.path().join("logits.npy")).unwrap().values;
    assert!(logits[10..20].iter().all(|x| x.is_nan()), "{logits:?}");
    assert!(logits[..10] == logits[20..] && logits[..10].iter().all(|x| x.is_finite()));
}
