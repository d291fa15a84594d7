//! Networks beside data.

use crate::cli::exit::usage;
use anyhow::Result;
use pleach_core::Shape;
use pleach_core::checkpoint::{Meta, Normalisation};
use pleach_datasets::{Dataset, Spec};
use pleach_prune::net::{Net, NetError, Resolve};

/// The network that `argument` names, checked to fit the data.
pub(in crate::cli) fn net_for_data(
    argument: &str,
    arch: Option<&str>,
    dataset: &dyn Dataset,
    seed: u64,
) -> Result<Net> {
    let spec = dataset.spec();
    let net = Resolve { arch, ..Resolve::for_data(spec, seed) }.net(argument)?;
    let (image, found) = (Shape::new(spec.channels, spec.height, spec.width), net.network.graph());
    if found.input_shape() != image {
        return Err(usage(format!(
            "{argument} takes images of {}, but those of {} are {image}",
            found.input_shape(),
            spec.name
        )));
    }
    let classes = found.output_shape().channels;
    if classes != spec.classes {
        return Err(usage(format!(
            "{argument} has {classes} classes, but {} has {}",
            spec.name, spec.classes
        )));
    }
    warn_of_other_data(&net, spec);
    Ok(net)
}

/// [`net_for_data`], of a run. The settings of one that is `resumed` may have an architecture without effect, which
/// earlier versions took.
pub(in crate::cli) fn net_for_run(
    argument: &str,
    arch: Option<&str>,
    dataset: &dyn Dataset,
    seed: u64,
    resumed: bool,
) -> Result<Net> {
    let found = net_for_data(argument, arch, dataset, seed);
    match found {
        Err(error) if resumed && is_idle(&error) => {
            log::warn!("{error}");
            net_for_data(argument, None, dataset, seed)
        }
        found => found,
    }
}

fn is_idle(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(NetError::IdleArchitecture { .. }))
}

/// The model's name in plans and checkpoints: what the file says, else what the user says.
pub(in crate::cli) fn model_name(meta: &Meta, argument: &str) -> String {
    if meta.model.is_empty() { argument.to_owned() } else { meta.model.clone() }
}

/// Warns where a network expects other images than these.
pub(in crate::cli) fn warn_of_other_data(net: &Net, spec: &Spec) {
    /// Rounding of published values to four digits.
    const CLOSE: f32 = 1e-3;
    if let Some(trained) = net.meta.dataset.as_ref().filter(|&name| *name != spec.name) {
        log::warn!("{} was trained on {trained}, not on {}", net.name, spec.name);
    }
    if let Some(Normalisation { mean, std }) = &net.meta.normalisation {
        let far = |a: &[f32], b: &[f32]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > CLOSE);
        if far(mean, &spec.mean) || far(std, &spec.std) {
            log::warn!(
                "{} expects images normalised by mean {mean:?} and deviation {std:?}, but those of {} \
                 are by {:?} and {:?}",
                net.name,
                spec.name,
                spec.mean,
                spec.std
            );
        }
    }
}
