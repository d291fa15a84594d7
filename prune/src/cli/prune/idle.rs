//! Settings that a pruning run with certain others never reads.

use crate::cli::config::Idle;
use pleach_prune::bias_update::BiasUpdate;
use pleach_prune::criteria::Condition;
use pleach_prune::freeze::Rank;
use pleach_prune::phases::{Phases, PruneConfig};
use pleach_prune::target::Unit;

/// What only fine-tuning after each removal, and the final one, read.
const TUNING: &[&str] = &[
    "prune.recovery",
    "prune.global_step",
    "prune.layerwise_step",
    "prune.round_to",
    "prune.layerwise_order",
    "prune.global_drop_share",
    "prune.global_target_share",
    "prune.freeze",
    "prune.tune",
    "prune.final_tune",
    "prune.free_channels",
    "prune.distillation",
];

/// What only choosing reads.
const CHOOSING: &[&str] = &[
    "prune.phases",
    "prune.target",
    "prune.floor",
    "prune.recovery",
    "prune.global_step",
    "prune.global_epochs",
    "prune.layerwise_step",
    "prune.round_to",
    "prune.layerwise_epochs",
    "prune.layerwise_order",
    "prune.global_drop_share",
    "prune.global_target_share",
    "prune.tune",
];

/// Those of `config`, in an order in which the first reason is the best.
pub(super) fn of(config: &PruneConfig) -> Vec<Idle> {
    let (phases, target, budget) = (config.phases, config.target, config.epochs_budget);
    let by_latency = target.is_some_and(|target| target.unit == Unit::Latency);
    let freezes = config.freeze > 0.0;
    let conditional = config.criterion.starts_with("con_ent")
        || config.bias_update == BiasUpdate::MaxEntropy
        || freezes && config.freeze_rank == Rank::ConEnt;
    let entropies = conditional || config.criterion == "entropy" || freezes;
    let replays = config.replay.is_some();
    // The most epochs after a removal, but where a budget is shared out on the way to a target.
    let most = match phases {
        Phases::Both => config.global_epochs.max(config.layerwise_epochs),
        Phases::Global => config.global_epochs,
        Phases::Layerwise => config.layerwise_epochs,
    };
    let shared_out = budget.is_some() && target.is_some();
    // Of a budget, something is left for the end.
    let last = if budget.is_none() { config.final_epochs } else { f64::INFINITY };
    let rules: [(bool, &[&'static str], &'static str); 24] = [
        (
            true,
            &["prune.tune.epochs", "prune.final_tune.epochs"],
            "the run sets it; set prune.global_epochs, prune.layerwise_epochs or prune.final_epochs",
        ),
        (true, &["prune.tune.seed", "prune.final_tune.seed"], "the run sets it; set prune.seed"),
        (
            true,
            &["prune.tune.start", "prune.final_tune.start"],
            "fine-tuning begins with the network that there is",
        ),
        (replays, CHOOSING, "--plan says what is removed, and only the final fine-tuning follows"),
        (
            phases != Phases::Both,
            &["prune.global_drop_share", "prune.global_target_share"],
            "it is about runs with both phases (--phase both)",
        ),
        (
            phases == Phases::Global,
            &[
                "prune.layerwise_step",
                "prune.round_to",
                "prune.layerwise_epochs",
                "prune.layerwise_order",
            ],
            "phase II does not run; set --phase both or layerwise",
        ),
        (
            phases == Phases::Layerwise,
            &["prune.global_step", "prune.global_epochs"],
            "phase I does not run; set --phase both or global",
        ),
        (
            target.is_none(),
            &["prune.global_target_share"],
            "there is no target; set --macs, --params, --channels or --latency",
        ),
        (
            !by_latency,
            &["prune.latency_batch", "prune.latency_threads", "prune.free_channels"],
            "there is no latency target; set --latency",
        ),
        (budget == Some(0.0), TUNING, "--epochs-budget 0 prunes once, without fine-tuning"),
        (budget.is_some(), &["prune.final_epochs"], "--epochs-budget sets it"),
        (
            budget.is_some() && target.is_some(),
            &["prune.global_epochs", "prune.layerwise_epochs"],
            "--epochs-budget and the target set it",
        ),
        (
            most == 0.0 && !shared_out,
            &["prune.tune"],
            "no removal is followed by fine-tuning; set --global-epochs or --layerwise-epochs",
        ),
        (
            most <= 1.0 && !shared_out,
            &["prune.tune.resizing"],
            "removals are followed by one epoch at most, and images grow in later ones",
        ),
        (
            last == 0.0,
            &["prune.final_tune", "prune.free_channels"],
            "there is no final fine-tuning; set --final-epochs above 0",
        ),
        (
            last <= 1.0,
            &["prune.final_tune.resizing"],
            "one epoch has no later one in which images could grow; set --final-epochs above 1",
        ),
        (
            last == 0.0 && (most == 0.0 || replays),
            &["prune.freeze", "prune.distillation"],
            "nothing is fine-tuned; set --final-epochs above 0",
        ),
        (
            config.distillation.is_some_and(|distillation| distillation.weight == 0.0),
            &["prune.distillation.temperature"],
            "nothing is compared; set --distill above 0",
        ),
        (!freezes, &["prune.freeze_rank"], "nothing is frozen; set --freeze above 0"),
        (!entropies, &["prune.con_ent"], "nothing goes by entropies; set --criterion con_ent"),
        (
            !conditional,
            &["prune.con_ent.condition", "prune.con_ent.loss_bins"],
            "nothing goes by conditional entropy; set --criterion con_ent",
        ),
        (
            config.con_ent.condition == Condition::Label,
            &["prune.con_ent.loss_bins"],
            "the condition is the label alone; set --condition loss",
        ),
        (
            !config.tune.augment,
            &["prune.tune.crop_padding", "prune.tune.border"],
            "images are not augmented",
        ),
        (
            !config.final_tune.augment,
            &["prune.final_tune.crop_padding", "prune.final_tune.border"],
            "images are not augmented",
        ),
    ];
    let holding = rules.into_iter().filter(|(holds, _, _)| *holds);
    holding.flat_map(|(_, keys, why)| keys.iter().map(move |key| Idle { key, why })).collect()
}
