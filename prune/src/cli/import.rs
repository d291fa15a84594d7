//! `pleach import`

use super::common::{self, Common, DryRunArg};
use super::exit::{self, usage};
use super::output::{self, grouped};
use anyhow::Result;
use clap::Args as ClapArgs;
use pleach_core::checkpoint::{self, Checkpoint, Dtype, Format, Normalisation};
use pleach_core::{Shape, models};
use pleach_prune::net::{Kind, NetError, Resolve};
use serde::Serialize;
use std::path::PathBuf;

/// Take a network over from PyTorch or ONNX
///
/// FILE is a state dict (.pth, .pt, .safetensors), whose architecture is recognised by the names and shapes
/// in it or else named by --arch, or an ONNX model. Every verb takes such a file as it is, too; a
/// checkpoint keeps besides what the images are normalised by.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The file
    file: PathBuf,
    /// The checkpoint to write
    #[arg(short, long, value_name = "NET")]
    out: PathBuf,
    /// Overwrite the checkpoint
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    dry: DryRunArg,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long)]
    arch: Option<String>,
    /// One image of a state dict's network: channels, height, width [default: 3,32,32]
    #[arg(long, value_name = "C,H,W", value_parser = image)]
    image: Option<Shape>,
    /// What is subtracted from an image with values in [0, 1], one number a channel
    #[arg(long, value_name = "M,M,M", value_delimiter = ',', requires = "std")]
    mean: Vec<f32>,
    /// What it is divided by then, one number a channel
    #[arg(long, value_name = "S,S,S", value_delimiter = ',', requires = "mean")]
    std: Vec<f32>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    file: String,
    format: &'static str,
    model: &'a str,
    widths: Vec<usize>,
    image: [usize; 3],
    classes: usize,
    macs: u64,
    params: u64,
    normalisation: Option<&'a Normalisation>,
    out: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

fn image(text: &str) -> Result<Shape, String> {
    /// Pixels of one side, far above any classifier's.
    const MOST: usize = 4096;
    let numbers: Vec<usize> = text.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    match numbers[..] {
        [channels, height, width]
            if text.split(',').count() == 3
                && [channels, height, width].iter().all(|&n| (1..=MOST).contains(&n)) =>
        {
            Ok(Shape::new(channels, height, width))
        }
        _ => Err(format!("expected three numbers C,H,W, 1 to {MOST} each")),
    }
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    if !args.file.exists() {
        return Err(NetError::Missing(args.file.clone()).into());
    }
    common::check_place(("--out", &args.out), args.force, [("FILE", &*args.file)])?;
    let format = Format::of(&args.file).map_err(NetError::from)?;
    let (arch, image) = (args.arch.as_deref(), args.image.unwrap_or(Shape::new(3, 32, 32)));
    let resolve = Resolve { arch, image, classes: 0, seed: common.seed() };
    let (Checkpoint { network, mut meta }, kind) = resolve.file(&args.file)?;
    if args.image.is_some() && kind != Kind::StateDict {
        let file = args.file.display();
        return Err(usage(format!(
            "--image has no effect: {file} is {kind}, which says its images itself"
        )));
    }
    let graph = network.graph();
    if !args.mean.is_empty() {
        meta.normalisation = Some(normalisation(args, graph.input_shape().channels)?);
    }
    if !args.dry.dry_run {
        checkpoint::save(&args.out, &network, &meta, Dtype::F32, false)?;
    }
    let Shape { channels, height, width } = graph.input_shape();
    let document = Document {
        schema: "pleach.import/1",
        file: output::shown(&args.file),
        format: name(format),
        model: &meta.model,
        widths: models::widths(graph),
        image: [channels, height, width],
        classes: graph.output_shape().channels,
        macs: graph.macs(),
        params: graph.trainable(),
        normalisation: meta.normalisation.as_ref(),
        out: output::shown(&args.out),
        dry_run: args.dry.dry_run,
    };
    if common.json {
        output::json(&document)?;
    } else {
        output::print(&text(&document))?;
    }
    Ok(exit::OK)
}

fn normalisation(args: &Args, channels: usize) -> Result<Normalisation> {
    let Args { mean, std, .. } = args;
    let sound = [mean.len(), std.len()] == [channels; 2]
        && mean.iter().all(|x| x.is_finite())
        && std.iter().all(|&x| x.is_finite() && x > 0.0);
    match sound {
        true => Ok(Normalisation { mean: mean.clone(), std: std.clone() }),
        false => Err(usage(format!(
            "--mean and --std take one number for each of the {channels} channels, --std above 0; found \
             {mean:?} and {std:?}"
        ))),
    }
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Safetensors => "safetensors",
        Format::Torch => "torch",
        Format::Onnx => "onnx",
    }
}

fn text(document: &Document<'_>) -> String {
    let Document { file, format, model, widths, image: [c, h, w], classes, out, .. } = document;
    let kind = match *format {
        "onnx" => "an ONNX model".to_owned(),
        _ => {
            let widths: Vec<String> = widths.iter().map(usize::to_string).collect();
            format!("weights of {model}:{}", widths.join(","))
        }
    };
    let normalisation = match document.normalisation {
        Some(Normalisation { mean, std }) => {
            format!("normalised by mean {mean:?} and deviation {std:?}")
        }
        None => "of unknown normalisation (--mean, --std)".to_owned(),
    };
    format!(
        "{file}: {kind}\n{} MACs an image, {} trainable parameters, {classes} classes; images are {c}x{h}x{w}, \
         {normalisation}\n{} {out}\n",
        grouped(document.macs),
        grouped(document.params),
        if document.dry_run { "would be written to" } else { "written to" }
    )
}
