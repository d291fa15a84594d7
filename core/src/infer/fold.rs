//! Batch norms in use, folded into the layers before them.

use crate::graph::{Graph, GraphBuilder, NodeId};
use crate::layers::{BatchNorm2d, Conv2d, Layer, Linear};
use crate::network::{Network, Param};

/// `net` without the batch norms that follow a convolution or linear layer whose output nothing else
/// reads: their factors and addends, in `f64`, are in its weights and bias. In between may be what does
/// nothing in use. The other batch norms stay, and so do all names.
pub(crate) fn fold_batch_norms(net: &Network) -> Network {
    let graph = net.graph();
    let mut params: Vec<Vec<Vec<f32>>> = Vec::with_capacity(graph.nodes().len());
    // The layer into which a batch norm that reads a node can be folded.
    let mut hosts: Vec<Option<NodeId>> = Vec::with_capacity(graph.nodes().len());
    let mut folded = vec![false; graph.nodes().len()];
    for id in graph.ids() {
        let node = graph.node(id);
        let own = &net.params()[node.params.clone()];
        params.push(own.iter().map(|param| param.value.clone()).collect());
        let host = |id: NodeId| hosts[id.0];
        let host = match (&node.layer, &node.inputs[..]) {
            (Layer::Conv2d(_) | Layer::Linear(_), _) => Some(id),
            (Layer::Dropout(_), &[input]) => host(input),
            (Layer::Flatten(_), &[input]) if graph.node(input).shape.area() == 1 => host(input),
            (Layer::BatchNorm2d(layer), &[input]) => {
                let host = host(input);
                if let Some(host) = host {
                    let (scale, shift) = affine(layer, own);
                    apply(&mut params[host.0], &scale, &shift);
                    folded[id.0] = true;
                }
                host
            }
            _ => None,
        };
        hosts.push(host.filter(|_| uses(graph, id) == 1));
    }
    rebuild(graph, params, &folded)
}

/// `graph` without the nodes that are `folded`, with these values.
fn rebuild(graph: &Graph, params: Vec<Vec<Vec<f32>>>, folded: &[bool]) -> Network {
    let sound = "a valid graph is valid without its batch norms";
    let (mut builder, image) = GraphBuilder::new(graph.input_shape()).expect(sound);
    let mut places = vec![image];
    let mut values = Vec::new();
    for (id, params) in graph.ids().zip(params).skip(1) {
        let node = graph.node(id);
        let inputs: Vec<NodeId> = node.inputs.iter().map(|input| places[input.0]).collect();
        if folded[id.0] {
            places.push(inputs[0]);
            continue;
        }
        let layer = match &node.layer {
            Layer::Conv2d(conv) => Layer::Conv2d(Conv2d { bias: params.len() > 1, ..conv.clone() }),
            Layer::Linear(linear) => {
                Layer::Linear(Linear { bias: params.len() > 1, ..linear.clone() })
            }
            other => other.clone(),
        };
        places.push(builder.add(node.name.as_str(), layer, &inputs).expect(sound));
        values.extend(params.into_iter().map(|value| Param { value, ..Param::default() }));
    }
    Network::with_params(builder.finish(places[graph.output().0]).expect(sound), values)
}

/// How many read a node's output, the outside world included.
pub(super) fn uses(graph: &Graph, id: NodeId) -> usize {
    graph.consumers(id).len() + usize::from(id == graph.output())
}

/// A batch norm in use, as a factor and an addend a channel.
pub(super) fn affine(layer: &BatchNorm2d, params: &[Param]) -> (Vec<f64>, Vec<f64>) {
    let [weight, bias, mean, var] = params else {
        panic!("a batch norm has four parameters");
    };
    let eps = f64::from(layer.eps);
    let scale: Vec<f64> = weight
        .value
        .iter()
        .zip(&var.value)
        .map(|(&weight, &var)| f64::from(weight) / (f64::from(var) + eps).sqrt())
        .collect();
    let shift = bias.value.iter().zip(&mean.value).zip(&scale);
    let shift = shift.map(|((&bias, &mean), scale)| f64::from(bias) - f64::from(mean) * scale);
    (scale.clone(), shift.collect())
}

/// Makes a layer with these weights, and perhaps a bias, multiply its output channels by `scale` and
/// add `shift`.
fn apply(params: &mut Vec<Vec<f32>>, scale: &[f64], shift: &[f64]) {
    if params.len() == 1 {
        params.push(vec![0.0; scale.len()]);
    }
    let [weights, bias] = &mut params[..] else { panic!("weights and a bias") };
    let row = weights.len() / scale.len();
    for (weights, &scale) in weights.chunks_exact_mut(row).zip(scale) {
        weights.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
    }
    for (bias, (&scale, &shift)) in bias.iter_mut().zip(scale.iter().zip(shift)) {
        *bias = (f64::from(*bias) * scale + shift) as f32;
    }
}
