//! `pleach inspect`

mod explain;
mod layers;

use super::common::{self, Common, DataArgs};
use super::exit;
use super::output::{self, grouped};
use anyhow::Result;
use clap::Args as ClapArgs;
use layers::Layer;
use pleach_core::graph::Graph;
use pleach_core::models;
use pleach_prune::net::Resolve;
use serde::Serialize;

/// Show a network's layers and what they cost, or why a pruning run removed filters
///
/// Layers with the same group make channels that can only be removed together.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The network; with --explain, the folder of a pruning run, or its plan.json
    net: String,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long)]
    arch: Option<String>,
    /// Why each filter of this layer went or stayed in the run
    #[arg(long, value_name = "LAYER", conflicts_with = "arch")]
    explain: Option<String>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    model: String,
    macs: u64,
    params: u64,
    bytes: u64,
    layers: Vec<Layer>,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    if let Some(layer) = &args.explain {
        common::refuse_data(common, &args.data, "--explain reads the run's plan alone")?;
        return explain::run(common, &args.net, layer);
    }
    let dataset = args.data.open()?;
    let resolve = Resolve::for_data(dataset.spec(), common.seed());
    let net = Resolve { arch: args.arch.as_deref(), ..resolve }.net(&args.net)?;
    let graph = net.network.graph();
    let layers = layers::of(graph);
    if common.json {
        output::json(&Document {
            schema: "pleach.inspect/1",
            model: net.meta.model.clone(),
            macs: graph.macs(),
            params: graph.trainable(),
            bytes: graph.bytes(),
            layers,
        })?;
    } else {
        output::print(&text(graph, &net.meta.model, layers))?;
    }
    Ok(exit::OK)
}

fn text(graph: &Graph, model: &str, layers: Vec<Layer>) -> String {
    let rows = layers.into_iter().map(|layer| {
        let [height, width] = layer.size;
        let groups: Vec<String> = layer.groups.iter().map(usize::to_string).collect();
        vec![
            layer.name,
            layer.kind.to_owned(),
            layer.in_channels.to_string(),
            format!("{}x{height}x{width}", layer.out_channels),
            grouped(layer.macs),
            grouped(layer.params),
            grouped(layer.activation_bytes),
            groups.join("+"),
            layer.note,
        ]
    });
    let header = [
        "layer",
        "kind",
        "inputs",
        "output",
        "MACs",
        "parameters",
        "bytes out",
        "group",
        "prunable",
    ];
    let table = output::table(&header, rows.collect());
    let widths: Vec<String> = models::widths(graph).iter().map(ToString::to_string).collect();
    // Networks from ONNX models have no name.
    let model = if model.is_empty() { "widths " } else { &format!("{model}:") };
    format!(
        "{table}\n{model}{}\n{} MACs an image, {} trainable parameters, {} bytes of f32 weights\n",
        widths.join(","),
        grouped(graph.macs()),
        grouped(graph.trainable()),
        grouped(graph.bytes())
    )
}
