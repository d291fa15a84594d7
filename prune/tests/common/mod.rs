//! What the tests of training and pruning share.

use pleach_core::graph::{Graph, GraphBuilder};
use pleach_core::layers::{BatchNorm2d, Conv2d, GlobalAvgPool, Layer, Linear, MaxPool2d, Relu};
use pleach_core::tensor::Shape;
use pleach_datasets::Dataset;
use std::sync::Arc;

pub(crate) fn dataset() -> Arc<dyn Dataset> {
    Arc::from(pleach_datasets::open(None).expect("the built-in data set opens"))
}

/// Two convolutions, one with batch norm, one without.
pub(crate) fn small_graph() -> Graph {
    let build = || {
        let (mut builder, image) = GraphBuilder::new(Shape::new(3, 32, 32))?;
        let conv = Conv2d { stride: 2, ..Conv2d::same3x3(8) };
        let x = builder.add("conv", Layer::Conv2d(conv), &[image])?;
        let x = builder.add("bn", Layer::BatchNorm2d(BatchNorm2d::default()), &[x])?;
        let x = builder.add("relu", Layer::Relu(Relu {}), &[x])?;
        let pool = MaxPool2d { kernel: 2, stride: 2, padding: 0 };
        let x = builder.add("pool", Layer::MaxPool2d(pool), &[x])?;
        let x = builder.add("conv2", Layer::Conv2d(Conv2d::same3x3(16)), &[x])?;
        let x = builder.add("relu2", Layer::Relu(Relu {}), &[x])?;
        let x = builder.add("mean", Layer::GlobalAvgPool(GlobalAvgPool {}), &[x])?;
        let x = builder.add("fc", Layer::Linear(Linear { out_features: 10, bias: true }), &[x])?;
        builder.finish(x)
    };
    build().expect("the graph is valid")
}
