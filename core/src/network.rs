//! A graph with values for its parameters.

use crate::graph::{Graph, NodeId};
use crate::layers::{Groups, Layer};
use std::mem;

/// One parameter's values and what training keeps beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Param {
    /// Values, dense in PyTorch's order.
    pub value: Vec<f32>,
    /// Gradient of the loss; empty where none was computed (inference, running statistics).
    pub grad: Vec<f32>,
    /// The optimiser's state, one value a parameter each (SGD: velocity; Adam: first and second
    /// moment); empty before the first step.
    pub slots: Vec<Vec<f32>>,
    /// The slow weights of a [`Lookahead`](crate::optim::Lookahead), one value a parameter; empty without.
    pub slow: Vec<f32>,
    /// Output channels (rows of axis 0) that the optimiser must leave as they are, or empty: none.
    pub frozen: Vec<bool>,
}

/// A network: structure and values. Cloning it copies both.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    graph: Graph,
    params: Vec<Param>,
}

impl Network {
    /// `graph` with initial values, a pure function of `seed`.
    #[must_use]
    pub fn init(graph: Graph, seed: u64) -> Self {
        let params = graph.params().iter().enumerate().map(|(index, param)| {
            let mut value = vec![0.0; param.spec.len()];
            param.spec.init.fill(seed, index, &mut value);
            Param { value, ..Param::default() }
        });
        let params = params.collect();
        Self { graph, params }
    }

    /// `graph` with initial values as [`Network::init`] has them, but with convolutions that pass on what they
    /// see: filter `i` of a convolution of other layers' maps, without a stride and with a kernel that has
    /// a centre, begins as channel `i`, as long as there is one. So convolutions one behind another begin as
    /// few, and gradients reach the first of them (Zagoruyko and Komodakis 2017, arXiv 1706.00388). Residual
    /// sums pass maps on by themselves: a graph with any is left to [`Network::init`].
    #[must_use]
    pub fn init_identity(graph: Graph, seed: u64) -> Self {
        let mut net = Self::init(graph, seed);
        let (graph, params) = (&net.graph, &mut net.params);
        if graph.is_residual() {
            return net;
        }
        for node in graph.nodes() {
            let Layer::Conv2d(conv) = &node.layer else { continue };
            let [kh, kw] = conv.kernel;
            let passes =
                conv.stride == 1 && conv.groups == Groups::One && kh % 2 == 1 && kw % 2 == 1;
            if !passes || node.inputs[0] == graph.input() {
                continue;
            }
            let weight = node.params.clone().find(|&i| graph.params()[i].spec.name == "weight");
            let weight = weight.expect("a convolution has a weight");
            let channels = graph.node(node.inputs[0]).shape.channels;
            let filters = params[weight].value.chunks_exact_mut(channels * kh * kw);
            for (filter, values) in filters.take(channels).enumerate() {
                values.fill(0.0);
                values[filter * kh * kw + (kh * kw) / 2] = 1.0;
            }
        }
        net
    }

    /// `graph` with these parameters, in the order of [`Graph::params`].
    ///
    /// # Panics
    /// If the number or a length does not fit: files are checked where they are read.
    #[must_use]
    pub fn with_params(graph: Graph, params: Vec<Param>) -> Self {
        assert_eq!(params.len(), graph.params().len(), "one entry a parameter");
        for (param, place) in params.iter().zip(graph.params()) {
            assert_eq!(param.value.len(), place.spec.len(), "values of {}", place.name);
        }
        Self { graph, params }
    }

    /// The network without what a training keeps beside values, for another training to begin with.
    #[must_use]
    pub fn without_training_state(self) -> Self {
        let params = self.params.into_iter();
        let params = params.map(|Param { value, .. }| Param { value, ..Param::default() });
        Self { params: params.collect(), ..self }
    }

    /// The structure.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Gives the same parameters another structure, and returns the one that they had: that of
    /// [`Graph::for_images`], say.
    ///
    /// # Panics
    /// If the parameters of the two differ.
    pub fn replace_graph(&mut self, graph: Graph) -> Graph {
        assert_eq!(graph.params(), self.graph.params(), "parameters of the two structures");
        mem::replace(&mut self.graph, graph)
    }

    /// All parameters, in the order of [`Graph::params`].
    #[must_use]
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// All parameters; lengths must stay as they are.
    pub fn params_mut(&mut self) -> &mut [Param] {
        &mut self.params
    }

    /// The structure and, to be changed, the parameters.
    pub fn split_mut(&mut self) -> (&Graph, &mut [Param]) {
        (&self.graph, &mut self.params)
    }

    /// The parameter called `name` (`weight`, `bias`, ...) of node `id`.
    #[must_use]
    pub fn param(&self, id: NodeId, name: &str) -> Option<&Param> {
        self.index(id, name).map(|i| &self.params[i])
    }

    /// The parameter called `name` of node `id`, to be changed.
    pub fn param_mut(&mut self, id: NodeId, name: &str) -> Option<&mut Param> {
        self.index(id, name).map(|i| &mut self.params[i])
    }

    fn index(&self, id: NodeId, name: &str) -> Option<usize> {
        let range = self.graph.node(id).params.clone();
        range.into_iter().find(|&i| self.graph.params()[i].spec.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;
    use crate::tensor::Shape;

    #[test]
    fn a_graph_takes_images_of_another_size_where_its_parameters_stay() {
        let image = |side| Shape::new(3, side, side);
        for model in ["resnet18", "resnet20"] {
            let graph = models::build(model, image(32), 10).expect("a model");
            let small = graph.for_images(image(24)).expect("maps are pooled at the end");
            assert_eq!(small.input_shape(), image(24));
            assert!(small.macs() < graph.macs() * 6 / 10, "{model}");
            assert_eq!(small.for_images(image(32)).expect("as it was"), graph);
            let mut network = Network::init(graph.clone(), 3);
            let values = network.params().to_vec();
            assert_eq!(network.replace_graph(small), graph);
            assert_eq!((network.graph().input_shape(), network.params()), (image(24), &values[..]));
        }
        let refused = |model: &str, side: usize| {
            let graph = models::build(model, image(32), 10).expect("a model");
            graph.for_images(image(side)).expect_err("another size").to_string()
        };
        assert!(refused("vgg-small", 24).contains("classifier has other parameters"));
        assert!(refused("vgg16", 24).contains("features.43"));
        assert!(refused("vgg16", 64).contains("classifier"));
    }

    #[test]
    fn an_identity_start_passes_on_what_the_first_convolution_makes() {
        let image = Shape::new(3, 32, 32);
        let graph = models::build("vgg-small:8,8,16,16,12,16", image, 10).expect("it is a model");
        let (plain, identity) =
            (Network::init(graph.clone(), 5), Network::init_identity(graph.clone(), 5));
        for ((place, a), b) in graph.params().iter().zip(plain.params()).zip(identity.params()) {
            let conv = place.spec.dims.len() == 4 && place.spec.dims[1] != 3;
            if !conv {
                assert_eq!(a, b, "{} is as it was", place.name);
                continue;
            }
            let [oc, ic] = [place.spec.dims[0], place.spec.dims[1]];
            let filters = a.value.chunks_exact(9 * ic).zip(b.value.chunks_exact(9 * ic));
            for (filter, (a, b)) in filters.enumerate() {
                let mut centre = vec![0.0; 9 * ic];
                if filter < ic {
                    centre[9 * filter + 4] = 1.0;
                }
                assert_eq!(b, if filter < ic { &centre[..] } else { a }, "{oc} {filter}");
            }
        }
        let residual = models::build("resnet20", image, 10).expect("a model");
        assert_eq!(Network::init_identity(residual.clone(), 5), Network::init(residual, 5));
    }
}
