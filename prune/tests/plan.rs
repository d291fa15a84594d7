//! Which channels go, and the record from which they go again.

mod graphs;
mod structures;

use pleach_core::graph::Graph;
use pleach_prune::channels::{ChannelId, Channels};
use pleach_prune::criteria::Scores;
use pleach_prune::lineage::Lineage;
use pleach_prune::plan::{Plan, PlanError, PlanStep, replay};
use pleach_prune::select::{Floors, lowest, share_of};
use pleach_prune::surgery::{Kept, SurgeryError, prune};
use std::collections::BTreeMap;
use structures::{STRUCTURES, add_of_concat, add_of_image, plain, residual};

fn ascending(channels: &Channels) -> Scores {
    let scores = (0..channels.len()).map(|i| i as f64).collect();
    Scores::from_classes(scores, vec![0.0; channels.len()])
}

fn floors(graph: &Graph, share: f64) -> Floors {
    Floors::new(&Channels::of(graph), &Lineage::of(graph), share)
}

#[test]
fn the_lowest_scores_go_and_ties_go_by_norm_and_index() {
    let graph = plain();
    let channels = Channels::of(&graph);
    let candidates = channels.groups()[1].channels.clone();
    let mut scores = vec![1.0; channels.len()];
    let mut norms = vec![1.0; channels.len()];
    scores[candidates[7].0] = 0.5;
    norms[candidates[9].0] = 0.5;
    let scores = Scores::from_classes(scores, norms);
    let removed = lowest(&channels, &candidates, &scores, 4, &floors(&graph, 0.02));
    let expected = [7, 9, 0, 1].map(|i| candidates[i]);
    assert_eq!(removed, expected);
}

#[test]
fn floors_hold_for_every_layer_and_in_original_widths() {
    for structure in STRUCTURES {
        let graph = structure();
        let channels = Channels::of(&graph);
        let floors = floors(&graph, 0.3);
        let scores = ascending(&channels);
        let removed = lowest(&channels, &channels.prunable(), &scores, usize::MAX, &floors);
        let kept = Kept::without(&channels, &removed);
        assert_eq!(kept.check(&graph, &channels), Ok(()));
        let lineage = Lineage::of(&graph).after(&channels, &kept);
        for layer in channels.prunable_layers() {
            let floor = (lineage.width(layer) as f64 * 0.3).ceil() as usize;
            assert!(kept.indices(&channels, layer).len() >= floor);
            assert_eq!(floors.of(layer), floor);
        }
        // What is left over cannot go in a later step either.
        let network = prune(&graphs::network(graph, 1), &channels, &kept);
        let channels = Channels::of(network.graph());
        let again = Floors::new(&channels, &lineage, 0.3);
        let all = channels.prunable();
        assert_eq!(lowest(&channels, &all, &ascending(&channels), usize::MAX, &again), []);
    }
}

#[test]
fn channels_that_cannot_go_are_passed_over() {
    let graph = add_of_image();
    let channels = Channels::of(&graph);
    let all: Vec<ChannelId> = (0..channels.len()).map(ChannelId).collect();
    let scores = ascending(&channels);
    let removed = lowest(&channels, &all, &scores, usize::MAX, &floors(&graph, 0.02));
    let b = graph.find("b").expect("it is there");
    assert_eq!(removed, channels.outputs(b)[..3]);
}

#[test]
fn shares_are_rounded_and_never_nothing() {
    assert_eq!([0, 1, 4, 25, 26, 100].map(|n| share_of(n, 0.1)), [0, 1, 1, 3, 3, 10]);
    assert_eq!(share_of(7, 2.0), 7);
}

#[test]
fn two_steps_replay_as_one_with_the_original_numbers() -> Result<(), PlanError> {
    for structure in STRUCTURES {
        let base = graphs::network(structure(), 2);
        let mut plan = Plan::new("test", base.graph());
        let mut network = base.clone();
        let mut lineage = Lineage::of(base.graph());
        for seed in 0..2 {
            let channels = Channels::of(network.graph());
            let kept = graphs::kept(network.graph(), &channels, 0.3, seed);
            plan.steps.push(PlanStep {
                phase: "global".into(),
                criterion: "random".into(),
                removed: lineage.removed(&channels, &kept),
                scores: BTreeMap::new(),
                accuracy_before: 0.9,
                accuracy_after_surgery: None,
                accuracy_after_tuning: Some(0.89),
                drop_points: 1.0,
                macs: network.graph().macs(),
                accepted: true,
            });
            network = prune(&network, &channels, &kept);
            lineage = lineage.after(&channels, &kept);
        }
        plan.kept = lineage.kept();
        for (layer, kept) in &plan.kept {
            let removed = plan.steps.iter().filter_map(|step| step.removed.get(layer));
            let mut all: Vec<usize> = removed.flatten().chain(kept).copied().collect();
            all.sort_unstable();
            let id = base.graph().find(layer).expect("it is a layer");
            assert!(all.into_iter().eq(0..base.graph().node(id).shape.channels));
        }

        let read = Plan::from_json(&plan.to_json())?;
        assert_eq!(read, plan);
        let replayed = replay(&base, &read)?;
        // Nothing was trained in between, so that the values are the same too.
        assert_eq!(replayed, network);
    }
    Ok(())
}

fn with(graph: &Graph, layer: &str, kept: &[usize]) -> Plan {
    let mut plan = Plan::new("test", graph);
    plan.kept.insert(layer.into(), kept.to_vec());
    plan
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let network = graphs::network(residual(), 1);
    let refuse = |layer: &str, kept: &[usize]| {
        let plan = with(network.graph(), layer, kept);
        replay(&network, &plan).expect_err("the plan does not fit")
    };
    assert!(matches!(refuse("conv9", &[0]), PlanError::UnknownLayer(_)));
    assert!(matches!(refuse("a.relu", &[0]), PlanError::UnknownLayer(_)));
    assert!(matches!(refuse("a", &[0, 7]), PlanError::Index { index: 7, width: 7, .. }));
    assert!(matches!(refuse("a", &[1, 1]), PlanError::Index { index: 1, .. }));
    assert!(matches!(refuse("a", &[usize::MAX]), PlanError::Index { .. }));
    let empty = refuse("a", &[]);
    assert!(matches!(empty, PlanError::Surgery(SurgeryError::Empty { .. })), "{empty}");
    let torn = refuse("stem", &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(
        torn.to_string(),
        "the plan removes channel 9 of stem but keeps channel 9 of b, which goes with it"
    );
    let output = refuse("fc", &[0]);
    assert!(matches!(output, PlanError::Surgery(SurgeryError::Unprunable { .. })), "{output}");
}

#[test]
fn a_plan_is_read_by_its_schema_and_without_unknown_keys() {
    let plan = Plan::new("test", &add_of_concat()).to_json();
    assert!(Plan::from_json(&plan).is_ok());
    let other = plan.replace("pleach.plan/1", "pleach.plan/2");
    assert!(
        matches!(Plan::from_json(&other), Err(PlanError::Schema(schema)) if schema.ends_with('2'))
    );
    let unknown = plan.replacen('{', "{\"extra\": 1,", 1);
    assert!(matches!(Plan::from_json(&unknown), Err(PlanError::Malformed(_))));
    assert!(matches!(Plan::from_json("[]"), Err(PlanError::Malformed(_))));
}

#[test]
fn a_plan_lists_what_cannot_be_pruned_with_its_reason() {
    let plan = Plan::new("test", &add_of_image());
    let reasons: Vec<_> = plan.groups.iter().map(|group| group.unprunable.as_deref()).collect();
    assert_eq!(
        reasons,
        [
            Some("joined with the channels of the image"),
            None,
            Some("joined with the outputs of the network")
        ]
    );
    assert_eq!(plan.groups[0].layers, ["input", "a"]);
}
