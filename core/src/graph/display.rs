//! A graph as a table.

use super::{Graph, GraphParam, NodeId};
use std::fmt;

/// What a table of layers shows of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The layer.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its kind, such as `conv2d`.
    pub kind: &'static str,
    /// Channels of its output.
    pub out_channels: usize,
    /// Height and width of its output.
    pub size: [usize; 2],
    /// Multiply-adds per image, of convolutions and linear layers.
    pub macs: u64,
    /// Trainable parameters.
    pub params: u64,
    /// Bytes of all parameters and running statistics as f32.
    pub bytes: u64,
}

/// One row a layer, in topological order, the image excepted.
#[must_use]
pub fn rows(graph: &Graph) -> Vec<Row> {
    let row = |id: NodeId| {
        let node = graph.node(id);
        Row {
            id,
            name: node.name.clone(),
            kind: node.layer.kind().name(),
            out_channels: node.shape.channels,
            size: [node.shape.height, node.shape.width],
            macs: graph.node_macs(id),
            params: graph.node_trainable(id),
            bytes: graph.params()[node.params.clone()].iter().map(GraphParam::bytes).sum(),
        }
    };
    graph.ids().filter(|&id| id != graph.input()).map(row).collect()
}

impl fmt::Display for Graph {
    /// A line a layer and one for the whole: name, kind, output `[C, H, W]`, MACs, parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = rows(self);
        let name = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(5);
        let kind = rows.iter().map(|row| row.kind.len()).max().unwrap_or(0);
        let mut line = |a: &str, b: &str, c: &str, macs: u64, params: u64| {
            writeln!(f, "{a:name$}  {b:kind$}  {c:>15}  {macs:>13}  {params:>11}")
        };
        for row in &rows {
            let shape = self.node(row.id).shape.to_string();
            line(&row.name, row.kind, &shape, row.macs, row.params)?;
        }
        line("total", "", "", self.macs(), self.trainable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;
    use crate::tensor::Shape;

    #[test]
    fn rows_add_up_to_the_whole_and_the_last_line_says_so() {
        let graph = models::build("resnet18", Shape::new(3, 32, 32), 10).unwrap();
        let rows = rows(&graph);
        assert_eq!(rows.len(), graph.nodes().len() - 1);
        assert_eq!(rows.iter().map(|row| row.macs).sum::<u64>(), 555_422_720);
        assert_eq!(rows.iter().map(|row| row.params).sum::<u64>(), 11_173_962);
        assert_eq!(rows.iter().map(|row| row.bytes).sum::<u64>(), graph.bytes());
        let text = graph.to_string();
        let last: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(last, ["total", "555422720", "11173962"]);
        assert!(text.lines().next().unwrap().starts_with("conv1 "));
    }
}
