//! Giving consumers back what removed channels gave them on average.
//!
//! Removing channel `j` takes `W[:, j] * x_j` away from every layer that takes it. What stands in for
//! `x_j` is a map that does not depend on the image, and what it gives each of the consumer's
//! channels, averaged over the output positions (padding included, as the layer sees it), is added
//! to the consumer's bias or, where batch norm follows directly, subtracted from its running mean.
//! In training batch norm cancels any constant: the update counts right after surgery, for frozen
//! statistics, and for networks without batch norm.

use crate::channels::{ChannelId, Channels, batch_norm_after, producers};
use crate::criteria::Scores;
use crate::evidence::{Evidence, Wants};
use crate::surgery::Kept;
use pleach_core::autograd::Tape;
use pleach_core::graph::{Graph, GraphBuilder, NodeId};
use pleach_core::layers::{AxisRole, GlobalAvgPool, Layer, Mode, StepKey};
use pleach_core::{Network, Param, Shape, Tensor};
use pleach_kernels::Context;
use serde::{Deserialize, Serialize};

/// What stands in for removed channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BiasUpdate {
    /// Nothing: they count as zero.
    None,
    /// Their mean map `m_j` at the consumer's input, after pooling and sums.
    #[default]
    Mean,
    /// The channel of the same group that survives with the highest conditional entropy, `s`. The
    /// mean of `j`'s map at the consumer's input is regressed on that of `s` over the images,
    /// `a_j ~ alpha a_s + beta`; `alpha W[:, j]` is added to `W[:, s]`, and `m_j - alpha m_s`, whose
    /// mean over the pixels is `beta`, stands in for the rest. So means are kept exactly, as by
    /// `Mean`, and part of the variation is too. The paper's exact formula was not available to us;
    /// this is our reading.
    MaxEntropy,
}

impl BiasUpdate {
    /// The evidence it needs.
    #[must_use]
    pub fn wants(self) -> Wants {
        Wants {
            means: self != Self::None,
            input_responses: self == Self::MaxEntropy,
            gradients: false,
        }
    }
}

/// Updates `network`, before surgery, for the removal of everything that is not kept. Returns the
/// layers that take removed channels but have neither a bias nor batch norm right after them: their
/// loss stands (with `MaxEntropy`, their weights still take up `alpha`).
///
/// `con_ent` are the classes' conditional entropies; only [`BiasUpdate::MaxEntropy`] reads them.
///
/// # Panics
/// If the evidence is not of this network or lacks what the update [wants](BiasUpdate::wants).
pub fn apply(
    cx: &Context,
    network: &mut Network,
    channels: &Channels,
    kept: &Kept,
    evidence: &Evidence,
    update: BiasUpdate,
    con_ent: &Scores,
) -> Vec<NodeId> {
    let mut skipped = Vec::new();
    if update == BiasUpdate::None {
        return skipped;
    }
    for (layer, input) in losing(network.graph(), channels, kept) {
        let classes = channels.outputs(input);
        let measured = &evidence.inputs[&input];
        let images = evidence.labels.len();
        let shape = network.graph().node(input).shape;
        let mut stand_in = vec![0.0; shape.len()];
        let mut folds = Vec::new();
        for (j, &class) in classes.iter().enumerate() {
            if kept.contains(class) {
                continue;
            }
            let survivor = match update {
                BiasUpdate::MaxEntropy => survivor(channels, kept, con_ent, classes, j),
                _ => None,
            };
            let (s, alpha) = match survivor {
                Some(s) => (s, slope(measured.responses(j, images), measured.responses(s, images))),
                None => (j, 0.0),
            };
            let area = shape.area();
            let map = |channel: usize| &measured.mean[channel * area..(channel + 1) * area];
            for (value, (m_j, m_s)) in
                stand_in[j * area..(j + 1) * area].iter_mut().zip(map(j).iter().zip(map(s)))
            {
                *value = (m_j - alpha * m_s) as f32;
            }
            if alpha != 0.0 {
                folds.push(Fold { from: j, to: s, alpha: alpha as f32 });
            }
        }
        let correction = mean_output(cx, network, layer, shape, &stand_in);
        fold(network, layer, &folds);
        if !correct(network, layer, &correction) {
            skipped.push(layer);
        }
    }
    skipped
}

/// The layers of which some input channel is not kept, and those that they take them from.
fn losing(graph: &Graph, channels: &Channels, kept: &Kept) -> Vec<(NodeId, NodeId)> {
    let loses = |layer: NodeId| {
        let &input = graph.node(layer).inputs.first()?;
        let mut classes = channels.outputs(input).iter();
        classes.any(|&class| !kept.contains(class)).then_some((layer, input))
    };
    producers(graph).filter_map(loses).collect()
}

/// Takes back what [`BiasUpdate::Mean`] gave the consumers of channels that are there again: those that are not
/// kept by `kept`, without which `network` was. Means at the consumers stay as they are without these channels.
///
/// # Panics
/// If the evidence is not of this network or lacks what [`BiasUpdate::Mean`] wants.
pub fn take_back(
    cx: &Context,
    network: &mut Network,
    channels: &Channels,
    kept: &Kept,
    evidence: &Evidence,
) {
    for (layer, input) in losing(network.graph(), channels, kept) {
        let classes = channels.outputs(input);
        let shape = network.graph().node(input).shape;
        let mut stood_in = vec![0.0; shape.len()];
        let maps = stood_in.chunks_exact_mut(shape.area());
        let means = evidence.inputs[&input].mean.chunks_exact(shape.area());
        for ((map, mean), &class) in maps.zip(means).zip(classes) {
            if !kept.contains(class) {
                map.iter_mut().zip(mean).for_each(|(value, &mean)| *value = -mean as f32);
            }
        }
        let correction = mean_output(cx, network, layer, shape, &stood_in);
        correct(network, layer, &correction);
    }
}

/// The position, among the channels of a consumer's input, of the surviving channel that stands in
/// for the one at `j`: of the same group, with the highest score (of equal ones the first). Where a
/// class stands at several positions, the one in the same place among its own.
fn survivor(
    channels: &Channels,
    kept: &Kept,
    con_ent: &Scores,
    classes: &[ChannelId],
    j: usize,
) -> Option<usize> {
    let group = channels.group(classes[j]).channels.iter().copied();
    let survivors = group.filter(|&class| kept.contains(class));
    let best = survivors.reduce(
        |best, class| {
            if con_ent.of(class) > con_ent.of(best) { class } else { best }
        },
    )?;
    let place = classes[..j].iter().filter(|&&class| class == classes[j]).count();
    let mut positions = classes.iter().enumerate().filter(|(_, class)| **class == best);
    positions.nth(place).map(|(position, _)| position)
}

/// The slope `alpha` of the least-squares line `a_j ~ alpha a_s + beta`; 0 if `a_s` is constant.
fn slope(a_j: &[f32], a_s: &[f32]) -> f64 {
    assert!(!a_s.is_empty(), "the evidence has responses at the inputs of consumers");
    let mean = |a: &[f32]| a.iter().copied().map(f64::from).sum::<f64>() / a.len() as f64;
    let (mean_j, mean_s) = (mean(a_j), mean(a_s));
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (&j, &s) in a_j.iter().zip(a_s) {
        let s = f64::from(s) - mean_s;
        covariance += (f64::from(j) - mean_j) * s;
        variance += s * s;
    }
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

/// The output of a layer without its bias, averaged over positions, for input maps `[C, H, W]`.
fn mean_output(
    cx: &Context,
    network: &Network,
    layer: NodeId,
    shape: Shape,
    maps: &[f32],
) -> Vec<f32> {
    const VALID: &str = "a layer of a valid graph takes its input in another graph too";
    let node = network.graph().node(layer);
    let (mut builder, image) = GraphBuilder::new(shape).expect(VALID);
    let output = builder.add("layer", node.layer.clone(), &[image]).expect(VALID);
    let pool = Layer::GlobalAvgPool(GlobalAvgPool {});
    let output = builder.add("pool", pool, &[output]).expect(VALID);
    let graph = builder.finish(output).expect(VALID);
    let params = node.params.clone().map(|index| {
        let value = &network.params()[index].value;
        let is_weight = network.graph().params()[index].spec.name == "weight";
        let value = if is_weight { value.clone() } else { vec![0.0; value.len()] };
        Param { value, ..Param::default() }
    });
    let mut alone = Network::with_params(graph, params.collect());
    let maps = Tensor::from_nchw(1, shape, maps);
    let mut tape = Tape::new();
    let output = tape.forward(cx, &mut alone, &maps, Mode::Eval, StepKey::default());
    output.pixel(0, 0, 0).to_vec()
}

/// `W[:, to] += alpha * W[:, from]`.
struct Fold {
    from: usize,
    to: usize,
    alpha: f32,
}

fn fold(network: &mut Network, layer: NodeId, folds: &[Fold]) {
    let (graph, params) = network.split_mut();
    for index in graph.node(layer).params.clone() {
        let spec = &graph.params()[index].spec;
        let axis = spec.axes.iter().position(|&role| role == AxisRole::InChannels);
        let Some(axis) = axis else { continue };
        let inner: usize = spec.dims[axis + 1..].iter().product();
        for block in params[index].value.chunks_exact_mut(spec.dims[axis] * inner) {
            for &Fold { from, to, alpha } in folds {
                for i in 0..inner {
                    block[to * inner + i] += alpha * block[from * inner + i];
                }
            }
        }
    }
}

/// Adds `correction` to a layer's output; false if there is nowhere to add it.
fn correct(network: &mut Network, layer: NodeId, correction: &[f32]) -> bool {
    let norm = batch_norm_after(network.graph(), layer);
    let (place, name, sign) = match norm {
        Some(norm) => (norm, "running_mean", -1.0),
        None => (layer, "bias", 1.0),
    };
    let Some(param) = network.param_mut(place, name) else { return false };
    for (value, c) in param.value.iter_mut().zip(correction) {
        *value += sign * c;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_least_squares_line() {
        // Means 3.5 and 3.5: (-2.5 * -0.5 + -1.5 * -2.5 + 0.5 * -1.5 + 3.5 * 4.5) divided by
        // (2.5^2 + 1.5^2 + 0.5^2 + 3.5^2) is 20 / 21.
        let slope_of = slope(&[3.0, 1.0, 2.0, 8.0], &[1.0, 2.0, 4.0, 7.0]);
        assert!((slope_of - 20.0 / 21.0).abs() < 1e-12, "{slope_of}");
        assert_eq!(slope(&[3.0, 1.0], &[2.0, 2.0]), 0.0);
    }
}
