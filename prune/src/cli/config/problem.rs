//! What is said of a setting that cannot be.

use super::layers::{Origin, Override};
use super::tree::leaves;
use serde_json::Value;

/// An override that cannot be, and why.
pub(super) struct Culprit<'a> {
    pub(super) of: &'a Override,
    pub(super) error: serde_json::Error,
}

/// How alike a name must be to be suggested, by Jaro and Winkler's measure.
const ALIKE: f64 = 0.8;

/// Which setting is wrong, who says so, and what may have been meant.
pub(super) fn text(defaults: &Value, culprit: &Culprit<'_>) -> String {
    let Culprit { of: Override { key, origin, .. }, error } = culprit;
    let error = error.to_string();
    let names = quoted(&error);
    let hint = |near: Option<&str>| near.map_or(String::new(), |n| format!("; did you mean {n}?"));
    if error.starts_with("unknown field") {
        let known = leaves(defaults).into_iter().map(|(key, _)| key);
        // The names that fit are those beside the one that does not.
        let unknown = names.first().map_or("", String::as_str);
        let parent = key.split(unknown).next().unwrap_or_default();
        let beside = names.iter().skip(1).map(|name| format!("{parent}{name}"));
        let known: Vec<String> = known.chain(beside).filter(|key| key != "verb").collect();
        let hint = hint(nearest(key, known.iter().map(String::as_str)));
        return format!("unknown key {key}{}{hint}", from(origin));
    }
    if error.starts_with("unknown variant")
        && let [unknown, names @ ..] = &names[..]
    {
        let hint = hint(nearest(unknown, names.iter().map(String::as_str)));
        return format!("{key}: {error}{}{hint}", from(origin));
    }
    format!("{key}: {error}{}", from(origin))
}

/// Who says so, in brackets.
pub(super) fn from(origin: &Origin) -> String {
    match origin {
        Origin::Default => String::new(),
        origin => format!(" (from {origin})"),
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The name that is most like `key`, if one is; the last parts count as well as the whole.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    fn last(key: &str) -> &str {
        key.rsplit('.').next().unwrap_or_default()
    }
    let likeness = |name: &str| {
        let whole = strsim::jaro_winkler(key, name);
        let part = strsim::jaro_winkler(last(key), last(name));
        // Of two alike in their last parts, the one whose whole is.
        (0.7 * part + 0.3 * whole).max(whole)
    };
    let alike = known.map(|name| (likeness(name), name)).filter(|(likeness, _)| *likeness >= ALIKE);
    alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_alike_are_suggested_and_others_are_not() {
        let known = ["prune.max_drop", "prune.criterion", "prune.con_ent.bins", "bench_seconds"];
        let near = |key| nearest(key, known.into_iter());
        assert_eq!(near("prune.criterium"), Some("prune.criterion"));
        assert_eq!(near("max_drop"), Some("prune.max_drop"));
        assert_eq!(near("prune.bins"), Some("prune.con_ent.bins"));
        assert_eq!(near("bench-seconds"), Some("bench_seconds"));
        assert_eq!(near("xyz"), None);
    }
}
