//! What onnx.checker and onnxruntime say of the same models: `oracle.py` asks them.

use crate::random;
use crate::round_trip::{FOLDED, KEPT, meta};
use pleach_core::{Network, Plan, Shape, Tensor, models, onnx};
use pleach_kernels::{Context, Isa};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How far a logit may be from onnxruntime's, as a part of the largest.
const TOLERANCE: f32 = 1e-4;

/// Runs `oracle.py` if there is a Python for it.
fn oracle(verb: &str, folder: &Path, left_out: &str) -> bool {
    let Some(python) = env::var_os("PLEACH_PYTHON") else {
        eprintln!("PLEACH_PYTHON names no Python with onnx and onnxruntime; left out: {left_out}");
        return false;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/oracle.py");
    let output = Command::new(python).arg(script).arg(verb).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "oracle.py {verb}: {said}");
    true
}

fn logits(network: &Network, images: &Tensor) -> Vec<f32> {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    Plan::new(&cx, network, images.n()).run(&cx, images).to_nchw()
}

fn write(path: PathBuf, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(path, bytes).unwrap();
}

fn read(path: PathBuf) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

#[test]
fn onnxruntime_computes_the_same_logits_of_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let specs = [
        "vgg-small",
        "vgg16-nobn:3,4,5,6,7,8,9,10,11,12,13,14,15",
        "resnet18:5,6,7,8,9,10,11,12,13,14,15,16",
        "resnet20:5,6,7",
        "resnet50-imagenet:3,4,5,6,7,8,9,10",
        "mobile-small",
        "concat-small",
    ];
    let models = specs.map(|spec| models::build(spec, Shape::new(3, 32, 32), 10).unwrap());
    let random = (0..60).map(|seed| random::graph(seed).unwrap());
    for (i, graph) in models.into_iter().chain(random).enumerate() {
        let network = random::network(graph, i as u64);
        let images = random::images(2, network.graph().input_shape(), i as u64);
        for (how, options) in [("kept", &KEPT), ("folded", &FOLDED)] {
            let path = folder.path().join(format!("{i}-{how}.onnx"));
            // Normalisation is by the channels of the image, of which random ones have other numbers.
            let normalisation = meta().normalisation.filter(|_| images.shape().channels == 3);
            let meta = pleach_core::checkpoint::Meta { normalisation, ..meta() };
            onnx::save(&path, &network, &meta, options).unwrap();
            write(path.with_extension("images"), &images.to_nchw());
            write(path.with_extension("logits"), &logits(&network, &images));
        }
    }
    oracle("check", folder.path(), "models that are written, against onnx.checker and onnxruntime");
}

#[test]
fn models_of_every_operator_and_version_compute_onnxruntimes_logits() {
    let folder = tempfile::tempdir().unwrap();
    if !oracle("make", folder.path(), "operators of other versions, against onnxruntime") {
        return;
    }
    let mut count = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let network = onnx::load(&path).unwrap_or_else(|error| panic!("{error}")).network;
        let shape = network.graph().input_shape();
        let values = read(path.with_extension("images"));
        let images = Tensor::from_nchw(values.len() / shape.len(), shape, &values);
        let expected = read(path.with_extension("logits"));
        let found = logits(&network, &images);
        assert_eq!(found.len(), expected.len(), "{}", path.display());
        let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        for (a, b) in found.iter().zip(&expected) {
            let path = path.display();
            assert!((a - b).abs() <= TOLERANCE * largest, "{path}: {a}, expected {b} of {largest}");
        }
        count += 1;
    }
    assert!(count >= 49, "{count} models");
}
