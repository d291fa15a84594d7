//! A comparison as people read it.

use super::document::{Cell, Document};
use super::outputs::Outputs;
use crate::cli::bench;
use crate::cli::output::{grouped, table};
use pleach_prune::latency::Measurement;

pub(super) fn text(document: &Document, measurement: &Measurement) -> String {
    let mut parts = vec![layers(document), totals(document)];
    parts.extend(document.outputs.as_ref().map(outputs));
    if !measurement.rows.is_empty() {
        parts.push(bench::text(measurement));
    }
    format!("A {}\nB {}\n\n{}", document.a.net, document.b.net, parts.join("\n"))
}

/// The layers with parameters.
fn layers(document: &Document) -> String {
    let count = |cell: &Option<Cell>, of: fn(&Cell) -> u64| {
        cell.as_ref().map(|cell| grouped(of(cell))).unwrap_or_default()
    };
    let layers = document
        .layers
        .iter()
        .filter(|layer| [&layer.a, &layer.b].into_iter().flatten().any(|cell| cell.params > 0));
    let rows = layers.map(|layer| {
        let both = |of: fn(&Cell) -> u64| [count(&layer.a, of), count(&layer.b, of)];
        let fewer = match (&layer.a, &layer.b) {
            (Some(a), Some(b)) if a.macs > 0 && b.macs > 0 => times(a.macs, b.macs),
            _ => String::new(),
        };
        let names = [layer.name.clone(), layer.kind.to_owned()];
        let [widths, macs] = [both(|cell| cell.out_channels as u64), both(|cell| cell.macs)];
        let [params, bytes] = [both(|cell| cell.params), both(|cell| cell.bytes)];
        [&names[..], &widths, &macs, &[fewer], &params, &bytes].concat()
    });
    let header = [
        "layer",
        "kind",
        "width A",
        "B",
        "MACs A",
        "B",
        "A / B",
        "parameters A",
        "B",
        "bytes A",
        "B",
    ];
    table(&header, rows.collect())
}

fn totals(document: &Document) -> String {
    let Document { a, b, .. } = document;
    let counts = [
        ("MACs an image", a.macs, b.macs),
        ("parameters", a.params, b.params),
        ("bytes of weights (f32)", a.bytes, b.bytes),
        ("bytes of activations, one image", a.activation_bytes, b.activation_bytes),
    ];
    let rows =
        counts.map(|(name, a, b)| vec![name.to_owned(), grouped(a), grouped(b), times(a, b)]);
    table(&["", "A", "B", "A / B"], rows.to_vec())
}

fn outputs(outputs: &Outputs) -> String {
    let Outputs { a, b, drop, .. } = outputs;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let lost = format!(
        "{:+.2} points ({:+.2} to {:+.2})",
        0.0 - drop.points,
        0.0 - drop.high,
        0.0 - drop.low
    );
    let rows = vec![
        vec!["accuracy".into(), percent(a.accuracy), percent(b.accuracy), lost],
        vec!["loss".into(), format!("{:.4}", a.loss), format!("{:.4}", b.loss), String::new()],
    ];
    let head = format!(
        "{} {} images of {}",
        grouped(outputs.images as u64),
        outputs.split,
        outputs.dataset
    );
    let difference = match (a.not_finite, b.not_finite) {
        (0, 0) => format!(
            "logits differ by at most {:.2e} ({:.1e} of an image's largest)",
            outputs.max_logit_difference, outputs.max_relative_logit_difference
        ),
        (a, b) => format!(
            "logits that are not finite put {} images into no class by A, {} by B",
            grouped(a as u64),
            grouped(b as u64)
        ),
    };
    format!(
        "{}{} of the images are put into the same class by both; {difference}\n",
        table(&[&head, "A", "B", "B - A"], rows),
        percent(outputs.same_top1)
    )
}

fn times(a: u64, b: u64) -> String {
    format!("{:.2}x", a as f64 / b.max(1) as f64)
}
