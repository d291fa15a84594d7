//! `pleach compare`

mod document;
mod outputs;
mod text;

use super::common::{self, Common, DataArgs};
use super::exit::{self, usage};
use super::progress::Progress;
use super::{bench, interrupt, output};
use anyhow::Result;
use clap::Args as ClapArgs;
use document::{Cell, Document, Layer, Ratios, Side};
use pleach_core::{Graph, models};
use pleach_datasets::Split;
use pleach_prune::latency::{Config, Measurement};
use pleach_prune::net::{Net, Resolve, fits};

/// Show two networks side by side: layers, sizes, time, and what they make of the same images
///
/// Accuracy is measured where the data is named (--data), or is what both networks were trained on: on the
/// validation images, unless --test is given.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The network that the other is compared with
    #[arg(value_name = "A")]
    a: String,
    /// The other network
    #[arg(value_name = "B")]
    b: String,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long)]
    arch: Option<String>,
    /// Batch sizes that time is measured at
    #[arg(short, long, value_delimiter = ',', default_value = "1,128", value_parser = bench::batch)]
    batch: Vec<usize>,
    /// Seconds of measurement for each batch size and number of threads; 0: none
    #[arg(long, default_value_t = 3.0, value_parser = bench::seconds)]
    seconds: f64,
    /// Measure accuracy on the test images instead
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    data: DataArgs,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let cx = common.context_for_any_threads()?;
    let dataset = args.data.open()?;
    let spec = dataset.spec();
    let resolve = Resolve::for_data(spec, common.seed());
    let resolve = Resolve { arch: args.arch.as_deref(), ..resolve };
    let nets = resolve.nets(&[&args.a, &args.b])?;
    let nets: [Net; 2] = nets.try_into().expect("two networks");
    let asked = args.data.data.is_some() || args.test;
    let of_both = |test: &dyn Fn(&Net) -> bool| nets.iter().all(test);
    if asked && let Some(net) = nets.iter().find(|net| !fits(net.network.graph(), spec)) {
        return Err(usage(format!(
            "{} is no network for the images and classes of {}: leave out --data and --test to compare the rest",
            net.name, spec.name
        )));
    }
    let trained = of_both(&|net| net.meta.dataset.as_ref() == Some(&spec.name));
    let measures = asked || (trained && of_both(&|net| fits(net.network.graph(), spec)));
    interrupt::listen()?;
    let progress = Progress::new(common.style());
    let outputs = match measures {
        true => {
            let split = if args.test { Split::Test } else { Split::Validation };
            nets.iter().for_each(|net| common::warn_of_other_data(net, spec));
            let found = outputs::compare(&cx, &dataset, split, nets.each_ref().map(|n| &n.network));
            for (net, side) in nets.iter().zip([&found.a, &found.b]) {
                if side.not_finite > 0 {
                    let (bad, images) = (side.not_finite, found.images);
                    let net = &net.name;
                    log::warn!("{net}: {bad} of {images} images have logits that are not finite");
                }
            }
            Some(found)
        }
        false => None,
    };
    let measurement = match args.seconds > 0.0 {
        true => {
            let named: Vec<_> = nets.iter().map(|net| (net.name.as_str(), &net.network)).collect();
            let config = Config {
                batches: args.batch.clone(),
                threads: common.thread_counts(),
                seconds: args.seconds,
                seed: common.seed(),
                ..Config::new(cx.isa(), 1)
            };
            bench::measure(&named, &config, &progress)
        }
        false => Measurement::default(),
    };
    let [a, b] = nets.each_ref().map(|net| side(&cx, net));
    let document = Document {
        schema: "pleach.compare/1",
        ratios: Ratios::of(&a, &b),
        layers: layers(nets.each_ref().map(|net| net.network.graph())),
        a,
        b,
        latency: measurement.rows.clone(),
        speedup: measurement.ratios.clone(),
        outputs,
    };
    if common.json {
        output::json(&document)?;
    } else {
        output::print(&text::text(&document, &measurement))?;
    }
    Ok(if interrupt::is_requested() { interrupt::code() } else { exit::OK })
}

fn side(cx: &pleach_kernels::Context, net: &Net) -> Side {
    let graph = net.network.graph();
    Side {
        net: net.name.clone(),
        model: net.meta.model.clone(),
        widths: models::widths(graph),
        macs: graph.macs(),
        params: graph.trainable(),
        bytes: graph.bytes(),
        activation_bytes: pleach_core::Plan::new(cx, &net.network, 1).arena_bytes() as u64,
    }
}

/// The layers of both, by name and kind: those of the first in their order, then what only the second has.
fn layers(graphs: [&Graph; 2]) -> Vec<Layer> {
    let [a, b] = graphs.map(document::cells);
    let of = |cells: &[(String, &'static str, Cell)], name: &str, kind: &str| {
        let mut cells = cells.iter();
        cells.find(|cell| (&*cell.0, cell.1) == (name, kind)).map(|cell| cell.2.clone())
    };
    let only_b = b.iter().filter(|(name, kind, _)| of(&a, name, kind).is_none());
    let layers = a.iter().chain(only_b).map(|(name, kind, _)| Layer {
        name: name.clone(),
        kind,
        a: of(&a, name, kind),
        b: of(&b, name, kind),
    });
    layers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleach_core::Shape;

    #[test]
    fn layers_of_one_name_and_two_kinds_are_two() {
        let widths = "2,2,2,2,2,2,2,2,2,2,2,2,2";
        let build = |name: &str| {
            let spec = format!("{name}:{widths}");
            models::build(&spec, Shape::new(3, 32, 32), 10).expect("it is a model")
        };
        let (with, without) = (build("vgg16"), build("vgg16-nobn"));
        let found = layers([&with, &without]);
        let of = |name: &str| -> Vec<(&str, bool, bool)> {
            let same = found.iter().filter(|layer| layer.name == name);
            same.map(|layer| (layer.kind, layer.a.is_some(), layer.b.is_some())).collect()
        };
        assert_eq!(of("features.0"), [("conv2d", true, true)]);
        assert_eq!(of("features.1"), [("batch_norm2d", true, false), ("relu", false, true)]);
        let count = |has: fn(&Layer) -> bool| found.iter().filter(|layer| has(layer)).count();
        assert_eq!(count(|layer| layer.a.is_some()), document::cells(&with).len());
        assert_eq!(count(|layer| layer.b.is_some()), document::cells(&without).len());
    }
}
