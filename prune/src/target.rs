//! How far to prune.

use crate::channels::Channels;
use crate::latency::LayerTimes;
use pleach_core::graph::Graph;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a target counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Multiply-adds of convolutions and linear layers per image.
    Macs,
    /// Trainable parameters.
    Params,
    /// Channels that can be removed, those that live and die together counted once.
    Channels,
    /// Nanoseconds that this CPU takes for the convolutions and linear layers of a batch, by a table of
    /// measured [`LayerTimes`].
    Latency,
}

/// Counts a unit in networks.
#[derive(Clone, Copy, Debug)]
pub struct Meter<'a> {
    unit: Unit,
    times: Option<&'a LayerTimes>,
}

impl<'a> Meter<'a> {
    /// What counts `unit`. `None` for [`Unit::Latency`] without `times`.
    #[must_use]
    pub fn new(unit: Unit, times: Option<&'a LayerTimes>) -> Option<Self> {
        let fits = unit != Unit::Latency || times.is_some();
        fits.then_some(Self { unit, times })
    }

    /// How many of them `graph` has.
    ///
    /// # Panics
    /// If the unit is [`Unit::Latency`] and the table lacks one of its layers.
    #[must_use]
    pub fn count(self, graph: &Graph) -> u64 {
        match (self.unit, self.times) {
            (Unit::Macs, _) => graph.macs(),
            (Unit::Params, _) => graph.trainable(),
            (Unit::Channels, _) => Channels::of(graph).prunable().len() as u64,
            (Unit::Latency, Some(times)) => times.predict(graph).round() as u64,
            (Unit::Latency, None) => unreachable!("there is no such meter"),
        }
    }

    /// The most that may be left of what `graph` has when `amount` is to go.
    #[must_use]
    pub fn limit(self, graph: &Graph, amount: Amount) -> u64 {
        (self.count(graph) as f64 * amount.keep + 1e-6).floor() as u64
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Macs => "MACs",
            Self::Params => "parameters",
            Self::Channels => "channels",
            Self::Latency => "nanoseconds",
        })
    }
}

/// How much is to be removed: `10x` leaves a tenth, `30%` removes thirty percent.
///
/// In files it is the fraction that stays, or such a text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "f64", try_from = "Written")]
pub struct Amount {
    /// The fraction that stays, in `(0, 1]`.
    pub keep: f64,
}

/// An amount as files have it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an amount: \"10x\", \"30%\", or the fraction that stays")]
enum Written {
    Keep(f64),
    Text(String),
}

impl TryFrom<Written> for Amount {
    type Error = AmountError;

    fn try_from(written: Written) -> Result<Self, AmountError> {
        match written {
            Written::Keep(keep) => Ok(Self { keep }),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Amount> for f64 {
    fn from(amount: Amount) -> Self {
        amount.keep
    }
}

impl Amount {
    /// The factor by which it gets fewer, at least 1.
    #[must_use]
    pub fn factor(self) -> f64 {
        1.0 / self.keep
    }
}

/// Why an amount cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no amount to prune: {expected}")]
pub struct AmountError {
    found: String,
    expected: &'static str,
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let error = |expected| AmountError { found: text.to_owned(), expected };
        let number =
            |digits: &str| digits.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let form =
            "write a factor such as 10x (leaves a tenth) or a share such as 30% (removes it)";
        if let Some(factor) = text.strip_suffix(['x', 'X']) {
            let factor = number(factor).ok_or_else(|| error(form))?;
            if !(1.0..=1e6).contains(&factor) {
                return Err(error("a factor is at least 1 and at most 1000000"));
            }
            return Ok(Self { keep: 1.0 / factor });
        }
        let percent = text.strip_suffix('%').and_then(number).ok_or_else(|| error(form))?;
        if !(0.0..100.0).contains(&percent) {
            return Err(error("a share to remove is at least 0% and less than 100%"));
        }
        Ok(Self { keep: 1.0 - percent / 100.0 })
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}x", self.factor())
    }
}

/// An amount of something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What is counted.
    pub unit: Unit,
    /// How much of it is to go.
    pub amount: Amount,
}

impl Target {
    /// The target that is `share` of the way to this one, in logarithms, from where `start` of the unit are
    /// left: where a first phase stops.
    #[must_use]
    pub fn part(self, start: f64, share: f64) -> Self {
        let keep = start * (self.amount.keep / start).powf(share);
        Self { amount: Amount { keep }, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_and_shares_are_amounts() {
        let keep = |text: &str| text.parse::<Amount>().map(|amount| amount.keep);
        assert_eq!(keep("10x"), Ok(0.1));
        assert_eq!(keep("1X"), Ok(1.0));
        assert_eq!(keep("30%"), Ok(0.7));
        assert_eq!(keep("0%"), Ok(1.0));
        for bad in
            ["", "x", "%", "0x", "0.5x", "-3x", "nanx", "infx", "200%", "100%", "-1%", "10", "1e9x"]
        {
            assert!(keep(bad).is_err(), "{bad:?} is refused");
        }
    }

    #[test]
    fn half_of_a_target_twice_is_the_target() {
        let target = Target { unit: Unit::Macs, amount: Amount { keep: 0.1 } };
        let half = target.part(1.0, 0.5).amount.keep;
        assert!((half * half - 0.1).abs() < 1e-12);
        let rest = target.part(0.4, 0.5).amount.keep;
        assert!((rest - 0.2).abs() < 1e-12, "from two fifths over a fifth to a tenth: {rest}");
    }
}
