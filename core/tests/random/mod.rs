//! Networks drawn at random.

use pleach_core::layers::{
    Add, AvgPool2d, BatchNorm2d, Concat, Conv2d, Dropout, Flatten, GlobalAvgPool, Groups, Layer,
    Linear, MaxPool2d, Relu,
};
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::{Graph, GraphBuilder, GraphError, Network, NodeId, Shape, Tensor};

/// `graph` with random weights, batch-norm parameters and running statistics.
pub(crate) fn network(graph: Graph, seed: u64) -> Network {
    let mut net = Network::init(graph, seed);
    let mut rng = Rng::new(seed, Purpose::Test, 0, 0);
    let (graph, params) = net.split_mut();
    for (param, place) in params.iter_mut().zip(graph.params()) {
        let batch_norm = matches!(graph.node(place.node).layer, Layer::BatchNorm2d(_));
        let mut random = |low: f64, high: f64| {
            param.value.iter_mut().for_each(|x| *x = (low + (high - low) * rng.uniform()) as f32);
        };
        match place.spec.name {
            "weight" if batch_norm => random(0.5, 1.5),
            "running_var" => random(0.5, 2.0),
            "bias" | "running_mean" => random(-0.5, 0.5),
            _ => {}
        }
    }
    net
}

pub(crate) fn images(n: usize, shape: Shape, seed: u64) -> Tensor {
    let mut rng = Rng::new(seed, Purpose::Test, 1, 0);
    let values: Vec<f32> = (0..n * shape.len()).map(|_| rng.normal() as f32).collect();
    Tensor::from_nchw(n, shape, &values)
}

/// Adds layers drawn at random, each to a node drawn at random, then joins all loose ends.
pub(crate) fn graph(seed: u64) -> Result<Graph, GraphError> {
    let mut rng = Rng::new(seed, Purpose::Test, 2, 0);
    let (mut builder, image) = GraphBuilder::new(Shape::new(1 + rng.below(20), 9, 7))?;
    let mut ends = vec![image];
    let mut count = 0;
    while count < 3 + rng.below(20) {
        let x = ends[rng.below(ends.len())];
        let shape = builder.shape(x);
        let conv = Conv2d {
            out_channels: 1 + rng.below(40),
            kernel: [1 + 2 * rng.below(2), 1 + 2 * rng.below(2)],
            stride: 1 + rng.below(2),
            padding: 1,
            bias: rng.below(2) == 0,
            groups: Groups::One,
        };
        let layer = match rng.below(12) {
            0..3 => Layer::Conv2d(conv),
            3 => Layer::Conv2d(Conv2d { groups: Groups::Depthwise, ..conv }),
            4..6 => Layer::BatchNorm2d(BatchNorm2d::default()),
            6..8 => Layer::Relu(Relu {}),
            8 => Layer::Dropout(Dropout { p: 0.5 }),
            9 => Layer::MaxPool2d(MaxPool2d { kernel: 2, stride: 1, padding: 1 }),
            10 => Layer::AvgPool2d(AvgPool2d { kernel: 3, stride: 1, padding: 1 }),
            _ => {
                let twins: Vec<NodeId> =
                    ends.iter().copied().filter(|&end| builder.shape(end) == shape).collect();
                let other = twins[rng.below(twins.len())];
                let joint = match rng.below(2) {
                    0 => Layer::Add(Add {}),
                    _ => Layer::Concat(Concat {}),
                };
                count += 1;
                ends.push(builder.add(format!("n{count}"), joint, &[x, other])?);
                continue;
            }
        };
        count += 1;
        ends.push(builder.add(format!("n{count}"), layer, &[x])?);
    }
    let mut flat = Vec::new();
    for (i, &end) in ends.iter().enumerate() {
        let layer = match rng.below(3) {
            0 => Layer::Flatten(Flatten {}),
            _ => Layer::GlobalAvgPool(GlobalAvgPool {}),
        };
        let x = builder.add(format!("flat{i}"), layer, &[end])?;
        flat.push(match rng.below(4) {
            0 => builder.add(format!("drop{i}"), Layer::Dropout(Dropout { p: 0.5 }), &[x])?,
            1 => {
                builder.add(format!("norm{i}"), Layer::BatchNorm2d(BatchNorm2d::default()), &[x])?
            }
            2 => {
                let linear = Layer::Linear(Linear { out_features: 5, bias: i % 2 == 0 });
                builder.add(format!("linear{i}"), linear, &[x])?
            }
            _ => x,
        });
    }
    let x = builder.add("joined", Layer::Concat(Concat {}), &flat)?;
    let x = builder.add("logits", Layer::Linear(Linear { out_features: 7, bias: true }), &[x])?;
    builder.finish(x)
}
