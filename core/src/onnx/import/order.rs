//! Which nodes there are to compute, and in which order.

use crate::onnx::proto::Graph;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// The nodes that `output` needs, each after those whose values it reads, otherwise in the file's order;
/// or why there is no such order.
pub(super) fn order(graph: &Graph<'_>, output: &str) -> Result<Vec<usize>, String> {
    let nodes = &graph.nodes;
    let mut producers: HashMap<&str, usize> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for &name in node.outputs.iter().filter(|name| !name.is_empty()) {
            if producers.insert(name, i).is_some() {
                return Err(format!("the value {name:?} is made twice"));
            }
        }
    }
    let given = graph.initializers.iter().map(|tensor| tensor.name);
    for name in given.chain(graph.inputs.iter().map(|input| input.name)) {
        if producers.contains_key(name) {
            return Err(format!("the value {name:?} is given, and made by a node too"));
        }
    }

    let mut is_needed = vec![false; nodes.len()];
    let mut open: Vec<usize> = producers.get(output).copied().into_iter().collect();
    while let Some(i) = open.pop() {
        if !std::mem::replace(&mut is_needed[i], true) {
            open.extend(nodes[i].inputs.iter().filter_map(|input| producers.get(input)));
        }
    }

    // Kahn 1962, the earliest in the file first.
    let mut missing = vec![0usize; nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let needed = || (0..nodes.len()).filter(|&i| is_needed[i]);
    for i in needed() {
        for producer in nodes[i].inputs.iter().filter_map(|input| producers.get(input)) {
            missing[i] += 1;
            readers[*producer].push(i);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        needed().filter(|&i| missing[i] == 0).map(Reverse).collect();
    let mut order = Vec::new();
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &reader in &readers[i] {
            missing[reader] -= 1;
            if missing[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    let Some(mut stuck) = needed().find(|&i| missing[i] > 0) else { return Ok(order) };
    // Of what cannot be computed each reads another such node, and going back ends in the circle.
    let mut is_met = vec![false; nodes.len()];
    while !std::mem::replace(&mut is_met[stuck], true) {
        let mut inputs = nodes[stuck].inputs.iter().filter_map(|input| producers.get(input));
        stuck = inputs.find(|&&producer| missing[producer] > 0).copied().unwrap_or(stuck);
    }
    Err(format!("its nodes form a circle: {} needs its own output", nodes[stuck].title()))
}
