//! Values, keys and variables that cannot be.

use crate::TINY;
use crate::command::pleach;
use crate::config::{found, refused, show};
use serde_json::{Value, json};
use std::fs;

const TRAIN: [&str; 3] = ["train", "--model", TINY];
const PRUNE: [&str; 2] = ["prune", TINY];

/// What is said of `set` by the verb of `args`, as `--set` and in the environment.
fn refused_everywhere(args: &[&str], set: &str) -> [String; 2] {
    let (key, value) = set.split_once('=').unwrap();
    let variable = format!("PLEACH_{}", key.replace('.', "__").to_uppercase());
    [refused(&[args, &["--set", set]].concat(), &[]), refused(args, &[(variable.as_str(), value)])]
}

#[test]
fn a_seed_is_an_integer_that_toml_has() {
    let most = i64::MAX.to_string();
    let keys = show(&["train", "--seed", &most], &[]);
    assert_eq!(found(&keys, "train.seed")[..2], [json!(i64::MAX), "flag".into()]);
    let more = "9223372036854775808";
    for (args, key) in [(&TRAIN[..], "train.seed"), (&PRUNE, "prune.seed")] {
        let says = format!("expected a whole number, 0 to {most}");
        let stderr = refused(&[args, &["--seed", more]].concat(), &[]);
        assert!(stderr.contains(&says), "{stderr}");
        let stderr = refused(args, &[("PLEACH_SEED", more)]);
        assert!(stderr.contains(&format!("{says} (from PLEACH_SEED)")), "{stderr}");
        let says = format!("{key} is {more}, expected an integer of at most {most}");
        for stderr in refused_everywhere(args, &format!("{key}={more}")) {
            assert!(stderr.contains(&says), "{stderr}");
        }
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused_wherever_they_are_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some.toml");
    let path = file.to_str().unwrap();
    for (text, value) in [("nan", "NaN"), ("inf", "inf"), ("-inf", "-inf")] {
        // Without a value it would be unset.
        let says = format!("prune.epochs_budget is {value}, expected a number that is finite");
        let [set, variable] = refused_everywhere(&PRUNE, &format!("prune.epochs_budget={text}"));
        assert!(set.contains(&says) && set.contains("--set"), "{set}");
        let of_variable = format!("{says} (from PLEACH_PRUNE__EPOCHS_BUDGET)");
        assert!(variable.contains(&of_variable), "{variable}");
        fs::write(&file, format!("[prune]\nepochs_budget = {text}\n")).unwrap();
        let stderr = refused(&[&PRUNE[..], &["-c", path]].concat(), &[]);
        assert!(stderr.contains(&format!("{says} (from {path})")), "{stderr}");
    }
    for (set, says) in [
        ("prune.tune.schedule.milestones=[0.5, nan]", "prune.tune.schedule.milestones is NaN"),
        ("prune.target={unit='macs', amount=inf}", "prune.target.amount is inf"),
    ] {
        let stderr = refused(&[&PRUNE[..], &["--set", set]].concat(), &[]);
        assert!(stderr.contains(says), "{stderr}");
    }
}

#[test]
fn a_key_is_one_of_a_setting() {
    let deep = "a.".repeat(5_000) + "a";
    let says = "a key of more than 16 parts is none of a setting";
    let stderr = refused(&[&PRUNE[..], &["--set", &format!("{deep}=1")]].concat(), &[]);
    assert!(stderr.contains(says), "of --set");
    let variable = format!("PLEACH_PRUNE__{}", "A__".repeat(5_000) + "A");
    assert!(refused(&PRUNE, &[(variable.as_str(), "1")]).contains(says), "of a variable");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("unset.toml");
    fs::write(&file, format!("unset = [{deep:?}]\n")).unwrap();
    let stderr = refused(&[&PRUNE[..], &["-c", file.to_str().unwrap()]].concat(), &[]);
    assert!(stderr.contains(says), "{stderr}");
    for set in ["verb=train", "verb.x=1", "verb="] {
        let stderr = refused(&[&PRUNE[..], &["--set", set]].concat(), &[]);
        let (key, _) = set.split_once('=').unwrap();
        assert!(stderr.contains(&format!("{key} is no setting")), "{stderr}");
    }
}

#[test]
fn ranges_are_the_same_and_told_alike_for_flags_and_settings() {
    let positive = "a number, more than 0 and less than 1e30";
    let amount = "a number, 0 or more and less than 1e9";
    let temperature = "a number, more than 0 and at most 1e4";
    for (args, flag, set, says) in [
        (&TRAIN[..], &["--lr", "1e30"][..], "train.lr=1e30", positive),
        (&PRUNE, &["--lr", "1e30"], "prune.tune.lr=1e30", positive),
        (&PRUNE, &["--max-drop", "1e9"], "prune.max_drop=1e9", amount),
        (&TRAIN, &["--weight-decay", "1e9"], "train.optimizer.weight_decay=1e9", amount),
        (&TRAIN, &["-e", "1e6"], "train.epochs=1e6", "a number, more than 0 and less than 1e6"),
        (&TRAIN, &["--temperature", "10001"], "teacher={net='x', temperature=10001}", temperature),
        (
            &PRUNE,
            &["--distill", "0.5", "--temperature", "10001"],
            "prune.distillation={weight=0.5, temperature=10001}",
            temperature,
        ),
        (
            &TRAIN,
            &["--teacher", "x", "--distill", "0"],
            "teacher={net='x', distill=0}",
            "a fraction, more than 0 and at most 1",
        ),
    ] {
        for args in [[args, flag].concat(), [args, &["--set", set]].concat()] {
            let stderr = refused(&args, &[]);
            assert!(stderr.contains(&format!("expected {says}")), "{args:?}: {stderr}");
        }
    }
    // Beyond, what gradients lack grows from rounding errors.
    let muon = ["--optimizer", "muon", "--set", "train.optimizer.iterations=7"];
    let stderr = refused(&[&TRAIN[..], &muon].concat(), &[]);
    assert!(stderr.contains("train.optimizer.iterations is 7, expected 1 to 6"), "{stderr}");
}

#[test]
fn an_empty_variable_is_as_if_it_were_not_there_and_a_wrong_one_is_named() {
    let empty = ["PLEACH_THREADS", "PLEACH_ISA", "PLEACH_SEED", "PLEACH_DATA"].map(|it| (it, ""));
    let keys = show(&["train"], &empty);
    assert_eq!(found(&keys, "train.seed")[..2], [json!(42), "default".into()]);
    assert_eq!(found(&keys, "data")[..2], [Value::Null, "default".into()]);
    for args in [&["env"][..], &["data", "info"]] {
        pleach().args(args).envs(empty).assert().success();
    }
    for (variable, value, says) in [
        ("PLEACH_SEED", "x", "expected a whole number, 0 to 9223372036854775807"),
        ("PLEACH_THREADS", "2,x", "expected a number of threads, 1 to 1024"),
    ] {
        let stderr = refused(&["env"], &[(variable, value)]);
        assert!(stderr.contains(&format!("{says} (from {variable})")), "{stderr}");
    }
    let stderr = refused(&["env", "--seed", "x"], &[("PLEACH_SEED", "3")]);
    assert!(stderr.contains("'x'") && !stderr.contains("PLEACH_SEED"), "{stderr}");
}
