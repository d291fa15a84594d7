//! Settings files.

use super::Settings;
use super::tree::{check_key, find, from_toml, leaves, read, to_value};
use crate::cli::common;
use crate::cli::exit::usage;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::Path;

/// A file that settings come from.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum Source<'a> {
    /// There is none.
    None,
    /// It may have any part of the settings.
    Part(&'a Path),
    /// The `run.toml` of a run that goes on: what it lacks was not there when the run began, and defaults are none of
    /// its business.
    Run(&'a Path),
}

/// What a file says.
pub(super) struct File<'a> {
    pub(super) path: &'a Path,
    pub(super) tree: Value,
    /// Settings that it unsets, for which TOML has no value.
    pub(super) unset: Vec<String>,
}

impl<'a> File<'a> {
    /// Reads the file, if there is one.
    pub(super) fn read<T: Settings>(source: Source<'a>) -> Result<Option<Self>> {
        let (Source::Part(path) | Source::Run(path)) = source else { return Ok(None) };
        let text = common::read(path)?;
        let title = || format!("{} is no settings file of {}", path.display(), T::VERB);
        let table: toml::Table = toml::from_str(&text).with_context(title)?;
        let wrong = |error: String| usage(format!("{error} (from {})", path.display()));
        let mut tree = from_toml("", toml::Value::Table(table)).map_err(wrong)?;
        let file = tree.as_object_mut().expect("a table is an object");
        if let Some(found) = file.remove("verb")
            && found != T::VERB
        {
            return Err(usage(format!("{}: it has settings of {found}", title())));
        }
        let unset = file.remove("unset").unwrap_or(Value::Array(Vec::new()));
        let unset: Vec<String> = read(unset).map_err(|error| wrong(format!("unset: {error}")))?;
        unset.iter().try_for_each(|key| check_key(key)).map_err(wrong)?;
        if let Source::Run(_) = source {
            file.insert("verb".into(), T::VERB.into());
            let settings: T = read(tree).map_err(|error| usage(format!("{}: {error}", title())))?;
            tree = to_value(&settings);
        }
        Ok(Some(Self { path, tree, unset }))
    }
}

/// A run's settings as its folder has them, from which the run can be made again whatever defaults there are.
pub(super) fn to_toml<T: Settings>(settings: &T) -> Result<String> {
    let (tree, defaults) = (to_value(settings), to_value(&T::default()));
    let is_unset = |key: &str| find(&defaults, key).is_some_and(|default| !default.is_null());
    let nulls = leaves(&tree).into_iter().filter(|(_, value)| value.is_null());
    let unset: Vec<String> = nulls.map(|(key, _)| key).filter(|key| is_unset(key)).collect();
    let text = toml::to_string(settings)?;
    match &unset[..] {
        [] => Ok(text),
        unset => Ok(format!("unset = {unset:?}\n{text}")),
    }
}
