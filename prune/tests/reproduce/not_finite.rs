//! Networks in which values overflow have no numbers for a cell.

use super::{Stopping, context, dataset, untrained};
use pleach_core::network::Network;
use pleach_prune::PruneError;
use pleach_prune::bias_update::BiasUpdate;
use pleach_prune::compare::{CompareConfig, compare};
use pleach_prune::ranking::{RankingConfig, rank};
use std::ops::ControlFlow;

/// A network whose weights are finite and whose logits are not.
fn overflowing() -> Network {
    let mut network = untrained();
    let values = network.params_mut().iter_mut().flat_map(|param| &mut param.value);
    values.for_each(|value| *value *= 1e30);
    network
}

fn assert_refused<T: std::fmt::Debug>(found: Result<T, PruneError>) {
    assert!(matches!(found, Err(PruneError::NotFinite(_))), "{found:?}");
    let error = found.expect_err("it is none").to_string();
    assert!(error.contains("is not finite: values overflow in this network"), "{error}");
}

#[test]
fn no_curve_has_a_loss_that_is_not_finite() {
    let network = overflowing();
    let config = CompareConfig {
        curves: vec![("l1".into(), BiasUpdate::None)],
        shares: vec![0.5],
        calibration: 20,
        ..CompareConfig::every_criterion(&network, 1)
    };
    let mut observer = Stopping::default();
    assert_refused(compare(&context(), &dataset(), &network, &config, &mut observer));
}

#[test]
fn no_ranking_has_a_loss_that_is_not_finite() {
    let config = RankingConfig { filters: 1, calibration: 20, seed: 1 };
    let go_on = &mut |_, _| ControlFlow::Continue(());
    assert_refused(rank(&context(), &dataset(), &overflowing(), &config, go_on));
}
