use super::usual;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The learning rate over a run, as a fraction of its peak and a function of progress.
///
/// Progress is what is done when a step begins, `step / steps`: 0 at the first, below 1 at the last. So the rate of
/// the run's end is approached, not reached.
///
/// In a file the kind is enough: the rest is as usual ([`Schedule::step`], [`Schedule::cosine`],
/// [`Schedule::one_cycle`]) where nothing is said of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The peak throughout.
    Constant {},
    /// The peak times `gamma` to the number of milestones reached.
    Step {
        /// Fractions of the run.
        #[serde(default = "usual::milestones")]
        milestones: Vec<f64>,
        /// The factor at each.
        #[serde(default = "usual::gamma")]
        gamma: f64,
    },
    /// A straight line from 0 to the peak, then half a cosine down to `floor`: with `t` the
    /// progress after the warm-up, `floor + (1 - floor) (1 + cos(pi t)) / 2` (Loshchilov and Hutter
    /// 2017, equation 5).
    Cosine {
        /// Fraction of the run in which the rate rises.
        #[serde(default = "usual::cosine_warmup")]
        warmup: f64,
        /// The rate that the run's end approaches, as a fraction of the peak.
        #[serde(default)]
        floor: f64,
    },
    /// Half a cosine up from `1 / start_div` to the peak, then half a cosine down to `1 / end_div`
    /// (Smith and Topin 2019, with cosines for straight lines, as PyTorch's `OneCycleLR`, whose
    /// `final_div_factor` is `end_div / start_div`, and whose last step has the last rate).
    OneCycle {
        /// Fraction of the run in which the rate rises.
        #[serde(default = "usual::one_cycle_warmup")]
        warmup: f64,
        /// The peak over the first rate.
        #[serde(default = "usual::start_div")]
        start_div: f64,
        /// The peak over the rate that the run's end approaches.
        #[serde(default = "usual::end_div")]
        end_div: f64,
    },
}

impl Schedule {
    /// A tenth from half of the run on, a hundredth from three quarters.
    #[must_use]
    pub fn step() -> Self {
        Self::Step { milestones: usual::milestones(), gamma: usual::gamma() }
    }

    /// A short rise, then half a cosine down towards 0.
    #[must_use]
    pub const fn cosine() -> Self {
        Self::Cosine { warmup: usual::cosine_warmup(), floor: 0.0 }
    }

    /// A quarter of the run up from a tenth of the peak, the rest down towards a thousandth.
    #[must_use]
    pub const fn one_cycle() -> Self {
        let (start_div, end_div) = (usual::start_div(), usual::end_div());
        Self::OneCycle { warmup: usual::one_cycle_warmup(), start_div, end_div }
    }

    /// The learning rate at `progress`, the fraction of the run that is done (below 0 counts as 0,
    /// above 1 as 1), where `peak` is the largest.
    #[must_use]
    pub fn lr(&self, peak: f32, progress: f64) -> f32 {
        let progress = progress.clamp(0.0, 1.0);
        let factor = match self {
            Self::Constant {} => 1.0,
            Self::Step { milestones, gamma } => {
                let reached = milestones.iter().filter(|&&at| at <= progress).count();
                libm::pow(*gamma, reached as f64)
            }
            Self::Cosine { warmup, floor } => match phase(progress, *warmup) {
                Phase::Rising(t) => t,
                Phase::Falling(t) => cosine(1.0, *floor, t),
            },
            Self::OneCycle { warmup, start_div, end_div } => match phase(progress, *warmup) {
                Phase::Rising(t) => cosine(1.0 / start_div, 1.0, t),
                Phase::Falling(t) => cosine(1.0, 1.0 / end_div, t),
            },
        };
        (f64::from(peak) * factor) as f32
    }
}

/// Before or after the peak, with the fraction of that phase which is done.
enum Phase {
    Rising(f64),
    Falling(f64),
}

fn phase(progress: f64, warmup: f64) -> Phase {
    if progress < warmup {
        Phase::Rising(progress / warmup)
    } else if warmup < 1.0 {
        Phase::Falling((progress - warmup) / (1.0 - warmup))
    } else {
        Phase::Falling(0.0)
    }
}

/// From `from` at `t` = 0 to `to` at `t` = 1 along half a cosine.
fn cosine(from: f64, to: f64, t: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + libm::cos(PI * t))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_rates(schedule: &Schedule, expected: &[(f64, f32)]) {
        for &(progress, rate) in expected {
            let lr = schedule.lr(2.0, progress);
            assert!((lr - 2.0 * rate).abs() < 1e-6, "{schedule:?} at {progress}: {lr}");
        }
    }

    #[test]
    fn a_constant_rate_stays() {
        assert_rates(&Schedule::Constant {}, &[(0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (7.0, 1.0)]);
    }

    #[test]
    fn steps_fall_at_their_milestones() {
        let schedule = Schedule::Step { milestones: vec![0.5, 0.75], gamma: 0.1 };
        assert_rates(&schedule, &[(0.0, 1.0), (0.49, 1.0), (0.5, 0.1), (0.75, 0.01), (1.0, 0.01)]);
    }

    #[test]
    fn a_cosine_rises_in_a_line_and_falls_to_its_floor() {
        let schedule = Schedule::Cosine { warmup: 0.2, floor: 0.1 };
        assert_rates(&schedule, &[(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.6, 0.55), (1.0, 0.1)]);
        let without = Schedule::Cosine { warmup: 0.0, floor: 0.0 };
        assert_rates(&without, &[(0.0, 1.0), (0.25, 0.853_553_4), (0.5, 0.5), (1.0, 0.0)]);
    }

    #[test]
    fn one_cycle_is_that_of_pytorch() {
        // import torch  # 2.15
        // p = torch.nn.Parameter(torch.zeros(1))
        // o = torch.optim.SGD([p], 1.0)
        // s = torch.optim.lr_scheduler.OneCycleLR(
        //     o, 2.0, total_steps=11, pct_start=0.3, div_factor=25, final_div_factor=4)
        // for step in range(11):
        //     print(o.param_groups[0]["lr"])
        //     o.step()
        //     if step < 10: s.step()
        let rates = [
            0.08000000000000007,
            0.8446822274694716,
            1.9205228494452349,
            1.9598980438783524,
            1.7712610200859684,
            1.457650188209859,
            1.0705500442136244,
            0.6735095914332097,
            0.3317097021818343,
            0.1012625805987783,
            0.02,
        ];
        // The peak is at step 0.3 * 11 - 1 = 2.3 of the steps 0..=10.
        let schedule = Schedule::OneCycle { warmup: 0.23, start_div: 25.0, end_div: 100.0 };
        for (step, expected) in rates.into_iter().enumerate() {
            let rate = f64::from(schedule.lr(2.0, step as f64 / 10.0));
            assert!((rate - expected).abs() < 2e-7, "{rate} instead of {expected} at {step}");
        }
    }

    #[test]
    fn a_warm_up_as_long_as_the_run_never_falls() {
        let schedule = Schedule::Cosine { warmup: 1.0, floor: 0.0 };
        assert_rates(&schedule, &[(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]);
    }
}
