//! Pruning runs that go on from what others left.

use super::{Files, config, few};
use super::{Stop, context, files, folder_with, left, untrained};
use pleach_core::checkpoint::Meta;
use pleach_core::network::Network;
use pleach_prune::phases::{self, Earlier, Outcome, PruneConfig, RunObserver};
use pleach_prune::prune_run::{self, Job, PruneRunError};
use pleach_prune::run_dir::RunDir;
use pleach_prune::target::{Target, Unit};
use pleach_prune::trainer::Silent;

fn to(amount: &str) -> PruneConfig {
    let target = Target { unit: Unit::Macs, amount: amount.parse().expect("an amount") };
    PruneConfig { target: Some(target), max_drop: 100.0, ..config() }
}

/// Half as many multiply-adds.
fn earlier() -> (Outcome, Earlier) {
    let (cx, dataset, config) = (context(), few::dataset(), to("2x"));
    let outcome = phases::run(&cx, &dataset, &untrained(), "small", &config, &mut Silent);
    let outcome = outcome.expect("it works");
    let (network, plan) = (outcome.network.clone(), outcome.plan.clone());
    // As if another one had neither a bias nor batch norm.
    let lacks = |layer: &&String| !outcome.without_bias_update.contains(layer);
    let without_bias_update = plan.kept.keys().find(lacks).cloned().into_iter().collect();
    let epochs = outcome.epochs;
    let earlier = Earlier { network, plan, epochs, without_bias_update };
    (outcome, earlier)
}

fn go_on(
    run: &RunDir,
    after: &Earlier,
    config: &PruneConfig,
    observer: &mut dyn RunObserver,
) -> Result<Outcome, PruneRunError> {
    let meta = Meta { model: "small".into(), ..Meta::default() };
    let job = Job { model: "small", meta: &meta, config, after: Some(after) };
    prune_run::prune(&context(), &few::dataset(), run, &job, &untrained(), observer)
}

#[test]
fn a_run_counts_on_from_an_earlier_one_and_against_the_same_base() {
    let (first, earlier) = earlier();
    let (_folder, run) = folder_with(&Files::new());
    let second = go_on(&run, &earlier, &to("4x"), &mut Silent).expect("it works");

    assert_eq!(second.base, first.base);
    assert!(4 * second.pruned.macs <= first.base.macs && second.target_met);
    let (before, after) = second.plan.steps.split_at(first.plan.steps.len());
    assert_eq!(before, first.plan.steps);
    let told = &earlier.without_bias_update;
    assert!(told.len() == 1 && told.iter().all(|layer| second.without_bias_update.contains(layer)));
    assert_eq!((after.len(), second.plan.scores), (second.steps.len(), first.plan.scores));
    let own: f64 = second.steps.iter().map(|step| step.epochs).sum();
    assert!((second.epochs - first.epochs - own - config().final_epochs).abs() < 1e-9);
    for (layer, kept) in &second.plan.kept {
        assert!(kept.iter().all(|channel| first.plan.kept[layer].contains(channel)), "{layer}");
    }
    // From a half to a quarter, phase I goes to the square root of an eighth.
    let global = after.iter().filter(|step| step.phase == "global").map(|step| step.macs);
    let (global, base) = (global.min().expect("a round") as f64, first.base.macs as f64);
    assert!((0.2 * base..0.125f64.sqrt() * base).contains(&global), "{}", global / base);
}

#[test]
fn a_run_after_another_is_resumed_to_the_same_bits() {
    let (_, earlier) = earlier();
    let (_folder, whole) = folder_with(&Files::new());
    go_on(&whole, &earlier, &to("4x"), &mut Silent).expect("it works");
    let (_folder, run) = folder_with(&Files::new());
    for steps in [0, 1, 3, 5] {
        let mut stop = Stop { steps, in_training: false };
        go_on(&run, &earlier, &to("4x"), &mut stop).expect_err("it is stopped");
    }
    go_on(&run, &earlier, &to("4x"), &mut Silent).expect("it goes on");
    assert!(left(&run) == left(&whole));
}

#[test]
fn a_target_that_the_earlier_run_met_changes_nothing() {
    let (first, earlier) = earlier();
    let (_folder, run) = folder_with(&Files::new());
    let second = go_on(&run, &earlier, &to("1.5x"), &mut Silent).expect("it works");
    assert_eq!((second.pruned, second.epochs), (first.pruned, first.epochs));
    assert!(second.steps.is_empty());
}

#[test]
fn what_is_not_left_of_the_same_base_is_refused() {
    let (_, earlier) = earlier();
    let (_folder, run) = folder_with(&Files::new());
    let refused = |earlier: &Earlier, says: &str| {
        let error = go_on(&run, earlier, &to("4x"), &mut Silent).expect_err("it is refused");
        assert!(error.to_string().contains(says), "{error}");
    };
    let whole = Earlier { network: untrained(), ..earlier.clone() };
    refused(&whole, "the standing network is another one");
    let mut torn = earlier.clone();
    let (_, kept) = torn.plan.kept.iter_mut().next().expect("a layer");
    kept.push(99);
    refused(&torn, "channel 99");

    let mut stop = Stop { steps: 3, in_training: false };
    go_on(&run, &earlier, &to("4x"), &mut stop).expect_err("it is stopped");
    let before = files(&run);
    let graph = earlier.network.graph().clone();
    let other = Earlier { network: Network::init(graph, 9), ..earlier.clone() };
    refused(&other, "the earlier network's SHA-256 is");
    assert!(files(&run) == before, "what is refused stays");
}
