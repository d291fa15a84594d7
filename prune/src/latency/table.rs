//! How long each layer takes at each width on this CPU: what a latency target is counted by.
//!
//! Every convolution and linear layer runs alone, with a bias and a ReLU, by the algorithm that the cost
//! table chooses, at a grid of input and output widths. As in the network, its input is in the cache;
//! between two runs as many bytes are read as the rest of a network that was pruned as much reads of
//! weights, so that weights come from where they would. Kernels compute whole vectors of output channels, so
//! that a layer takes as long as one whose output width is rounded up to them; between input widths times
//! are interpolated. Pooling and sums, which are a few percent of a network's time and mostly computed in the
//! same pass, are left out: a table is for choosing widths, and a run measures what came out.

mod measure;

use measure::measure_layer;
use pleach_core::Network;
use pleach_core::graph::{Graph, NodeId};
use pleach_core::infer::Plan;
use pleach_core::layers::Layer;
use pleach_kernels::Context;
use pleach_kernels::conv2d::Conv2dGeometry;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// The schema that this version writes and reads.
pub const LAYER_TIMES_SCHEMA: &str = "pleach.layer-times/1";

/// Bytes that push whatever was read before them out of the caches.
const MEMORY: usize = 64 << 20;

/// The time of a network's layers as a function of their widths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerTimes {
    /// [`LAYER_TIMES_SCHEMA`].
    pub schema: String,
    /// The instruction set that they were measured with.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// Images of a batch.
    pub batch: usize,
    /// The layers, those of the same geometry together.
    pub layers: Vec<LayerTime>,
}

/// The time of some layers of the same geometry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerTime {
    /// Their names.
    pub names: Vec<String>,
    /// Input widths, ascending; a linear layer's features. One for layers whose input width is given by their output's or by the image.
    pub inputs: Vec<usize>,
    /// Output widths, ascending.
    pub outputs: Vec<usize>,
    /// Nanoseconds for a batch, `[inputs, outputs]`; no width takes longer than a larger one.
    pub ns: Vec<Vec<u64>>,
}

/// Why a table is not one of a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerTimesError {
    /// Another schema.
    #[error("the table of layer times has schema {0:?}, expected {LAYER_TIMES_SCHEMA:?}")]
    Schema(String),
    /// A layer without times.
    #[error("the table of layer times has none of layer {0} of this network, or unsound ones")]
    Layer(String),
}

impl LayerTimes {
    /// Measures the layers of `network` at batches of `batch` images. `progress` is told the layers done of
    /// those that are to be measured, and ends the measurement with a `Break`: then there is no table.
    ///
    /// # Panics
    /// If `batch` is 0.
    pub fn measure(
        cx: &Context,
        network: &Network,
        batch: usize,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Option<Self> {
        let plan = Plan::new(cx, network, batch);
        let bytes = plan.steps().map(|step| step.weight_bytes).sum::<usize>();
        let graph = network.graph();
        let is_linear = |name: &str| {
            graph.find(name).is_some_and(|id| matches!(graph.node(id).layer, Layer::Linear(_)))
        };
        let mut kinds: Vec<(Conv2dGeometry, bool, Vec<String>)> = Vec::new();
        for (name, g) in plan.steps().filter_map(|step| Some((step.name, step.geometry?))) {
            let linear = is_linear(name);
            match kinds.iter_mut().find(|kind| (kind.0, kind.1) == (g, linear)) {
                Some((_, _, names)) => names.push(name.to_owned()),
                None => kinds.push((g, linear, vec![name.to_owned()])),
            }
        }
        let mut layers = Vec::with_capacity(kinds.len());
        for (done, (g, linear, names)) in kinds.iter().enumerate() {
            if progress(done, kinds.len()).is_break() {
                return None;
            }
            let sees_image = |name: &String| {
                graph.find(name).is_some_and(|id| graph.node(id).inputs.contains(&graph.input()))
            };
            let fixed_input = names.iter().any(sees_image);
            let mut times = measure_layer(cx, g, names, fixed_input, bytes.min(MEMORY), batch);
            if *linear {
                // It takes whole maps, each pixel of which is a feature.
                times.inputs.iter_mut().for_each(|channels| *channels *= g.ih * g.iw);
            }
            layers.push(times);
        }
        let (isa, threads) = (cx.isa().name.to_owned(), cx.threads().count());
        Some(Self { schema: LAYER_TIMES_SCHEMA.into(), isa, threads, batch, layers })
    }

    /// Whether this is a table of networks like `graph`.
    ///
    /// # Errors
    /// If it has another schema, or lacks one of the layers.
    pub fn check(&self, graph: &Graph) -> Result<(), LayerTimesError> {
        if self.schema != LAYER_TIMES_SCHEMA {
            return Err(LayerTimesError::Schema(self.schema.clone()));
        }
        for id in graph.ids().filter(|&id| is_timed(graph, id)) {
            let name = &graph.node(id).name;
            if !self.find(name).is_some_and(LayerTime::is_sound) {
                return Err(LayerTimesError::Layer(name.clone()));
            }
        }
        Ok(())
    }

    /// Nanoseconds that the convolutions and linear layers of `graph` take for a batch, each by its own
    /// widths.
    ///
    /// # Panics
    /// If the table lacks one of the layers.
    #[must_use]
    pub fn predict(&self, graph: &Graph) -> f64 {
        let timed = graph.ids().filter(|&id| is_timed(graph, id));
        timed.map(|id| self.layer(graph, id)).sum()
    }

    /// Nanoseconds of one layer.
    fn layer(&self, graph: &Graph, id: NodeId) -> f64 {
        let node = graph.node(id);
        let layer = self.find(&node.name);
        let layer = layer.unwrap_or_else(|| panic!("no times of layer {}", node.name));
        let input = graph.input_shapes(id)[0].channels;
        layer.at(input, node.shape.channels)
    }

    fn find(&self, name: &str) -> Option<&LayerTime> {
        self.layers.iter().find(|layer| layer.names.iter().any(|other| other == name))
    }
}

impl LayerTime {
    /// Nanoseconds at these widths: interpolated between the input widths, rounded up to the next of the
    /// output widths, and beyond them as at their ends.
    fn at(&self, input: usize, output: usize) -> f64 {
        let column = self.outputs.partition_point(|&width| width < output);
        let column = column.min(self.outputs.len() - 1);
        let time = |row: usize| self.ns[row][column] as f64;
        let after = self.inputs.partition_point(|&width| width <= input);
        match (after.checked_sub(1), self.inputs.get(after)) {
            (None, _) => time(0),
            (Some(last), None) => time(last),
            (Some(last), Some(&next)) => {
                let part = (input - self.inputs[last]) as f64 / (next - self.inputs[last]) as f64;
                time(last) + part * (time(after) - time(last))
            }
        }
    }

    fn is_sound(&self) -> bool {
        let ascend = |widths: &[usize]| widths.is_sorted_by(|a, b| a < b);
        !self.inputs.is_empty()
            && !self.outputs.is_empty()
            && ascend(&self.inputs)
            && ascend(&self.outputs)
            && self.ns.len() == self.inputs.len()
            && self.ns.iter().all(|row| row.len() == self.outputs.len())
    }
}

fn is_timed(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).layer, Layer::Conv2d(_) | Layer::Linear(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleach_core::graph::GraphBuilder;
    use pleach_core::layers::{Conv2d, Flatten, Linear};
    use pleach_core::{Shape, models};
    use pleach_kernels::Isa;

    fn layer(inputs: &[usize], outputs: &[usize], ns: &[&[u64]]) -> LayerTime {
        LayerTime {
            names: vec!["conv".into()],
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            ns: ns.iter().map(|row| row.to_vec()).collect(),
        }
    }

    #[test]
    fn between_widths_times_are_interpolated_for_inputs_and_rounded_up_for_outputs() {
        let layer = layer(&[8, 16], &[16, 32], &[&[100, 200], &[300, 600]]);
        for ((input, output), ns) in [
            ((8, 16), 100.0),
            ((16, 32), 600.0),
            ((12, 16), 200.0),
            ((8, 17), 200.0),
            ((12, 20), 400.0),
            ((4, 1), 100.0),
            ((99, 99), 600.0),
        ] {
            assert_eq!(layer.at(input, output), ns, "{input} {output}");
        }
    }

    #[test]
    fn every_layer_is_measured_and_no_width_takes_longer_than_a_larger_one() {
        let build = |spec| models::build(spec, Shape::new(3, 32, 32), 10).expect("it is a model");
        let cx = Context::new(Isa::from_env().unwrap(), 1);
        let go_on = &mut |_, _| ControlFlow::Continue(());
        let network = Network::init(build("vgg-small:8,8,12,12,16,16"), 1);
        let times = LayerTimes::measure(&cx, &network, 1, go_on).expect("nobody ends it");
        times.check(network.graph()).expect("it is of this network");
        assert!(times.predict(network.graph()) > 0.0);
        for layer in &times.layers {
            let id = network.graph().find(&layer.names[0]).expect("it is a layer of this network");
            let input = network.graph().input_shapes(id)[0].channels;
            assert_eq!(layer.inputs.last(), Some(&input), "{layer:?}");
            for (row, below) in layer.ns.iter().zip(layer.ns.iter().skip(1)) {
                assert!(row.is_sorted() && row.iter().zip(below).all(|(a, b)| a <= b), "{layer:?}");
            }
        }
        let other = times.check(&build("resnet20")).expect_err("it is not of another network");
        assert!(other.to_string().contains("none of layer"), "{other}");
        let ended = LayerTimes::measure(&cx, &network, 1, &mut |_, _| ControlFlow::Break(()));
        assert_eq!(ended, None);
    }

    #[test]
    fn a_linear_layer_on_whole_maps_is_counted_by_its_features() {
        let build = |channels: usize| {
            let (mut builder, image) = GraphBuilder::new(Shape::new(2, 3, 3))?;
            let x = builder.add("conv", Layer::Conv2d(Conv2d::same3x3(channels)), &[image])?;
            let x = builder.add("flat", Layer::Flatten(Flatten {}), &[x])?;
            let fc = Layer::Linear(Linear { out_features: 5, bias: true });
            let x = builder.add("fc", fc, &[x])?;
            builder.finish(x)
        };
        let [whole, narrow] = [4, 2].map(|channels| build(channels).expect("it fits"));
        let cx = Context::new(Isa::from_env().unwrap(), 1);
        let go_on = &mut |_, _| ControlFlow::Continue(());
        let network = Network::init(whole.clone(), 1);
        let times = LayerTimes::measure(&cx, &network, 1, go_on).expect("nobody ends it");
        let fc = times.layers.iter().find(|layer| layer.names == ["fc"]).expect("it is timed");
        // Of 1 and of 4 channels of 3x3 pixels.
        assert_eq!(fc.inputs, [9, 36]);
        times.check(&narrow).expect("it is of this structure too");
        assert!(times.predict(&narrow) <= times.predict(&whole));
        let other = LayerTimes { schema: "pleach.layer-times/9".into(), ..times };
        let error = other.check(&whole).expect_err("it is of another version").to_string();
        assert!(error.contains("has schema \"pleach.layer-times/9\""), "{error}");
    }
}
