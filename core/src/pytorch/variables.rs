//! The variables of `forward`: `x`, and more where several values are needed at once.

use super::{Rank, Value};
use crate::graph::{Graph, NodeId};

/// Which variable has which node's output.
pub(super) struct Variables<'g> {
    graph: &'g Graph,
    /// The variable and the rank of each node so far.
    places: Vec<(usize, Rank)>,
    /// How many nodes still need what is in each variable.
    uses: Vec<usize>,
}

impl<'g> Variables<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        Self { graph, places: Vec::new(), uses: Vec::new() }
    }

    /// The output of a node that has its variable.
    pub(super) fn value(&self, id: NodeId) -> Value {
        let (variable, rank) = self.places[id.0];
        Value { text: name(variable), rank }
    }

    /// The inputs of node `id`, the next one.
    pub(super) fn inputs(&self, id: NodeId) -> Vec<Value> {
        self.graph.node(id).inputs.iter().map(|&input| self.value(input)).collect()
    }

    /// The variable for the output of node `id`, the next one: one that nothing needs any more.
    pub(super) fn assign(&mut self, id: NodeId, rank: Rank) -> String {
        for input in &self.graph.node(id).inputs {
            self.uses[self.places[input.0].0] -= 1;
        }
        let free = self.uses.iter().position(|&uses| uses == 0);
        let variable = free.unwrap_or_else(|| {
            self.uses.push(0);
            self.uses.len() - 1
        });
        // The network's output is needed at the end.
        let kept = usize::from(id == self.graph.output());
        self.uses[variable] = self.graph.consumers(id).len() + kept;
        self.places.push((variable, rank));
        name(variable)
    }
}

fn name(variable: usize) -> String {
    if variable == 0 { "x".into() } else { format!("x{variable}") }
}
