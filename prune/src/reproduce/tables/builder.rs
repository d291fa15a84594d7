//! Makes the cells of tables.

use super::cost::Images;
use crate::bias_update::BiasUpdate;
use crate::channels::Channels;
use crate::criteria::ConEnt;
use crate::phases::PruneConfig;
use crate::reproduce::cell::{Cell, Work};
use crate::reproduce::work::image;
use crate::reproduce::{Effort, Given, ReproduceError, Settings};
use crate::target::{Amount, Target, Unit};
use crate::trainer::TrainConfig;
use pleach_core::graph::Graph;
use pleach_core::models;
use pleach_datasets::{Dataset, Spec};

/// A list of cells in the making.
pub(super) struct Builder<'a> {
    pub(super) settings: &'a Settings,
    spec: &'a Spec,
    pub(super) images: Images,
    cells: Vec<Cell>,
}

/// A cell with a base network.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) graph: Graph,
    /// The rates at which it learns, as a share of the usual ones.
    rate: f32,
}

/// What a comparison's curve is of.
pub(super) struct Compared<'a> {
    pub(super) criterion: &'a str,
    pub(super) con_ent: ConEnt,
    pub(super) bias_update: BiasUpdate,
    /// Whether each point is fine-tuned, for the effort's epochs.
    pub(super) tuned: bool,
}

/// A way to several amounts.
pub(super) struct Way {
    /// What its cells' names begin with; the amount follows.
    pub(super) id: String,
    /// Whose or by what the multiply-adds are fewer, for people.
    pub(super) about: String,
    pub(super) config: PruneConfig,
}

impl<'a> Compared<'a> {
    /// A criterion with its defaults and the mean update, fine-tuned.
    pub(super) fn criterion(criterion: &'a str) -> Self {
        let (con_ent, bias_update) = (ConEnt::default(), BiasUpdate::Mean);
        Self { criterion, con_ent, bias_update, tuned: true }
    }
}

impl<'a> Builder<'a> {
    pub(super) fn new(settings: &'a Settings, dataset: &'a dyn Dataset) -> Self {
        let (spec, images) = (dataset.spec(), Images::of(dataset));
        Self { settings, spec, images, cells: Vec::new() }
    }

    pub(super) fn finish(self) -> Vec<Cell> {
        self.cells
    }

    pub(super) fn effort(&self) -> Effort {
        self.settings.effort
    }

    /// The network of T1 and T6.
    pub(super) fn base(&mut self) -> Result<Base, ReproduceError> {
        let Settings { model, base, seed, .. } = self.settings;
        self.network("base".into(), model, base.as_ref(), *seed, 1.0)
    }

    /// The network that methods are compared on: that of T1 and T6, if it is the same. One that is given and no known
    /// model is not.
    pub(super) fn narrow(&mut self, seed: u64) -> Result<Base, ReproduceError> {
        let Settings { model, narrow, base, .. } = self.settings;
        let is_model = base.as_ref().is_none_or(|given| given.name.is_none());
        if is_model && narrow == model && seed == self.settings.seed {
            return self.base();
        }
        self.network(format!("base-narrow-s{seed}"), narrow, None, seed, 1.0)
    }

    /// Its like without batch norm, if the settings have one.
    pub(super) fn narrow_nobn(&mut self, seed: u64) -> Result<Option<Base>, ReproduceError> {
        /// Without batch norm, training and fine-tuning at the usual rate diverge.
        const RATE: f32 = 0.2;
        let Some(model) = &self.settings.narrow_nobn else { return Ok(None) };
        self.network(format!("base-nobn-s{seed}"), model, None, seed, RATE).map(Some)
    }

    /// The network of T4.
    pub(super) fn residual(&mut self) -> Result<Base, ReproduceError> {
        let Settings { residual, residual_base, seed, .. } = self.settings;
        self.network("base-residual".into(), residual, residual_base.as_ref(), *seed, 1.0)
    }

    fn network(
        &mut self,
        id: String,
        model: &str,
        given: Option<&Given>,
        seed: u64,
        rate: f32,
    ) -> Result<Base, ReproduceError> {
        let graph = models::build(model, image(self.spec), self.spec.classes)?;
        let (about, macs, work) = match given {
            Some(Given { net, arch, .. }) => {
                let work = Work::Given { net: net.clone(), arch: arch.clone() };
                (format!("{net}, given"), 0.0, work)
            }
            None => {
                let mut config = self.scratch(&graph, seed);
                config.lr *= rate;
                let macs = self.images.training(&graph, config.epochs);
                let about = format!("{model}, trained for {} epochs, seed {seed}", config.epochs);
                (about, macs, Work::Train { model: model.into(), config })
            }
        };
        let base = Base { id, model: model.into(), graph, rate };
        self.add(base.id.clone(), about, (&base, macs), work);
        Ok(base)
    }

    /// How a network is trained from scratch: as the settings have it for plain ones.
    pub(super) fn scratch(&self, graph: &Graph, seed: u64) -> TrainConfig {
        let rate = TrainConfig::for_graph(graph).lr / TrainConfig::default().lr;
        let train = self.settings.train.clone();
        TrainConfig { epochs: self.effort().base_epochs, lr: rate * train.lr, seed, ..train }
    }

    /// What pruning runs have in common.
    pub(super) fn pruning(&self, seed: u64) -> PruneConfig {
        PruneConfig {
            epochs_budget: Some(self.effort().prune_epochs),
            calibration: self.effort().calibration,
            seed,
            ..self.settings.prune.clone()
        }
    }

    /// The same for the best that was found, which has its own number of calibration images, and of which
    /// narrow networks keep smaller multiples.
    pub(super) fn best(&self, base: &Base, seed: u64) -> PruneConfig {
        let epochs_budget = Some(self.effort().prune_epochs);
        let round_to = self.settings.best.round_to.min(multiple_for(&base.graph));
        PruneConfig { epochs_budget, round_to, seed, ..self.settings.best.clone() }
    }

    /// Adds a pruning run and returns its name.
    pub(super) fn prune(
        &mut self,
        id: String,
        about: String,
        base: &Base,
        config: PruneConfig,
    ) -> String {
        let macs = self.images.pruning(&base.graph, &config, 1.0);
        let work = Work::Prune { base: base.id.clone(), after: None, config: Box::new(config) };
        self.add(id.clone(), about, (base, macs), work);
        id
    }

    /// Adds pruning runs of each of `ways` to each of `amounts` of multiply-adds, times fewer, whatever they lose:
    /// amounts are compared by their accuracy. A way's run goes on from the network of its run before: it works
    /// on a smaller one than the base, which has had the fine-tuning of all before it. The ways take turns, so that
    /// workers who take cells in their order have the next of another way to do meanwhile. Returns the cells' names
    /// by way.
    pub(super) fn prune_on(
        &mut self,
        base: &Base,
        amounts: &[f64],
        ways: &[Way],
    ) -> Vec<Vec<String>> {
        let mut amounts = amounts.to_vec();
        amounts.sort_by(f64::total_cmp);
        let (mut ids, mut start) = (vec![Vec::<String>::new(); ways.len()], 1.0);
        for amount in amounts {
            for (way, ids) in ways.iter().zip(&mut ids) {
                let id = amount_id(&way.id, amount);
                let mut about = format!("{amount}x fewer MACs {}", way.about);
                let after = ids.last().cloned();
                if let Some(after) = &after {
                    about += &format!(", on from {after}");
                }
                let config = Box::new(to_amount(way.config.clone(), amount));
                let macs = self.images.pruning(&base.graph, &config, start);
                let work = Work::Prune { base: base.id.clone(), after, config };
                self.add(id.clone(), about, (base, macs), work);
                ids.push(id);
            }
            start = 1.0 / amount;
        }
        ids
    }

    /// Adds a comparison's curve.
    pub(super) fn curve(
        &mut self,
        id: String,
        about: String,
        base: &Base,
        how: &Compared<'_>,
        seed: u64,
    ) {
        let Effort { curve_epochs, calibration, .. } = self.effort();
        let epochs = if how.tuned { curve_epochs } else { 0.0 };
        let usual = self.settings.prune.tune.clone();
        let tune = TrainConfig { epochs, lr: base.rate * usual.lr, seed, ..usual };
        let tune = (epochs > 0.0).then_some(tune);
        let shares = self.settings.shares.clone();
        let macs = self.images.curve(&base.graph, shares.len(), calibration, epochs);
        let work = Work::Curve {
            base: base.id.clone(),
            criterion: how.criterion.into(),
            con_ent: how.con_ent,
            bias_update: how.bias_update,
            shares,
            calibration,
            tune,
            seed,
        };
        self.add(id, about, (base, macs), work);
    }

    /// Adds a measurement of speed of these cells' networks beside the first's.
    pub(super) fn speed(&mut self, id: &str, nets: Vec<String>) {
        let (seconds, seed) = (self.effort().latency_seconds, self.settings.seed);
        let about = "measured speed".into();
        self.push(Cell {
            id: id.into(),
            about,
            model: String::new(),
            macs: 0.0,
            work: Work::Speed { nets, seconds, seed },
        });
    }

    /// Adds a cell that is expected to take so many multiply-adds of `base`, once.
    pub(super) fn add(
        &mut self,
        id: String,
        about: String,
        (base, macs): (&Base, f64),
        work: Work,
    ) {
        self.push(Cell { id, about, model: base.model.clone(), macs, work });
    }

    fn push(&mut self, cell: Cell) {
        if self.cells.iter().all(|other| other.id != cell.id) {
            self.cells.push(cell);
        }
    }
}

/// The largest power of two of which every layer has at least four, or 1.
fn multiple_for(graph: &Graph) -> usize {
    let layers = Channels::of(graph).prunable_layers();
    let narrowest = layers.into_iter().map(|id| graph.node(id).shape.channels).min();
    1 << (narrowest.unwrap_or(1) / 4).max(1).ilog2()
}

/// The name of a way's cell.
pub(super) fn amount_id(way: &str, amount: f64) -> String {
    format!("{way}-{amount}x")
}

/// A target of so many times fewer multiply-adds.
pub(super) fn fewer_macs(times: f64) -> Target {
    Target { unit: Unit::Macs, amount: Amount { keep: 1.0 / times } }
}

/// A pruning run that gets to a target whatever it loses.
pub(super) fn to_amount(config: PruneConfig, times: f64) -> PruneConfig {
    PruneConfig { target: Some(fewer_macs(times)), max_drop: 100.0, recovery: 0.0, ..config }
}
