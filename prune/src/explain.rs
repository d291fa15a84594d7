//! Why a pruning run removed a filter, or left it: from the record of its plan.

use crate::plan::{Plan, PlanStep};
use serde::Serialize;

/// What became of a layer's filters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The layer.
    pub layer: String,
    /// The layers that lose channels together with it, itself included, in graph order; those that lose one part of
    /// them before those that lose another.
    pub group: Vec<String>,
    /// Why none of its filters can be removed, if so.
    pub unprunable: Option<String>,
    /// Every filter of the original layer.
    pub filters: Vec<Filter>,
}

/// What became of a filter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filter {
    /// Its number in the original network.
    pub filter: usize,
    /// Whether it is in the pruned network.
    pub kept: bool,
    /// Whether it was removed and given back, because it costs no time.
    pub returned: bool,
    /// Its score when it was removed; if it stayed, by the last scoring, if there was one.
    pub score: Option<f64>,
    /// The step that removed it.
    pub removed: Option<Removal>,
    /// The steps that removed it and were undone.
    pub undone: Vec<Removal>,
}

/// A step that removed a filter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Removal {
    /// The step's number, from 1.
    pub step: usize,
    /// Its phase.
    pub phase: String,
    /// The criterion.
    pub criterion: String,
    /// The filter's score then.
    pub score: Option<f64>,
    /// The largest score among all that the step removed: what scored less went, but for filters that
    /// layers' floors kept, and, in the layer-wise phase, those of other layers.
    pub threshold: Option<f64>,
    /// Points of accuracy lost against the reference at the end of the step.
    pub drop_points: f64,
}

/// Why a layer cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct ExplainError {
    layer: String,
    known: Vec<String>,
}

impl ExplainError {
    fn message(&self) -> String {
        match &self.known[..] {
            [] => "the run's plan has no channel groups, so nothing in it can be explained".into(),
            known => {
                let (layer, known) = (&self.layer, known.join(", "));
                format!("the run's network has no layer {layer:?} with filters; there are {known}")
            }
        }
    }
}

/// What became of the filters of `layer`.
///
/// # Errors
/// If the plan knows no such layer.
pub fn explain(plan: &Plan, layer: &str) -> Result<Explanation, ExplainError> {
    let is_in_one = |layer: &str| plan.groups_of(layer).next().is_some();
    let Some(kept) = plan.kept.get(layer).filter(|_| is_in_one(layer)) else {
        let known = plan.kept.keys().filter(|layer| is_in_one(layer)).cloned().collect();
        return Err(ExplainError { layer: layer.to_owned(), known });
    };
    let unprunable = plan.unprunable(layer);
    let groups = plan.groups_of(layer);
    let groups = groups.filter(|group| group.unprunable.is_none() || unprunable.is_some());
    let mut group: Vec<String> = Vec::new();
    for name in groups.flat_map(|group| &group.layers) {
        if !group.contains(name) {
            group.push(name.clone());
        }
    }
    let last = plan.last_scores.get(layer);
    let filters = (0..plan.width(layer)).map(|filter| {
        let removals: Vec<(bool, Removal)> = removals(plan, layer, filter).collect();
        let kept = kept.binary_search(&filter).is_ok();
        let removed = removals.iter().rfind(|(accepted, _)| *accepted && !kept);
        let removed = removed.map(|(_, removal)| removal.clone());
        let last = last.and_then(|scores| scores.iter().find(|(index, _)| *index == filter));
        let score = match &removed {
            Some(removal) => removal.score,
            None => last.map(|(_, score)| *score),
        };
        let undone = removals.into_iter().filter(|(accepted, _)| !accepted);
        let back = plan.returned.get(layer).is_some_and(|back| back.contains(&filter));
        let returned = back && kept;
        Filter { filter, kept, returned, score, removed, undone: undone.map(|(_, r)| r).collect() }
    });
    Ok(Explanation {
        layer: layer.to_owned(),
        group,
        unprunable: unprunable.map(str::to_owned),
        filters: filters.collect(),
    })
}

/// The steps that removed a filter, and whether they stand.
fn removals<'a>(
    plan: &'a Plan,
    layer: &'a str,
    filter: usize,
) -> impl Iterator<Item = (bool, Removal)> + 'a {
    plan.steps.iter().enumerate().filter_map(move |(number, step)| {
        let place = step.removed.get(layer)?.binary_search(&filter).ok()?;
        let removal = Removal {
            step: number + 1,
            phase: step.phase.clone(),
            criterion: step.criterion.clone(),
            score: step.scores.get(layer).and_then(|scores| scores.get(place)).copied(),
            threshold: threshold(step),
            drop_points: step.drop_points,
        };
        Some((step.accepted, removal))
    })
}

/// The largest score among what a step removed.
fn threshold(step: &PlanStep) -> Option<f64> {
    step.scores.values().flatten().copied().reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlanGroup;
    use pleach_core::models;
    use pleach_core::tensor::Shape;
    use std::collections::BTreeMap;

    fn step(phase: &str, removed: &[usize], scores: &[f64], accepted: bool) -> PlanStep {
        let layer = || "features.0".to_owned();
        PlanStep {
            phase: phase.into(),
            criterion: "l1".into(),
            removed: BTreeMap::from([(layer(), removed.to_vec())]),
            scores: BTreeMap::from([(layer(), scores.to_vec())]),
            accuracy_before: 0.5,
            accuracy_after_surgery: None,
            accuracy_after_tuning: None,
            drop_points: 1.0,
            macs: 1,
            accepted,
        }
    }

    #[test]
    fn a_filter_went_by_the_step_that_stands_and_stayed_where_its_step_was_undone() {
        let graph = models::build("vgg-small:4,8,12,12,16,16", Shape::new(3, 32, 32), 10).unwrap();
        let mut plan = Plan::new("vgg-small", &graph);
        plan.steps = vec![
            step("global", &[0, 2], &[0.1, 0.4], true),
            step("layerwise", &[3], &[0.7], false),
        ];
        plan.kept.insert("features.0".into(), vec![1, 3]);
        plan.last_scores.insert("features.0".into(), vec![(1, 0.9), (3, 0.7)]);
        let found = explain(&plan, "features.0").unwrap();
        let kept: Vec<bool> = found.filters.iter().map(|filter| filter.kept).collect();
        assert_eq!(kept, [false, true, false, true]);
        let first = found.filters[0].removed.as_ref().unwrap();
        assert_eq!((first.step, first.score, first.threshold), (1, Some(0.1), Some(0.4)));
        assert_eq!((found.filters[1].score, found.filters[1].undone.len()), (Some(0.9), 0));
        let undone = &found.filters[3].undone;
        assert_eq!((undone[0].step, undone[0].phase.as_str()), (2, "layerwise"));
        assert!(explain(&plan, "features.9").unwrap_err().to_string().contains("features.0"));
        assert!(explain(&plan, "classifier").unwrap().unprunable.is_some());
        assert_eq!(found.unprunable, None);
        // A part of its channels goes with those of another layer, or cannot go.
        let joined = ["features.0", "features.4"].map(str::to_owned).to_vec();
        let reason = Some("joined with the image".to_owned());
        plan.groups
            .insert(0, PlanGroup { layers: joined.clone(), channels: 1, unprunable: reason });
        let found = explain(&plan, "features.0").unwrap();
        assert_eq!((found.group, found.unprunable), (vec!["features.0".to_owned()], None));
        plan.groups[0].unprunable = None;
        assert_eq!(explain(&plan, "features.0").unwrap().group, joined);
        plan.groups.clear();
        let error = explain(&plan, "features.0").unwrap_err().to_string();
        assert!(error.contains("no channel groups"), "{error}");
    }
}
