use super::budget::Purse;
use super::config::Phases;
use super::driver::{Driver, Removal};
use crate::error::PruneError;
use crate::select::share_of;

/// Phase I: score all channels, remove the lowest, update biases, fine-tune, evaluate; until the
/// phase's share of the drop or of the target is spent. The last round stops at the target.
pub(super) fn run(driver: &mut Driver<'_>, purse: &mut Purse) -> Result<(), PruneError> {
    let target = driver.config.global_target();
    let limit = target.map_or(0, |target| target.limit(&driver.base_graph));
    loop {
        if target.is_some_and(|target| driver.count(target) <= limit) {
            return Ok(());
        }
        let candidates = driver.channels.prunable();
        let amount = share_of(candidates.len(), driver.config.global_step);
        let scored = driver.score()?;
        let removed = driver.choose(&candidates, &scored.scores, amount, target, limit);
        let rounds = target.map(|target| {
            let left = driver.count(target) as f64 / limit.max(1) as f64;
            rounds_for(left, driver.config.global_step)
        });
        let Some(epochs) = purse.global(rounds) else { return Ok(()) };
        if removed.is_empty() {
            return Ok(());
        }
        let before = driver.epochs;
        let accepted = driver.attempt(&Removal {
            phase: "global",
            layers: Vec::new(),
            removed: &removed,
            scored: &scored,
            epochs,
            limit: driver.config.global_drop(),
        })?;
        purse.spend_global(driver.epochs - before);
        if !accepted {
            return Ok(());
        }
    }
}

/// Rounds that take `step` of all channels, and so about its square of the multiply-adds, to get
/// fewer by `factor`.
pub(super) fn rounds_for(factor: f64, step: f64) -> f64 {
    (factor.max(1.0).ln() / (-2.0 * (1.0 - step).ln())).ceil().max(1.0)
}

/// Prunes once, to the target, without fine-tuning: the lowest channels of the whole network, or,
/// where phase II runs alone, the same share of every group of channels, its lowest. Where that loses too much, as many of the same
/// channels as the limit allows, to a thirty-second of their number.
pub(super) fn once(driver: &mut Driver<'_>) -> Result<(), PruneError> {
    let Some(target) = driver.config.target else { return Ok(()) };
    let limit = target.limit(&driver.base_graph);
    let candidates = driver.channels.prunable();
    let scored = driver.score()?;
    let all = candidates.len();
    let order = match driver.config.phases {
        Phases::Both | Phases::Global => scored.scores.clone(),
        Phases::Layerwise => scored.scores.within_groups(&driver.channels),
    };
    let removed = driver.choose(&candidates, &order, all, Some(target), limit);
    let (mut low, mut high) = (0, removed.len());
    let mut count = removed.len();
    let resolution = removed.len().div_ceil(32);
    let mut best = 0;
    while count > 0 {
        let accuracy = driver.accuracy_without(&removed[..count], &scored);
        if driver.drop_of(accuracy) <= driver.config.max_drop {
            (low, best) = (count, count);
        } else {
            high = count;
        }
        if best == removed.len() || high - low <= resolution {
            break;
        }
        count = low + (high - low) / 2;
    }
    if best > 0 {
        let limit = driver.config.max_drop;
        let removed = &removed[..best];
        let layers = Vec::new();
        driver.attempt(&Removal {
            phase: "once",
            layers,
            removed,
            scored: &scored,
            epochs: 0.0,
            limit,
        })?;
    }
    Ok(())
}
