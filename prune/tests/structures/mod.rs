//! One small graph of each structure.

use pleach_core::Shape;
use pleach_core::graph::{Graph, GraphBuilder, NodeId};
use pleach_core::layers::{
    Add, BatchNorm2d, Concat, Conv2d, Flatten, GlobalAvgPool, Groups, Layer, Linear, MaxPool2d,
    Relu,
};

/// Builds by layer name, so that a structure reads as a list.
struct Builder {
    builder: GraphBuilder,
    image: NodeId,
}

impl Builder {
    fn new(image: Shape) -> Self {
        let (builder, image) = GraphBuilder::new(image).expect("a small image");
        Self { builder, image }
    }

    fn add(&mut self, name: &str, layer: Layer, inputs: &[NodeId]) -> NodeId {
        self.builder.add(name, layer, inputs).expect("a layer that fits")
    }

    fn conv(&mut self, name: &str, conv: Conv2d, input: NodeId) -> NodeId {
        let x = self.add(name, Layer::Conv2d(conv), &[input]);
        self.add(&format!("{name}.bn"), Layer::BatchNorm2d(BatchNorm2d::default()), &[x])
    }

    fn relu(&mut self, name: &str, input: NodeId) -> NodeId {
        self.add(name, Layer::Relu(Relu {}), &[input])
    }

    fn classify(mut self, input: NodeId) -> Graph {
        let x = self.add("pool", Layer::GlobalAvgPool(GlobalAvgPool {}), &[input]);
        let x = self.add("fc", Layer::Linear(Linear { out_features: 5, bias: true }), &[x]);
        self.builder.finish(x).expect("a whole network")
    }
}

fn same3x3(channels: usize) -> Conv2d {
    Conv2d::same3x3(channels)
}

pub(crate) fn plain() -> Graph {
    let mut b = Builder::new(Shape::new(3, 8, 8));
    let x = b.conv("a", same3x3(20), b.image);
    let x = b.relu("a.relu", x);
    let x = b.add("down", Layer::MaxPool2d(MaxPool2d { kernel: 2, stride: 2, padding: 0 }), &[x]);
    let x = b.conv("b", same3x3(17), x);
    let x = b.relu("b.relu", x);
    b.classify(x)
}

pub(crate) fn residual() -> Graph {
    let mut b = Builder::new(Shape::new(3, 6, 6));
    let x = b.conv("stem", same3x3(10), b.image);
    let x = b.relu("stem.relu", x);
    let y = b.conv("a", same3x3(7), x);
    let y = b.relu("a.relu", y);
    let y = b.conv("b", same3x3(10), y);
    let x = b.add("sum", Layer::Add(Add {}), &[y, x]);
    let x = b.relu("sum.relu", x);
    b.classify(x)
}

pub(crate) fn projection() -> Graph {
    let mut b = Builder::new(Shape::new(3, 8, 8));
    let x = b.conv("stem", same3x3(6), b.image);
    let y = b.conv("a", Conv2d { stride: 2, ..same3x3(18) }, x);
    let y = b.relu("a.relu", y);
    let y = b.conv("b", same3x3(18), y);
    let shortcut = b.conv("shortcut", Conv2d { stride: 2, ..Conv2d::pointwise(18) }, x);
    let x = b.add("sum", Layer::Add(Add {}), &[y, shortcut]);
    b.classify(x)
}

pub(crate) fn concat() -> Graph {
    let mut b = Builder::new(Shape::new(3, 5, 5));
    let left = b.conv("left", same3x3(9), b.image);
    let right = b.conv("right", Conv2d::pointwise(14), b.image);
    let x = b.add("cat", Layer::Concat(Concat {}), &[left, right]);
    let x = b.conv("mix", Conv2d::pointwise(6), x);
    b.classify(x)
}

pub(crate) fn flatten() -> Graph {
    let mut b = Builder::new(Shape::new(2, 4, 3));
    let x = b.conv("a", same3x3(11), b.image);
    let x = b.relu("a.relu", x);
    let x = b.add("flatten", Layer::Flatten(Flatten {}), &[x]);
    let x = b.add("hidden", Layer::Linear(Linear { out_features: 8, bias: true }), &[x]);
    let x = b.relu("hidden.relu", x);
    b.classify(x)
}

pub(crate) fn depthwise() -> Graph {
    let mut b = Builder::new(Shape::new(3, 6, 6));
    let x = b.conv("expand", Conv2d::pointwise(20), b.image);
    let x = b.relu("expand.relu", x);
    let x = b.conv("depth", Conv2d { groups: Groups::Depthwise, ..same3x3(1) }, x);
    let x = b.conv("project", Conv2d::pointwise(6), x);
    b.classify(x)
}

/// `cat(a, b) + c`: each channel of `c` goes with one of `a` or of `b`.
pub(crate) fn add_of_concat() -> Graph {
    let mut b = Builder::new(Shape::new(3, 5, 5));
    let first = b.conv("a", same3x3(5), b.image);
    let second = b.conv("b", same3x3(7), b.image);
    let both = b.add("cat", Layer::Concat(Concat {}), &[first, second]);
    let third = b.conv("c", Conv2d::pointwise(12), b.image);
    let x = b.add("sum", Layer::Add(Add {}), &[third, both]);
    b.classify(x)
}

/// `conv(image) + image`: the convolution's channels are the image's.
pub(crate) fn add_of_image() -> Graph {
    let mut b = Builder::new(Shape::new(3, 5, 5));
    let x = b.conv("a", same3x3(3), b.image);
    let x = b.add("sum", Layer::Add(Add {}), &[x, b.image]);
    let x = b.conv("b", same3x3(4), x);
    b.classify(x)
}

/// `c + cat(image, a)`: the first channels of `c` are the image's, the others go with those of `a`.
pub(crate) fn add_of_image_and_more() -> Graph {
    let mut b = Builder::new(Shape::new(3, 5, 5));
    let x = b.conv("a", same3x3(6), b.image);
    let both = b.add("cat", Layer::Concat(Concat {}), &[b.image, x]);
    let x = b.conv("c", Conv2d::pointwise(9), both);
    let x = b.add("sum", Layer::Add(Add {}), &[x, both]);
    b.classify(x)
}

pub(crate) const STRUCTURES: [fn() -> Graph; 9] = [
    plain,
    residual,
    projection,
    concat,
    flatten,
    depthwise,
    add_of_concat,
    add_of_image,
    add_of_image_and_more,
];
