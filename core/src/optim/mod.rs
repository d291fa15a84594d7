//! Optimisers and schedules of the learning rate.

mod lookahead;
mod muon;
mod schedule;
mod usual;

pub use lookahead::Lookahead;
pub use schedule::Schedule;

use crate::network::{Network, Param};
use pleach_kernels::Context;
use pleach_kernels::optimizer::{AdamStep, adam, sgd};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How gradients change parameters. Weight decay (an L2 penalty added to the gradient) applies only
/// where [`crate::layers::ParamSpec::decays`]; rows in [`Param::frozen`] stay as they are, with all
/// their state.
///
/// In a file the kind is enough: the rest is as usual ([`Optimizer::sgd`], [`Optimizer::adam`],
/// [`Optimizer::muon`]) where nothing is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent, as `torch.optim.SGD`. One slot: the velocity.
    Sgd {
        /// Share of the old velocity in the new.
        #[serde(default = "usual::momentum")]
        momentum: f32,
        /// Whether the step looks ahead by one velocity (Sutskever et al. 2013, section 2.1).
        #[serde(default = "usual::nesterov")]
        nesterov: bool,
        /// The L2 penalty.
        #[serde(default = "usual::decay")]
        weight_decay: f32,
    },
    /// Adam (Kingma and Ba 2015, algorithm 1), as `torch.optim.Adam`. Two slots: the moments.
    Adam {
        /// Decay of the first moment.
        #[serde(default = "usual::beta1")]
        beta1: f32,
        /// Decay of the second moment.
        #[serde(default = "usual::beta2")]
        beta2: f32,
        /// Added to the root of the second moment.
        #[serde(default = "usual::eps")]
        eps: f32,
        /// The L2 penalty.
        #[serde(default)]
        weight_decay: f32,
    },
    /// Muon (Jordan 2024): the filters of a convolution that sees all channels move by an orthogonal matrix, and
    /// keep their norm together, so that the rate is what a step turns them by. Everything else is as with
    /// `Sgd`, with Nesterov's momentum and a rate of its own. One slot: the velocity.
    Muon {
        /// Share of the old velocity in the new, of filters.
        #[serde(default = "usual::filters_momentum")]
        momentum: f32,
        /// Iterations of Newton and Schulz's that make a matrix orthogonal, 1 to 6: rounding errors where a gradient
        /// has no direction grow about twelvefold with each, and drown the rest after eight.
        #[serde(default = "usual::iterations")]
        iterations: u32,
        /// The rate of everything else, as a multiple of that of filters.
        #[serde(default = "usual::others_lr")]
        others_lr: f32,
        /// The momentum of everything else.
        #[serde(default = "usual::momentum")]
        others_momentum: f32,
        /// The L2 penalty, on weights that are not such filters.
        #[serde(default = "usual::decay")]
        weight_decay: f32,
    },
}

impl Optimizer {
    /// The largest rate of [`Optimizer::muon`] that did best on CIFAR-10 in batches of 128.
    pub const MUON_LR: f32 = 0.03;

    /// SGD with Nesterov's momentum, with usual values.
    #[must_use]
    pub const fn sgd() -> Self {
        Self::Sgd {
            momentum: usual::momentum(),
            nesterov: usual::nesterov(),
            weight_decay: usual::decay(),
        }
    }

    /// Adam with the values of its paper.
    #[must_use]
    pub const fn adam() -> Self {
        Self::Adam {
            beta1: usual::beta1(),
            beta2: usual::beta2(),
            eps: usual::eps(),
            weight_decay: 0.0,
        }
    }

    /// Muon with the values that did best on CIFAR-10, and `others_lr` times the rate for everything but filters.
    #[must_use]
    pub const fn muon(others_lr: f32) -> Self {
        Self::Muon {
            momentum: usual::filters_momentum(),
            iterations: usual::iterations(),
            others_lr,
            others_momentum: usual::momentum(),
            weight_decay: usual::decay(),
        }
    }

    /// Changes every trainable parameter of `net` that has a gradient. `step` counts from 0 through
    /// the whole run. Slots that do not fit this optimiser are replaced by zeros, and so are Adam's of an earlier
    /// run at the first step, since it corrects them by the number of steps.
    pub fn step(&self, cx: &Context, net: &mut Network, lr: f32, step: u64) {
        let starts = step == 0 && matches!(self, Self::Adam { .. });
        let (graph, params) = net.split_mut();
        for (param, place) in params.iter_mut().zip(graph.params()) {
            let spec = &place.spec;
            if !spec.trainable || param.grad.is_empty() {
                continue;
            }
            let len = param.value.len();
            let fits = |slots: &[Vec<f32>]| {
                slots.len() == self.slots() && slots.iter().all(|slot| slot.len() == len)
            };
            if starts || !fits(&param.slots) {
                param.slots = vec![vec![0.0; len]; self.slots()];
            }
            let rows = spec.dims[0];
            let (optimizer, lr) = match *self {
                Self::Muon { momentum, iterations, .. } if spec.is_filters() => {
                    muon::step(cx, (lr, momentum, iterations), rows, param);
                    continue;
                }
                Self::Muon { others_lr, others_momentum: momentum, weight_decay, .. } => {
                    (Self::Sgd { momentum, nesterov: true, weight_decay }, lr * others_lr)
                }
                _ => (*self, lr),
            };
            let update = Update { optimizer, cx, lr, step, decays: spec.decays };
            for run in thawed(&param.frozen, rows) {
                let row = len / rows;
                update.apply(param, run.start * row..run.end * row);
            }
        }
    }

    /// The number of values of state a parameter.
    #[must_use]
    pub fn slots(&self) -> usize {
        match self {
            Self::Sgd { .. } | Self::Muon { .. } => 1,
            Self::Adam { .. } => 2,
        }
    }
}

/// One parameter's part of a step.
struct Update<'a> {
    optimizer: Optimizer,
    cx: &'a Context,
    lr: f32,
    step: u64,
    decays: bool,
}

impl Update<'_> {
    fn apply(&self, param: &mut Param, range: Range<usize>) {
        let (cx, lr) = (self.cx, self.lr);
        let decay = |weight_decay: f32| if self.decays { weight_decay } else { 0.0 };
        let grad = &param.grad[range.clone()];
        let value = &mut param.value[range.clone()];
        match (self.optimizer, param.slots.as_mut_slice()) {
            (Optimizer::Sgd { momentum, nesterov, weight_decay }, [velocity]) => {
                let velocity = &mut velocity[range];
                sgd(cx, lr, momentum, nesterov, decay(weight_decay), grad, value, velocity);
            }
            (Optimizer::Adam { beta1, beta2, eps, weight_decay }, [m, v]) => {
                let weight_decay = decay(weight_decay);
                let step = AdamStep { lr, beta1, beta2, eps, weight_decay, step: self.step + 1 };
                adam(cx, step, grad, value, &mut m[range.clone()], &mut v[range]);
            }
            _ => unreachable!("the slots are this optimiser's"),
        }
    }
}

/// The runs of rows that are not frozen, in order; `frozen` is empty (none is) or has `rows` entries.
fn thawed(frozen: &[bool], rows: usize) -> Vec<Range<usize>> {
    assert!(frozen.is_empty() || frozen.len() == rows, "one mark a row, or none");
    let mut runs: Vec<Range<usize>> = Vec::new();
    for row in (0..rows).filter(|&row| frozen.get(row) != Some(&true)) {
        match runs.last_mut() {
            Some(run) if run.end == row => run.end += 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::thawed;

    #[test]
    fn runs_cover_exactly_the_rows_that_are_not_frozen() {
        let runs = |frozen: &[bool], rows| {
            thawed(frozen, rows).into_iter().map(|run| (run.start, run.end)).collect::<Vec<_>>()
        };
        assert_eq!(runs(&[], 3), [(0, 3)]);
        assert_eq!(runs(&[false, true, false, false, true], 5), [(0, 1), (2, 4)]);
        assert_eq!(runs(&[true, true], 2), []);
    }
}
