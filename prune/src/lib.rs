//! Filter pruning by conditional entropy, in two phases, with physical surgery.
//!
//! After 2PFPCE (Min, Wang, Chen, Xu, Chen, arXiv 1809.02220), whose exact formulas were not available to us: each
//! module states the reading that we chose. This trains a network on the built-in data set and removes filters until a
//! fourth of its multiply-adds are left; `examples/own_data.rs` does it with images of its own:
//!
//! ```no_run
//! use pleach_core::{Shape, models};
//! use pleach_datasets::Dataset;
//! use pleach_kernels::{Context, Isa};
//! use pleach_prune::phases::{self, PruneConfig};
//! use pleach_prune::target::{Target, Unit};
//! use pleach_prune::trainer::{Silent, TrainConfig, Trainer};
//! use std::sync::Arc;
//!
//! let (cx, image, classes) = (Context::new(Isa::best(), 2), Shape::new(3, 32, 32), 10);
//! let dataset: Arc<dyn Dataset> = Arc::from(pleach_datasets::open(None)?);
//! let graph = models::build("vgg-small", image, classes)?;
//! let config = TrainConfig::for_graph(&graph);
//! let network = config.network(graph);
//! let mut trainer = Trainer::new(&cx, Arc::clone(&dataset), config, network);
//! while !trainer.is_finished() {
//!     trainer.epoch(&mut Silent)?;
//! }
//! let base = trainer.into_network();
//! let target = Target { unit: Unit::Macs, amount: "4x".parse()? };
//! let config = PruneConfig { target: Some(target), ..PruneConfig::default() };
//! let outcome = phases::run(&cx, &dataset, &base, "vgg-small", &config, &mut Silent)?;
//! assert!(outcome.pruned.macs < outcome.base.macs);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Terms
//! - A **filter** makes one output **channel** of a layer. Channels that residual sums and the like join live and die
//!   together, and count once: a **class**. A layer's classes, or those of layers that are joined, are a **group**
//!   ([`ChannelGroup`](channels::ChannelGroup)).
//! - A **criterion** ([`Criterion`](criteria::Criterion)) gives each filter a **score**; higher is kept. That of the
//!   method is **conditional entropy** ([`ConEnt`](criteria::ConEnt)), in nats, of a filter's responses to the
//!   **calibration images**, some of the training images.
//! - **Surgery** ([`surgery`]) removes channels from every tensor: what is left is a smaller network, not a masked one.
//!   The **bias update** ([`bias_update`]) gives the layers behind what removed channels gave them on average.
//! - **Fine-tuning** trains what is left, but for filters that the maximum-entropy **freeze** ([`mod@freeze`]) keeps as
//!   they are.
//! - A **run** ([`phases`]) prunes the **base** network: rounds of **phase I** remove the lowest of the whole network,
//!   trials of **phase II** those of a group of layers. Each is a **step**: a removal, its fine-tuning, and the
//!   judgement whether it stands.
//! - The **target** ([`Target`](target::Target)) says how much is to be removed, and of what. No layer goes below its
//!   **floor** ([`PruneConfig::floor`](phases::PruneConfig::floor)).
//! - The **drop** is how many points of accuracy are lost against the **reference**
//!   ([`Reference`](phases::Reference)). The final network is held to the limit
//!   ([`PruneConfig::max_drop`](phases::PruneConfig::max_drop)); steps may lose more by the **recovery**
//!   ([`PruneConfig::recovery`](phases::PruneConfig::recovery)), for the final fine-tuning to win back.
//! - The **plan** ([`Plan`](plan::Plan)) is the record of what was removed, from which it can be removed again.
//!
//! # Modules
//! - Measure: [`evidence`] on the calibration images, [`entropy`], [`eval`] of accuracy and loss, [`latency`].
//! - Choose: [`criteria`], [`channels`] that live and die together, [`select`], [`target`].
//! - Remove: [`surgery`], [`bias_update`], [`mod@freeze`], [`lineage`] (which channels of the base are left), [`plan`].
//! - Run: [`trainer`] and [`phases`], in memory; [`train_run`] and [`prune_run`], which leave a [`run_dir`] and go on
//!   from it; [`net`] (networks by file or name), [`settings`]; [`reproduce`], the paper's tables from many runs.
//! - Report: [`report`] of runs and studies, [`explain`] why a filter went, [`compare`] and [`ranking`] of criteria,
//!   [`environment`].

pub mod bias_update;
pub mod channels;
pub mod compare;
pub mod criteria;
pub mod entropy;
pub mod environment;
pub mod error;
pub mod eval;
pub mod evidence;
pub mod explain;
pub mod freeze;
pub mod latency;
pub mod lineage;
pub mod net;
pub mod phases;
pub mod plan;
pub mod prune_run;
pub mod ranking;
pub mod report;
pub mod reproduce;
pub mod run_dir;
pub mod select;
pub mod settings;
pub mod surgery;
pub mod target;
pub mod train_run;
pub mod trainer;

pub use error::PruneError;
