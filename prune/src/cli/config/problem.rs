//! What is said of a setting that cannot be.

use super::layers::{Origin, Override};
use super::tree::{below, inside, is_at_or_below, leaves};
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
    if let (Some(unknown), [_, names @ ..]) = (unknown(&culprit.error), &names[..]) {
        let (key, table) = placed(key, &unknown);
        // The names that fit are those beside the one that does not.
        let fits = |known: &str| {
            let part = if table.is_empty() { Some(known) } else { below(known, &table) };
            part.is_none_or(|part| names.iter().any(|name| is_at_or_below(part, name)))
        };
        let known = leaves(defaults).into_iter().map(|(key, _)| key).filter(|key| fits(key));
        let beside = names.iter().map(|name| inside(&table, name));
        let known = known.chain(beside).filter(|known| known != "verb" && *known != key);
        let known: Vec<String> = known.collect();
        let hint = hint(nearest(&key, known.iter().map(String::as_str)));
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

/// The name that is not known, if that is the error.
pub(super) fn unknown(error: &serde_json::Error) -> Option<String> {
    let error = error.to_string();
    quoted(&error).into_iter().next().filter(|_| error.starts_with("unknown field"))
}

/// The key that an override of `key` has with the name `unknown` in it, and the table in which that is unknown.
fn placed(key: &str, unknown: &str) -> (String, String) {
    let parts: Vec<&str> = key.split('.').collect();
    match parts.iter().rposition(|part| *part == unknown) {
        Some(at) => (key.to_owned(), parts[..at].join(".")),
        None => (inside(key, unknown), key.to_owned()),
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The name that is most like `key`, if one is, by its last part and by the tables above.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    fn split(key: &str) -> (&str, &str) {
        key.rsplit_once('.').unwrap_or(("", key))
    }
    let (table, part) = split(key);
    let likeness = |name: &str| {
        let (others, other) = split(name);
        let alike = strsim::jaro_winkler(part, other);
        // What both are in says nothing.
        if others == table { alike } else { 0.7 * alike + 0.3 * strsim::jaro_winkler(key, name) }
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
        // Both are long, and alike in their first part alone.
        assert_eq!(near("prune.optimizer.momentum"), None);
    }

    #[test]
    fn a_name_is_placed_in_the_table_that_lacks_it() {
        let is = |key: &str, table: &str| (key.to_owned(), table.to_owned());
        let optimizer = is("train.optimizer.momentum", "train.optimizer");
        assert_eq!(placed("train.optimizer.momentum", "momentum"), optimizer);
        assert_eq!(placed("train.optimizer", "momentum"), optimizer);
        assert_eq!(placed("prune.pace.most", "pace"), is("prune.pace.most", "prune"));
        assert_eq!(placed("prune.prune.floor", "prune"), is("prune.prune.floor", "prune"));
        assert_eq!(placed("pace", "pace"), is("pace", ""));
    }
}
