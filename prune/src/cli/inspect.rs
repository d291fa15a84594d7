//! `pleach inspect`

use super::common::{Common, DataArgs};
use super::output::{self, grouped};
use anyhow::Result;
use clap::Args as ClapArgs;
use pleach_core::graph::{self, Graph};
use pleach_core::models;
use pleach_prune::channels::{Channels, producers};
use pleach_prune::net::Resolve;
use serde::Serialize;
use std::collections::BTreeMap;

/// Show a network's layers and what they cost
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The network
    net: String,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long)]
    arch: Option<String>,
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

#[derive(Serialize)]
struct Layer {
    name: String,
    kind: &'static str,
    out_channels: usize,
    macs: u64,
    params: u64,
    prunable: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let dataset = args.data.open()?;
    let resolve = Resolve::for_data(dataset.spec(), common.seed());
    let net = Resolve { arch: args.arch.as_deref(), ..resolve }.net(&args.net)?;
    let graph = net.network.graph();
    if common.json {
        output::json(&document(graph, net.meta.model.clone()))?;
    } else {
        output::print(&text(graph, &net.meta.model))?;
    }
    Ok(super::exit::OK)
}

fn document(graph: &Graph, model: String) -> Document {
    let prunable = Channels::of(graph).prunable_layers();
    let layers = graph::rows(graph).into_iter().map(|row| Layer {
        prunable: prunable.contains(&row.id),
        name: row.name,
        kind: row.kind,
        out_channels: row.out_channels,
        macs: row.macs,
        params: row.params,
    });
    Document {
        schema: "pleach.inspect/1",
        model,
        macs: graph.macs(),
        params: graph.trainable(),
        bytes: graph.bytes(),
        layers: layers.collect(),
    }
}

fn text(graph: &Graph, model: &str) -> String {
    let channels = Channels::of(graph);
    let mut notes = BTreeMap::new();
    for group in channels.groups() {
        for &id in &group.producers {
            let note = match &group.prunable {
                Ok(()) if group.producers.len() > 1 => {
                    let others = group.producers.iter().filter(|&&other| other != id);
                    let names: Vec<&str> = others.map(|&o| graph.node(o).name.as_str()).collect();
                    format!("yes, with {}", names.join(", "))
                }
                Ok(()) => "yes".to_owned(),
                Err(reason) => format!("no: {reason}"),
            };
            notes
                .entry(id)
                .and_modify(|all: &mut String| *all = format!("{all}; {note}"))
                .or_insert(note);
        }
    }
    let makers: Vec<_> = producers(graph).collect();
    let rows = graph::rows(graph).into_iter().map(|row| {
        let note = if makers.contains(&row.id) { notes.remove(&row.id) } else { None };
        let [height, width] = row.size;
        vec![
            row.name,
            row.kind.to_owned(),
            format!("{}x{height}x{width}", row.out_channels),
            grouped(row.macs),
            grouped(row.params),
            note.unwrap_or_default(),
        ]
    });
    let header = ["layer", "kind", "output", "MACs", "parameters", "prunable"];
    let table = output::table(&header, rows.collect());
    let widths: Vec<String> = models::widths(graph).iter().map(ToString::to_string).collect();
    format!(
        "{table}\n{model}:{}\n{} MACs an image, {} trainable parameters, {} bytes of f32 weights\n",
        widths.join(","),
        grouped(graph.macs()),
        grouped(graph.trainable()),
        grouped(graph.bytes())
    )
}
