use super::budget::Steps;
use super::config::Phases;
use super::pruner::Pruner;
use super::trial::Removal;
use crate::error::PruneError;
use crate::plan;
use crate::select::share_of;
use crate::target::Unit;

/// The removal of the next round of phase I (see [`super`]); `None`: the phase is over.
pub(super) fn next(pruner: &mut Pruner<'_>) -> Result<Option<Removal>, PruneError> {
    let target = pruner.config.global_target(pruner.state.start);
    let limit = target.map_or(0, |target| pruner.limit(target));
    if target.is_some_and(|target| pruner.count(target) <= limit) {
        return Ok(None);
    }
    let candidates = pruner.channels.prunable();
    let amount = share_of(candidates.len(), pruner.config.global_step);
    let scored = pruner.score()?;
    let mut removed = pruner.choose(&candidates, &scored.scores, amount);
    removed.truncate(pruner.enough(&removed, target, limit));
    let step = pruner.config.global_step;
    let rounds = match target {
        Some(target) => Steps::ToTarget(rounds_for(pruner.left(target, limit), step, target.unit)),
        None => Steps::WithinLimit(rounds_for(pruner.config.parts(None)[0], step, Unit::Macs)),
    };
    let epochs = pruner.state.purse.global(rounds).filter(|_| !removed.is_empty());
    Ok(epochs.map(|epochs| Removal {
        layers: Vec::new(),
        removed,
        scored,
        epochs,
        limit: pruner.config.global_drop(),
    }))
}

/// Rounds that take `step` of all channels, and so about its square of whatever else is counted, to get `unit`
/// fewer by `factor`: whole ones, one at least.
pub(super) fn rounds_for(factor: f64, step: f64, unit: Unit) -> f64 {
    rounds(factor, step, unit).ceil().max(1.0)
}

/// The same, with the part of the last round that is needed.
pub(super) fn rounds(factor: f64, step: f64, unit: Unit) -> f64 {
    let power = if unit == Unit::Channels { 1.0 } else { 2.0 };
    factor.max(1.0).ln() / (-power * (1.0 - step).ln())
}

/// Prunes once, to the target, without fine-tuning: the lowest channels of the whole network, or,
/// where phase II runs alone, the same share of every group of channels, its lowest. Where that loses too much, as many of the same
/// channels as the limit allows, to a thirty-second of their number.
pub(super) fn once(pruner: &mut Pruner<'_>) -> Result<Option<Removal>, PruneError> {
    let Some(target) = pruner.config.target else { return Ok(None) };
    let limit = pruner.limit(target);
    if pruner.count(target) <= limit {
        return Ok(None);
    }
    let candidates = pruner.channels.prunable();
    let scored = pruner.score()?;
    let all = candidates.len();
    let order = match pruner.config.phases {
        Phases::Both | Phases::Global => scored.scores.clone(),
        Phases::Layerwise => scored.scores.within_groups(&pruner.channels),
    };
    let mut removed = pruner.choose(&candidates, &order, all);
    removed.truncate(pruner.enough(&removed, Some(target), limit));
    let (mut low, mut high) = (0, removed.len());
    let mut count = removed.len();
    let resolution = removed.len().div_ceil(32);
    let mut best = 0;
    while count > 0 {
        let accuracy = pruner.accuracy_without(&removed[..count], &scored);
        if pruner.drop_of(accuracy) <= pruner.config.max_drop {
            (low, best) = (count, count);
        } else {
            high = count;
        }
        if best == removed.len() || high - low <= resolution {
            break;
        }
        count = low + (high - low) / 2;
    }
    removed.truncate(best);
    let limit = pruner.config.max_drop;
    let removal = Removal { layers: Vec::new(), removed, scored, epochs: 0.0, limit };
    Ok((best > 0).then_some(removal))
}

/// Removes what the configuration does not keep, whatever it loses.
pub(super) fn replay(pruner: &mut Pruner<'_>) -> Result<Option<Removal>, PruneError> {
    let keeps = pruner.config.replay.as_deref().unwrap_or_default();
    let kept = plan::kept_of(pruner.network.graph(), &pruner.channels, keeps)?;
    let removed: Vec<_> = kept.removed().collect();
    if removed.is_empty() {
        return Ok(None);
    }
    let scored = pruner.score()?;
    // JSON, in which the state is saved, has no infinity.
    Ok(Some(Removal { layers: Vec::new(), removed, scored, epochs: 0.0, limit: f64::MAX }))
}
