//! Architectures are recognised by the names and shapes of their tensors, in other codes' words too.

use crate::random;
use pleach_core::checkpoint::{self, CheckpointError, Dtype, Meta};
use pleach_core::{Network, Shape, models};
use std::path::Path;

const IMAGE: Shape = Shape::new(3, 32, 32);

fn network(spec: &str) -> Network {
    random::network(models::build(spec, IMAGE, 10).unwrap(), 3)
}

/// A safetensors file without an architecture, under names that `rename` gives.
fn state_dict(network: &Network, rename: impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let path = Path::new("net");
    let bytes = checkpoint::to_bytes(path, network, &Meta::default(), Dtype::F32, false).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors();
    let renamed = tensors.iter().filter_map(|(name, view)| Some((rename(name)?, view.clone())));
    safetensors::serialize(renamed, None).unwrap()
}

fn read(bytes: &[u8]) -> Result<checkpoint::Checkpoint, CheckpointError> {
    checkpoint::read_state_dict(Path::new("net"), bytes, None, IMAGE, None)
}

#[test]
fn every_model_is_recognised_at_any_widths() {
    for model in models::MODELS {
        let odd: Vec<String> = (0..model.groups()).map(|i| (2 * i + 3).to_string()).collect();
        let network = network(&format!("{}:{}", model.name, odd.join(",")));
        let found = read(&state_dict(&network, |name| Some(name.into()))).unwrap();
        assert_eq!(found.meta.model, model.name);
        assert_eq!(found.network, network, "{}", model.name);
    }
}

#[test]
fn every_codes_names_are_recognised() {
    type Rename = fn(&str) -> String;
    let cases: &[(&str, Rename)] = &[
        ("vgg16", |name| format!("module.{name}")),
        ("vgg16", |name| format!("module._orig_mod.{name}")),
        ("vgg11", |name| name.replace("classifier", "fc")),
        ("vgg11", |name| name.replace("classifier", "classifier.0")),
        ("resnet18", |name| name.replace("shortcut", "downsample").replace("linear", "fc")),
        ("resnet20", |name| name.replace("linear", "fc")),
    ];
    for (spec, rename) in cases {
        let network = network(spec);
        let found = read(&state_dict(&network, |name| Some(rename(name)))).unwrap();
        assert_eq!(found.network, network, "{spec}");
    }
}

#[test]
fn what_is_like_a_model_but_does_not_fit_is_explained() {
    let network = network("resnet18");
    let error = |rename: fn(&str) -> Option<String>| {
        let error = read(&state_dict(&network, rename)).unwrap_err();
        assert!(matches!(error, CheckpointError::NoArchitecture { .. }), "{error}");
        error.to_string()
    };
    let missing = error(|name| (name != "layer3.1.bn2.bias").then(|| name.into()));
    let expected = "net has weights but no architecture: if it is a PyTorch state dict, name its \
                    architecture (--arch); its tensors are most like those of resnet18, but:\n  \
                    layer3.1.bn2.bias [256] is missing";
    assert_eq!(missing, expected);
    let more = error(|name| Some(name.replace("layer3.1.conv2", "layer3.1.conv3")));
    assert!(more.contains("layer3.1.conv2.weight [256, 256, 3, 3] is missing"), "{more}");
    assert!(more.contains("layer3.1.conv3.weight [256, 256, 3, 3] has no place"), "{more}");
    let nothing = error(|name| Some(name.replace('.', "_")));
    assert!(nothing.ends_with("(--arch)"), "{nothing}");
}
