//! Chains of layers that run as one in training: a batch norm and what follows it.

use crate::graph::{Graph, NodeId};
use crate::layers::{BatchNorm2d, Following, Layer};

/// How a tape runs a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// By itself.
    Alone,
    /// As the first of a chain.
    Chain(Chain),
    /// As part of the chain before it.
    Within,
}

impl Step {
    /// The map whose memory the step gives up, if there is one.
    pub(super) fn frees(&self) -> Option<NodeId> {
        match self {
            Self::Chain(Chain { last_reader: true, residual, .. }) => *residual,
            _ => None,
        }
    }
}

/// A batch norm and the nodes right after it that are computed in its passes. Nothing else reads what
/// is between them, so it exists nowhere.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chain {
    pub(super) norm: BatchNorm2d,
    pub(super) following: Following,
    /// The other input of the sum, if there is one.
    pub(super) residual: Option<NodeId>,
    /// Whether nothing reads that input after the chain.
    pub(super) last_reader: bool,
    /// The last node.
    pub(super) end: NodeId,
    /// Whether the gradient with respect to the batch norm's input may take its place.
    pub(super) takes_over: bool,
}

/// How a tape that need not keep inner activations runs each node in training.
pub(super) fn steps(graph: &Graph) -> Vec<Step> {
    let mut steps = vec![Step::Alone; graph.nodes().len()];
    for id in graph.ids() {
        if let Some(chain) = chain(graph, id) {
            steps[id.0 + 1..=chain.end.0].fill(Step::Within);
            steps[id.0] = Step::Chain(chain);
        }
    }
    steps
}

/// The chain that begins at `id`. Its nodes stand one after the other, so that the others compute and
/// gradients are summed in the same order as without it.
fn chain(graph: &Graph, id: NodeId) -> Option<Chain> {
    let Layer::BatchNorm2d(norm) = &graph.node(id).layer else { return None };
    let (mut end, mut following, mut residual) = (id, Following::Nothing, None);
    match next(graph, id) {
        Some((relu, Layer::Relu(_))) => {
            (end, following) = (relu, Following::Relu);
            if let Some((pool, Layer::MaxPool2d(layer))) = next(graph, relu)
                && layer.geometry(1, graph.node(relu).shape).halves()
            {
                (end, following) = (pool, Following::ReluMaxPool);
            }
        }
        Some((sum, Layer::Add(_))) => {
            if let Some((relu, Layer::Relu(_))) = next(graph, sum) {
                (end, following) = (relu, Following::AddRelu);
                residual = graph.node(sum).inputs.iter().copied().find(|&input| input != id);
            }
        }
        _ => (),
    }
    let input = graph.node(id).inputs[0];
    let takes_over = graph.consumers(input).len() == 1
        && !graph.node(input).layer.kind().backward_reads_output();
    // A batch norm with nothing in its passes does not read its output to go back.
    let last_reader = residual.is_some_and(|id| {
        graph.consumers(id).len() == 1 && chain(graph, id).is_some_and(|chain| chain.end == id)
    });
    let chain = Chain { norm: norm.clone(), following, residual, last_reader, end, takes_over };
    (end != graph.output()).then_some(chain)
}

/// The node right after `id`, if it alone reads its output.
fn next(graph: &Graph, id: NodeId) -> Option<(NodeId, &Layer)> {
    let next = NodeId(id.0 + 1);
    let alone = id != graph.output() && graph.consumers(id) == [next];
    alone.then(|| (next, &graph.node(next).layer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;
    use crate::tensor::Shape;

    /// The name of each chain's first node, what follows, and the name of its last.
    fn chains(spec: &str, size: usize) -> Vec<(String, Following, String)> {
        let graph = models::build(spec, Shape::new(3, size, size), 10).expect("a model");
        let name = |id: NodeId| graph.node(id).name.clone();
        let steps = steps(&graph);
        let chains = graph.ids().filter_map(|id| match &steps[id.0] {
            Step::Chain(chain) => Some((name(id), chain.following, name(chain.end))),
            Step::Alone | Step::Within => None,
        });
        chains.collect()
    }

    #[test]
    fn every_batch_norm_of_the_models_begins_a_chain() {
        for spec in models::MODELS.iter().filter(|spec| !spec.name.contains("nobn")) {
            let graph = models::build(spec.name, Shape::new(3, 32, 32), 10).expect("a model");
            for (node, step) in graph.nodes().iter().zip(steps(&graph)) {
                let is_norm = matches!(node.layer, Layer::BatchNorm2d(_));
                assert_eq!(matches!(step, Step::Chain(_)), is_norm, "{} {}", spec.name, node.name);
                // Those of a classifier follow linear layers.
                let is_relu =
                    matches!(node.layer, Layer::Relu(_)) && !node.name.starts_with("classifier.");
                assert!(!is_relu || step == Step::Within, "{} {}", spec.name, node.name);
            }
        }
    }

    #[test]
    fn chains_end_where_something_else_reads_or_a_map_is_odd() {
        let pools = |size| {
            let chains = chains("vgg16", size);
            chains.iter().filter(|(_, then, _)| *then == Following::ReluMaxPool).count()
        };
        assert_eq!([32, 36].map(pools), [5, 4], "the third of 36 pools 9 pixels");
        let resnet = chains("resnet18", 32);
        let sums = resnet.iter().filter(|(_, then, _)| *then == Following::AddRelu);
        assert_eq!(sums.clone().count(), 8);
        // Of the two that a block with a projection adds, the later one does the sum.
        let names: Vec<&str> = sums.map(|(name, ..)| name.as_str()).take(3).collect();
        assert_eq!(names, ["layer1.0.bn2", "layer1.1.bn2", "layer2.0.shortcut.1"]);
        let lone = resnet.iter().filter(|(_, then, _)| *then == Following::Nothing);
        assert_eq!(lone.count(), 3);
    }
}
