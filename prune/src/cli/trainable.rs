//! Whether a network can be trained as a configuration says, before anything is done.

use super::common::check_memory;
use super::exit::usage;
use anyhow::Result;
use pleach_core::graph::Graph;
use pleach_core::layers::Layer;
use pleach_datasets::{Dataset, Split};
use pleach_prune::trainer::TrainConfig;

/// Refuses what the data or a network of this structure do not allow; `table` is what holds the configuration.
pub(super) fn check(
    config: &TrainConfig,
    dataset: &dyn Dataset,
    graph: &Graph,
    table: &str,
) -> Result<()> {
    let (batch, images) = (config.batch, dataset.len(Split::Train));
    if batch > images {
        let name = &dataset.spec().name;
        return Err(usage(format!(
            "a batch of {batch} is more than the {images} training images of {name}"
        )));
    }
    check_resizing(config, graph, table)?;
    check_batch_norms(config, graph)?;
    check_memory(graph, batch)
}

/// Steps of so many epochs.
pub(super) fn steps(epochs: f64, batch: usize, dataset: &dyn Dataset) -> u64 {
    (epochs * (dataset.len(Split::Train) / batch) as f64).round() as u64
}

/// Refuses small images for a network that does not take any.
fn check_resizing(config: &TrainConfig, graph: &Graph, table: &str) -> Result<()> {
    let Some(resizing) = &config.resizing else { return Ok(()) };
    let (start, image) = (resizing.start, graph.input_shape());
    if start >= image.height.max(image.width) {
        return Err(usage(format!(
            "{table}.resizing.start is {start}, no smaller than the images are, of {image}"
        )));
    }
    resizing.check_graph(graph).map_err(|error| {
        usage(format!("{table}.resizing.start is {start}, too small for this network: {error}"))
    })
}

/// Refuses batches in which a batch norm has a single value of each channel: it would say the same of every image.
fn check_batch_norms(config: &TrainConfig, graph: &Graph) -> Result<()> {
    if config.batch > 1 {
        return Ok(());
    }
    let full = graph.input_shape();
    let smallest = config.resizing.map(|resizing| resizing.image(full, 0.0));
    let small = smallest.and_then(|image| graph.for_images(image).ok());
    let graph = small.as_ref().unwrap_or(graph);
    let of_one_pixel = graph.nodes().iter().find(|node| {
        let is_batch_norm = matches!(node.layer, Layer::BatchNorm2d(_));
        is_batch_norm && node.shape.area() == 1
    });
    of_one_pixel.map_or(Ok(()), |node| {
        Err(usage(format!(
            "a batch of 1 leaves the batch norm {} a single value of each channel: take 2 images or more (--batch)",
            node.name
        )))
    })
}
