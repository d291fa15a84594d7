//! `pleach eval`

use super::common::{self, Common, DataArgs};
use super::exit;
use super::output;
use super::weights::WeightsArg;
use anyhow::Result;
use clap::Args as ClapArgs;
use pleach_core::infer::PlanOptions;
use pleach_datasets::Split;
use pleach_prune::eval::evaluate_with;
use serde::Serialize;

/// Measure a network's accuracy on the test images
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The network
    net: String,
    /// The architecture of weights that PyTorch saved, such as vgg16
    #[arg(long)]
    arch: Option<String>,
    #[command(flatten)]
    weights: WeightsArg,
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
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let cx = common.context()?;
    let dataset = args.data.open()?;
    let net = common::net_for_data(&args.net, args.arch.as_deref(), &*dataset, common.seed())?;
    let options = PlanOptions { weights: args.weights.storage(), ..PlanOptions::default() };
    let found = evaluate_with(&cx, &net.network, &dataset, Split::Test, None, &options);
    let document = Document {
        schema: "pleach.eval/1",
        dataset: dataset.spec().name.clone(),
        weights: args.weights.name(),
        images: found.images(),
        accuracy: found.accuracy,
        loss: found.loss,
        images_per_s: found.images() as f64 / found.seconds,
    };
    if common.json {
        output::json(&document)?;
    } else {
        output::print(&format!(
            "{}: {:.2} % of the {} test images of {} are right, loss {:.6}, {:.0} images/s\n",
            net.name,
            100.0 * document.accuracy,
            output::grouped(document.images as u64),
            document.dataset,
            document.loss,
            document.images_per_s
        ))?;
    }
    Ok(exit::OK)
}
