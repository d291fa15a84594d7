//! What a study takes, and how much of it a budget allows.

use super::{Cell, Effort, ReproduceError, Settings, tables};
use crate::latency::{self, Work};
use pleach_core::Network;
use pleach_core::models;
use pleach_datasets::Dataset;
use pleach_kernels::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Why no effort fits a budget.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "a budget of {budget} CPU hours is too small: the least that this study takes is {least:.1}"
)]
pub struct BudgetError {
    /// The budget, in CPU hours.
    pub budget: f64,
    /// The least, in CPU hours.
    pub least: f64,
}

/// How fast this machine trains the models of a study: multiply-adds in a CPU second, those of three
/// forward passes for a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates(BTreeMap<String, f64>);

impl FromIterator<(String, f64)> for Rates {
    fn from_iter<I: IntoIterator<Item = (String, f64)>>(rates: I) -> Self {
        Self(rates.into_iter().collect())
    }
}

impl Rates {
    /// Measures each model of the study in a few seconds.
    ///
    /// # Errors
    /// If there is no such table or model.
    pub fn measure(
        cx: &Context,
        settings: &Settings,
        dataset: &dyn Dataset,
    ) -> Result<Self, ReproduceError> {
        let cells = tables::cells(settings, dataset)?;
        let models: BTreeSet<&String> =
            cells.iter().filter(|cell| cell.macs > 0.0).map(|cell| &cell.model).collect();
        let rate = |model: &String| {
            let rate = macs_per_core_second(cx, model, settings, dataset)?;
            Ok::<_, ReproduceError>((model.clone(), rate))
        };
        models.into_iter().map(rate).collect()
    }

    /// CPU hours that a cell takes.
    ///
    /// # Panics
    /// If it trains a model that is not one of these.
    #[must_use]
    pub fn hours(&self, cell: &Cell) -> f64 {
        match cell.macs {
            0.0 => 0.0,
            macs => macs / self.0[&cell.model] / 3600.0,
        }
    }

    /// CPU hours that cells take together.
    ///
    /// # Panics
    /// As [`Rates::hours`].
    #[must_use]
    pub fn total(&self, cells: &[Cell]) -> f64 {
        cells.iter().map(|cell| self.hours(cell)).sum()
    }
}

fn macs_per_core_second(
    cx: &Context,
    model: &str,
    settings: &Settings,
    dataset: &dyn Dataset,
) -> Result<f64, ReproduceError> {
    let spec = dataset.spec();
    let graph = models::build(model, super::work::image(spec), spec.classes)?;
    let macs = 3.0 * graph.macs() as f64;
    let threads = cx.threads().count();
    let config = latency::Config {
        work: Work::Train,
        batches: vec![settings.train.batch],
        threads: vec![threads],
        seconds: 2.0,
        rounds: [3, 100],
        ..latency::Config::new(cx.isa(), threads)
    };
    let network = Network::init(graph, settings.seed);
    let found =
        latency::measure(&[("model", &network)], &config, &mut |_, _, _| ControlFlow::Continue(()));
    Ok(macs * found.rows[0].images_per_s / threads as f64)
}

/// The settings with the largest effort, at most their own, that `budget` CPU hours are enough for.
///
/// # Errors
/// If there is no such table or model, or, inside, if no effort is small enough.
pub fn within(
    settings: &Settings,
    dataset: &dyn Dataset,
    budget: f64,
    rates: &Rates,
) -> Result<Result<Settings, BudgetError>, ReproduceError> {
    /// Below this, epochs are too few to mean anything.
    const LEAST: f64 = 0.02;
    /// Steps from the least to the whole effort.
    const STEPS: u32 = 200;
    let full: Effort = settings.effort;
    let with = |factor: f64| Settings { effort: full.scaled(factor), ..settings.clone() };
    let hours = |settings: &Settings| {
        let cells = tables::cells(settings, dataset)?;
        Ok::<f64, ReproduceError>(rates.total(&cells))
    };
    let factors =
        (0..=STEPS).rev().map(|i| LEAST + (1.0 - LEAST) * f64::from(i) / f64::from(STEPS));
    for factor in factors {
        let settings = with(factor);
        if hours(&settings)? <= budget {
            return Ok(Ok(settings));
        }
    }
    Ok(Err(BudgetError { budget, least: hours(&with(LEAST))? }))
}
