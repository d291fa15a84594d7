//! Settings of a run as layers, each over those before: defaults, a preset, a file, the environment, flags.
//!
//! A setting is a leaf of the settings' own file form, named by its path (`prune.max_drop`). Which there are,
//! and what fits them, is what the structures say that are read from that form: there is no other list.

use super::file::{File, Source};
use super::problem::Culprit;
use super::tree::{
    self, Assignment, below, check_key, find, is_at_or_below, leaves, parsed, read, to_value,
};
use super::{Settings, problem};
use crate::cli::exit::usage;
use anyhow::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "origin", content = "source", rename_all = "snake_case")]
pub(in crate::cli) enum Origin {
    Default,
    /// Of this name.
    Preset(String),
    /// At this path.
    File(String),
    /// The variable.
    Environment(String),
    /// The flag, with what it sets if that is `--set`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset(name) => write!(f, "--preset {name}"),
            Self::File(name) | Self::Environment(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value that takes the place of that of the layers before.
#[derive(Clone, Debug)]
pub(super) struct Override {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// Whether it only comes with another one, and may be overridden without a word.
    implied: bool,
}

impl Override {
    /// Whether `value` at `key`, laid over it, takes back what it says.
    fn is_taken_back_by(&self, key: &str, value: &Value) -> bool {
        match (below(key, &self.key), below(&self.key, key)) {
            (Some(part), _) => {
                self.value.is_null() || find(&self.value, part).is_some_and(|had| had != value)
            }
            (_, Some(part)) => find(value, part) != Some(&self.value),
            _ => self.key == key,
        }
    }
}

/// Defaults, and what is laid over them, lowest first.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Layers {
    defaults: Value,
    pub(super) overrides: Vec<Override>,
}

/// A setting and where it is from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::cli) struct Key {
    pub(super) key: String,
    /// Null if it is not set.
    pub(super) value: Value,
    #[serde(flatten)]
    pub(super) origin: Origin,
    /// Why it is never read, if it is not, beside the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unread: Option<&'static str>,
}

impl Layers {
    /// Nothing but these.
    pub(in crate::cli) fn over(defaults: &impl Serialize) -> Self {
        Self { defaults: to_value(defaults), overrides: Vec::new() }
    }

    /// What `settings` have otherwise than the defaults, at `key`.
    pub(in crate::cli) fn preset(&mut self, name: &str, key: &str, settings: &impl Serialize) {
        let given = to_value(settings);
        for (key, value) in leaves(&given).into_iter().map(|(k, v)| (format!("{key}.{k}"), v)) {
            // As it is by now: another variant has nothing of the one before.
            if find(&self.tree(), &key) != Some(value) {
                self.lay(&key, value.clone(), Origin::Preset(name.into()), false);
            }
        }
    }

    /// What a settings file says.
    pub(in crate::cli) fn file<T: Settings>(&mut self, source: Source<'_>) -> Result<()> {
        let Some(File { path, tree, unset }) = File::read::<T>(source)? else { return Ok(()) };
        let origin = Origin::File(path.display().to_string());
        for (key, value) in leaves(&tree) {
            self.lay(&key, value.clone(), origin.clone(), false);
        }
        for key in unset {
            self.lay(&key, Value::Null, origin.clone(), false);
        }
        Ok(())
    }

    /// What variables say: `PLEACH_PRUNE__CON_ENT__BINS=16` is `prune.con_ent.bins = 16`.
    pub(in crate::cli) fn environment(
        &mut self,
        verb: &str,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<()> {
        let stem = format!("PLEACH_{}_", verb.to_uppercase());
        let mut variables: Vec<_> = variables.filter(|(name, _)| name.starts_with(&stem)).collect();
        variables.sort();
        for (name, text) in variables {
            let rest = &name[stem.len()..];
            let Some(key) = rest.strip_prefix('_') else {
                return Err(usage(format!("{name} sets nothing: did you mean {stem}_{rest}?")));
            };
            let key = format!("{verb}.{}", key.to_lowercase().replace("__", "."));
            let value = check_key(&key).and_then(|()| parsed(&key, &text));
            let value = value.map_err(|error| usage(format!("{error} (from {name})")))?;
            self.lay(&key, value, Origin::Environment(name), false);
        }
        Ok(())
    }

    /// What a flag or a variable says, if it is given.
    pub(in crate::cli) fn put(
        &mut self,
        origin: &Origin,
        key: &str,
        value: Option<impl Serialize>,
    ) {
        if let Some(value) = value {
            self.lay(key, to_value(&value), origin.clone(), false);
        }
    }

    /// What comes with a flag, unless another says otherwise.
    pub(in crate::cli) fn imply(&mut self, origin: &Origin, key: &str, value: impl Serialize) {
        self.lay(key, to_value(&value), origin.clone(), true);
    }

    /// What `--set KEY=VALUE` says, each time. What a flag says stays as it is.
    pub(in crate::cli) fn set(&mut self, assignments: &[Assignment]) -> Result<()> {
        for Assignment { key, value } in assignments {
            let of_flag = |o: &&Override| {
                matches!(o.origin, Origin::Flag(_)) && !o.implied && o.is_taken_back_by(key, value)
            };
            if let Some(other) = self.overrides.iter().find(of_flag) {
                return Err(usage(format!(
                    "--set {key} and {} set the same: give one of them",
                    other.origin
                )));
            }
            let origin = Origin::Flag(format!("--set {key}"));
            self.lay(key, value.clone(), origin, false);
        }
        Ok(())
    }

    fn lay(&mut self, key: &str, value: Value, origin: Origin, implied: bool) {
        self.overrides.push(Override { key: key.into(), value, origin, implied });
    }

    /// All layers together.
    pub(in crate::cli) fn tree(&self) -> Value {
        tree(&self.defaults, self.overrides.iter())
    }

    /// The value of a setting as things stand; null if it is not set.
    pub(in crate::cli) fn get(&self, key: &str) -> Value {
        find(&self.tree(), key).cloned().unwrap_or_default()
    }

    /// The settings, checked, and where each is from.
    pub(in crate::cli) fn settle<T: Settings>(&self) -> Result<Settled<T>> {
        let settings: T = read(self.tree())
            .map_err(|error| usage(problem::text(&self.defaults, &self.culprit::<T>(error))))?;
        let settled = Settled { keys: self.keys(&settings), settings };
        if let Err(error) = settled.settings.check() {
            let origin = settled.origin(&error.key);
            return Err(usage(format!("{error}{}", problem::from(origin))));
        }
        if let Some(preset) = self.preset_origin()
            && settled.keys.iter().all(|key| key.origin != *preset)
        {
            return Err(usage(format!(
                "{preset} has no effect: whatever it sets is set by others over it"
            )));
        }
        let idles = settled.settings.idle();
        let is_idle = |o: &Override| idles.iter().any(|idle| is_at_or_below(&o.key, idle.key));
        // A flag that sets several is not in vain where one of them is read.
        let is_vain = |origin: &Origin| {
            self.overrides.iter().filter(|o| o.origin == *origin && !o.implied).all(is_idle)
        };
        for idle in &idles {
            let ours = |o: &&Override| {
                matches!(o.origin, Origin::Environment(_) | Origin::Flag(_))
                    && !o.implied
                    && is_at_or_below(&o.key, idle.key)
                    && is_vain(&o.origin)
            };
            if let Some(vain) = self.overrides.iter().find(ours) {
                let (origin, why) = (&vain.origin, idle.why);
                return Err(usage(format!("{origin} has no effect: {why}")));
            }
        }
        Ok(settled)
    }

    /// The preset, if one is named that differs from the defaults.
    pub(super) fn preset_origin(&self) -> Option<&Origin> {
        let mut origins = self.overrides.iter().map(|o| &o.origin);
        origins.find(|origin| matches!(origin, Origin::Preset(_)))
    }

    fn keys(&self, settings: &impl Settings) -> Vec<Key> {
        let (tree, idle) = (to_value(settings), settings.idle());
        let unread =
            |key: &str| idle.iter().find(|idle| is_at_or_below(key, idle.key)).map(|idle| idle.why);
        let origin = |key: &str| {
            let above = |o: &&Override| is_at_or_below(key, &o.key) || is_at_or_below(&o.key, key);
            self.overrides.iter().rev().find(above).map_or(Origin::Default, |o| o.origin.clone())
        };
        let keys = leaves(&tree).into_iter().filter(|(key, _)| key != "verb");
        let key = |(key, value): (String, &Value)| {
            let (origin, unread, value) = (origin(&key), unread(&key), value.clone());
            Key { key, value, origin, unread }
        };
        keys.map(key).collect()
    }

    /// The override without which the settings could be read, or that has the name which is unknown; if there is none,
    /// the first with which they can no longer be. (A preset of several keys may be half laid before, and mended by the
    /// rest of it.)
    fn culprit<T: DeserializeOwned>(&self, error: serde_json::Error) -> Culprit<'_> {
        let all = &self.overrides;
        let without = |i: usize| all[..i].iter().chain(&all[i + 1..]);
        let alone = (0..all.len()).filter(|&i| read::<T>(tree(&self.defaults, without(i))).is_ok());
        let alone: Vec<&Override> = alone.map(|i| &all[i]).collect();
        if let Some(&first) = alone.first() {
            // Whatever makes the name unknown, such as a variant that lacks it, may be meant.
            let unknown = problem::unknown(&error);
            let has_it =
                |o: &&Override| !o.implied && o.key.rsplit('.').next() == unknown.as_deref();
            let of = alone.iter().copied().rev().find(has_it);
            let of = of.or_else(|| all.iter().rev().find(has_it)).unwrap_or(first);
            return Culprit { of, error };
        }
        let first = (0..all.len()).rev().map_while(|i| {
            let error = read::<T>(tree(&self.defaults, all[..=i].iter())).err()?;
            Some(Culprit { of: &all[i], error })
        });
        first.last().expect("all overrides together cannot be read")
    }
}

/// Settings, and where each is from.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Settled<T> {
    pub(in crate::cli) settings: T,
    pub(super) keys: Vec<Key>,
}

impl<T> Settled<T> {
    /// Tells which settings are not the defaults, and why, to those who want to hear more.
    pub(super) fn log(&self) {
        for Key { key, value, origin, .. } in &self.keys {
            if *origin != Origin::Default {
                log::info!("{key} = {value}, from {origin}");
            }
        }
    }

    fn origin(&self, key: &str) -> &Origin {
        let found = self.keys.iter().find(|of| of.key == key);
        found.map_or(&Origin::Default, |of| &of.origin)
    }
}

fn tree<'a>(defaults: &Value, overrides: impl Iterator<Item = &'a Override>) -> Value {
    let mut tree = defaults.clone();
    overrides.for_each(|o| tree::lay(&mut tree, &o.key, &o.value));
    tree
}
