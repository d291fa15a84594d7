//! `pleach eval`

use super::common::{self, Common, DataArgs};
use super::exit::{self, usage};
use super::output;
use super::weights::WeightsArg;
use anyhow::Result;
use clap::Args as ClapArgs;
use pleach_core::infer::PlanOptions;
use pleach_core::npy::{self, Array};
use pleach_core::{Shape, Tensor};
use pleach_datasets::Split;
use pleach_prune::eval::{evaluate_each, logits};
use pleach_prune::net::Resolve;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Measure a network's accuracy on the test images, or write its logits
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The network
    net: String,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long)]
    arch: Option<String>,
    #[command(flatten)]
    weights: WeightsArg,
    /// Run these images instead of the test images: a .npy file, [N, C, H, W], normalised already
    #[arg(long, value_name = "NPY", requires = "logits")]
    input: Option<PathBuf>,
    /// Write the logits, [N, classes], to this .npy file
    #[arg(long, value_name = "NPY")]
    logits: Option<PathBuf>,
    /// Overwrite that file
    #[arg(short, long, requires = "logits")]
    force: bool,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    dataset: String,
    weights: &'static str,
    images: usize,
    accuracy: f64,
    loss: f64,
    images_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<String>,
}

/// Of images that have no labels.
#[derive(Serialize)]
struct LogitsDocument {
    schema: &'static str,
    weights: &'static str,
    images: usize,
    classes: usize,
    input: String,
    logits: String,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let input = args.input.as_deref().map(|input| ("--input", input));
    let net = Some(("NET", Path::new(&args.net))).filter(|(_, net)| net.is_file());
    check_logits(args, input.into_iter().chain(net))?;
    if let (Some(input), Some(logits)) = (&args.input, &args.logits) {
        common::refuse_data(common, &args.data, "--input has the images")?;
        return run_on(common, args, input, logits);
    }
    let cx = common.context()?;
    let dataset = args.data.open()?;
    let files = dataset.files();
    let files = files.iter().map(|&(path, _)| path).chain(args.data.data.as_deref());
    check_logits(args, files.map(|path| ("--data", path)))?;
    let net = common::net_for_data(&args.net, args.arch.as_deref(), &*dataset, common.seed())?;
    let options = PlanOptions { weights: args.weights.storage(), ..PlanOptions::default() };
    let classes = net.network.graph().output_shape().channels;
    let (mut all, mut bad) = (Vec::new(), 0);
    let mut keep = |logits: &Tensor| {
        let logits = logits.to_nchw();
        bad += not_finite(&logits, classes);
        if args.logits.is_some() {
            all.extend(logits);
        }
    };
    let found = evaluate_each(&cx, &net.network, &dataset, Split::Test, None, &options, &mut keep);
    warn_of_not_finite(bad, found.images());
    if let Some(path) = &args.logits {
        npy::save(path, &[found.images(), classes], &all)?;
    }
    let document = Document {
        schema: "pleach.eval/1",
        dataset: dataset.spec().name.clone(),
        weights: args.weights.name(),
        images: found.images(),
        accuracy: found.accuracy,
        loss: found.loss,
        images_per_s: found.images() as f64 / found.seconds,
        logits: args.logits.as_deref().map(output::shown),
    };
    if common.json {
        output::json(&document)?;
    } else {
        output::print(&format!(
            "{}: {:.2} % of the {} test images of {} are right, loss {:.6}, {:.0} images/s{}\n",
            net.name,
            100.0 * document.accuracy,
            output::grouped(document.images as u64),
            document.dataset,
            document.loss,
            document.images_per_s,
            match &document.logits {
                Some(path) => format!("; their logits are in {path}"),
                None => String::new(),
            }
        ))?;
    }
    Ok(exit::OK)
}

/// Refuses a place for the logits where they cannot be written, or where one of these is that is read.
fn check_logits<'a>(
    args: &Args,
    inputs: impl IntoIterator<Item = (&'a str, &'a Path)>,
) -> Result<()> {
    match &args.logits {
        Some(path) => common::check_place(("--logits", path), args.force, inputs),
        None => Ok(()),
    }
}

/// The logits of a file's images.
fn run_on(common: &Common, args: &Args, input: &Path, path: &Path) -> Result<u8> {
    /// Classes of a model by name, whose weights are random.
    const CLASSES: usize = 10;
    let cx = common.context()?;
    let Array { shape, values } = npy::load(input)?;
    let [images, channels, height, width] = shape[..] else {
        let input = input.display();
        return Err(usage(format!("{input}: expected images [N, C, H, W], found {shape:?}")));
    };
    if values.is_empty() {
        return Err(usage(format!("{}: there are no images in {shape:?}", input.display())));
    }
    let image = Shape::new(channels, height, width);
    let (arch, seed) = (args.arch.as_deref(), common.seed());
    let net = Resolve { arch, image, classes: CLASSES, seed }.net(&args.net)?;
    let graph = net.network.graph();
    if graph.input_shape() != image {
        let (name, expected) = (&args.net, graph.input_shape());
        let input = input.display();
        return Err(usage(format!(
            "{name} takes images of {expected}, but those of {input} are {image}"
        )));
    }
    let options = PlanOptions { weights: args.weights.storage(), ..PlanOptions::default() };
    let classes = graph.output_shape().channels;
    let found = logits(&cx, &net.network, &values, &options);
    warn_of_not_finite(not_finite(&found, classes), images);
    npy::save(path, &[images, classes], &found)?;
    if common.json {
        let weights = args.weights.name();
        let schema = "pleach.logits/1";
        let (input, logits) = (output::shown(input), output::shown(path));
        output::json(&LogitsDocument { schema, weights, images, classes, input, logits })?;
    } else {
        let (name, path) = (&net.name, path.display());
        output::print(&format!("{name}: the logits of {images} images are in {path}\n"))?;
    }
    Ok(exit::OK)
}

/// Images among whose logits are such that are not finite.
fn not_finite(logits: &[f32], classes: usize) -> usize {
    logits.chunks(classes).filter(|image| image.iter().any(|x| !x.is_finite())).count()
}

fn warn_of_not_finite(bad: usize, images: usize) {
    if bad > 0 {
        log::warn!("{bad} of {images} images have logits that are not finite");
    }
}
