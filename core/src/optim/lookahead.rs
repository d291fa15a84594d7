use super::thawed;
use crate::network::Network;
use serde::{Deserialize, Serialize};

/// Weights that follow the optimiser's from behind, and to which it returns (Zhang et al. 2019,
/// arXiv 1907.08610), the more firmly the nearer the end: a moving average that training goes on from, as
/// Jordan (2024, arXiv 2404.00498) anneals it. Its state is [`Param::slow`](crate::network::Param::slow).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookahead {
    /// Steps from one return to the next.
    pub every: u64,
    /// How much of the slow weights stays in a step at the end of the run; before, this times the cube of the
    /// part of the run that is done.
    pub decay: f64,
}

impl Default for Lookahead {
    fn default() -> Self {
        Self { every: 5, decay: 0.95 }
    }
}

impl Lookahead {
    /// After the optimiser's step number `step`, from 0, of `steps`: in every [`Lookahead::every`]th, and in the
    /// last, slow weights move towards the trained ones, which then are set to them. The first time in a run
    /// they begin as those. Frozen rows stay as they are.
    pub fn step(&self, net: &mut Network, step: u64, steps: u64) {
        let every = self.every.max(1);
        let done = step + 1;
        if !done.is_multiple_of(every) && done != steps {
            return;
        }
        let progress = (done as f64 / steps as f64).min(1.0);
        let keep = (self.decay.powf(every as f64) * progress.powi(3)) as f32;
        let (graph, params) = net.split_mut();
        for (param, place) in params.iter_mut().zip(graph.params()) {
            if !place.spec.trainable {
                continue;
            }
            if done <= every || param.slow.len() != param.value.len() {
                param.slow.clone_from(&param.value);
                continue;
            }
            let rows = place.spec.dims[0];
            let row = param.value.len() / rows;
            for run in thawed(&param.frozen, rows) {
                let range = run.start * row..run.end * row;
                let slow = &mut param.slow[range.clone()];
                for (value, slow) in param.value[range].iter_mut().zip(slow) {
                    *slow = keep.mul_add(*slow - *value, *value);
                    *value = *slow;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;
    use crate::tensor::Shape;

    #[test]
    fn weights_return_to_their_average_every_few_steps_and_at_the_end() {
        let graph = models::build("vgg-small", Shape::new(3, 32, 32), 10).expect("it is a model");
        let mut net = Network::init(graph, 1);
        net.params_mut().iter_mut().for_each(|param| param.value.fill(0.0));
        let last = net.graph().params().len() - 1;
        net.params_mut()[last].frozen = (0..10).map(|row| row == 3).collect();
        let lookahead = Lookahead { every: 2, decay: 0.5 };
        let (mut fast, mut slow) = (0.0f64, 0.0f64);
        for step in 0..7u64 {
            // The optimiser: every weight grows by 1.
            for param in net.params_mut() {
                param.value.iter_mut().for_each(|value| *value += 1.0);
            }
            fast += 1.0;
            lookahead.step(&mut net, step, 7);
            match step {
                1 => slow = fast,
                3 | 5 | 6 => {
                    let keep = 0.25 * ((step + 1) as f64 / 7.0).powi(3);
                    slow = keep * slow + (1.0 - keep) * fast;
                    fast = slow;
                }
                _ => {}
            }
            let bias = &net.params()[last];
            assert!((f64::from(bias.value[0]) - fast).abs() < 1e-5, "{step}: {:?}", bias.value);
            assert_eq!(bias.value[3], (step + 1) as f32, "a frozen row is left alone");
        }
        let statistic = net.graph().params().iter().position(|place| !place.spec.trainable);
        let statistic = &net.params()[statistic.expect("batch norm has some")];
        assert!(statistic.slow.is_empty() && statistic.value[0] == 7.0);
    }

    #[test]
    fn a_new_run_forgets_the_slow_weights_of_the_one_before() {
        let graph = models::build("vgg-small", Shape::new(3, 32, 32), 10).expect("it is a model");
        let mut net = Network::init(graph, 1);
        net.params_mut().iter_mut().for_each(|param| param.slow = vec![9.0; param.value.len()]);
        let before = net.clone();
        Lookahead::default().step(&mut net, 4, 100);
        for ((param, old), place) in
            net.params().iter().zip(before.params()).zip(net.graph().params())
        {
            assert_eq!(param.value, old.value);
            assert!(!place.spec.trainable || param.slow == param.value);
        }
    }
}
