//! The usual values of what optimisers and schedules leave open; `serde` takes them where a file says nothing.

/// Of the velocity (Sutskever et al. 2013).
pub(super) const fn momentum() -> f32 {
    0.9
}

/// Whether SGD looks ahead.
pub(super) const fn nesterov() -> bool {
    true
}

/// The L2 penalty of everything but Adam.
pub(super) const fn decay() -> f32 {
    5e-4
}

/// Of Adam's paper (Kingma and Ba 2015, algorithm 1), like the two that follow.
pub(super) const fn beta1() -> f32 {
    0.9
}

pub(super) const fn beta2() -> f32 {
    0.999
}

pub(super) const fn eps() -> f32 {
    1e-8
}

/// Of Muon's filters, by what did best on CIFAR-10, like the two that follow.
pub(super) const fn filters_momentum() -> f32 {
    0.6
}

pub(super) const fn iterations() -> u32 {
    3
}

/// For plain networks.
pub(super) const fn others_lr() -> f32 {
    2.0
}

/// The fraction of a one-cycle run in which the rate rises.
pub(super) const fn one_cycle_warmup() -> f64 {
    0.25
}

pub(super) const fn start_div() -> f64 {
    10.0
}

pub(super) const fn end_div() -> f64 {
    1000.0
}

/// The fraction of a cosine's run in which the rate rises.
pub(super) const fn cosine_warmup() -> f64 {
    0.05
}

/// Half of a run by steps, and three quarters.
pub(super) fn milestones() -> Vec<f64> {
    vec![0.5, 0.75]
}

/// A tenth at each milestone.
pub(super) const fn gamma() -> f64 {
    0.1
}
