//! `pleach export`

use super::common::{self, Common, DataArgs, DryRunArg};
use super::exit::{self, usage};
use super::output::{self, grouped};
use super::weights::DtypeName;
use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, ValueEnum};
use pleach_core::checkpoint::{self, Checkpoint, write_atomically};
use pleach_core::infer::PlanOptions;
use pleach_core::onnx::{self, ExportOptions};
use pleach_core::pytorch::{self, Names};
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::{Network, Shape};
use pleach_kernels::Context;
use pleach_prune::eval;
use pleach_prune::net::{Net, Resolve};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Write a network for other programs
///
/// Of --format pytorch, FILE.safetensors gets the weights, and modeling_FILE.py beside it a plain
/// torch.nn.Module that they fit.
#[derive(ClapArgs)]
pub(super) struct Args {
    /// The network
    net: String,
    /// The architecture of weights that PyTorch saved, such as vgg16, if it is not recognised
    #[arg(long)]
    arch: Option<String>,
    /// What to write
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Overwrite files
    #[arg(short, long)]
    force: bool,
    /// Keep batch norms apart from the convolutions before them (ONNX; other formats keep them anyway)
    #[arg(long)]
    keep_bn: bool,
    /// The type of the weights (not of ONNX models) [default: f32]
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<DtypeName>,
    /// Read what was written, and compare its logits with the network's; they must agree to 1e-4, in f16 to 1e-2, in
    /// bf16 to 1e-1
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    dry: DryRunArg,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// An ONNX model of opset 17, with batch norms folded into convolutions
    Onnx,
    /// A checkpoint of pleach, which is also a state dict under PyTorch's names
    Safetensors,
    /// A state dict and the code of a module that it fits
    Pytorch,
}

/// The largest relative difference of logits that `--verify` may find.
fn tolerance(dtype: DtypeName) -> f64 {
    match dtype {
        DtypeName::F32 => 1e-4,
        DtypeName::F16 => 1e-2,
        DtypeName::Bf16 => 1e-1,
    }
}

/// Images that `--verify` draws.
const IMAGES: usize = 8;

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    net: String,
    files: Vec<String>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative_difference: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<u8> {
    let cx = common.context()?;
    if args.format == Format::Onnx && args.dtype.is_some() {
        return Err(usage("--dtype has no effect: the weights of ONNX models are written in f32"));
    }
    let dtype = args.dtype.unwrap_or_default();
    let (code, out) = match args.format {
        Format::Pytorch => {
            let (code, weights) = pytorch_files(&args.out)?;
            (Some(code), weights)
        }
        _ => (None, args.out.clone()),
    };
    let files: Vec<PathBuf> =
        [out.clone()].into_iter().chain(code.as_ref().map(|code| code.path.clone())).collect();
    let given = Some(("NET", Path::new(&args.net))).filter(|(_, net)| net.is_file());
    files.iter().try_for_each(|file| common::check_place(("--out", file), args.force, given))?;
    let dataset = args.data.open()?;
    let resolve = Resolve::for_data(dataset.spec(), common.seed());
    let net = Resolve { arch: args.arch.as_deref(), ..resolve }.net(&args.net)?;
    let Net { network, meta, .. } = &net;
    let dry_run = args.dry.dry_run;
    let options = ExportOptions { keep_bn: args.keep_bn };
    match &code {
        None if args.format == Format::Onnx && dry_run => {
            onnx::to_bytes(network, meta, &options)?;
        }
        None if args.format == Format::Onnx => onnx::save(&out, network, meta, &options)?,
        None if dry_run => {}
        None => checkpoint::save(&out, network, meta, dtype.dtype(), false)?,
        Some(Code { path, names }) => {
            let source = pytorch::source(network.graph(), meta, names)?;
            if !dry_run {
                checkpoint::save(&out, network, meta, dtype.dtype(), false)?;
                write_atomically(path, |file| file.write_all(source.as_bytes()))
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    let difference = match args.verify && !dry_run {
        true => Some(difference(&cx, network, &out, resolve)?),
        false => None,
    };
    let bytes = files.iter().map(|file| fs::metadata(file).map_or(0, |file| file.len())).sum();
    let document = Document {
        schema: "pleach.export/1",
        net: net.name,
        files: files.iter().map(|file| output::shown(file)).collect(),
        bytes,
        relative_difference: difference,
        dry_run,
    };
    if common.json {
        output::json(&document)?;
    } else {
        output::print(&text(&document, code.as_ref(), tolerance(dtype)))?;
    }
    Ok(match difference {
        Some(difference) if !is_same(difference, tolerance(dtype)) => {
            log::error!("what was written is not the same network");
            exit::MISSED
        }
        _ => exit::OK,
    })
}

/// Whether logits that differ by so much are the same; that which is not a number is no small difference.
fn is_same(difference: f64, tolerance: f64) -> bool {
    difference <= tolerance
}

/// The file with a network's PyTorch code, and the names in it.
struct Code {
    path: PathBuf,
    names: Names,
}

/// The code and the file with the weights that `--out` means, which may be either, or neither's ending.
fn pytorch_files(out: &Path) -> Result<(Code, PathBuf)> {
    let unusable = || {
        let out = out.display();
        usage(format!("{out}: expected a file whose name begins with a letter or digit"))
    };
    let name = out.file_name().and_then(|name| name.to_str()).ok_or_else(unusable)?;
    let stem = match name.strip_suffix(".py") {
        Some(stem) => stem.strip_prefix("modeling_").unwrap_or(stem),
        None => name.strip_suffix(".safetensors").unwrap_or(name),
    };
    if !stem.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(unusable());
    }
    let names = Names::new(stem);
    let path = out.with_file_name(format!("{}.py", names.module));
    let weights = out.with_file_name(&names.weights);
    Ok((Code { path, names }, weights))
}

/// How far the logits of what is in a file are from the network's.
fn difference(cx: &Context, network: &Network, file: &Path, resolve: Resolve<'_>) -> Result<f64> {
    let (Checkpoint { network: written, .. }, _) = resolve.file(file)?;
    let shape: Shape = network.graph().input_shape();
    let mut rng = Rng::new(resolve.seed, Purpose::Test, 0, 0);
    let images: Vec<f32> = (0..IMAGES * shape.len()).map(|_| rng.normal() as f32).collect();
    let logits = |network| eval::logits(cx, network, &images, &PlanOptions::default());
    let classes = network.graph().output_shape().channels;
    Ok(eval::difference(&logits(&written), &logits(network), classes))
}

fn text(document: &Document, code: Option<&Code>, tolerance: f64) -> String {
    let (net, files) = (&document.net, document.files.join(" and "));
    if document.dry_run {
        return format!("would write {net} into {files}\n");
    }
    let mut text = format!("{net} is in {files} ({} bytes)\n", grouped(document.bytes));
    if let Some(Code { names: Names { module, class, weights }, .. }) = code {
        text += &format!(
            "in PyTorch:\n  from safetensors.torch import load_file\n  from {module} import {class}\n  model = \
             {class}()\n  model.load_state_dict(load_file({weights:?}), strict=True)\n"
        );
    }
    if let Some(difference) = document.relative_difference {
        let read = if code.is_some() { "the weights" } else { "the file" };
        text += &format!(
            "read again, {read} gave the logits of {IMAGES} random images to {difference:.1e} of an image's largest \
             ({tolerance:.0e} allowed)\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_that_is_not_a_number_is_too_large() {
        let differences = [0.0, 1e-4, 1.1e-4, f64::INFINITY, f64::NAN];
        let same = differences.map(|difference| is_same(difference, 1e-4));
        assert_eq!(same, [true, true, false, false, false]);
    }

    #[test]
    fn the_code_is_called_after_the_weights() {
        for (out, code, weights) in [
            ("a/b-c", "a/modeling_b_c.py", "a/b-c.safetensors"),
            ("b-c.safetensors", "modeling_b_c.py", "b-c.safetensors"),
            ("modeling_b.py", "modeling_b.py", "b.safetensors"),
            ("b.py", "modeling_b.py", "b.safetensors"),
            ("b.onnx", "modeling_b_onnx.py", "b.onnx.safetensors"),
        ] {
            let (found, file) = pytorch_files(Path::new(out)).unwrap();
            assert_eq!((found.path, file), (code.into(), weights.into()), "{out}");
        }
        assert!(pytorch_files(Path::new("..")).is_err());
        assert!(pytorch_files(Path::new("a/.py")).is_err());
    }
}
