//! What is written comes back.

use crate::random;
use pleach_core::checkpoint::{Meta, Normalisation};
use pleach_core::graph::{GraphBuilder, NodeId};
use pleach_core::layers::{
    BatchNorm2d, Concat, Conv2d, Dropout, Flatten, GlobalAvgPool, Groups, Layer, Linear,
};
use pleach_core::onnx::{self, ExportOptions};
use pleach_core::{Network, Plan, Shape, Tensor, models};
use pleach_kernels::{Context, Isa};
use std::path::Path;

pub(crate) const KEPT: ExportOptions = ExportOptions { keep_bn: true };
pub(crate) const FOLDED: ExportOptions = ExportOptions { keep_bn: false };

pub(crate) fn meta() -> Meta {
    Meta {
        model: "vgg-small".into(),
        dataset: Some("cifar10".into()),
        normalisation: Some(Normalisation { mean: vec![0.1, 0.2, 0.3], std: vec![1.0, 2.0, 3.0] }),
        extra: [("epoch".to_owned(), "3 \"of\" 4\nlines".to_owned())].into(),
    }
}

/// `network` written and read.
fn back(network: &Network, options: &ExportOptions) -> Network {
    let bytes = onnx::to_bytes(network, &Meta::default(), options).unwrap();
    let found = onnx::read(Path::new("net.onnx"), &bytes).unwrap();
    let again = onnx::to_bytes(&found.network, &found.meta, options).unwrap();
    assert!(again == bytes, "other bytes for the same network:\n{}", network.graph());
    found.network
}

fn logits(network: &Network, images: &Tensor) -> Vec<u32> {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let logits = Plan::new(&cx, network, images.n()).run(&cx, images).to_nchw();
    assert!(logits.iter().all(|x| x.is_finite()));
    logits.into_iter().map(f32::to_bits).collect()
}

/// Checks that `network` comes back bit for bit, and that without its batch norms it computes the same
/// bits.
fn check(network: &Network) {
    let found = back(network, &KEPT);
    assert_eq!(found.graph(), network.graph());
    assert!(found == *network, "other values:\n{}", network.graph());
    let folded = back(network, &FOLDED);
    let images = random::images(2, network.graph().input_shape(), 1);
    assert_eq!(logits(&folded, &images), logits(network, &images), "\n{}", network.graph());
}

#[test]
fn every_model_comes_back_bit_for_bit() {
    for (i, model) in models::MODELS.iter().enumerate() {
        let narrow: Vec<String> = (0..model.groups()).map(|i| (i + 3).to_string()).collect();
        let spec = format!("{}:{}", model.name, narrow.join(","));
        let graph = models::build(&spec, Shape::new(3, 32, 32), 10).unwrap();
        check(&random::network(graph, i as u64));
    }
}

#[test]
fn random_networks_come_back_bit_for_bit() {
    for seed in 0..200 {
        check(&random::network(random::graph(seed).unwrap(), seed));
    }
}

#[test]
fn values_are_reshaped_where_layers_take_maps_of_one_pixel_for_flat_features() {
    let (mut builder, image) = GraphBuilder::new(Shape::flat(4)).unwrap();
    let mut add = |name: &str, layer: Layer, inputs: &[NodeId]| {
        builder.add(name.to_owned(), layer, inputs).unwrap()
    };
    let bn = || Layer::BatchNorm2d(BatchNorm2d::default());
    let conv = || Layer::Conv2d(Conv2d { bias: true, ..Conv2d::same3x3(5) });
    let a = add("a", Layer::Linear(Linear { out_features: 5, bias: false }), &[image]);
    let a = add("a.weight", bn(), &[a]);
    let b = add("conv_on_flat", conv(), &[a]);
    let c = add("conv_on_image", conv(), &[image]);
    let d = add("join", Layer::Concat(Concat {}), &[a, b, c, a]);
    let e = add("mean_of_flat", Layer::GlobalAvgPool(GlobalAvgPool {}), &[d]);
    let f = add("flat.of.flat", Layer::Flatten(Flatten {}), &[d]);
    let g = add("join2", Layer::Concat(Concat {}), &[e, f]);
    let output = add("logits", bn(), &[g]);
    check(&random::network(builder.finish(output).unwrap(), 3));
}

#[test]
fn networks_that_end_in_maps_of_one_pixel_and_networks_of_no_layer_come_back() {
    let (builder, image) = GraphBuilder::new(Shape::flat(7)).unwrap();
    check(&Network::init(builder.finish(image).unwrap(), 0));
    let (mut builder, image) = GraphBuilder::new(Shape::new(2, 3, 4)).unwrap();
    let pool = builder.add("pool", Layer::GlobalAvgPool(GlobalAvgPool {}), &[image]).unwrap();
    check(&Network::init(builder.finish(pool).unwrap(), 0));
}

#[test]
fn settings_that_onnx_writes_otherwise_come_back_bit_for_bit() {
    let (mut builder, mut x) = GraphBuilder::new(Shape::new(1, 3, 3)).unwrap();
    for (i, momentum) in [0.1, 0.0, 1.0, 0.123_456_79, 0.5, f32::MIN_POSITIVE].iter().enumerate() {
        let layer = BatchNorm2d { eps: 1e-3 / 7.0, momentum: *momentum };
        x = builder.add(format!("bn{i}"), Layer::BatchNorm2d(layer), &[x]).unwrap();
    }
    for (i, p) in [0.0, 0.1, 0.3, 0.999].into_iter().enumerate() {
        x = builder.add(format!("drop{i}"), Layer::Dropout(Dropout { p }), &[x]).unwrap();
    }
    // A depthwise convolution of one channel, and one that is not depthwise.
    for groups in [Groups::Depthwise, Groups::One] {
        let conv = Conv2d { groups, ..Conv2d::same3x3(1) };
        x = builder.add(format!("{groups:?}"), Layer::Conv2d(conv), &[x]).unwrap();
    }
    x = builder.add("flatten", Layer::Flatten(Flatten {}), &[x]).unwrap();
    check(&random::network(builder.finish(x).unwrap(), 5));
}

#[test]
fn folding_leaves_no_batch_norm_behind_a_convolution_and_its_names_in_place() {
    let graph = models::build("concat-small", Shape::new(3, 32, 32), 10).unwrap();
    let network = random::network(graph, 1);
    let folded = back(&network, &FOLDED);
    let kinds = folded.graph().nodes().iter().map(|node| node.layer.kind().name());
    assert!(!kinds.into_iter().any(|kind| kind == "batch_norm2d"));
    let names: Vec<&str> = folded.graph().params().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names[..4], ["stem.0.weight", "stem.0.bias", "left.0.weight", "left.0.bias"]);
}

#[test]
fn provenance_survives_and_files_are_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let graph = models::build("vgg-small", Shape::new(3, 32, 32), 10).unwrap();
    let mut network = random::network(graph, 2);
    onnx::save(&path, &network, &meta(), &KEPT).unwrap();
    let found = onnx::load(&path).unwrap();
    assert!(found.network == network);
    assert_eq!(found.meta, meta());
    let good = std::fs::read(&path).unwrap();
    assert!(good == onnx::to_bytes(&network, &meta(), &KEPT).unwrap());

    network.params_mut()[1].value[2] = f32::NAN;
    let error = onnx::save(&path, &network, &meta(), &FOLDED).unwrap_err().to_string();
    assert!(error.ends_with("features.1.weight[2] is NaN, which is not finite as f32"), "{error}");
    assert!(error.contains("net.onnx"), "{error}");
    network.params_mut()[1].value[2] = f32::MAX;
    network.params_mut()[0].value[2 * 27] = f32::MAX;
    let error = onnx::save(&path, &network, &meta(), &FOLDED).unwrap_err().to_string();
    assert!(error.contains("features.0.weight[54] is inf, which is not finite"), "{error}");
    assert!(std::fs::read(&path).unwrap() == good, "the good file is still there");
    let error = onnx::load(&folder.path().join("none.onnx")).unwrap_err().to_string();
    assert!(error.starts_with("cannot open ") && error.contains("none.onnx: "), "{error}");
}
