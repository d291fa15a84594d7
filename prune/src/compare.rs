//! Criteria and bias updates side by side: how accuracy falls with what is removed when every layer
//! loses the same share of its channels, right after surgery and after fine-tuning.

use crate::bias_update::{self, BiasUpdate};
use crate::channels::Channels;
use crate::criteria::{self, ConEnt, Criterion, Join, Normalise, ScoreCx, Scores};
use crate::error::PruneError;
use crate::eval::evaluate;
use crate::evidence::{self, Wants};
use crate::lineage::Lineage;
use crate::select::{DEFAULT_FLOOR, Floors, lowest};
use crate::surgery::{self, Kept};
use crate::trainer::{Observer, TrainConfig, TrainError, Trainer};
use pleach_core::network::Network;
use pleach_datasets::{Dataset, Split, class_balanced};
use pleach_kernels::Context;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;

/// What is compared, and at which amounts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareConfig {
    /// The pairs of a criterion's name and a bias update, a curve each.
    pub curves: Vec<(String, BiasUpdate)>,
    /// Fractions of each layer's channels to remove.
    pub shares: Vec<f64>,
    /// The settings of conditional entropy.
    pub con_ent: ConEnt,
    /// Calibration images, taken from the training split.
    pub calibration: usize,
    /// How each point is fine-tuned after it was measured, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tune: Option<TrainConfig>,
    /// Calibration images and random scores.
    pub seed: u64,
}

/// Accuracy against what is removed, for one criterion and one bias update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// The criterion's name.
    pub criterion: String,
    /// The bias update.
    pub bias_update: BiasUpdate,
    /// One point a share, in the configuration's order.
    pub points: Vec<Point>,
}

/// A network pruned at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// The fraction of each layer's channels that was to be removed.
    pub share: f64,
    /// Channels removed; coupled ones count once.
    pub removed: usize,
    /// Multiply-adds per image that are left.
    pub macs: u64,
    /// Validation accuracy right after surgery, a fraction.
    pub accuracy: f64,
    /// Mean validation loss then, in nats.
    pub loss: f64,
    /// Validation accuracy (a fraction) after fine-tuning, if there was some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned_accuracy: Option<f64>,
}

/// Watches a comparison.
pub trait CompareObserver: Observer {
    /// So many points are done; a `Break` ends the comparison.
    fn point(&mut self, done: usize, of: usize) -> ControlFlow<()>;
}

impl CompareConfig {
    /// Every criterion that can score `network`, with the mean update, and the first of them with the
    /// other updates too.
    #[must_use]
    pub fn every_criterion(network: &Network, seed: u64) -> Self {
        let names = criteria::fitting(network.graph(), &Channels::of(network.graph()));
        let mut curves: Vec<(String, BiasUpdate)> =
            names.into_iter().map(|name| (name.to_owned(), BiasUpdate::Mean)).collect();
        let updates = [BiasUpdate::None, BiasUpdate::MaxEntropy];
        let first = criteria::CRITERIA[0].name();
        curves.extend(updates.map(|update| (first.to_owned(), update)));
        Self {
            curves,
            shares: vec![0.1, 0.2, 0.3, 0.4, 0.5],
            con_ent: ConEnt::default(),
            calibration: 5_000,
            tune: None,
            seed,
        }
    }
}

/// Prunes `network` along every curve of `config`, each point anew from the whole network, and
/// measures it on the validation split. All curves are scored on one pass over the calibration
/// images. If the observer ends it with a `Break`, curves that are whole by then are returned.
///
/// # Errors
/// If a criterion is unknown or cannot score this network, values overflow in it or in what is left of it,
/// fine-tuning diverges, or the observer stops that.
///
/// # Panics
/// If the network and the data set do not fit.
pub fn compare(
    cx: &Context,
    dataset: &Arc<dyn Dataset>,
    network: &Network,
    config: &CompareConfig,
    observer: &mut dyn CompareObserver,
) -> Result<Vec<Curve>, PruneError> {
    let channels = Channels::of(network.graph());
    let layers = channels.prunable_layers();
    let mut wants = Wants::default();
    for (name, update) in &config.curves {
        let criterion = criteria::named(name)?;
        criterion.check(network.graph(), &layers)?;
        wants = wants.or(criterion.wants()).or(update.wants());
    }
    let indices = class_balanced(&**dataset, Split::Train, config.calibration, config.seed);
    let whole = &mut network.clone();
    let evidence = evidence::calibrate(cx, whole, &channels, dataset, indices, wants);
    if let Some(what) = evidence.not_finite(network.graph()) {
        return Err(PruneError::NotFinite(what));
    }
    let scores = |criterion: &dyn Criterion| {
        let cx = ScoreCx {
            network,
            evidence: &evidence,
            base_losses: &evidence.losses,
            con_ent: &config.con_ent,
            seed: config.seed,
            step: 1,
        };
        Scores::new(criterion, &cx, &channels, Normalise::default(), Join::default())
    };
    let con_ent = scores(criteria::CRITERIA[0])?;
    let floors = Floors::new(&channels, &Lineage::of(network.graph()), DEFAULT_FLOOR);
    let candidates = channels.prunable();
    let total = config.curves.len() * config.shares.len();
    let (mut curves, mut done) = (Vec::new(), 0);
    for (name, update) in &config.curves {
        let order = scores(criteria::named(name)?)?.within_groups(&channels);
        let mut points = Vec::with_capacity(config.shares.len());
        for &share in &config.shares {
            if observer.point(done, total).is_break() {
                return Ok(curves);
            }
            let amount = (candidates.len() as f64 * share).round() as usize;
            let removed = lowest(&channels, &candidates, &order, amount, &floors);
            let kept = Kept::without(&channels, &removed);
            let mut whole = network.clone();
            bias_update::apply(cx, &mut whole, &channels, &kept, &evidence, *update, &con_ent);
            let pruned = surgery::prune(&whole, &channels, &kept);
            let found = evaluate(cx, &pruned, dataset, Split::Validation, None);
            if !found.loss.is_finite() {
                let what = format!("the validation loss after {name} removed a share of {share}");
                return Err(PruneError::NotFinite(what));
            }
            let macs = pruned.graph().macs();
            let tuned_accuracy = match &config.tune {
                Some(tune) => {
                    let tuned = fine_tuned(cx, dataset, pruned, tune, observer)?;
                    Some(evaluate(cx, &tuned, dataset, Split::Validation, None).accuracy)
                }
                None => None,
            };
            points.push(Point {
                share,
                removed: removed.len(),
                macs,
                accuracy: found.accuracy,
                loss: found.loss,
                tuned_accuracy,
            });
            done += 1;
        }
        curves.push(Curve { criterion: name.clone(), bias_update: *update, points });
    }
    Ok(curves)
}

fn fine_tuned(
    cx: &Context,
    dataset: &Arc<dyn Dataset>,
    network: Network,
    config: &TrainConfig,
    observer: &mut dyn CompareObserver,
) -> Result<Network, TrainError> {
    let mut trainer = Trainer::new(cx, Arc::clone(dataset), config.clone(), network);
    while !trainer.is_finished() {
        trainer.epoch(observer)?;
    }
    Ok(trainer.into_network())
}
