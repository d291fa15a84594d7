//! Removing channels for good: smaller tensors everywhere, no masks.
//!
//! Only producers state how many channels they have, so surgery is: give each producer its new
//! number, build the graph again, and slice every parameter along the axes that run over output or
//! input channels.

use crate::channels::{ChannelId, Channels, Unprunable};
use crate::eval::difference;
use pleach_core::autograd::Tape;
use pleach_core::graph::{Graph, NodeId};
use pleach_core::layers::{AxisRole, Coupling, Layer, Mode, ParamSpec, StepKey};
use pleach_core::{Network, Param, Tensor};
use pleach_kernels::Context;

/// The largest relative difference of logits that [`verify`] may find: channels removed from a sum
/// change how it is cut into vectors, and so how it is rounded.
pub const TOLERANCE: f64 = 1e-4;

/// A set of classes to keep; the others are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept(Vec<bool>);

/// Why a set of classes cannot be what is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SurgeryError {
    /// A layer would have no channels left.
    #[error("layer {layer} would keep none of its {channels} channels")]
    Empty {
        /// The layer.
        layer: String,
        /// Its channels now.
        channels: usize,
    },
    /// A channel would be removed that cannot be.
    #[error("channel {channel} of layer {layer} cannot be removed: it is {reason}")]
    Unprunable {
        /// The layer.
        layer: String,
        /// The channel's index.
        channel: usize,
        /// Why.
        reason: Unprunable,
    },
}

impl Kept {
    /// All classes.
    #[must_use]
    pub fn all(channels: &Channels) -> Self {
        Self(vec![true; channels.len()])
    }

    /// All classes but `removed`.
    #[must_use]
    pub fn without(channels: &Channels, removed: &[ChannelId]) -> Self {
        let mut kept = Self::all(channels);
        removed.iter().for_each(|&class| kept.remove(class));
        kept
    }

    /// Takes a class out of the set.
    pub fn remove(&mut self, class: ChannelId) {
        self.0[class.0] = false;
    }

    /// Puts a class into the set.
    pub fn add(&mut self, class: ChannelId) {
        self.0[class.0] = true;
    }

    /// Whether a class is kept.
    #[must_use]
    pub fn contains(&self, class: ChannelId) -> bool {
        self.0[class.0]
    }

    /// The classes that are not kept, ascending.
    pub fn removed(&self) -> impl Iterator<Item = ChannelId> {
        self.0.iter().enumerate().filter(|(_, kept)| !**kept).map(|(class, _)| ChannelId(class))
    }

    /// The output channels of a node that are kept, as ascending indices.
    #[must_use]
    pub fn indices(&self, channels: &Channels, id: NodeId) -> Vec<usize> {
        let outputs = channels.outputs(id).iter().enumerate();
        outputs.filter(|(_, class)| self.contains(**class)).map(|(index, _)| index).collect()
    }

    /// Whether surgery can keep exactly these.
    ///
    /// # Errors
    /// If a class is removed that cannot be, or a layer is left without channels.
    pub fn check(&self, graph: &Graph, channels: &Channels) -> Result<(), SurgeryError> {
        for class in self.removed() {
            if let Err(reason) = channels.group(class).prunable {
                let (layer, channel) = channels.members(class)[0];
                let layer = graph.node(layer).name.clone();
                return Err(SurgeryError::Unprunable { layer, channel, reason });
            }
        }
        for id in graph.ids() {
            let outputs = channels.outputs(id);
            if !outputs.iter().any(|&class| self.contains(class)) {
                let layer = graph.node(id).name.clone();
                return Err(SurgeryError::Empty { layer, channels: outputs.len() });
            }
        }
        Ok(())
    }
}

/// `network` with nothing but the kept channels: values, optimiser slots and freeze masks are
/// sliced, gradients are dropped. Nodes keep their names and positions. Keeping everything gives
/// back the same values, bit for bit.
///
/// # Panics
/// If [`Kept::check`] fails, or `channels` is not `network`'s.
#[must_use]
pub fn prune(network: &Network, channels: &Channels, kept: &Kept) -> Network {
    let old = network.graph();
    if let Err(error) = kept.check(old, channels) {
        panic!("surgery is asked for a network that cannot be: {error}");
    }
    let graph = shrink(old, channels, kept);
    let mut params = Vec::with_capacity(old.params().len());
    for (param, place) in network.params().iter().zip(old.params()) {
        let [outputs, inputs] = kept_along(old, channels, kept, place.node);
        let indices = |role| along(role, &outputs, &inputs);
        let places = places(&place.spec, indices);
        let slice = |values: &[f32]| places.iter().map(|&place| values[place]).collect::<Vec<_>>();
        params.push(Param {
            value: slice(&param.value),
            grad: Vec::new(),
            slots: param.slots.iter().map(|slot| slice(slot)).collect(),
            slow: if param.slow.is_empty() { Vec::new() } else { slice(&param.slow) },
            frozen: match (param.frozen.as_slice(), indices(place.spec.axes[0])) {
                ([], _) => Vec::new(),
                (frozen, Some(rows)) => rows.iter().map(|&row| frozen[row]).collect(),
                (frozen, None) => frozen.to_vec(),
            },
        });
    }
    Network::with_params(graph, params)
}

/// Overwrites what `pruned` has of `network`: `pruned` is of the shape that [`prune`] keeping `kept` gives, and
/// its values take their places in `network`.
///
/// # Panics
/// If it is of another shape, or `channels` is not `network`'s.
pub fn paste(network: &mut Network, pruned: &Network, channels: &Channels, kept: &Kept) {
    let (graph, params) = network.split_mut();
    for ((param, place), narrow) in params.iter_mut().zip(graph.params()).zip(pruned.params()) {
        let [outputs, inputs] = kept_along(graph, channels, kept, place.node);
        let places = places(&place.spec, |role| along(role, &outputs, &inputs));
        assert_eq!(places.len(), narrow.value.len(), "values of {}", place.name);
        places.into_iter().zip(&narrow.value).for_each(|(place, &v)| param.value[place] = v);
    }
}

/// The output channels and the first input's channels of a node that are kept.
fn kept_along(graph: &Graph, channels: &Channels, kept: &Kept, id: NodeId) -> [Vec<usize>; 2] {
    let input = graph.node(id).inputs.first();
    let inputs = input.map_or_else(Vec::new, |&input| kept.indices(channels, input));
    [kept.indices(channels, id), inputs]
}

fn along<'a>(role: AxisRole, outputs: &'a [usize], inputs: &'a [usize]) -> Option<&'a [usize]> {
    match role {
        AxisRole::OutChannels => Some(outputs),
        AxisRole::InChannels => Some(inputs),
        AxisRole::Other => None,
    }
}

/// Forces the channels that are not kept to zero, wherever they are made, without changing a shape:
/// their rows of every weight, bias and affine parameter, and their running means, become 0, their
/// running variances 1. Its outputs are those of the network that [`prune`] makes.
///
/// # Panics
/// If `channels` is not `network`'s.
pub fn mask(network: &mut Network, channels: &Channels, kept: &Kept) {
    let (graph, params) = network.split_mut();
    for (param, place) in params.iter_mut().zip(graph.params()) {
        if place.spec.axes[0] != AxisRole::OutChannels {
            continue;
        }
        let neutral = if place.spec.name == "running_var" { 1.0 } else { 0.0 };
        let row = place.spec.len() / place.spec.dims[0];
        let classes = channels.outputs(place.node);
        for (values, &class) in param.value.chunks_exact_mut(row).zip(classes) {
            if !kept.contains(class) {
                values.fill(neutral);
            }
        }
    }
}

/// The structure that [`prune`] gives: every layer that produces channels at its kept width, all shapes
/// inferred again.
///
/// # Panics
/// If a layer would have no channels, or `channels` is not `old`'s. What else [`Kept::check`] refuses is not looked
/// at: without it a network may lose a class or part of its image.
#[must_use]
pub fn shrink(old: &Graph, channels: &Channels, kept: &Kept) -> Graph {
    let narrowed = |id| {
        let layer = &old.node(id).layer;
        match layer.kind().coupling() {
            Coupling::Produces => with_out_channels(layer, kept.indices(channels, id).len()),
            _ => layer.clone(),
        }
    };
    let graph = old.rebuilt(old.input_shape(), narrowed);
    graph.expect("a valid graph stays valid with fewer channels")
}

fn with_out_channels(layer: &Layer, channels: usize) -> Layer {
    let layer = layer.with_out_channels(channels);
    layer.expect("a layer that produces channels states their number")
}

/// The places, in a parameter's values, of those at the indices that `indices` gives for each axis
/// (`None`: all).
fn places<'a>(spec: &ParamSpec, indices: impl Fn(AxisRole) -> Option<&'a [usize]>) -> Vec<usize> {
    let mut places = vec![0];
    for (&len, &role) in spec.dims.iter().zip(&spec.axes) {
        let of_axis = indices(role).map_or_else(|| (0..len).collect(), <[usize]>::to_vec);
        let along = |place: usize| of_axis.iter().map(move |index| place * len + index);
        places = places.into_iter().flat_map(along).collect();
    }
    places
}

/// How far the logits of `pruned` are from those of `network` with everything that is not kept
/// masked ([`difference`]), over the images of `input`. Rounding explains up to about 1e-4 ([`TOLERANCE`]).
///
/// # Panics
/// If `input` is no batch of images for these networks.
#[must_use]
pub fn verify(
    cx: &Context,
    network: &Network,
    channels: &Channels,
    kept: &Kept,
    pruned: &Network,
    input: &Tensor,
) -> f64 {
    let mut masked = network.clone();
    mask(&mut masked, channels, kept);
    let mut pruned = pruned.clone();
    let (mut masked_tape, mut pruned_tape) = (Tape::new(), Tape::new());
    let key = StepKey::default();
    let expected = masked_tape.forward(cx, &mut masked, input, Mode::Eval, key);
    let actual = pruned_tape.forward(cx, &mut pruned, input, Mode::Eval, key);
    difference(&actual.to_nchw(), &expected.to_nchw(), expected.shape().channels)
}
