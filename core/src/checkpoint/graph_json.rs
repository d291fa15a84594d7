//! A graph as JSON: its nodes in order, each with its name, its layer and its inputs' positions.

use crate::graph::{Graph, GraphBuilder, GraphError, NodeId};
use crate::layers::Layer;
use crate::text::shortened;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphJson {
    nodes: Vec<NodeJson>,
    output: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeJson {
    name: String,
    layer: Layer,
    inputs: Vec<usize>,
}

/// Why JSON is no graph.
#[derive(Debug)]
pub(super) enum GraphJsonError {
    /// It is not JSON of the expected form.
    Json(String),
    /// It describes a graph that cannot be.
    Graph(GraphError),
}

pub(super) fn to_json(graph: &Graph) -> String {
    let nodes = graph.nodes().iter().map(|node| NodeJson {
        name: node.name.clone(),
        layer: node.layer.clone(),
        inputs: node.inputs.iter().map(|input| input.0).collect(),
    });
    let json = GraphJson { nodes: nodes.collect(), output: graph.output().0 };
    serde_json::to_string(&json).expect("names, numbers and lists are JSON")
}

/// The graph, rebuilt through [`GraphBuilder`] and so checked like any other.
pub(super) fn from_json(json: &str) -> Result<Graph, GraphJsonError> {
    let json: GraphJson = serde_json::from_str(json)
        .map_err(|error| GraphJsonError::Json(shortened(error.to_string())))?;
    let mut nodes = json.nodes.into_iter();
    let image = match nodes.next() {
        Some(NodeJson { name, layer: Layer::Input(input), inputs })
            if name == "input" && inputs.is_empty() =>
        {
            input.shape
        }
        _ => return Err(GraphJsonError::Json("no image as its first layer".into())),
    };
    let (mut builder, _) = GraphBuilder::new(image).map_err(GraphJsonError::Graph)?;
    for node in nodes {
        let inputs: Vec<NodeId> = node.inputs.into_iter().map(NodeId).collect();
        builder.add(node.name, node.layer, &inputs).map_err(GraphJsonError::Graph)?;
    }
    builder.finish(NodeId(json.output)).map_err(GraphJsonError::Graph)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::MODELS;
    use crate::tensor::Shape;

    #[test]
    fn every_model_survives_the_round_trip() {
        for model in MODELS {
            let graph = model.graph(&[], Shape::new(3, 32, 32), 10).unwrap();
            assert_eq!(from_json(&to_json(&graph)).unwrap(), graph, "{}", model.name);
        }
    }

    #[test]
    fn sizes_that_overflow_are_errors() {
        let input = r#"{"name":"input","layer":{"kind":"input","shape":{"channels":3,"height":8,"width":8}},"inputs":[]}"#;
        let max = usize::MAX;
        for layer in [
            format!(
                r#""kind":"conv2d","out_channels":4,"kernel":[3,3],"stride":1,"padding":{max},"bias":false"#
            ),
            format!(
                r#""kind":"conv2d","out_channels":4,"kernel":[{max},{max}],"stride":1,"padding":{},"bias":false"#,
                max / 2
            ),
            format!(
                r#""kind":"conv2d","out_channels":{max},"kernel":[3,3],"stride":1,"padding":1,"bias":true"#
            ),
            format!(
                r#""kind":"conv2d","out_channels":4,"kernel":[{0},{0}],"stride":1,"padding":{0},"bias":false"#,
                max / 4
            ),
            format!(r#""kind":"max_pool2d","kernel":2,"stride":1,"padding":{max}"#),
            format!(r#""kind":"avg_pool2d","kernel":{max},"stride":{max},"padding":{max}"#),
            r#""kind":"batch_norm2d","eps":-1.0,"momentum":0.1"#.into(),
            r#""kind":"batch_norm2d","eps":1e-5,"momentum":7.0"#.into(),
        ] {
            let json = format!(
                r#"{{"nodes":[{input},{{"name":"x","layer":{{{layer}}},"inputs":[0]}}],"output":1}}"#
            );
            let result = from_json(&json);
            assert!(matches!(result, Err(GraphJsonError::Graph(_))), "{layer}: {result:?}");
        }
    }
}
