//! The settings of a run, as its folder has them.

use super::Args;
use crate::cli::common::Common;
use crate::cli::config::{self, Idle, Layers, flag};
use anyhow::Result;
use pleach_prune::phases::{Phases, PruneConfig};
use pleach_prune::settings::SettingError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Seconds of speed measurement, unless others are asked for.
const BENCH_SECONDS: f64 = 3.0;

/// `run.toml`, from which the run can be made again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct File {
    verb: String,
    /// Empty if it is not named.
    pub(super) net: String,
    pub(super) arch: Option<String>,
    pub(super) data: Option<PathBuf>,
    pub(super) verify: bool,
    pub(super) bench_seconds: f64,
    pub(super) prune: PruneConfig,
}

impl Default for File {
    /// No network, and the defaults.
    fn default() -> Self {
        Self {
            verb: "prune".into(),
            net: String::new(),
            arch: None,
            data: None,
            verify: false,
            bench_seconds: BENCH_SECONDS,
            prune: PruneConfig::default(),
        }
    }
}

impl config::Settings for File {
    const VERB: &'static str = "prune";
    const UNNAMED: &'static str = "name a network to prune";

    fn is_named(&self) -> bool {
        !self.net.is_empty()
    }

    fn check(&self) -> Result<(), SettingError> {
        let seconds = self.bench_seconds;
        if !(0.0..=3600.0).contains(&seconds) {
            let (key, found) = ("bench_seconds".into(), seconds.to_string());
            return Err(SettingError { key, expected: "a number of seconds, 0 to 3600", found });
        }
        self.prune.check("prune")
    }

    fn idle(&self) -> Vec<Idle> {
        /// What only fine-tuning reads.
        const TUNING: [&str; 9] = [
            "prune.recovery",
            "prune.global_step",
            "prune.layerwise_step",
            "prune.global_drop_share",
            "prune.global_target_share",
            "prune.freeze",
            "prune.tune",
            "prune.final_tune",
            "prune.distillation",
        ];
        /// What only choosing reads.
        const CHOOSING: [&str; 11] = [
            "prune.phases",
            "prune.target",
            "prune.floor",
            "prune.recovery",
            "prune.global_step",
            "prune.global_epochs",
            "prune.layerwise_step",
            "prune.layerwise_epochs",
            "prune.global_drop_share",
            "prune.global_target_share",
            "prune.tune",
        ];
        let PruneConfig { phases, target, epochs_budget, freeze, replay, .. } = &self.prune;
        let idle = |keys: &[&'static str], why| keys.iter().map(|key| Idle { key, why }).collect();
        let mut all: Vec<Vec<Idle>> = vec![
            idle(
                &["prune.tune.epochs", "prune.final_tune.epochs"],
                "the run sets it; set prune.global_epochs, prune.layerwise_epochs or prune.final_epochs",
            ),
            idle(&["prune.tune.seed", "prune.final_tune.seed"], "the run sets it; set prune.seed"),
        ];
        if replay.is_some() {
            let why = "--plan says what is removed, and only the final fine-tuning follows";
            all.push(idle(&CHOOSING, why));
        }
        if *phases != Phases::Both {
            let shares = ["prune.global_drop_share", "prune.global_target_share"];
            all.push(idle(&shares, "it is about runs with both phases (--phase both)"));
        }
        match phases {
            Phases::Both => {}
            Phases::Global => all.push(idle(
                &["prune.layerwise_step", "prune.layerwise_epochs"],
                "phase II does not run; set --phase both or layerwise",
            )),
            Phases::Layerwise => all.push(idle(
                &["prune.global_step", "prune.global_epochs"],
                "phase I does not run; set --phase both or global",
            )),
        }
        if target.is_none() {
            let share = ["prune.global_target_share"];
            all.push(idle(&share, "there is no target; set --macs, --params or --channels"));
        }
        if *epochs_budget == Some(0.0) {
            all.push(idle(&TUNING, "--epochs-budget 0 prunes once, without fine-tuning"));
        }
        if epochs_budget.is_some() {
            all.push(idle(&["prune.final_epochs"], "--epochs-budget sets it"));
            if target.is_some() {
                let epochs = ["prune.global_epochs", "prune.layerwise_epochs"];
                all.push(idle(&epochs, "--epochs-budget and the target set it"));
            }
        }
        if *freeze == 0.0 {
            all.push(idle(&["prune.freeze_rank"], "nothing is frozen; set --freeze above 0"));
        }
        all.into_iter().flatten().collect()
    }
}

impl Args {
    /// The settings that the command line and the environment say, over those of `file`.
    pub(in crate::cli) fn layers(&self, common: &Common, file: Option<&Path>) -> Result<Layers> {
        let mut layers = Layers::over(&File::default());
        self.settings.lay_preset(&mut layers);
        if let Some(path) = file {
            layers.file(path, "prune")?;
        }
        layers.environment("prune", config::variables());
        layers.put(&common.origin("seed"), "prune.seed", common.seed_given());
        layers.put(&common.origin("data"), "data", self.data.text()?);
        if let Some(net) = self.net.as_deref() {
            // The architecture is that of the network which the file names.
            if layers.get("net") != net {
                layers.imply(&flag("NET"), "arch", None::<&str>);
            }
            layers.put(&flag("NET"), "net", Some(net));
        }
        layers.put(&flag("--arch"), "arch", self.arch.as_deref());
        layers.put(&flag("--verify"), "verify", self.verify.then_some(true));
        layers.put(&flag("--bench-seconds"), "bench_seconds", self.bench_seconds);
        self.settings.lay(&mut layers)?;
        layers.set(&self.config.set)?;
        Ok(layers)
    }
}
