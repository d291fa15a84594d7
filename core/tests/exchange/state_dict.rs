//! Architectures are recognised by the names and shapes of their tensors, in other codes' words too.

use crate::{logits, random};
use pleach_core::checkpoint::{self, CheckpointError, Dtype, Meta};
use pleach_core::models::ModelKind;
use pleach_core::{Network, Shape, models};
use safetensors::tensor::TensorView;
use std::path::Path;

const IMAGE: Shape = Shape::new(3, 32, 32);

fn network(spec: &str) -> Network {
    random::network(models::build(spec, IMAGE, 10).unwrap(), 3)
}

/// A model at few and odd channels.
fn narrow(model: &ModelKind) -> String {
    let odd: Vec<String> = (0..model.groups()).map(|i| (2 * i + 3).to_string()).collect();
    format!("{}:{}", model.name, odd.join(","))
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
        let network = network(&narrow(model));
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
        let network = network(&narrow(models::find(spec).unwrap()));
        let found = read(&state_dict(&network, |name| Some(rename(name)))).unwrap();
        assert_eq!(found.network, network, "{spec}");
    }
}

#[test]
fn the_bias_of_a_convolution_before_a_batch_norm_goes_into_its_mean() {
    let (plain, image) = (network("vgg-small"), random::images(2, IMAGE, 1));
    let expected = logits(&plain, &image);
    let bytes = state_dict(&plain, |name| Some(name.into()));
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = file.tensors();
    // The mean that is added to what the convolution makes is taken away again.
    let (mean, bias): (Vec<u8>, Vec<u8>) = (0..16)
        .map(|i| {
            let place = plain.graph().find("features.1").unwrap();
            let mean = plain.param(place, "running_mean").unwrap().value[i];
            let bias = i as f32 * 0.25 - 2.0;
            ((mean + bias).to_le_bytes(), bias.to_le_bytes())
        })
        .fold((Vec::new(), Vec::new()), |(mut means, mut biases), (mean, bias)| {
            means.extend(mean);
            biases.extend(bias);
            (means, biases)
        });
    let view = |bytes| TensorView::new(safetensors::Dtype::F32, vec![16], bytes).unwrap();
    tensors.retain(|(name, _)| name != "features.1.running_mean");
    tensors.push(("features.1.running_mean".into(), view(&mean)));
    tensors.push(("features.0.bias".into(), view(&bias)));
    let found = read(&safetensors::serialize(tensors.clone(), None).unwrap()).unwrap();
    assert_eq!(found.network.graph(), plain.graph());
    for (a, b) in logits(&found.network, &image).iter().zip(&expected) {
        assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{a}, expected {b}");
    }
    // Not of another length, and not after a layer of another kind.
    for name in ["features.3.bias", "features.2.bias"] {
        tensors.pop();
        tensors.push((name.into(), view(&bias)));
        let error = read(&safetensors::serialize(tensors.clone(), None).unwrap()).unwrap_err();
        assert!(error.to_string().contains(&format!("{name} [16] has no place")), "{error}");
    }
}

#[test]
fn torchvisions_words_and_places_are_recognised() {
    // Of a classifier in a sequence that begins with a linear layer, or with dropout.
    let moved = |name: &str| match name.rsplit_once('.').unwrap() {
        ("classifier.0", last) => format!("classifier.1.{last}"),
        ("classifier.3", last) => format!("classifier.4.{last}"),
        _ => name.to_owned(),
    };
    let narrow = "vgg16-fc3:3,4,5,6,7,8,9,10,11,12,13,14,15,16,17";
    let resnet = "resnet34-imagenet:3,4,5,6";
    let bottlenecks = "resnet50-imagenet:3,4,5,6,7,8,9,10";
    let words = |name: &str| name.replace("shortcut", "downsample").replace("linear", "fc");
    for (spec, rename) in [
        (narrow, &moved as &dyn Fn(&str) -> String),
        (narrow, &str::to_owned),
        (resnet, &words),
        (bottlenecks, &words),
    ] {
        let network = network(spec);
        let found = read(&state_dict(&network, |name| Some(rename(name)))).unwrap();
        assert_eq!(found.network, network, "{spec}");
    }
}

#[test]
fn what_is_like_a_model_but_does_not_fit_is_explained() {
    let network = network("resnet18:3,5,7,9");
    let error = |rename: fn(&str) -> Option<String>| {
        let error = read(&state_dict(&network, rename)).unwrap_err();
        assert!(matches!(error, CheckpointError::NoArchitecture { .. }), "{error}");
        error.to_string()
    };
    let missing = error(|name| (name != "layer3.1.bn2.bias").then(|| name.into()));
    let expected = "net has weights but no architecture: if it is a PyTorch state dict, name its \
                    architecture (--arch); its tensors are most like those of resnet18, but:\n  \
                    layer3.1.bn2.bias [7] is missing";
    assert_eq!(missing, expected);
    let more = error(|name| Some(name.replace("layer3.1.conv2", "layer3.1.conv3")));
    assert!(more.contains("layer3.1.conv2.weight [7, 7, 3, 3] is missing"), "{more}");
    assert!(more.contains("layer3.1.conv3.weight [7, 7, 3, 3] has no place"), "{more}");
    let nothing = error(|name| Some(name.replace('.', "_")));
    assert!(nothing.ends_with("(--arch)"), "{nothing}");
}
