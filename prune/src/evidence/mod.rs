//! What is measured on the calibration images, in one pass.

mod probe;

use crate::channels::{Channels, answer_of, producers};
use crate::eval::EVAL_BATCH;
use pleach_core::autograd::Tape;
use pleach_core::graph::{Graph, NodeId};
use pleach_core::layers::{Mode, StepKey};
use pleach_core::loss::cross_entropy;
use pleach_core::{Network, Param, Tensor};
use pleach_datasets::batches::{BatchSpec, Loader};
use pleach_datasets::{Dataset, Split};
use pleach_kernels::{Context, channel_stride};
use probe::Probe;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What to measure beyond losses and the layers' responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Mean maps at the inputs of consumers, for the bias update `mean`.
    pub means: bool,
    /// Responses at the inputs of consumers, for the bias update `max_entropy`.
    pub input_responses: bool,
    /// Gradients, for Taylor importance: a backward pass a batch.
    pub gradients: bool,
}

impl Wants {
    /// What either wants.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            means: self.means || other.means,
            input_responses: self.input_responses || other.input_responses,
            gradients: self.gradients || other.gradients,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The label of every image.
    pub labels: Vec<u32>,
    /// The cross-entropy of every image (without label smoothing) in the network as it is.
    pub losses: Vec<f64>,
    /// Images that the network classifies correctly.
    pub correct: usize,
    /// For each layer with channels that can be removed.
    pub layers: BTreeMap<NodeId, LayerEvidence>,
    /// For each node with such channels whose output layers take that make channels of their own;
    /// empty unless wanted.
    pub inputs: BTreeMap<NodeId, InputEvidence>,
}

/// What was measured of one layer's filters, at its answer (see
/// [`answer_of`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerEvidence {
    /// Its filters.
    pub channels: usize,
    /// The mean of each filter's map for each image, `[channels, images]`.
    pub responses: Vec<f32>,
    /// The share of each filter's values, over pixels and images, that are not positive: after a
    /// ReLU, zeros.
    pub zero_share: Vec<f64>,
    /// Each filter's Taylor importance (see the criterion), if gradients were wanted.
    pub taylor: Option<Vec<f64>>,
}

/// What was measured where layers take their input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputEvidence {
    /// The mean map over all images, `[channels, height, width]`.
    pub mean: Vec<f64>,
    /// The mean of each channel's map for each image, `[channels, images]`; empty unless wanted.
    pub responses: Vec<f32>,
}

impl Evidence {
    /// What was measured of a layer.
    ///
    /// # Panics
    /// If the layer has no channels that can be removed.
    #[must_use]
    pub fn layer(&self, id: NodeId) -> &LayerEvidence {
        self.layers.get(&id).expect("evidence is collected of every layer that can be pruned")
    }

    /// What of this is not finite, as a phrase, if something is: values have overflown in the network, whose
    /// graph is `graph`.
    #[must_use]
    pub fn not_finite(&self, graph: &Graph) -> Option<String> {
        if let Some(image) = self.losses.iter().position(|loss| !loss.is_finite()) {
            return Some(format!("the loss of calibration image {image}"));
        }
        let bad = |layer: &LayerEvidence| {
            let mut taylor = layer.taylor.iter().flatten();
            layer.responses.iter().any(|x| !x.is_finite()) || taylor.any(|x| !x.is_finite())
        };
        let layer = self.layers.iter().find(|(_, layer)| bad(layer)).map(|(&id, _)| id);
        let input = || {
            let mut inputs = self.inputs.iter();
            let bad = inputs.find(|(_, input)| input.mean.iter().any(|x| !x.is_finite()));
            bad.map(|(&id, _)| id)
        };
        let id = layer.or_else(input)?;
        Some(format!("what {} makes of the calibration images", graph.node(id).name))
    }
}

impl LayerEvidence {
    /// The responses of one filter, an image each.
    #[must_use]
    pub fn responses(&self, channel: usize) -> &[f32] {
        let images = self.responses.len() / self.channels;
        &self.responses[channel * images..(channel + 1) * images]
    }
}

impl InputEvidence {
    /// The mean responses of one channel, an image each; empty unless they were wanted.
    #[must_use]
    pub fn responses(&self, channel: usize, images: usize) -> &[f32] {
        if self.responses.is_empty() {
            return &[];
        }
        &self.responses[channel * images..(channel + 1) * images]
    }
}

/// Measures `network` on batches of images and their labels, in evaluation mode: running statistics
/// are used and stay as they are. The result does not depend on the number of threads; but for
/// Taylor importance and rounding it does not depend on how images are cut into batches either.
///
/// Memory: one `f32` a filter and image (VGG-16, 5,000 images: 84 MB), and one `f64` a value of the
/// maps at consumers' inputs if means are wanted.
///
/// # Panics
/// If images or labels do not fit the network.
pub fn collect(
    cx: &Context,
    network: &mut Network,
    channels: &Channels,
    batches: impl IntoIterator<Item = (Tensor, Vec<u32>)>,
    wants: Wants,
) -> Evidence {
    let graph = network.graph().clone();
    let layers = channels.prunable_layers();
    let inputs = if wants.means || wants.input_responses {
        consumer_inputs(network, channels)
    } else {
        BTreeSet::new()
    };
    let mut probes: BTreeMap<NodeId, Probe> = BTreeMap::new();
    for &layer in &layers {
        probes.entry(answer_of(&graph, layer)).or_default();
    }
    for &input in inputs.iter().filter(|_| wants.input_responses) {
        probes.entry(input).or_default();
    }
    let mut sums: BTreeMap<NodeId, Vec<f64>> =
        inputs.iter().map(|&id| (id, vec![0.0; graph.node(id).shape.len()])).collect();
    let mut taylor: BTreeMap<NodeId, Vec<f64>> =
        layers.iter().map(|&id| (id, vec![0.0; graph.node(id).shape.channels])).collect();

    let mut evidence = Evidence::default();
    let mut tape = Tape::new();
    let mut diff = Tensor::zeros(0, graph.output_shape());
    for (images, labels) in batches {
        let logits = tape.forward(cx, network, &images, Mode::Eval, StepKey::default());
        let wanted = wants.gradients.then_some(&mut diff);
        let loss = cross_entropy(cx, logits, &labels, 0.0, wanted);
        if wants.gradients {
            tape.backward(cx, network, &diff, false);
            for (&layer, importance) in &mut taylor {
                add_importance(network, layer, labels.len() as f64, importance);
            }
        }
        let maps = |id| tape.activation(id).expect("all are kept in use");
        for (&id, probe) in &mut probes {
            probe.add(cx, maps(id));
        }
        for (&id, sums) in &mut sums {
            add_maps(cx, maps(id), sums);
        }
        evidence.losses.extend(loss.per_image);
        evidence.labels.extend(labels);
        evidence.correct += loss.correct;
    }

    let images = evidence.labels.len() as f64;
    for &layer in &layers {
        let answer = answer_of(&graph, layer);
        let taylor = taylor.remove(&layer).map(|sums| divide(sums, images));
        let probe = &probes[&answer];
        let shape = graph.node(answer).shape;
        let measured = LayerEvidence {
            channels: shape.channels,
            responses: transpose(&probe.means, shape.channels),
            zero_share: probe.zero_share(images * shape.area() as f64),
            taylor: taylor.filter(|_| wants.gradients),
        };
        evidence.layers.insert(layer, measured);
    }
    for (id, sums) in sums {
        let shape = graph.node(id).shape;
        let responses = probes.get(&id).filter(|_| wants.input_responses);
        let measured = InputEvidence {
            mean: transpose(&divide(sums, images), shape.channels),
            responses: responses.map_or_else(Vec::new, |p| transpose(&p.means, shape.channels)),
        };
        evidence.inputs.insert(id, measured);
    }
    evidence
}

/// [`collect`] on the training images at `indices`, in order, without augmentation.
///
/// # Panics
/// If the network and the data set do not fit.
pub fn calibrate(
    cx: &Context,
    network: &mut Network,
    channels: &Channels,
    dataset: &Arc<dyn Dataset>,
    indices: Vec<usize>,
    wants: Wants,
) -> Evidence {
    let shape = network.graph().input_shape();
    let spec = BatchSpec::in_order(Split::Train, EVAL_BATCH, channel_stride(shape.channels));
    let spec = BatchSpec { indices: Some(indices), ..spec };
    let batches = Loader::new(Arc::clone(dataset), spec).map(|batch| {
        let mut images = Tensor::zeros(batch.n, shape);
        images.data_mut().copy_from_slice(&batch.images);
        (images, batch.labels)
    });
    collect(cx, network, channels, batches, wants)
}

/// The nodes with channels that can be removed whose outputs go into layers that make channels of
/// their own.
fn consumer_inputs(network: &Network, channels: &Channels) -> BTreeSet<NodeId> {
    let graph = network.graph();
    let inputs = producers(graph).flat_map(|id| graph.node(id).inputs.clone());
    let prunable = |id: &NodeId| {
        let mut classes = channels.outputs(*id).iter();
        classes.any(|&class| channels.group(class).prunable.is_ok())
    };
    inputs.filter(prunable).collect()
}

/// Adds the maps of a batch to `sums`, `[pixels, channels]`.
fn add_maps(cx: &Context, maps: &Tensor, sums: &mut [f64]) {
    let shape = maps.shape();
    let (stride, image) = (channel_stride(shape.channels), shape.padded_len());
    cx.threads().for_each_chunk(sums, shape.channels, |pixel, sums| {
        for n in 0..maps.n() {
            let values = &maps.data()[n * image + pixel * stride..];
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += f64::from(value);
            }
        }
    });
}

/// Adds `weight` times `sum_s (g_s w_s)^2` over the parameters of each filter.
fn add_importance(network: &Network, layer: NodeId, weight: f64, importance: &mut [f64]) {
    for Param { value, grad, .. } in &network.params()[network.graph().node(layer).params.clone()] {
        let row = value.len() / importance.len();
        let rows = value.chunks_exact(row).zip(grad.chunks_exact(row));
        for (importance, (values, grads)) in importance.iter_mut().zip(rows) {
            let squares = values.iter().zip(grads).map(|(&w, &g)| {
                let product = f64::from(w) * f64::from(g);
                product * product
            });
            *importance += weight * squares.sum::<f64>();
        }
    }
}

fn divide(mut sums: Vec<f64>, by: f64) -> Vec<f64> {
    sums.iter_mut().for_each(|sum| *sum /= by);
    sums
}

/// `[rows, columns]` to `[columns, rows]`.
fn transpose<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
    let column = |c| values.iter().skip(c).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}
