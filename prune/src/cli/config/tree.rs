//! Settings as a tree of tables, and what is laid over them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// What tells the variants of a setting apart that is a table, such as an optimiser.
const KIND: &str = "kind";

/// What a file has beside settings: which verb they are of.
const VERB: &str = "verb";

/// More parts than the key of any setting has. Trees are walked by recursion.
const MOST_PARTS: usize = 16;

/// `KEY=VALUE`. A value is one as TOML has it, or else a text; none unsets what can be unset.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Assignment {
    pub(super) key: String,
    pub(super) value: Value,
}

impl std::str::FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| "expected KEY=VALUE, such as prune.max_drop=1.5".to_owned())?;
        let key = key.trim();
        check_key(key)?;
        Ok(Self { key: key.into(), value: parsed(key, value)? })
    }
}

/// Refuses what is no key, or none of a setting.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    if key.split('.').nth(MOST_PARTS).is_some() {
        return Err(format!("a key of more than {MOST_PARTS} parts is none of a setting"));
    }
    if key.split('.').any(str::is_empty) {
        return Err(format!("{key:?} is no key: expected one such as prune.max_drop"));
    }
    match is_at_or_below(key, VERB) {
        true => Err(format!("{key} is no setting")),
        false => Ok(()),
    }
}

/// The value of `key`: one as TOML has it, or else a text; nothing is null.
pub(super) fn parsed(key: &str, text: &str) -> Result<Value, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let table = toml::from_str::<toml::Table>(&format!("x = {text}"));
    match table.ok().filter(|table| table.len() == 1).and_then(|mut table| table.remove("x")) {
        Some(value) => from_toml(key, value),
        None if text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i64>().is_err() => {
            Err(format!("{key} is {text}, expected an integer of at most {}", i64::MAX))
        }
        None => Ok(Value::String(text.into())),
    }
}

/// The value of `key`, which is empty for that of a whole file.
///
/// # Errors
/// If there is a number in it that is not finite, for which JSON has no value.
pub(super) fn from_toml(key: &str, value: toml::Value) -> Result<Value, String> {
    match value {
        toml::Value::String(text) => Ok(text.into()),
        toml::Value::Integer(number) => Ok(number.into()),
        toml::Value::Float(number) if number.is_finite() => Ok(number.into()),
        toml::Value::Float(number) => {
            Err(format!("{key} is {number}, expected a number that is finite"))
        }
        toml::Value::Boolean(is) => Ok(is.into()),
        toml::Value::Datetime(date) => Ok(date.to_string().into()),
        toml::Value::Array(values) => {
            let values = values.into_iter().map(|value| from_toml(key, value));
            values.collect::<Result<Vec<Value>, String>>().map(Value::Array)
        }
        toml::Value::Table(table) => {
            let fields = table.into_iter().map(|(name, value)| {
                let value = from_toml(&inside(key, &name), value)?;
                Ok((name, value))
            });
            fields.collect::<Result<Map<String, Value>, String>>().map(Value::Object)
        }
    }
}

/// As text and back, so that an `f32` is the number that people write.
pub(in crate::cli) fn to_value(value: &impl Serialize) -> Value {
    let text = serde_json::to_string(value).expect("settings have nothing JSON lacks");
    serde_json::from_str(&text).expect("it was JSON")
}

/// A tree as what it is the form of.
pub(super) fn read<T: DeserializeOwned>(tree: Value) -> serde_json::Result<T> {
    serde_json::from_value(tree)
}

/// Puts a value in the place of what is at `key`, with tables above it as they are needed.
pub(super) fn lay(tree: &mut Value, key: &str, value: &Value) {
    let mut place = tree;
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        if !place.is_object() {
            *place = json!({});
        }
        let table = place.as_object_mut().expect("it is one by now");
        // Another variant has other settings.
        if parts.peek().is_none() && part == KIND && table.get(KIND) != Some(value) {
            table.clear();
        }
        place = table.entry(part).or_insert(Value::Null);
    }
    *place = value.clone();
}

/// What is at `key`.
pub(super) fn find<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |place, part| place.get(part))
}

/// All values that are no tables, with their keys; of a table, what says its variant first.
pub(super) fn leaves(tree: &Value) -> Vec<(String, &Value)> {
    fn collect<'a>(
        prefix: &str,
        table: &'a Map<String, Value>,
        found: &mut Vec<(String, &'a Value)>,
    ) {
        let (kind, rest): (Vec<_>, Vec<_>) = table.iter().partition(|(key, _)| *key == KIND);
        for (key, value) in kind.into_iter().chain(rest) {
            let key = format!("{prefix}{key}");
            match value {
                Value::Object(table) => collect(&format!("{key}."), table, found),
                value => found.push((key, value)),
            }
        }
    }
    let mut found = Vec::new();
    if let Value::Object(table) = tree {
        collect("", table, &mut found);
    }
    found
}

/// The key of `name` in the table at `key`, which is empty for the whole tree.
pub(super) fn inside(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

/// What follows of `key` in the table `above`, if it is one of a setting in that.
pub(super) fn below<'a>(key: &'a str, above: &str) -> Option<&'a str> {
    key.strip_prefix(above)?.strip_prefix('.')
}

/// Whether `key` is `above`, or a setting in that table.
pub(super) fn is_at_or_below(key: &str, above: &str) -> bool {
    key == above || below(key, above).is_some()
}
