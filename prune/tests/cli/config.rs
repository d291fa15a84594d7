//! Settings: where they come from, and which wins.

use crate::TINY;
use crate::command::{assert_keys, pleach};
use serde_json::{Value, json};
use std::fs;

/// Keys of `pleach config show ARGS`, with `variables` set.
pub(crate) fn show(args: &[&str], variables: &[(&str, &str)]) -> Vec<Value> {
    let command = ["config", "show"].into_iter().chain(args.iter().copied()).chain(["--json"]);
    let output = pleach().args(command).envs(variables.iter().copied()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_keys(&found, &["schema", "verbs"]);
    assert_eq!(found["schema"], "pleach.config/1");
    let verbs = found["verbs"].as_array().unwrap();
    verbs.iter().flat_map(|verb| verb["keys"].as_array().unwrap().clone()).collect()
}

/// The value of a key, and where it is from.
pub(crate) fn found(keys: &[Value], key: &str) -> [Value; 3] {
    let found = keys.iter().find(|found| found["key"] == key);
    let found = found.unwrap_or_else(|| panic!("{key} is one of the keys"));
    ["value", "origin", "source"].map(|of| found[of].clone())
}

/// What a command says that is refused with 2.
pub(crate) fn refused(args: &[&str], variables: &[(&str, &str)]) -> String {
    let output = pleach().args(args).envs(variables.iter().copied()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    stderr
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_the_preset_and_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some.toml");
    fs::write(&file, "[prune]\nmax_drop = 1.0\nfloor = 0.1\nbias_update = \"none\"\n").unwrap();
    let file = file.to_str().unwrap();
    let drop = |args: &[&str], variables: &[(&str, &str)]| {
        found(&show(&[&["prune"], args].concat(), variables), "prune.max_drop")
    };
    let variable = [("PLEACH_PRUNE__MAX_DROP", "1.5")];
    assert_eq!(drop(&[], &[]), [json!(2.0), "default".into(), Value::Null]);
    assert_eq!(drop(&["-c", file], &[]), [json!(1.0), "file".into(), file.into()]);
    let environment = [json!(1.5), "environment".into(), "PLEACH_PRUNE__MAX_DROP".into()];
    assert_eq!(drop(&["-c", file], &variable), environment);
    let flag = [json!(0.5), "flag".into(), "--max-drop".into()];
    assert_eq!(drop(&["-c", file, "--max-drop", "0.5"], &variable), flag);
    let set = [json!(0.25), "flag".into(), "--set prune.max_drop".into()];
    assert_eq!(drop(&["-c", file, "--set", "prune.max_drop=0.25"], &variable), set);

    let update = |args: &[&str]| {
        found(&show(&[&["prune", "--preset", "2pfpce"], args].concat(), &[]), "prune.bias_update")
    };
    assert_eq!(update(&[]), [json!("max_entropy"), "preset".into(), "2pfpce".into()]);
    let best = show(&["prune", "--preset", "best"], &[]);
    let order = found(&best, "prune.layerwise_order");
    assert_eq!(order, [json!("sensitivity"), "preset".into(), "best".into()]);
    assert_eq!(found(&best, "prune.final_tune.lookahead.every")[1], "preset");
    let floor = ["--set", "prune.floor=0.3"];
    assert_eq!(update(&floor)[..2], [json!("max_entropy"), "preset".into()]);
    let hidden = ["prune", TINY, "--preset", "2pfpce", "-c", file];
    assert!(refused(&hidden, &[]).contains("--preset 2pfpce has no effect"));
    assert_eq!(found(&show(&["prune", "-c", file], &[]), "prune.bias_update")[0], "none");
}

#[test]
fn the_preset_of_training_is_what_the_recorded_runs_had_and_flags_beat_it() {
    const RECIPES: &str = include_str!("../../results/recipes-cifar10.json");
    let recorded: Value = serde_json::from_str(RECIPES).unwrap();
    let recorded = recorded["runs"].as_array().unwrap();
    for (model, name) in [("vgg16", "vgg16-muon-15"), ("resnet18", "resnet18-muon-22")] {
        let run = recorded.iter().find(|run| run["name"] == name).unwrap();
        let best = ["train", "--model", model, "--preset", "best"];
        let keys = show(&[&best[..], &["--seed", "1"]].concat(), &[]);
        let ours = keys.iter().filter_map(|key| {
            let name = key["key"].as_str().unwrap().strip_prefix("train.")?;
            (name != "epochs").then_some((name, &key["value"]))
        });
        let settings = &run["settings"]["train"];
        for (key, value) in ours {
            let had = key.split('.').fold(settings, |place, part| &place[part]);
            // That setting is younger than the runs.
            let had = if key == "cutmix" { &json!(0.0) } else { had };
            assert_eq!(value, had, "{key} of {model}");
        }
        assert_eq!(found(&keys, "train.optimizer.kind")[1..], ["preset", "best"].map(Value::from));
        assert_eq!(found(&keys, "train.border")[1], "preset");
        let over = |args: &[&str], key: &str| found(&show(&[&best[..], args].concat(), &[]), key);
        assert_eq!(over(&["--cutout", "2"], "train.cutout")[..2], [json!(2), "flag".into()]);
        let sgd = over(&["--optimizer", "sgd"], "train.optimizer.kind");
        assert_eq!(sgd[..2], [json!("sgd"), "flag".into()]);
    }
    let unnamed = show(&["train", "--preset", "best"], &[]);
    assert_eq!(found(&unnamed, "train.batch")[0], 512);
    let plain = show(&["train", "--model", "vgg16", "--preset", "default"], &[]);
    assert_eq!(plain, show(&["train", "--model", "vgg16"], &[]));
}

#[test]
fn every_key_is_shown_and_can_be_set_to_what_is_shown() {
    for (verb, variable) in [("train", "PLEACH_TRAIN__LR"), ("prune", "PLEACH_PRUNE__TUNE__LR")] {
        let keys = show(&[verb], &[(variable, "0.03")]);
        let given = keys.iter().find(|key| key["source"] == variable).unwrap();
        assert_eq!(given["value"], 0.03, "as people write it");
        let others = keys.iter().filter(|key| key["source"] != variable);
        for key in others {
            assert_eq!(key["origin"], "default", "{key:?}");
            let name = key["key"].as_str().unwrap();
            let value =
                if key["value"].is_null() { String::new() } else { key["value"].to_string() };
            let set = format!("{name}={value}");
            if let Some(why) = key["unread"].as_str() {
                let refused = refused(&["config", "show", verb, "--set", &set], &[]);
                assert!(refused.contains(&format!("has no effect: {why}")), "{refused}");
                continue;
            }
            let again = show(&[verb, "--set", &set], &[]);
            assert_eq!(found(&again, name)[..2], [key["value"].clone(), "flag".into()], "{name}");
        }
    }
    let both = show(&[], &[("PLEACH_SEED", "7")]);
    assert!(found(&both, "train.epochs")[1] == "default" && found(&both, "arch")[0].is_null());
}

#[test]
fn flags_of_all_verbs_and_their_variables_are_settings_too() {
    let keys = show(&["train", "--seed", "3", "--model", TINY], &[("PLEACH_DATA", "x")]);
    assert_eq!(found(&keys, "train.seed"), [json!(3), "flag".into(), "--seed".into()]);
    assert_eq!(found(&keys, "data"), [json!("x"), "environment".into(), "PLEACH_DATA".into()]);
    let keys = show(&["prune"], &[("PLEACH_SEED", "4")]);
    assert_eq!(found(&keys, "prune.seed"), [json!(4), "environment".into(), "PLEACH_SEED".into()]);
    let keys = show(&["train", "--optimizer", "adam", "--weight-decay", "0.1"], &[]);
    assert_eq!(found(&keys, "train.lr")[0], 0.001);
    assert_eq!(found(&keys, "train.optimizer.beta2")[..2], [json!(0.999), "flag".into()]);
    assert_eq!(found(&keys, "train.optimizer.weight_decay")[2], "--weight-decay");
    let target = ["prune", "--set", "prune.target.unit=params", "--set", "prune.target.amount=30%"];
    let keys = show(&target, &[]);
    assert_eq!(found(&keys, "prune.target.amount")[0], 0.7);
}

#[test]
fn the_rate_of_training_is_by_default_that_of_the_kind_of_network() {
    let rate = |args: &[&str]| {
        let keys = show(&[&["train"], args].concat(), &[]);
        let [value, origin, _] = found(&keys, "train.lr");
        (value.as_f64().unwrap(), origin.as_str().unwrap().to_owned())
    };
    let is = |rate: f64, origin: &str| (rate, origin.to_owned());
    for model in ["vgg16", "mobile-small", "concat-small", "no-such"] {
        assert_eq!(rate(&["--model", model]), is(0.05, "default"), "{model}");
    }
    for model in ["resnet18", "resnet20:8,16,32", "resnet50", "resnet18-imagenet"] {
        assert_eq!(rate(&["--model", model]), is(0.4, "default"), "{model}");
    }
    assert_eq!(rate(&["--set", "model=resnet20"]), is(0.4, "default"));
    assert_eq!(rate(&["--model", "resnet20", "--optimizer", "sgd"]), is(0.4, "flag"));
    assert_eq!(rate(&["--model", "resnet20", "--optimizer", "adam"]), is(0.001, "flag"));
    assert_eq!(rate(&["--model", "resnet20", "--lr", "0.1"]), is(0.1, "flag"));
    for (model, others) in [("vgg16", 0.05), ("resnet20", 0.4)] {
        assert_eq!(rate(&["--model", model, "--optimizer", "muon"]), is(0.03, "flag"));
        let keys = show(&["train", "--model", model, "--optimizer", "muon"], &[]);
        let multiple = found(&keys, "train.optimizer.others_lr")[0].as_f64().unwrap();
        assert!((0.03 * multiple - others).abs() < 1e-6, "{model}: {multiple} times 0.03");
    }
}

#[test]
fn what_is_shown_to_people_has_every_key_on_a_line() {
    let output = pleach().args(["config", "show", "prune", TINY, "--macs", "2x"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("prune.target.amount"), "0.5 flag --macs");
    assert_eq!(line("net"), format!("{TINY} flag NET"));
    assert_eq!(line("prune.epochs_budget"), "unset default");
    assert!(line("prune.tune.start").starts_with("identity default; not read: fine-tuning begins"));
}

#[test]
fn the_kind_of_an_optimiser_or_a_schedule_is_enough() {
    let kinds = [
        "prune.final_tune.optimizer.kind=muon",
        "prune.final_tune.optimizer.others_lr=10",
        "prune.final_tune.schedule.kind=cosine",
        "prune.tune.optimizer.kind=adam",
        "prune.tune.schedule.kind=step",
    ];
    let sets = kinds.iter().flat_map(|kind| ["--set", kind]);
    let args: Vec<&str> = ["prune", "--preset", "best"].into_iter().chain(sets).collect();
    let keys = show(&args, &[]);
    for (key, value) in [
        ("final_tune.optimizer.iterations", json!(3)),
        ("final_tune.optimizer.momentum", json!(0.6)),
        ("final_tune.optimizer.others_lr", json!(10.0)),
        ("final_tune.schedule.warmup", json!(0.05)),
        ("tune.optimizer.beta2", json!(0.999)),
        ("tune.optimizer.weight_decay", json!(0.0)),
        ("tune.schedule.milestones", json!([0.5, 0.75])),
    ] {
        assert_eq!(found(&keys, &format!("prune.{key}"))[0], value, "{key}");
    }
}

#[test]
fn a_part_of_a_settings_file_is_enough_to_train_by() {
    let folder = tempfile::tempdir().unwrap();
    let [file, run] = ["part.toml", "run"].map(|name| folder.path().join(name));
    fs::write(&file, format!("model = {TINY:?}\n[train]\nepochs = 0.1\nbatch = 200\n")).unwrap();
    let mut train = pleach();
    train.arg("train").arg("-c").arg(&file).args(["--set", "train.lr=0.01", "-q", "-o"]);
    train.arg(&run).assert().success();
    let toml = fs::read_to_string(run.join("run.toml")).unwrap();
    for line in ["epochs = 0.1", "batch = 200", "lr = 0.01", "label_smoothing = 0.1"] {
        assert!(toml.lines().any(|found| found == line), "{line}: {toml}");
    }
    let keys = show(&["train", "--resume", run.to_str().unwrap()], &[]);
    assert_eq!(found(&keys, "train.lr")[..2], [json!(0.01), "file".into()]);
}

#[test]
fn what_a_run_was_begun_without_it_is_resumed_and_repeated_without() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let args =
        ["train", "--model", TINY, "-e", "0.1", "-b", "200", "--set", "train.lookahead=", "-q"];
    pleach().args(args).arg("-o").arg(&run).assert().success();
    let toml = run.join("run.toml");
    let lookahead =
        |args: &[&str]| found(&show(&[&["train"], args].concat(), &[]), "train.lookahead");
    let lacks =
        |args: &[&str]| assert!(lookahead(args)[..2] == [Value::Null, "file".into()], "{args:?}");
    lacks(&["-c", toml.to_str().unwrap()]);
    lacks(&["--resume", run.to_str().unwrap()]);
    // A run that is older than the setting did without it too.
    let text = fs::read_to_string(&toml).unwrap();
    let old: String = text.lines().skip(1).map(|line| format!("{line}\n")).collect();
    assert!(text.starts_with("unset = [\"train.lookahead\"]\n") && !old.contains("lookahead"));
    fs::write(&toml, old).unwrap();
    lacks(&["--resume", run.to_str().unwrap()]);
}
