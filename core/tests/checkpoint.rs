//! Networks survive their files, and the `safetensors` crate reads and writes the same ones.

use pleach_core::checkpoint::{self, CheckpointError, Dtype, Meta, Mismatch, Normalisation};
use pleach_core::network::{Network, Param};
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::{Shape, models};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as OracleDtype, TensorView};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

const IMAGE: Shape = Shape::new(3, 32, 32);

fn network(spec: &str) -> Network {
    let mut network = Network::init(models::build(spec, IMAGE, 10).unwrap(), 7);
    let mut rng = Rng::new(7, Purpose::Test, 0, 0);
    for param in network.params_mut() {
        // No value is one that halves hold exactly, and variances stay positive.
        param.value.iter_mut().for_each(|x| *x += 0.01 + 0.1 * rng.uniform() as f32);
    }
    network
}

fn meta() -> Meta {
    Meta {
        model: "vgg-small".into(),
        dataset: Some("cifar10".into()),
        normalisation: Some(Normalisation { mean: vec![0.1, 0.2, 0.3], std: vec![1.0, 2.0, 3.0] }),
        extra: [("epoch".to_owned(), "3 \"of\" 4\nlines".to_owned())].into(),
    }
}

fn error_of(result: Result<checkpoint::Checkpoint, checkpoint::CheckpointError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn every_model_survives_the_round_trip_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for model in models::MODELS {
        let path = folder.path().join(model.name);
        let narrow: Vec<String> = (0..model.groups()).map(|i| (i + 3).to_string()).collect();
        let network = network(&format!("{}:{}", model.name, narrow.join(",")));
        checkpoint::save(&path, &network, &meta(), Dtype::F32, false).unwrap();
        let loaded = checkpoint::load(&path).unwrap();
        assert_eq!(loaded.network, network, "{}", model.name);
        assert_eq!(loaded.meta, meta());
    }
}

#[test]
fn training_state_survives_the_round_trip_bit_for_bit_whatever_the_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    let mut network = network("vgg-small");
    let rows: Vec<usize> = network.graph().params().iter().map(|p| p.spec.dims[0]).collect();
    for (i, (param, rows)) in network.params_mut().iter_mut().zip(rows).enumerate() {
        let slot: Vec<f32> = param.value.iter().map(|x| x * 0.3).collect();
        param.slots = vec![slot; i % 3];
        if i % 2 == 1 {
            param.slow = param.value.iter().map(|x| x * 0.7).collect();
        }
        if i % 2 == 0 {
            param.frozen = (0..rows).map(|row| row % 3 == 0).collect();
        }
    }
    checkpoint::save(&path, &network, &meta(), Dtype::F16, true).unwrap();
    assert_eq!(checkpoint::load(&path).unwrap().network, network);

    checkpoint::save(&path, &network, &meta(), Dtype::F32, false).unwrap();
    let plain = checkpoint::load(&path).unwrap().network;
    for (plain, param) in plain.params().iter().zip(network.params()) {
        assert_eq!(plain, &Param { value: param.value.clone(), ..Param::default() });
    }
}

#[test]
fn half_precision_rounds_to_the_nearest_and_halves_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let network = network("concat-small");
    let data_len = |dtype: Dtype, ulp: f32| {
        let path = folder.path().join(format!("{dtype:?}"));
        checkpoint::save(&path, &network, &meta(), dtype, false).unwrap();
        let loaded = checkpoint::load(&path).unwrap().network;
        for (a, b) in loaded.params().iter().zip(network.params()) {
            for (a, b) in a.value.iter().zip(&b.value) {
                assert!((a - b).abs() <= b.abs() * ulp / 2.0 + 1e-7, "{a} {b}");
            }
        }
        // Loaded values are the type's own: saving them again changes nothing.
        let again = folder.path().join("again");
        checkpoint::save(&again, &loaded, &meta(), dtype, false).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes, fs::read(&again).unwrap());
        bytes.len() as u64 - 8 - u64::from_le_bytes(bytes[..8].try_into().unwrap())
    };
    let weights = network.graph().bytes();
    assert_eq!(data_len(Dtype::F32, 0.0), weights);
    assert_eq!(data_len(Dtype::F16, 1.0 / 1024.0), weights / 2);
    assert_eq!(data_len(Dtype::Bf16, 1.0 / 128.0), weights / 2);
}

#[test]
fn bytes_depend_on_the_contents_only() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |name: &str| {
        let path = folder.path().join(name);
        checkpoint::save(&path, &network("vgg-small"), &meta(), Dtype::F32, true).unwrap();
        fs::read(path).unwrap()
    };
    let first = bytes("a");
    assert_eq!(first, bytes("b"));
    let header = u64::from_le_bytes(first[..8].try_into().unwrap());
    assert_eq!(header % 8, 0, "the data starts at a multiple of 8");
}

#[test]
fn the_safetensors_crate_reads_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net");
    let mut network = network("resnet20:5,6,7");
    network.params_mut()[0].frozen = vec![true, false, true, false, false];
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        checkpoint::save(&path, &network, &meta(), dtype, dtype == Dtype::F32).unwrap();
        let bytes = fs::read(&path).unwrap();
        let oracle = SafeTensors::deserialize(&bytes).unwrap();
        for (param, place) in network.params().iter().zip(network.graph().params()) {
            let view = oracle.tensor(&place.name).unwrap();
            assert_eq!(view.shape(), place.spec.dims);
            let values = param.value.iter();
            let expected: Vec<u8> = match dtype {
                Dtype::F32 => values.flat_map(|x| x.to_le_bytes()).collect(),
                Dtype::F16 => values.flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect(),
                Dtype::Bf16 => {
                    values.flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect()
                }
            };
            assert_eq!(view.data(), expected, "{}", place.name);
        }
        let frozen = oracle.tensor("frozen.conv1.weight");
        assert_eq!(frozen.is_ok_and(|view| view.data() == [1, 0, 1, 0, 0]), dtype == Dtype::F32);
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = metadata.metadata().clone().unwrap();
        assert_eq!(metadata["format"], "pt");
        assert_eq!(metadata["pleach.dataset"], "cifar10");
    }
}

/// A state dict of `network` as the `safetensors` crate writes it, under names that `rename` gives.
fn state_dict(path: &Path, network: &Network, rename: impl Fn(&str) -> String) {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = network
        .graph()
        .params()
        .iter()
        .zip(network.params())
        .map(|(place, param)| {
            let bytes = param.value.iter().flat_map(|x| x.to_le_bytes()).collect();
            (rename(&place.name), place.spec.dims.clone(), bytes)
        })
        .collect();
    let counter = 7i64.to_le_bytes();
    let mut views: HashMap<String, TensorView<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            (name.clone(), TensorView::new(OracleDtype::F32, shape.clone(), bytes).unwrap())
        })
        .collect();
    for (name, ..) in &tensors {
        if let Some(prefix) = name.strip_suffix("running_mean") {
            let view = TensorView::new(OracleDtype::I64, vec![], &counter).unwrap();
            views.insert(format!("{prefix}num_batches_tracked"), view);
        }
    }
    fs::write(path, safetensors::serialize(&views, None).unwrap()).unwrap();
}

#[test]
fn state_dicts_load_under_other_codes_names_and_at_the_widths_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net");
    let pruned = "resnet18:5,6,7,8,9,10,11,12,13,14,15,16";
    type Rename<'a> = &'a dyn Fn(&str) -> String;
    let cases: [(&str, &str, Rename<'_>); 5] = [
        ("vgg16:3,4,5,6,7,8,9,10,11,12,13,14,15", "vgg16", &|name| format!("module.{name}")),
        ("vgg16-nobn:8,4,8,4,8,4,8,4,8,4,8,4,8", "vgg16-nobn", &str::to_owned),
        (pruned, "resnet18", &|name| name.replace("shortcut", "downsample")),
        (pruned, "resnet18", &|name| name.replace("linear", "fc")),
        ("mobile-small:3,4,5,6,7,8,9", "mobile-small", &str::to_owned),
    ];
    for (spec, arch, rename) in cases {
        let network = network(spec);
        state_dict(&path, &network, rename);
        let loaded = checkpoint::load_state_dict(&path, Some(arch), IMAGE, None).unwrap();
        assert_eq!(loaded.network, network, "{spec}");
        assert_eq!(loaded.meta.model, arch);
        let same = checkpoint::load_state_dict(&path, Some(spec), IMAGE, Some(10)).unwrap();
        assert_eq!(same.network, network, "{spec}");
    }
}

#[test]
fn everything_that_does_not_fit_is_listed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net");
    state_dict(&path, &network("vgg-small"), |name| match name {
        "features.1.weight" => "features.1.gamma".into(),
        name => name.into(),
    });
    let error = error_of(checkpoint::load_state_dict(&path, Some("vgg-small"), IMAGE, Some(100)));
    for line in [
        "the weights do not fit vgg-small:16,32,32,48,64,64:",
        "features.1.weight [16] is missing",
        "features.1.gamma [16] has no place",
        "classifier.weight: expected shape [100, 256], found [10, 256]",
        "classifier.bias: expected shape [100], found [10]",
    ] {
        assert!(error.contains(line), "{line} is not in {error}");
    }
    assert_eq!(error.lines().count(), 5);

    // Of two architectures that have little in common, the message shows some and the error has all.
    let error = checkpoint::load_state_dict(&path, Some("resnet18"), IMAGE, None).unwrap_err();
    let CheckpointError::Weights { mismatches, .. } = &error else { panic!("{error}") };
    let last = Mismatch::Missing { name: "linear.bias".into(), expected: vec![10] };
    assert!(mismatches.len() > 100 && mismatches.contains(&last), "{mismatches:?}");
    let error = error.to_string();
    assert!(error.contains("conv1.weight [64, 3, 3, 3] is missing"), "{error}");
    assert!(error.contains("features.0.weight [16, 3, 3, 3] has no place"), "{error}");
    assert!(error.lines().count() < 16, "{error}");
    let error = error_of(checkpoint::load_state_dict(&path, Some("vgg17"), IMAGE, None));
    assert!(error.contains("did you mean vgg1"), "{error}");
    assert!(error_of(checkpoint::load(&path)).contains("--arch"));
}

#[test]
fn two_names_of_one_tensor_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net");
    let bytes = [0; 40];
    let view = TensorView::new(OracleDtype::F32, vec![10], &bytes).unwrap();
    let tensors = [("classifier.bias", view.clone()), ("module.classifier.bias", view)];
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let error = error_of(checkpoint::load_state_dict(&path, Some("vgg-small"), IMAGE, None));
    let expected = "classifier.bias is there twice, as classifier.bias and module.classifier.bias";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn values_that_are_not_finite_are_neither_written_nor_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net");
    let mut bad = network("vgg-small");
    checkpoint::save(&path, &bad, &meta(), Dtype::F32, false).unwrap();
    let good = fs::read(&path).unwrap();

    bad.params_mut()[1].value[2] = 70_000.0;
    let error = checkpoint::save(&path, &bad, &meta(), Dtype::F16, false).unwrap_err().to_string();
    let expected = "features.1.weight[2] is 70000, which does not fit the type of the weights";
    assert!(error.ends_with(expected), "{error}");
    checkpoint::save(&folder.path().join("bf16"), &bad, &meta(), Dtype::Bf16, false).unwrap();

    bad.params_mut()[1].value[2] = f32::NAN;
    let error = checkpoint::save(&path, &bad, &meta(), Dtype::F32, false).unwrap_err().to_string();
    assert!(error.ends_with("features.1.weight[2] is NaN, which is not finite as f32"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), good, "the good file is still there");

    state_dict(&path, &bad, str::to_owned);
    let error = error_of(checkpoint::load_state_dict(&path, Some("vgg-small"), IMAGE, None));
    assert!(error.ends_with("features.1.weight[2] is NaN, which is not finite as f32"), "{error}");
    bad.params_mut()[1].value[2] = 1.0;
    bad.params_mut()[4].value[0] = -0.5;
    let error = checkpoint::save(&path, &bad, &meta(), Dtype::F32, false).unwrap_err().to_string();
    assert!(error.ends_with("features.1.running_var[0] is -0.5, which is no variance"), "{error}");
    state_dict(&path, &bad, str::to_owned);
    let error = error_of(checkpoint::load_state_dict(&path, Some("vgg-small"), IMAGE, None));
    assert!(error.ends_with("features.1.running_var[0] is -0.5, which is no variance"), "{error}");
}

#[test]
fn files_that_cannot_be_opened_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = error_of(checkpoint::load(&folder.path().join("none")));
    assert!(error.starts_with("cannot open ") && error.contains("none: "), "{error}");
    let error = error_of(checkpoint::load(folder.path()));
    assert!(error.ends_with("not a regular file"), "{error}");
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    assert!(error_of(checkpoint::load(&empty)).contains("at byte 0: expected a header length"));
}
