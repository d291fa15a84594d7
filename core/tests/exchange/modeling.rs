//! The PyTorch code of networks, run by PyTorch: `modeling.py` does it, where there is one.

use crate::{logits, python, random};
use pleach_core::checkpoint::{self, Dtype, Meta};
use pleach_core::graph::{Graph, GraphBuilder, GraphError};
use pleach_core::layers::{
    Add, AvgPool2d, BatchNorm2d, Concat, Conv2d, Flatten, GlobalAvgPool, Groups, Layer, Linear,
    MaxPool2d, Relu,
};
use pleach_core::pytorch::{self, Names};
use pleach_core::{Shape, models, npy};
use std::fs;

/// Maps of 1x1 where features are meant and the other way round, names that PyTorch has taken, names in
/// names of layers, and settings that are not the usual ones.
fn awkward() -> Result<Graph, GraphError> {
    let (mut net, image) = GraphBuilder::new(Shape::new(2, 5, 4))?;
    let conv = Conv2d { kernel: [3, 1], bias: true, ..Conv2d::same3x3(3) };
    let norm = BatchNorm2d { eps: 1e-3, momentum: 0.25 };
    let x = net.add("type.forward", Layer::Conv2d(conv), &[image])?;
    let x = net.add("type.forward.weight", Layer::BatchNorm2d(norm.clone()), &[x])?;
    let depthwise = Conv2d { groups: Groups::Depthwise, stride: 2, ..Conv2d::same3x3(0) };
    let x = net.add("0", Layer::Conv2d(depthwise), &[x])?;
    let x =
        net.add("pool", Layer::MaxPool2d(MaxPool2d { kernel: 2, stride: 1, padding: 1 }), &[x])?;
    let means = net.add("means", Layer::GlobalAvgPool(GlobalAvgPool {}), &[x])?;
    // Features to a convolution, to pooling and to a batch norm, and maps of 1x1 to a linear layer.
    let y = net.add("a-b", Layer::Conv2d(Conv2d::pointwise(3)), &[means])?;
    let pool = AvgPool2d { kernel: 3, stride: 1, padding: 1 };
    let z = net.add("pool2", Layer::AvgPool2d(pool), &[means])?;
    let y = net.add("class", Layer::Add(Add {}), &[y, z])?;
    let z = net.add("_norm", Layer::BatchNorm2d(norm), &[means])?;
    let z = net.add("relu", Layer::Relu(Relu {}), &[z])?;
    let again = net.add("again", Layer::GlobalAvgPool(GlobalAvgPool {}), &[z])?;
    let y = net.add("in", Layer::Concat(Concat {}), &[y, again, z])?;
    let y = net.add("eval", Layer::Linear(Linear { out_features: 4, bias: false }), &[y])?;
    let x = net.add("flatten", Layer::Flatten(Flatten {}), &[x])?;
    let x = net.add("keys.values", Layer::Linear(Linear { out_features: 4, bias: true }), &[x])?;
    let x = net.add("sum", Layer::Add(Add {}), &[x, y])?;
    let x = net.add("0.1", Layer::Conv2d(Conv2d::pointwise(3)), &[x])?;
    net.finish(x)
}

#[test]
fn pytorch_loads_the_code_strictly_and_computes_the_same_logits() {
    let folder = tempfile::tempdir().unwrap();
    let specs = ["vgg-small", "vgg16-nobn:3,4,5,6,7,8,9,10,11,12,13,14,15", "resnet18:5,6,7,8"];
    let more =
        ["resnet20:5,6,7", "resnet50-imagenet:3,4,5,6,7,8,9,10", "mobile-small", "concat-small"];
    let specs = specs.into_iter().chain(more);
    let models = specs.map(|spec| models::build(spec, Shape::new(3, 32, 32), 10).unwrap());
    let drawn = (0..60).map(|seed| random::graph(seed).unwrap());
    let graphs = models.chain([awkward().unwrap()]).chain(drawn);
    let mut count = 0;
    for (i, graph) in graphs.enumerate() {
        let network = random::network(graph, i as u64);
        let images = random::images(2, network.graph().input_shape(), i as u64);
        let (name, meta) = (format!("net{i}"), Meta::default());
        let names = Names::new(&name);
        let path = |file: &str| folder.path().join(file);
        checkpoint::save(&path(&names.weights), &network, &meta, Dtype::F32, false).unwrap();
        let source = pytorch::source(network.graph(), &meta, &names).unwrap();
        fs::write(path(&format!("{}.py", names.module)), source).unwrap();
        let Shape { channels, height, width } = images.shape();
        let shape = [images.n(), channels, height, width];
        npy::save(&path(&format!("{name}.images.npy")), &shape, &images.to_nchw()).unwrap();
        let logits = logits(&network, &images);
        let shape = [images.n(), logits.len() / images.n()];
        npy::save(&path(&format!("{name}.logits.npy")), &shape, &logits).unwrap();
        count += 1;
    }
    if let Some(said) =
        python("modeling.py", folder.path(), "the PyTorch code that is written, run by it")
    {
        assert_eq!(said.trim(), count.to_string());
    }
}

#[test]
fn a_name_that_pytorch_cannot_give_is_refused() {
    let (mut net, image) = GraphBuilder::new(Shape::flat(2)).unwrap();
    let linear = Layer::Linear(Linear { out_features: 4, bias: false });
    let x = net.add("a.training.b", linear, &[image]).unwrap();
    let graph = net.finish(x).unwrap();
    let error = pytorch::source(&graph, &Meta::default(), &Names::new("net")).unwrap_err();
    let expected =
        "layer a.training.b cannot be a module of PyTorch's, which uses the name training";
    assert_eq!(error.to_string(), expected);
}
