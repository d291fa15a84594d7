//! What a comparison of two networks says.

use super::outputs::Outputs;
use pleach_core::graph::{self, Graph};
use pleach_prune::latency::{Ratio, Row};
use serde::Serialize;

/// `pleach.compare/1`.
#[derive(Serialize)]
pub(super) struct Document {
    pub(super) schema: &'static str,
    pub(super) a: Side,
    pub(super) b: Side,
    /// How many times more the first has.
    pub(super) ratios: Ratios,
    pub(super) layers: Vec<Layer>,
    pub(super) latency: Vec<Row>,
    pub(super) speedup: Vec<Ratio>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outputs: Option<Outputs>,
}

/// One of the networks.
#[derive(Serialize)]
pub(super) struct Side {
    pub(super) net: String,
    pub(super) model: String,
    pub(super) widths: Vec<usize>,
    pub(super) macs: u64,
    pub(super) params: u64,
    pub(super) bytes: u64,
    /// Of inference with one image.
    pub(super) activation_bytes: u64,
}

#[derive(Serialize)]
pub(super) struct Ratios {
    pub(super) macs: f64,
    pub(super) params: f64,
    pub(super) bytes: f64,
    pub(super) activation_bytes: f64,
}

/// A layer of either network or, by its name and kind, of both.
#[derive(Serialize)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) a: Option<Cell>,
    pub(super) b: Option<Cell>,
}

/// A layer of one network.
#[derive(Clone, PartialEq, Serialize)]
pub(super) struct Cell {
    pub(super) out_channels: usize,
    pub(super) macs: u64,
    pub(super) params: u64,
    pub(super) bytes: u64,
}

impl Ratios {
    pub(super) fn of(a: &Side, b: &Side) -> Self {
        let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
        Self {
            macs: ratio(a.macs, b.macs),
            params: ratio(a.params, b.params),
            bytes: ratio(a.bytes, b.bytes),
            activation_bytes: ratio(a.activation_bytes, b.activation_bytes),
        }
    }
}

/// Name, kind and numbers of every layer.
pub(super) fn cells(graph: &Graph) -> Vec<(String, &'static str, Cell)> {
    let cell = |row: graph::Row| {
        let graph::Row { out_channels, macs, params, bytes, .. } = row;
        (row.name, row.kind, Cell { out_channels, macs, params, bytes })
    };
    graph::rows(graph).into_iter().map(cell).collect()
}
