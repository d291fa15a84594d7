//! Filter pruning by conditional entropy, in two phases, with physical surgery.

pub mod bias_update;
pub mod channels;
pub mod criteria;
pub mod entropy;
pub mod error;
pub mod eval;
pub mod evidence;
pub mod freeze;
pub mod lineage;
pub mod phases;
pub mod plan;
pub mod select;
pub mod surgery;
pub mod target;
pub mod trainer;

pub use error::PruneError;
