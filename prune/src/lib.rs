//! Filter pruning by conditional entropy, in two phases, with physical surgery.
//!
//! What is meant by it stands here: [`criteria::ConEnt`] is conditional entropy, [`criteria`] has the others that it is
//! compared with, [`phases`] the two phases, [`mod@freeze`] the maximum-entropy freeze, [`bias_update`] what stands in
//! for removed channels, and [`reproduce`] the paper's tables.

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
