//! What training begins with, and what it learns from.

use super::File;
use crate::cli::common;
use crate::cli::exit::usage;
use anyhow::Result;
use pleach_core::checkpoint::Meta;
use pleach_core::loss::Distillation;
use pleach_core::{Network, Shape, models};
use pleach_datasets::Dataset;

/// A network that is to be trained.
pub(super) struct Beginning {
    /// What the user called it.
    pub(super) name: String,
    /// What checkpoints say of it.
    pub(super) meta: Meta,
    pub(super) network: Network,
    /// The network that it learns from too, and how much.
    pub(super) teacher: Option<(Network, Distillation)>,
}

impl Beginning {
    /// As `file` has it, for these data.
    pub(super) fn of(file: &File, dataset: &dyn Dataset, resumed: bool) -> Result<Self> {
        let (spec, seed) = (dataset.spec(), file.train.seed);
        let (name, model, network) = match &file.init {
            Some(init) => {
                let net = common::net_for_run(init, file.arch.as_deref(), dataset, seed, resumed)?;
                let model = common::model_name(&net.meta, init);
                (init.clone(), model, net.network.without_training_state())
            }
            None => {
                let image = Shape::new(spec.channels, spec.height, spec.width);
                let graph = models::build(&file.model, image, spec.classes)?;
                let model = file.model.split(':').next().unwrap_or_default();
                (file.model.clone(), model.to_owned(), file.train.network(graph))
            }
        };
        let teacher = match &file.teacher {
            Some(teacher) => {
                let net = common::net_for_data(&teacher.net, None, dataset, seed)?;
                if net.file.is_none() {
                    let name = &teacher.net;
                    return Err(usage(format!(
                        "the teacher {name} is a model with random weights: name a trained network's file"
                    )));
                }
                Some((net.network, teacher.distillation()))
            }
            None => None,
        };
        Ok(Self { name, meta: common::meta(&model, spec), network, teacher })
    }
}
