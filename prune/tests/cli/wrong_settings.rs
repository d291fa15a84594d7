//! Settings that cannot be, contradict each other, or have no effect.

use crate::TINY;
use crate::config::{found, refused, show};
use serde_json::{Value, json};
use std::fs;

const TRAIN: [&str; 3] = ["train", "--model", TINY];
const PRUNE: [&str; 2] = ["prune", TINY];

#[test]
fn a_wrong_setting_is_named_with_where_it_is_from_and_what_was_meant() {
    let set = |assignment: &str| refused(&["prune", TINY, "--set", assignment], &[]);
    for (assignment, says) in [
        (
            "prune.max_dorp=1",
            "unknown key prune.max_dorp (from --set prune.max_dorp); did you mean prune.max_drop?",
        ),
        ("max_drop=1", "did you mean prune.max_drop?"),
        ("prune.optimizer.momentum=0.8", "did you mean prune.tune.optimizer.momentum?"),
        ("prune.target.units=macs", "did you mean prune.target.unit?"),
        (
            "prune.phases=globl",
            "unknown variant `globl`, expected one of `both`, `global`, `layerwise`",
        ),
        ("prune.phases=globl", "did you mean global?"),
        ("prune.max_drop=much", "prune.max_drop: invalid type: string \"much\", expected f64"),
        ("prune.max_drop.a=1", "prune.max_drop.a: invalid type: map, expected f64"),
        ("prune.max_drop=", "invalid type: null, expected f64"),
        (
            "prune.con_ent.bins=0",
            "prune.con_ent.bins is 0, expected 2 to 65536 (from --set prune.con_ent.bins)",
        ),
        ("prune.final_tune.crop_padding=17", "crop_padding is 17, expected 0 to 16 pixels"),
        ("prune.tune.optimizer.kind=adan", "did you mean adam?"),
        (
            "prune.tune.epochs=3",
            "--set prune.tune.epochs has no effect: the run sets it; set prune.global_epochs",
        ),
        ("prune.global_target_share=0.3", "has no effect: there is no target"),
        ("prune.max_drop", "expected KEY=VALUE"),
        (".x=1", "\".x\" is no key"),
    ] {
        let stderr = set(assignment);
        assert!(stderr.contains(says), "{assignment} should say {says:?}: {stderr}");
    }
    // Of two that are wrong the first, and not the preset before them.
    let both = ["--preset", "best", "--set", "prune.tune.lr=high", "--set", "prune.pace=1"];
    let stderr = refused(&[&["prune", TINY][..], &both].concat(), &[]);
    assert!(stderr.contains("prune.tune.lr: invalid type: string \"high\""), "{stderr}");
    let twice = ["prune", TINY, "--max-drop", "1", "--set", "prune.max_drop=1"];
    assert!(refused(&twice, &[]).contains("--set prune.max_drop and --max-drop set the same"));
    let idle = ["prune", TINY, "--phase", "global", "--layerwise-step", "0.2"];
    assert!(refused(&idle, &[]).contains("--layerwise-step has no effect: phase II does not run"));
    let slip = refused(&["train", "--model", TINY], &[("PLEACH_TRAIN_EPOCHS", "3")]);
    assert!(slip.contains("PLEACH_TRAIN_EPOCHS sets nothing: did you mean PLEACH_TRAIN__EPOCHS?"));
    let of_environment = refused(&["train", "--model", TINY], &[("PLEACH_TRAIN__EPOCH", "3")]);
    let says = "unknown key train.epoch (from PLEACH_TRAIN__EPOCH); did you mean train.epochs?";
    assert!(of_environment.contains(says), "{of_environment}");
}

#[test]
fn a_name_that_a_kind_lacks_is_blamed_and_not_the_kind() {
    let momentum = "train.optimizer.momentum=0.5";
    let table = "train.optimizer={kind='adam', momentum=0.5}";
    let none: &[(&str, &str)] = &[];
    let adam: &[(&str, &str)] = &[("PLEACH_TRAIN__OPTIMIZER__KIND", "adam")];
    for (args, variables, from) in [
        (&["--optimizer", "adam", "--set", momentum][..], none, "train.optimizer.momentum"),
        (&["--set", momentum], adam, "train.optimizer.momentum"),
        (&["--set", table], none, "train.optimizer"),
    ] {
        let stderr = refused(&[&TRAIN[..], args].concat(), variables);
        let says = format!("unknown key train.optimizer.momentum (from --set {from})\n");
        assert!(stderr.contains(&says), "{args:?} should say {says:?}: {stderr}");
    }
}

#[test]
fn a_flag_is_not_taken_back_by_another() {
    let [adam, constant] = [["--optimizer", "adam"], ["--schedule", "constant"]];
    for (verb, flag, set) in [
        (&PRUNE[..], ["--macs", "2x"], "prune.target.amount=10x"),
        (&PRUNE, ["--macs", "2x"], "prune.target.unit=params"),
        (&PRUNE, ["--macs", "2x"], "prune.target="),
        (&PRUNE, ["--distill", "0.5"], "prune.distillation.weight=0.9"),
        (&PRUNE, ["--distill", "0"], "prune.distillation.weight=0.9"),
        (&TRAIN, adam, "train.optimizer.kind=sgd"),
        (&TRAIN, constant, "train.schedule.kind=cosine"),
        (&TRAIN, ["--start-size", "16"], "train.resizing="),
    ] {
        let stderr = refused(&[verb, &flag, &["--set", set]].concat(), &[]);
        let (key, _) = set.split_once('=').unwrap();
        let says = format!("--set {key} and {} set the same: give one of them", flag[0]);
        assert!(stderr.contains(&says), "{set} should say {says:?}: {stderr}");
    }
    // What they only bring along may be otherwise.
    for (args, key, value) in [
        (&["train", "--optimizer", "adam"][..], "train.optimizer.beta1", json!(0.8)),
        (&["train", "--optimizer", "adam"], "train.lr", json!(0.01)),
        (&["train", "--schedule", "one-cycle"], "train.schedule.warmup", json!(0.1)),
        (&["prune", "--distill", "0.5"], "prune.distillation.temperature", json!(2.0)),
        (&["prune", "--macs", "2x"], "prune.target.unit", json!("macs")),
    ] {
        let keys = show(&[args, &["--set", &format!("{key}={value}")]].concat(), &[]);
        assert_eq!(found(&keys, key)[..2], [value, "flag".into()], "{key}");
    }
}

#[test]
fn the_temperature_of_distillation_is_left_as_it_is_by_its_weight() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some.toml");
    fs::write(&file, "[prune.distillation]\nweight = 0.5\ntemperature = 8.0\n").unwrap();
    let config = ["-c", file.to_str().unwrap()];
    let temperature = |args: &[&str], variables: &[(&str, &str)]| {
        let keys = show(&[&["prune", "--distill", "0.7"], args].concat(), variables);
        assert_eq!(found(&keys, "prune.distillation.weight")[0], 0.7, "{args:?}");
        found(&keys, "prune.distillation.temperature")[0].as_f64().unwrap()
    };
    let six = [("PLEACH_PRUNE__DISTILLATION__TEMPERATURE", "6")];
    assert_eq!(temperature(&[], &[]), 4.0);
    assert_eq!(temperature(&config, &[]), 8.0);
    assert_eq!(temperature(&[], &six), 6.0);
    assert_eq!(temperature(&config, &six), 6.0);
    assert_eq!(temperature(&["--temperature", "3"], &six), 3.0);
    let none = show(&[&["prune", "--distill", "0"][..], &config].concat(), &[]);
    assert_eq!(found(&none, "prune.distillation")[..2], [Value::Null, "flag".into()]);
    let zero = refused(&[&PRUNE[..], &["--distill", "0", "--temperature", "3"]].concat(), &[]);
    assert!(zero.contains("--temperature has no effect: --distill 0 compares"), "{zero}");
    let zero = ["--set", "prune.distillation.weight=0"];
    let idle = ["--set", "prune.distillation.temperature=3"];
    let zero = refused(&[&PRUNE[..], &zero, &idle].concat(), &[]);
    assert!(zero.contains("temperature has no effect: nothing is compared"), "{zero}");
}

#[test]
fn a_flag_takes_the_place_of_a_kind_of_which_nothing_else_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kind.toml");
    fs::write(&file, "[train.optimizer]\nkind = \"muon\"\n").unwrap();
    let config = ["-c", file.to_str().unwrap()];
    for (name, decay) in [("sgd", json!(0.0005)), ("adam", json!(0.0)), ("muon", json!(0.0005))] {
        let args = ["train", "--optimizer", name];
        let variables = [("PLEACH_TRAIN__OPTIMIZER__KIND", "muon")];
        for keys in [show(&args, &variables), show(&[&args[..], &config].concat(), &[])] {
            assert_eq!(found(&keys, "train.optimizer.kind")[0], name);
            assert_eq!(found(&keys, "train.optimizer.weight_decay")[0], decay, "{name}");
        }
    }
}

#[test]
fn what_nothing_reads_beside_the_others_is_refused() {
    let no_tuning = ["--global-epochs", "0", "--layerwise-epochs", "0"];
    let no_last = ["--final-epochs", "0"];
    let of_prune = |args: &[&[&'static str]]| [&PRUNE[..], &args.concat()].concat();
    let latency = ["--latency", "2x", "--no-free-channels"];
    for (args, says) in [
        (of_prune(&[&no_last, &["--final-lr", "0.1"]]), "--final-lr has no effect: there is no"),
        (of_prune(&[&no_tuning, &["--lr", "0.5"]]), "--lr has no effect: no removal is followed"),
        (
            of_prune(&[&["--phase", "global"], &no_tuning[..2], &["--lr", "0.5"]]),
            "--lr has no effect: no removal is followed",
        ),
        (
            of_prune(&[&no_tuning, &no_last, &["--freeze", "0.2"]]),
            "--freeze has no effect: nothing is fine-tuned",
        ),
        (
            of_prune(&[&["--epochs-budget", "0"], &latency]),
            "--no-free-channels has no effect: --epochs-budget 0 prunes once",
        ),
        (
            of_prune(&[&no_last, &latency]),
            "--no-free-channels has no effect: there is no final fine-tuning",
        ),
        (
            of_prune(&[&["--final-epochs", "1", "--set", "prune.final_tune.resizing.start=16"]]),
            "--set prune.final_tune.resizing.start has no effect: one epoch has no later one",
        ),
        (
            [&TRAIN[..], &["-e", "1", "--start-size", "16"]].concat(),
            "--start-size has no effect: one epoch has no later one",
        ),
    ] {
        let stderr = refused(&args, &[]);
        assert!(stderr.contains(says), "{args:?} should say {says:?}: {stderr}");
    }
    for args in [
        &["prune", "--global-epochs", "0", "--lr", "0.5"][..],
        // One of the two that it sets is read.
        &["prune", "--final-epochs", "0", "--batch", "64"],
        &["train", "-e", "1.5", "--start-size", "16"],
    ] {
        show(args, &[]);
    }
    // With a budget, the target says how long is fine-tuned, whatever the epochs of each removal.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.toml");
    fs::write(&file, "[prune]\nglobal_epochs = 0.0\nlayerwise_epochs = 0.0\n").unwrap();
    let budget = ["-c", file.to_str().unwrap(), "--epochs-budget", "4", "--lr", "0.5"];
    show(&[&["prune", "--macs", "2x"], &budget[..]].concat(), &[]);
    let stderr = refused(&[&PRUNE[..], &budget].concat(), &[]);
    assert!(stderr.contains("--lr has no effect: no removal is followed"), "{stderr}");
}
