//! A graph with values for its parameters.

use crate::graph::{Graph, NodeId};

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

    /// The structure.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
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
