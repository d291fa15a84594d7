//! What values settings may have.

mod range;

pub use range::{
    AMOUNT, EPOCHS, FRACTION, LESS_THAN_ONE, MOST_SEED, POSITIVE, Range, SEED, SOME, STEP,
    TEMPERATURE,
};

use crate::phases::PruneConfig;
use crate::reproduce::{Effort, Settings};
use crate::trainer::{Resizing, TrainConfig};
use pleach_core::loss::Distillation;
use pleach_core::optim::{Lookahead, Optimizer, Schedule};
use range::{EPS, ITERATIONS};

/// A setting whose value is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {found}, expected {expected}")]
pub struct SettingError {
    /// The setting, as files name it.
    pub key: String,
    /// What it may be.
    pub expected: &'static str,
    /// What it is.
    pub found: String,
}

/// Checks of settings in one table.
struct Table<'a>(&'a str);

impl Table<'_> {
    fn within(&self, range: Range, key: &str, found: f64) -> Result<(), SettingError> {
        range.check(self.key(key), found)
    }

    fn number(
        &self,
        key: &str,
        found: f64,
        expected: &'static str,
        fits: fn(f64) -> bool,
    ) -> Result<(), SettingError> {
        self.within(Range { expected, fits }, key, found)
    }

    fn count(&self, key: &str, found: usize) -> Result<(), SettingError> {
        self.number(key, found as f64, "1 to 65536", |x| (1.0..=65536.0).contains(&x))
    }

    fn seed(&self, found: u64) -> Result<(), SettingError> {
        match found <= MOST_SEED {
            true => Ok(()),
            false => {
                let (key, found) = (self.key("seed"), found.to_string());
                Err(SettingError { key, expected: SEED, found })
            }
        }
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.0)
    }
}

impl TrainConfig {
    /// Checks that every value is in range; `table` is what holds them.
    ///
    /// # Errors
    /// If one is not.
    pub fn check(&self, table: &str) -> Result<(), SettingError> {
        let of = Table(table);
        of.within(EPOCHS, "epochs", self.epochs)?;
        of.count("batch", self.batch)?;
        of.within(POSITIVE, "lr", f64::from(self.lr))?;
        if let Some(Lookahead { every, decay }) = self.lookahead {
            of.number("lookahead.every", every as f64, "1 step or more", |x| x >= 1.0)?;
            of.within(FRACTION, "lookahead.decay", decay)?;
        }
        of.number("crop_padding", self.crop_padding as f64, "0 to 16 pixels", |x| x <= 16.0)?;
        of.number("cutout", self.cutout as f64, "0 to 32 pixels", |x| x <= 32.0)?;
        of.within(FRACTION, "cutmix", f64::from(self.cutmix))?;
        if let Some(Resizing { start, until }) = self.resizing {
            of.number("resizing.start", start as f64, "4 to 65536 pixels", |x| {
                (4.0..=65536.0).contains(&x)
            })?;
            of.within(SOME, "resizing.until", until)?;
        }
        of.number("views", self.views as f64, "0 to 1000", |x| x <= 1000.0)?;
        of.seed(self.seed)?;
        of.within(LESS_THAN_ONE, "label_smoothing", f64::from(self.label_smoothing))?;
        match self.optimizer {
            Optimizer::Sgd { momentum, weight_decay, .. } => {
                of.within(LESS_THAN_ONE, "optimizer.momentum", f64::from(momentum))?;
                of.within(AMOUNT, "optimizer.weight_decay", f64::from(weight_decay))?;
            }
            Optimizer::Adam { beta1, beta2, eps, weight_decay } => {
                of.within(LESS_THAN_ONE, "optimizer.beta1", f64::from(beta1))?;
                of.within(LESS_THAN_ONE, "optimizer.beta2", f64::from(beta2))?;
                of.within(EPS, "optimizer.eps", f64::from(eps))?;
                of.within(AMOUNT, "optimizer.weight_decay", f64::from(weight_decay))?;
            }
            Optimizer::Muon { momentum, iterations, others_lr, others_momentum, weight_decay } => {
                of.within(LESS_THAN_ONE, "optimizer.momentum", f64::from(momentum))?;
                let number = f64::from(iterations);
                of.within(ITERATIONS, "optimizer.iterations", number)?;
                of.within(POSITIVE, "optimizer.others_lr", f64::from(others_lr))?;
                of.within(LESS_THAN_ONE, "optimizer.others_momentum", f64::from(others_momentum))?;
                of.within(AMOUNT, "optimizer.weight_decay", f64::from(weight_decay))?;
            }
        }
        match &self.schedule {
            Schedule::Constant {} => {}
            Schedule::Step { milestones, gamma } => {
                let check = |&at: &f64| of.within(FRACTION, "schedule.milestones", at);
                milestones.iter().try_for_each(check)?;
                of.within(FRACTION, "schedule.gamma", *gamma)?;
            }
            Schedule::Cosine { warmup, floor } => {
                of.within(LESS_THAN_ONE, "schedule.warmup", *warmup)?;
                of.within(FRACTION, "schedule.floor", *floor)?;
            }
            Schedule::OneCycle { warmup, start_div, end_div } => {
                of.within(LESS_THAN_ONE, "schedule.warmup", *warmup)?;
                of.within(POSITIVE, "schedule.start_div", *start_div)?;
                of.within(POSITIVE, "schedule.end_div", *end_div)?;
            }
        }
        Ok(())
    }
}

impl PruneConfig {
    /// Checks that every value is in range; `table` is what holds them.
    ///
    /// # Errors
    /// If one is not.
    pub fn check(&self, table: &str) -> Result<(), SettingError> {
        let of = Table(table);
        if let Some(target) = self.target {
            let expected = "more than 0 and at most 1 of it left";
            of.number("target.amount", target.amount.keep, expected, |x| x > 0.0 && x <= 1.0)?;
        }
        of.count("latency_batch", self.latency_batch)?;
        let threads = self.latency_threads as f64;
        of.number("latency_threads", threads, "1 to 1024", |x| (1.0..=1024.0).contains(&x))?;
        of.within(AMOUNT, "max_drop", self.max_drop)?;
        of.within(AMOUNT, "recovery", self.recovery)?;
        // In one bin every filter has the entropy 0.
        of.number("con_ent.bins", self.con_ent.bins as f64, "2 to 65536", |x| {
            (2.0..=65536.0).contains(&x)
        })?;
        of.count("con_ent.loss_bins", self.con_ent.loss_bins)?;
        let images = self.calibration as f64;
        of.number("calibration", images, "1 image or more", |x| x >= 1.0)?;
        of.within(FRACTION, "floor", self.floor)?;
        of.within(STEP, "global_step", self.global_step)?;
        of.within(AMOUNT, "global_epochs", self.global_epochs)?;
        of.within(STEP, "layerwise_step", self.layerwise_step)?;
        of.count("round_to", self.round_to)?;
        of.within(AMOUNT, "layerwise_epochs", self.layerwise_epochs)?;
        of.within(FRACTION, "global_drop_share", self.global_drop_share)?;
        of.within(FRACTION, "global_target_share", self.global_target_share)?;
        of.within(AMOUNT, "final_epochs", self.final_epochs)?;
        of.within(AMOUNT, "epochs_budget", self.epochs_budget.unwrap_or(0.0))?;
        of.within(FRACTION, "freeze", self.freeze)?;
        of.seed(self.seed)?;
        self.tune.check(&format!("{table}.tune"))?;
        self.final_tune.check(&format!("{table}.final_tune"))?;
        if let Some(Distillation { weight, temperature }) = self.distillation {
            of.within(FRACTION, "distillation.weight", f64::from(weight))?;
            of.within(TEMPERATURE, "distillation.temperature", f64::from(temperature))?;
        }
        Ok(())
    }
}

impl Settings {
    /// Checks that every value of a study is in range.
    ///
    /// # Errors
    /// If one is not.
    pub fn check(&self) -> Result<(), SettingError> {
        let of = Table("settings");
        of.seed(self.seed)?;
        let fewer = "1 or more and less than 1e6 times fewer";
        let amounts = self.amounts.iter().map(|&amount| ("amounts", amount));
        let residual = self.residual_amounts.iter().map(|&amount| ("residual_amounts", amount));
        let all = amounts.chain(residual).chain([("freeze_amount", self.freeze_amount)]);
        all.into_iter()
            .try_for_each(|(key, x)| of.number(key, x, fewer, |x| (1.0..1e6).contains(&x)))?;
        self.shares.iter().try_for_each(|&share| of.within(STEP, "shares", share))?;
        let Effort { base_epochs, prune_epochs, curve_epochs, seeds, .. } = self.effort;
        let Effort { calibration, latency_seconds, .. } = self.effort;
        let of = Table("settings.effort");
        // Less could be no step of a small data set.
        let expected = "a tenth or more and less than 1e6";
        of.number("base_epochs", base_epochs, expected, |x| (0.1..1e6).contains(&x))?;
        of.within(AMOUNT, "prune_epochs", prune_epochs)?;
        of.within(AMOUNT, "curve_epochs", curve_epochs)?;
        of.number("seeds", seeds as f64, "1 to 1000", |x| (1.0..=1000.0).contains(&x))?;
        of.number("calibration", calibration as f64, "1 image or more", |x| x >= 1.0)?;
        let expected = "a number of seconds, 0 to 3600";
        of.number("latency_seconds", latency_seconds, expected, |x| (0.0..=3600.0).contains(&x))?;
        self.train.check("settings.train")?;
        self.prune.check("settings.prune")?;
        self.best.check("settings.best")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleach_core::{Shape, models};

    #[test]
    fn defaults_and_presets_are_in_range_and_what_is_not_is_named() {
        TrainConfig::default().check("train").unwrap();
        for model in ["vgg16", "resnet18"] {
            let graph = models::build(model, Shape::new(3, 32, 32), 10).unwrap();
            TrainConfig::best_for_graph(&graph).check("train").unwrap();
        }
        PruneConfig::default().check("prune").unwrap();
        PruneConfig::paper().check("prune").unwrap();
        PruneConfig::best().check("prune").unwrap();
        let mut config = PruneConfig::default();
        config.final_tune.lr = f32::NAN;
        let error = config.check("prune").unwrap_err().to_string();
        let expected = "expected a number, more than 0 and less than 1e30";
        assert_eq!(error, format!("prune.final_tune.lr is NaN, {expected}"));
        let config = PruneConfig { floor: 1.5, ..PruneConfig::default() };
        let error = config.check("prune").unwrap_err().to_string();
        assert_eq!(error, "prune.floor is 1.5, expected a fraction, 0 to 1");
        Settings::full(1).check().unwrap();
        Settings::quick(1).check().unwrap();
        let refused = |change: fn(&mut Settings)| {
            let mut settings = Settings::quick(1);
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        let error = refused(|settings| settings.effort.base_epochs = 0.001);
        let expected = "expected a tenth or more and less than 1e6";
        assert_eq!(error, format!("settings.effort.base_epochs is 0.001, {expected}"));
        let error = refused(|settings| settings.amounts.push(0.5));
        let expected = "expected 1 or more and less than 1e6 times fewer";
        assert_eq!(error, format!("settings.amounts is 0.5, {expected}"));
        let error = refused(|settings| settings.best.con_ent.bins = 0);
        assert_eq!(error, "settings.best.con_ent.bins is 0, expected 2 to 65536");
        let error = refused(|settings| settings.seed = MOST_SEED + 1);
        assert_eq!(error, format!("settings.seed is 9223372036854775808, expected {SEED}"));
    }

    #[test]
    fn what_training_does_not_bear_is_refused_and_the_last_that_it_does_is_not() {
        let check = |config: TrainConfig| config.check("train").map_err(|error| error.to_string());
        let with = |optimizer: &str| {
            let optimizer = serde_json::from_str(optimizer).unwrap();
            check(TrainConfig { optimizer, ..TrainConfig::default() })
        };
        let muon = |n: u32| with(&format!(r#"{{"kind": "muon", "iterations": {n}}}"#));
        assert_eq!(muon(6), Ok(()));
        assert_eq!(muon(7), Err("train.optimizer.iterations is 7, expected 1 to 6".into()));
        let adam = |eps: &str| with(&format!(r#"{{"kind": "adam", "eps": {eps}}}"#));
        assert_eq!(adam("1e-12"), Ok(()));
        let error = adam("9e-13").unwrap_err();
        assert!(error.ends_with("expected a number, 1e-12 or more and less than 1e30"), "{error}");
        let seeded = |seed| check(TrainConfig { seed, ..TrainConfig::default() });
        assert_eq!(seeded(MOST_SEED), Ok(()));
        let error = format!("train.seed is 9223372036854775808, expected {SEED}");
        assert_eq!(seeded(MOST_SEED + 1), Err(error));
        let distilled = |temperature| {
            let distillation = Some(Distillation { weight: 0.5, temperature });
            PruneConfig { distillation, ..PruneConfig::default() }.check("prune")
        };
        assert_eq!(distilled(1e4), Ok(()));
        let error = distilled(1.001e4).unwrap_err().to_string();
        assert!(error.ends_with("expected a number, more than 0 and at most 1e4"), "{error}");
    }
}
