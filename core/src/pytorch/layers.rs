//! What each kind of layer is in PyTorch.

use super::{Rank, Value};
use crate::graph::{Graph, NodeId};
use crate::layers::{
    AvgPool2d, BatchNorm2d, Conv2d, Dropout, GlobalAvgPool, Groups, Layer, Linear, MaxPool2d,
};
use crate::tensor::Shape;

/// A layer as code.
pub(super) struct Code {
    /// The expression that makes its module, if it has one.
    pub(super) module: Option<String>,
    /// Its output.
    pub(super) value: Value,
}

impl Code {
    fn call(module: String, path: &str, input: &str, rank: Rank) -> Self {
        Self { module: Some(module), value: Value { text: format!("{path}({input})"), rank } }
    }

    fn plain(text: String, rank: Rank) -> Self {
        Self { module: None, value: Value { text, rank } }
    }
}

/// The code of node `id` on these inputs, whose module, if it has one, is at `path`.
pub(super) fn code(graph: &Graph, id: NodeId, inputs: &[Value], path: &str) -> Code {
    let shapes = graph.input_shapes(id);
    match &graph.node(id).layer {
        Layer::Input(_) => Code::plain("x".into(), Rank::Maps),
        Layer::Conv2d(layer) => conv2d(layer, shapes[0], &inputs[0], path),
        Layer::BatchNorm2d(layer) => batch_norm2d(layer, shapes[0], &inputs[0], path),
        Layer::Linear(layer) => linear(layer, shapes[0], &inputs[0], path),
        Layer::Relu(_) => Code::plain(format!("F.relu({})", inputs[0].text), inputs[0].rank),
        Layer::Dropout(layer) => dropout(layer, &inputs[0]),
        Layer::MaxPool2d(layer) => max_pool2d(layer, &inputs[0]),
        Layer::AvgPool2d(layer) => avg_pool2d(layer, &inputs[0]),
        Layer::GlobalAvgPool(layer) => global_avg_pool(layer, &inputs[0]),
        Layer::Flatten(_) => Code::plain(inputs[0].flat(), Rank::Flat),
        Layer::Add(_) => {
            let (inputs, rank) = alike(inputs);
            Code::plain(inputs.join(" + "), rank)
        }
        Layer::Concat(_) => {
            let (inputs, rank) = alike(inputs);
            Code::plain(format!("torch.cat([{}], 1)", inputs.join(", ")), rank)
        }
    }
}

/// Values of one rank: as they are, if they agree.
fn alike(inputs: &[Value]) -> (Vec<String>, Rank) {
    match inputs.iter().all(|input| input.rank == Rank::Maps) {
        true => (inputs.iter().map(Value::maps).collect(), Rank::Maps),
        false => (inputs.iter().map(Value::flat).collect(), Rank::Flat),
    }
}

fn conv2d(layer: &Conv2d, input: Shape, x: &Value, path: &str) -> Code {
    let Conv2d { out_channels, kernel: [kh, kw], stride, padding, bias, groups } = *layer;
    let (out_channels, groups) = match groups {
        Groups::One => (out_channels, 1),
        Groups::Depthwise => (input.channels, input.channels),
    };
    let kernel = if kh == kw { kh.to_string() } else { format!("({kh}, {kw})") };
    let mut arguments = vec![input.channels.to_string(), out_channels.to_string(), kernel];
    let settings = [("stride", stride, 1), ("padding", padding, 0), ("groups", groups, 1)];
    let unusual = settings.into_iter().filter(|(_, value, usual)| value != usual);
    arguments.extend(unusual.map(|(name, value, _)| format!("{name}={value}")));
    arguments.extend((!bias).then(|| "bias=False".to_owned()));
    Code::call(format!("nn.Conv2d({})", arguments.join(", ")), path, &x.maps(), Rank::Maps)
}

fn batch_norm2d(layer: &BatchNorm2d, input: Shape, x: &Value, path: &str) -> Code {
    let dims = if x.rank == Rank::Maps { 2 } else { 1 };
    let (BatchNorm2d { eps, momentum }, usual) = (layer, BatchNorm2d::default());
    let mut arguments = vec![input.channels.to_string()];
    arguments.extend((*eps != usual.eps).then(|| format!("eps={eps:?}")));
    arguments.extend((*momentum != usual.momentum).then(|| format!("momentum={momentum:?}")));
    let module = format!("nn.BatchNorm{dims}d({})", arguments.join(", "));
    Code::call(module, path, &x.text, x.rank)
}

fn linear(layer: &Linear, input: Shape, x: &Value, path: &str) -> Code {
    let Linear { out_features, bias } = layer;
    let bias = if *bias { "" } else { ", bias=False" };
    let module = format!("nn.Linear({}, {out_features}{bias})", input.channels);
    Code::call(module, path, &x.flat(), Rank::Flat)
}

fn dropout(layer: &Dropout, x: &Value) -> Code {
    Code::plain(format!("F.dropout({}, {:?}, self.training)", x.text, layer.p), x.rank)
}

fn max_pool2d(layer: &MaxPool2d, x: &Value) -> Code {
    let MaxPool2d { kernel, stride, padding } = layer;
    pool2d("max_pool2d", [*kernel, *stride, *padding], x)
}

fn avg_pool2d(layer: &AvgPool2d, x: &Value) -> Code {
    let AvgPool2d { kernel, stride, padding } = layer;
    pool2d("avg_pool2d", [*kernel, *stride, *padding], x)
}

fn pool2d(function: &str, [kernel, stride, padding]: [usize; 3], x: &Value) -> Code {
    let padding = if padding == 0 { String::new() } else { format!(", padding={padding}") };
    Code::plain(format!("F.{function}({}, {kernel}, {stride}{padding})", x.maps()), Rank::Maps)
}

fn global_avg_pool(_: &GlobalAvgPool, x: &Value) -> Code {
    match x.rank {
        Rank::Maps => Code::plain(format!("{}.mean((2, 3))", x.text), Rank::Flat),
        Rank::Flat => Code::plain(x.text.clone(), Rank::Flat),
    }
}
