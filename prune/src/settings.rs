//! What values settings may have.

use crate::phases::PruneConfig;
use crate::reproduce::{Effort, Settings};
use crate::trainer::{Resizing, TrainConfig};
use pleach_core::loss::Distillation;
use pleach_core::optim::{Lookahead, Optimizer, Schedule};

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
    fn number(
        &self,
        key: &str,
        found: f64,
        expected: &'static str,
        fits: impl Fn(f64) -> bool,
    ) -> Result<(), SettingError> {
        // As users write it: an f32 has more digits as an f64.
        let text = || (found as f32).to_string();
        match fits(found) {
            true => Ok(()),
            false => {
                Err(SettingError { key: format!("{}.{key}", self.0), expected, found: text() })
            }
        }
    }

    fn positive(&self, key: &str, found: f64) -> Result<(), SettingError> {
        self.number(key, found, "a number, more than 0", |x| x > 0.0 && x < 1e30)
    }

    fn amount(&self, key: &str, found: f64) -> Result<(), SettingError> {
        let expected = "a number, 0 or more and less than 1e9";
        self.number(key, found, expected, |x| (0.0..1e9).contains(&x))
    }

    fn fraction(&self, key: &str, found: f64) -> Result<(), SettingError> {
        self.number(key, found, "a fraction, 0 to 1", |x| (0.0..=1.0).contains(&x))
    }

    fn less_than_one(&self, key: &str, found: f64) -> Result<(), SettingError> {
        let expected = "a fraction, 0 or more and less than 1";
        self.number(key, found, expected, |x| (0.0..1.0).contains(&x))
    }

    fn step(&self, key: &str, found: f64) -> Result<(), SettingError> {
        let expected = "a fraction, more than 0 and less than 1";
        self.number(key, found, expected, |x| x > 0.0 && x < 1.0)
    }

    fn count(&self, key: &str, found: usize) -> Result<(), SettingError> {
        self.number(key, found as f64, "1 to 65536", |x| (1.0..=65536.0).contains(&x))
    }
}

impl TrainConfig {
    /// Checks that every value is in range; `table` is what holds them.
    ///
    /// # Errors
    /// If one is not.
    pub fn check(&self, table: &str) -> Result<(), SettingError> {
        let of = Table(table);
        let expected = "a number, more than 0 and less than 1e6";
        of.number("epochs", self.epochs, expected, |x| x > 0.0 && x < 1e6)?;
        of.count("batch", self.batch)?;
        of.positive("lr", f64::from(self.lr))?;
        if let Some(Lookahead { every, decay }) = self.lookahead {
            of.number("lookahead.every", every as f64, "1 step or more", |x| x >= 1.0)?;
            of.fraction("lookahead.decay", decay)?;
        }
        of.number("crop_padding", self.crop_padding as f64, "0 to 16 pixels", |x| x <= 16.0)?;
        of.number("cutout", self.cutout as f64, "0 to 32 pixels", |x| x <= 32.0)?;
        of.fraction("cutmix", f64::from(self.cutmix))?;
        if let Some(Resizing { start, until }) = self.resizing {
            of.number("resizing.start", start as f64, "4 to 65536 pixels", |x| {
                (4.0..=65536.0).contains(&x)
            })?;
            let expected = "a fraction, more than 0 and at most 1";
            of.number("resizing.until", until, expected, |x| x > 0.0 && x <= 1.0)?;
        }
        of.number("views", self.views as f64, "0 to 1000", |x| x <= 1000.0)?;
        of.less_than_one("label_smoothing", f64::from(self.label_smoothing))?;
        match self.optimizer {
            Optimizer::Sgd { momentum, weight_decay, .. } => {
                of.less_than_one("optimizer.momentum", f64::from(momentum))?;
                of.amount("optimizer.weight_decay", f64::from(weight_decay))?;
            }
            Optimizer::Adam { beta1, beta2, eps, weight_decay } => {
                of.less_than_one("optimizer.beta1", f64::from(beta1))?;
                of.less_than_one("optimizer.beta2", f64::from(beta2))?;
                of.positive("optimizer.eps", f64::from(eps))?;
                of.amount("optimizer.weight_decay", f64::from(weight_decay))?;
            }
            Optimizer::Muon { momentum, iterations, others_lr, others_momentum, weight_decay } => {
                of.less_than_one("optimizer.momentum", f64::from(momentum))?;
                let number = f64::from(iterations);
                of.number("optimizer.iterations", number, "1 to 100", |x| {
                    (1.0..=100.0).contains(&x)
                })?;
                of.positive("optimizer.others_lr", f64::from(others_lr))?;
                of.less_than_one("optimizer.others_momentum", f64::from(others_momentum))?;
                of.amount("optimizer.weight_decay", f64::from(weight_decay))?;
            }
        }
        match &self.schedule {
            Schedule::Constant {} => {}
            Schedule::Step { milestones, gamma } => {
                milestones.iter().try_for_each(|&at| of.fraction("schedule.milestones", at))?;
                of.fraction("schedule.gamma", *gamma)?;
            }
            Schedule::Cosine { warmup, floor } => {
                of.less_than_one("schedule.warmup", *warmup)?;
                of.fraction("schedule.floor", *floor)?;
            }
            Schedule::OneCycle { warmup, start_div, end_div } => {
                of.less_than_one("schedule.warmup", *warmup)?;
                of.positive("schedule.start_div", *start_div)?;
                of.positive("schedule.end_div", *end_div)?;
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
        of.amount("max_drop", self.max_drop)?;
        of.amount("recovery", self.recovery)?;
        // In one bin every filter has the entropy 0.
        of.number("con_ent.bins", self.con_ent.bins as f64, "2 to 65536", |x| {
            (2.0..=65536.0).contains(&x)
        })?;
        of.count("con_ent.loss_bins", self.con_ent.loss_bins)?;
        let images = self.calibration as f64;
        of.number("calibration", images, "1 image or more", |x| x >= 1.0)?;
        of.fraction("floor", self.floor)?;
        of.step("global_step", self.global_step)?;
        of.amount("global_epochs", self.global_epochs)?;
        of.step("layerwise_step", self.layerwise_step)?;
        of.count("round_to", self.round_to)?;
        of.amount("layerwise_epochs", self.layerwise_epochs)?;
        of.fraction("global_drop_share", self.global_drop_share)?;
        of.fraction("global_target_share", self.global_target_share)?;
        of.amount("final_epochs", self.final_epochs)?;
        of.amount("epochs_budget", self.epochs_budget.unwrap_or(0.0))?;
        of.fraction("freeze", self.freeze)?;
        self.tune.check(&format!("{table}.tune"))?;
        self.final_tune.check(&format!("{table}.final_tune"))?;
        if let Some(Distillation { weight, temperature }) = self.distillation {
            of.fraction("distillation.weight", f64::from(weight))?;
            of.positive("distillation.temperature", f64::from(temperature))?;
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
        let fewer = "1 or more times fewer";
        let amounts = self.amounts.iter().map(|&amount| ("amounts", amount));
        let residual = self.residual_amounts.iter().map(|&amount| ("residual_amounts", amount));
        let all = amounts.chain(residual).chain([("freeze_amount", self.freeze_amount)]);
        all.into_iter()
            .try_for_each(|(key, x)| of.number(key, x, fewer, |x| (1.0..1e6).contains(&x)))?;
        self.shares.iter().try_for_each(|&share| of.step("shares", share))?;
        let Effort { base_epochs, prune_epochs, curve_epochs, seeds, .. } = self.effort;
        let Effort { calibration, latency_seconds, .. } = self.effort;
        let of = Table("settings.effort");
        // Less could be no step of a small data set.
        of.number("base_epochs", base_epochs, "a tenth or more", |x| (0.1..1e6).contains(&x))?;
        of.amount("prune_epochs", prune_epochs)?;
        of.amount("curve_epochs", curve_epochs)?;
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
        assert_eq!(error, "prune.final_tune.lr is NaN, expected a number, more than 0");
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
        assert_eq!(error, "settings.effort.base_epochs is 0.001, expected a tenth or more");
        let error = refused(|settings| settings.amounts.push(0.5));
        assert_eq!(error, "settings.amounts is 0.5, expected 1 or more times fewer");
        let error = refused(|settings| settings.best.con_ent.bins = 0);
        assert_eq!(error, "settings.best.con_ent.bins is 0, expected 2 to 65536");
    }
}
