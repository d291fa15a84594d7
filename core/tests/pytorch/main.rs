//! A training step against PyTorch's, which `step.py` recorded, and Muon's against those in `muon.py`.

use pleach_core::autograd::Tape;
use pleach_core::checkpoint::safetensors::SafeTensors;
use pleach_core::graph::{Graph, GraphBuilder, GraphError, NodeId};
use pleach_core::layers::{
    Add, BatchNorm2d, Conv2d, Flatten, GlobalAvgPool, Layer, Linear, MaxPool2d, Mode, Relu, StepKey,
};
use pleach_core::loss;
use pleach_core::network::Network;
use pleach_core::optim::Optimizer;
use pleach_core::tensor::{Shape, Tensor};
use pleach_kernels::{Context, Isa};
use std::path::Path;

const IMAGES: usize = 4;

/// How far a value may be from PyTorch's, which computed in double precision, as a part of the largest of
/// its tensor.
const TOLERANCE: f32 = 1e-5;

/// The network of `step.py`.
fn graph() -> Result<Graph, GraphError> {
    let (mut builder, image) = GraphBuilder::new(Shape::new(3, 16, 16))?;
    let mut add =
        |name: &str, layer: Layer, inputs: &[NodeId]| builder.add(name.to_owned(), layer, inputs);
    let bn = || Layer::BatchNorm2d(BatchNorm2d { eps: 1e-5, momentum: 0.1 });
    let relu = || Layer::Relu(Relu {});
    let x = add("stem", Layer::Conv2d(Conv2d::same3x3(8)), &[image])?;
    let x = add("stem_bn", bn(), &[x])?;
    let x = add("stem_relu", relu(), &[x])?;
    let pool = MaxPool2d { kernel: 2, stride: 2, padding: 0 };
    let x = add("pool", Layer::MaxPool2d(pool), &[x])?;
    let conv1 = Conv2d { stride: 2, ..Conv2d::same3x3(12) };
    let y = add("conv1", Layer::Conv2d(conv1), &[x])?;
    let y = add("bn1", bn(), &[y])?;
    let y = add("relu1", relu(), &[y])?;
    let y = add("conv2", Layer::Conv2d(Conv2d::same3x3(12)), &[y])?;
    let shortcut = Conv2d { stride: 2, ..Conv2d::pointwise(12) };
    let x = add("shortcut", Layer::Conv2d(shortcut), &[x])?;
    let x = add("shortcut_bn", bn(), &[x])?;
    let y = add("bn2", bn(), &[y])?;
    let x = add("sum", Layer::Add(Add {}), &[y, x])?;
    let x = add("relu2", relu(), &[x])?;
    let x = add("flatten", Layer::Flatten(Flatten {}), &[x])?;
    let x = add("fc", Layer::Linear(Linear { out_features: 5, bias: true }), &[x])?;
    builder.finish(x)
}

#[test]
fn loss_gradients_and_statistics_of_a_step_are_those_of_pytorch() {
    let file =
        SafeTensors::parse(Path::new("step.safetensors"), include_bytes!("step.safetensors"));
    let file = file.expect("a whole file");
    let recorded = |name: &str| -> Vec<f32> {
        file.get(name).and_then(|view| view.to_f32()).unwrap_or_else(|| panic!("{name} is there"))
    };
    let mut start = Network::init(graph().expect("a whole graph"), 0);
    let names: Vec<String> = start.graph().params().iter().map(|p| p.name.clone()).collect();
    for (name, param) in names.iter().zip(start.params_mut()) {
        if !name.contains("running") {
            param.value = recorded(name);
        }
    }
    let images = Tensor::from_nchw(IMAGES, start.graph().input_shape(), &recorded("images"));
    let labels: Vec<u32> = recorded("labels").iter().map(|&label| label as u32).collect();
    let contexts = Isa::available().flat_map(|isa| {
        let cx = || Context::new(isa, 2);
        [("", cx()), (", without filtering", cx().without_filtering())]
    });
    for (how, cx) in contexts {
        for mut tape in [Tape::new(), Tape::keeping_diffs()] {
            let mut net = start.clone();
            let mut diff = Tensor::zeros(IMAGES, net.graph().output_shape());
            let logits = tape.forward(&cx, &mut net, &images, Mode::Train, StepKey::default());
            let loss = loss::cross_entropy(&cx, logits, &labels, 0.1, Some(&mut diff)).mean;
            tape.backward(&cx, &mut net, &diff, false);
            let check = |name: &str, found: &[f32]| {
                let expected = recorded(name);
                assert_eq!(found.len(), expected.len(), "{name}");
                let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
                for (found, expected) in found.iter().zip(&expected) {
                    let close = (found - expected).abs() <= TOLERANCE * largest;
                    let isa = cx.isa().name;
                    assert!(close, "{name} on {isa}{how}: {found}, not {expected} of {largest}");
                }
            };
            check("loss", &[loss as f32]);
            for (name, param) in names.iter().zip(net.params()) {
                match name.contains("running") {
                    true => check(name, &param.value),
                    false => check(&format!("grad.{name}"), &param.grad),
                }
            }
        }
    }
}

#[test]
fn steps_of_muon_are_those_of_pytorch_on_matrices_of_kept_norm() {
    let file =
        SafeTensors::parse(Path::new("muon.safetensors"), include_bytes!("muon.safetensors"));
    let file = file.expect("a whole file");
    let recorded = |name: String| -> Vec<f32> {
        file.get(&name).and_then(|view| view.to_f32()).unwrap_or_else(|| panic!("{name} is there"))
    };
    let (mut builder, image) = GraphBuilder::new(Shape::new(3, 4, 4)).expect("a small image");
    let wide = builder.add("wide", Layer::Conv2d(Conv2d::same3x3(4)), &[image]);
    let tall = Layer::Conv2d(Conv2d::same3x3(40));
    let tall = builder.add("tall", tall, &[wide.expect("it fits")]).expect("it fits");
    let mean = Layer::GlobalAvgPool(GlobalAvgPool {});
    let mean = builder.add("mean", mean, &[tall]).expect("it fits");
    let graph = builder.finish(mean).expect("a whole graph");
    let (others_lr, others_momentum, weight_decay) = (1.0, 0.9, 0.5);
    let (momentum, iterations) = (0.6, 5);
    let muon = Optimizer::Muon { momentum, iterations, others_lr, others_momentum, weight_decay };
    for isa in Isa::available() {
        let mut net = Network::init(graph.clone(), 0);
        for (param, name) in net.params_mut().iter_mut().zip(["wide", "tall"]) {
            param.value = recorded(format!("start.{name}"));
        }
        for step in 0..3 {
            for (param, name) in net.params_mut().iter_mut().zip(["wide", "tall"]) {
                param.grad = recorded(format!("grad.{name}.{step}"));
            }
            muon.step(&Context::new(isa, 2), &mut net, 0.1, step);
        }
        for (param, name) in net.params().iter().zip(["wide", "tall"]) {
            for (found, expected) in param.value.iter().zip(recorded(format!("end.{name}"))) {
                let error = (found - expected).abs();
                assert!(error < 2e-5, "{}, {name}: {found}, not {expected}", isa.name);
            }
        }
    }
}
