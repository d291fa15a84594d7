//! Running the command in tests.

use assert_cmd::Command;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process;

/// The command, without what the environment may say, but for the instruction set: that is how all
/// tests are run on each.
pub(crate) fn pleach() -> Command {
    Command::from_std(process())
}

/// The same, to be watched while it runs. Two threads, unless it is told otherwise: many tests run at a time.
pub(crate) fn process() -> process::Command {
    let mut command = process::Command::new(assert_cmd::cargo::cargo_bin!("pleach"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    let ours = ours.filter(|name| name != "PLEACH_ISA");
    ours.filter(|name| name.to_string_lossy().starts_with("PLEACH_")).for_each(|name| {
        command.env_remove(name);
    });
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_LOG", "COLUMNS"] {
        command.env_remove(name);
    }
    command.env("PLEACH_THREADS", "2");
    command
}

/// Sends a signal by its name.
#[cfg(unix)]
pub(crate) fn send(signal: &str, to: &process::Child) {
    let kill = format!("kill -{signal} {}", to.id());
    assert!(process::Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
}

/// What the command prints on stdout, which must be one JSON document, when it ends well.
pub(crate) fn json(args: &[&str]) -> Value {
    let output = pleach().args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

/// The verbs, as the help lists them.
pub(crate) fn verbs() -> Vec<String> {
    let help = String::from_utf8(pleach().arg("--help").output().unwrap().stdout).unwrap();
    let list = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let lines = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = names.map(str::to_owned).filter(|name| name != "help").collect();
    assert!(names.len() > 10 && names.contains(&"prune".to_owned()), "{names:?}");
    names
}

/// Checks that an object has these keys and no others.
pub(crate) fn assert_keys(object: &Value, expected: &[&str]) {
    let found: BTreeSet<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(found, expected.iter().copied().collect());
}
