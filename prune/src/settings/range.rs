//! Numbers that settings may be, in files and as flags.

use super::SettingError;

/// The numbers that a setting takes, whoever gives them.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// In words.
    pub expected: &'static str,
    pub(super) fits: fn(f64) -> bool,
}

/// Rates and the like.
pub const POSITIVE: Range =
    Range::of("a number, more than 0 and less than 1e30", |x| x > 0.0 && x < 1e30);
/// Points, epochs of fine-tuning, penalties.
pub const AMOUNT: Range =
    Range::of("a number, 0 or more and less than 1e9", |x| (0.0..1e9).contains(&x));
/// Epochs of training.
pub const EPOCHS: Range =
    Range::of("a number, more than 0 and less than 1e6", |x| x > 0.0 && x < 1e6);
/// A fraction that may be none or all.
pub const FRACTION: Range = Range::of("a fraction, 0 to 1", |x| (0.0..=1.0).contains(&x));
/// A fraction that may be none.
pub const LESS_THAN_ONE: Range =
    Range::of("a fraction, 0 or more and less than 1", |x| (0.0..1.0).contains(&x));
/// A fraction that may be all.
pub const SOME: Range = Range::of("a fraction, more than 0 and at most 1", |x| x > 0.0 && x <= 1.0);
/// A fraction that is neither.
pub const STEP: Range =
    Range::of("a fraction, more than 0 and less than 1", |x| x > 0.0 && x < 1.0);
/// What logits are divided by: beyond, all classes are alike, and the loss takes the square of it.
pub const TEMPERATURE: Range =
    Range::of("a number, more than 0 and at most 1e4", |x| x > 0.0 && x <= 1e4);

/// What Adam adds to the root of a second moment. Those below 1e-30 are 0 to the kernel, which then divides by this
/// alone.
pub(super) const EPS: Range = Range::of("a number, 1e-12 or more and less than 1e30", |x| {
    (f64::from(1e-12_f32)..1e30).contains(&x)
});
/// Muon's iterations, which go by the Gram matrix of the gradient alone: where that has no direction, `f32` leaves
/// eigenvalues of about -1e-8 instead of 0, which grow about twelvefold an iteration (3.4445^2). The seventh works with
/// some of -0.03; the ninth's step is thousands of times too long, and the tenth's is not finite.
pub(super) const ITERATIONS: Range = Range::of("1 to 6", |x| (1.0..=6.0).contains(&x));

/// The largest seed: integers in TOML, in which a run's settings are kept, are signed.
pub const MOST_SEED: u64 = i64::MAX as u64;
/// Seeds, in words.
pub const SEED: &str = "a whole number, 0 to 9223372036854775807";

impl Range {
    const fn of(expected: &'static str, fits: fn(f64) -> bool) -> Self {
        Self { expected, fits }
    }

    /// The number that `text` is.
    ///
    /// # Errors
    /// What is expected, if it is none of these.
    pub fn parse(&self, text: &str) -> Result<f64, String> {
        let number = text.parse::<f64>().ok().filter(|&number| (self.fits)(number));
        number.ok_or_else(|| format!("expected {}", self.expected))
    }

    /// Checks the setting `key`.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn check(&self, key: String, found: f64) -> Result<(), SettingError> {
        if (self.fits)(found) {
            return Ok(());
        }
        // As users write it: an f32 has more digits as an f64.
        Err(SettingError { key, expected: self.expected, found: (found as f32).to_string() })
    }
}
