//! Random networks, made of bytes: shared by the tests of surgery and its fuzz target.
#![allow(dead_code, reason = "each test uses a part")]

use pleach_core::graph::{Graph, GraphBuilder, NodeId};
use pleach_core::layers::{
    Add, AvgPool2d, BatchNorm2d, Concat, Conv2d, Dropout, Flatten, GlobalAvgPool, Groups, Layer,
    Linear, MaxPool2d, Relu,
};
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::{Network, Shape, Tensor};
use pleach_prune::channels::Channels;
use pleach_prune::surgery::Kept;

/// A graph that `bytes` choose: convolutions (plain, pointwise, strided, depthwise, with and without
/// bias and batch norm), ReLU, pools, dropout, sums and concatenations of anything that fits, also of
/// a map with itself, then a linear layer on whatever is left over, pooled or flattened.
pub(crate) fn graph(bytes: &[u8]) -> Graph {
    let mut bytes = bytes.iter().map(|&byte| usize::from(byte));
    let mut next = |n: usize| bytes.next().unwrap_or(0) % n;
    let image = Shape::new(next(4) + 1, next(5) + 4, next(5) + 4);
    let (builder, image) = GraphBuilder::new(image).expect("a small image");
    let mut random = Random { builder, maps: vec![image], used: vec![false], next: &mut next };
    for _ in 0..(random.next)(12) + 1 {
        random.step();
    }
    random.finish()
}

struct Random<'a> {
    builder: GraphBuilder,
    maps: Vec<NodeId>,
    used: Vec<bool>,
    next: &'a mut dyn FnMut(usize) -> usize,
}

impl Random<'_> {
    fn add(&mut self, layer: Layer, inputs: &[NodeId]) -> NodeId {
        let name = format!("{}{}", layer.kind().name(), self.used.len());
        let id = self.builder.add(name, layer, inputs).expect("a layer that fits");
        inputs.iter().for_each(|input| self.used[input.0] = true);
        self.used.push(false);
        id
    }

    /// One of the latest maps, more often than an old one.
    fn pick(&mut self) -> NodeId {
        let back = (self.next)(self.maps.len().min(4));
        self.maps[self.maps.len() - 1 - back]
    }

    fn conv(&mut self, input: NodeId, out_channels: usize, stride: usize) -> NodeId {
        let style = (self.next)(16);
        let kernel = if style & 1 == 0 { 3 } else { 1 };
        let conv = Conv2d {
            kernel: [kernel; 2],
            stride,
            padding: kernel / 2,
            bias: style & 2 == 0,
            ..Conv2d::same3x3(out_channels)
        };
        let mut x = self.add(Layer::Conv2d(conv), &[input]);
        if style & 4 == 0 {
            x = self.add(Layer::BatchNorm2d(BatchNorm2d::default()), &[x]);
        }
        if style & 8 == 0 {
            x = self.add(Layer::Relu(Relu {}), &[x]);
        }
        x
    }

    fn step(&mut self) {
        let a = self.pick();
        let shape = self.builder.shape(a);
        let map = match (self.next)(10) {
            0..=2 => {
                let (channels, stride) = ((self.next)(20) + 1, (self.next)(2) + 1);
                self.conv(a, channels, stride)
            }
            3 => {
                let depthwise = Conv2d {
                    groups: Groups::Depthwise,
                    bias: (self.next)(2) == 0,
                    ..Conv2d::same3x3(shape.channels)
                };
                let x = self.add(Layer::Conv2d(depthwise), &[a]);
                self.add(Layer::BatchNorm2d(BatchNorm2d::default()), &[x])
            }
            4 => {
                let pool = MaxPool2d { kernel: 3, stride: 1, padding: 1 };
                self.add(Layer::MaxPool2d(pool), &[a])
            }
            5 if shape.height > 1 && shape.width > 1 => {
                let pool = AvgPool2d { kernel: 2, stride: 2, padding: 0 };
                self.add(Layer::AvgPool2d(pool), &[a])
            }
            6 => {
                let branch = self.conv(a, shape.channels, 1);
                self.add(Layer::Add(Add {}), &[branch, a])
            }
            7 => {
                let same = |id: &NodeId| self.builder.shape(*id) == shape;
                let others: Vec<NodeId> = self.maps.iter().copied().filter(same).collect();
                let b = others[(self.next)(others.len())];
                self.add(Layer::Add(Add {}), &[a, b])
            }
            8 if shape.channels <= 32 => {
                let size = (shape.height, shape.width);
                let fits = |id: &NodeId| {
                    let other = self.builder.shape(*id);
                    (other.height, other.width) == size && other.channels <= 32
                };
                let others: Vec<NodeId> = self.maps.iter().copied().filter(fits).collect();
                let b = others[(self.next)(others.len())];
                self.add(Layer::Concat(Concat {}), &[a, b])
            }
            _ => self.add(Layer::Dropout(Dropout { p: 0.5 }), &[a]),
        };
        self.maps.push(map);
    }

    fn finish(mut self) -> Graph {
        let ends: Vec<NodeId> =
            (0..self.used.len()).filter(|&id| !self.used[id]).map(NodeId).collect();
        let mut flat = Vec::new();
        for end in ends {
            flat.push(match (self.next)(2) {
                0 => self.add(Layer::Flatten(Flatten {}), &[end]),
                _ => self.add(Layer::GlobalAvgPool(GlobalAvgPool {}), &[end]),
            });
        }
        let x = self.add(Layer::Concat(Concat {}), &flat);
        let hidden = (self.next)(9);
        let x = match hidden {
            0 => x,
            n => self.add(Layer::Linear(Linear { out_features: n, bias: true }), &[x]),
        };
        let x = self.add(Layer::Linear(Linear { out_features: 5, bias: true }), &[x]);
        self.builder.finish(x).expect("every map is used")
    }
}

/// A network with random values everywhere: running statistics, optimiser slots and freeze masks
/// too.
pub(crate) fn network(graph: Graph, seed: u64) -> Network {
    let mut network = Network::init(graph, seed);
    let (graph, params) = network.split_mut();
    for (index, (param, place)) in params.iter_mut().zip(graph.params()).enumerate() {
        let mut rng = Rng::new(seed, Purpose::Test, 1, index as u64);
        match place.spec.name {
            "running_var" => param.value.fill_with(|| 0.5 + rng.uniform() as f32),
            "weight" if place.spec.decays => {}
            "weight" => param.value.fill_with(|| (1.0 + 0.3 * rng.normal()) as f32),
            _ => param.value.fill_with(|| (0.3 * rng.normal()) as f32),
        }
        if place.spec.trainable {
            let slot = (0..place.spec.len()).map(|_| rng.normal() as f32).collect();
            param.slots = vec![slot];
            param.frozen = (0..place.spec.dims[0]).map(|_| rng.below(4) == 0).collect();
        }
    }
    network
}

/// A set of classes in which each that can go is gone with probability `share`, unless that would
/// leave a layer empty.
pub(crate) fn kept(graph: &Graph, channels: &Channels, share: f64, seed: u64) -> Kept {
    let mut rng = Rng::new(seed, Purpose::Test, 2, 0);
    let mut kept = Kept::all(channels);
    for class in channels.prunable() {
        if rng.uniform() < share {
            let mut fewer = kept.clone();
            fewer.remove(class);
            if fewer.check(graph, channels).is_ok() {
                kept = fewer;
            }
        }
    }
    kept
}

/// Random images.
pub(crate) fn images(n: usize, shape: Shape, seed: u64) -> Tensor {
    let mut rng = Rng::new(seed, Purpose::Test, 3, 0);
    let values: Vec<f32> = (0..n * shape.len()).map(|_| rng.normal() as f32).collect();
    Tensor::from_nchw(n, shape, &values)
}
