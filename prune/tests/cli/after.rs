//! Runs that go on from where others ended.

use crate::TINY;
use crate::command::{json, pleach};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

const BRIEF: [&str; 6] = ["--max-drop", "100", "--calibration", "100", "--bench-seconds", "0"];

fn prune(net: &str, run: &Path, args: &[&str]) -> Value {
    let out = ["--json", "-o", run.to_str().unwrap()];
    json(&[&["prune", net, "--epochs-budget", "0.1"], &BRIEF[..], args, &out].concat())
}

fn plan(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("plan.json")).unwrap()).unwrap()
}

/// What is said of a run that is refused.
fn refused(net: &str, args: &[&str]) -> String {
    let output = pleach().args(["prune", net]).args(BRIEF).args(args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    stderr
}

#[test]
fn a_run_goes_on_from_where_another_ended_and_counts_from_the_whole_network() {
    let folder = tempfile::tempdir().unwrap();
    let [half, third, again] = ["half", "third", "again"].map(|name| folder.path().join(name));
    let first = prune(TINY, &half, &["--macs", "2x"]);
    let after = ["--macs", "3x", "--after", half.to_str().unwrap()];
    let dry = json(&[&["prune", TINY, "-n", "--json"], &after[..], &BRIEF].concat());
    assert_eq!(dry["after"], half.to_str().unwrap());
    let second = prune(TINY, &third, &after);
    assert_eq!(second["base"], first["base"]);
    let count = |run: &Value, of: &str| run[of]["macs"].as_u64().unwrap();
    assert!(3 * count(&second, "pruned") <= count(&second, "base"), "{second}");
    assert!(second["epochs"].as_f64() > first["epochs"].as_f64(), "both are counted");
    let network = fs::read(half.join("pruned.safetensors")).unwrap();
    assert_eq!(second["sha256"]["after"], format!("{:x}", Sha256::digest(network)));

    let page = fs::read_to_string(third.join("report.html")).unwrap();
    assert!(page.contains("on from where another run ended"), "{page}");
    assert!(page.contains(second["sha256"]["after"].as_str().unwrap()), "{page}");

    let [before, plan] = [&half, &third].map(|run| plan(run));
    let steps = |plan: &Value| plan["steps"].as_array().unwrap().clone();
    assert!(steps(&plan).starts_with(&steps(&before)), "its steps come after the other's");
    for (layer, kept) in plan["kept"].as_object().unwrap() {
        let before = before["kept"][layer].as_array().unwrap();
        assert!(kept.as_array().unwrap().iter().all(|filter| before.contains(filter)), "{layer}");
    }

    let toml = third.join("run.toml");
    prune(TINY, &again, &["-c", toml.to_str().unwrap()]);
    let bytes = |run: &Path| fs::read(run.join("pruned.safetensors")).unwrap();
    assert!(bytes(&third) == bytes(&again), "the same bytes");
}

#[test]
fn a_run_does_not_go_on_from_what_is_not_of_its_network_or_far_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [net, other] = ["net", "other"].map(|name| path(&format!("{name}.safetensors")));
    for (net, seed) in [(&net, "1"), (&other, "2")] {
        let args = ["export", TINY, "--seed", seed, "--format", "safetensors", "-o", net];
        pleach().args(args).assert().success();
    }
    let (half, new) = (path("half"), path("new"));
    prune(&net, half.as_ref(), &["--macs", "2x"]);
    let before = fs::read(Path::new(&half).join("result.json")).unwrap();
    let after = ["--after", &half, "--macs"];
    let to = |amount: &'static str| [&after[..], &[amount, "-o", &new]].concat();
    assert!(refused(&other, &to("3x")).contains("the SHA-256 of its base network is"));
    assert!(refused(&net, &to("2x")).contains("give one that goes further"));
    let said = refused(&net, &[&after[..], &["3x", "--force", "-o", &half]].concat());
    assert!(said.contains("which --force overwrites"), "{said}");
    let said = refused(TINY, &to("3x"));
    assert!(said.contains("of vgg-small:8,8,12,12,16,16 is no file"), "{said}");
    let named = path("named");
    prune(TINY, named.as_ref(), &["--macs", "2x", "--seed", "3"]);
    let said = refused(TINY, &["--after", &named, "--macs", "3x", "-o", &new]);
    assert!(said.contains("its seed is 3"), "{said}");
    let (plan, copy) =
        (path("half/plan.json"), fs::read_to_string(path("half/plan.json")).unwrap());
    let mut wider: Value = serde_json::from_str(&copy).unwrap();
    wider["kept"].as_object_mut().unwrap().clear();
    fs::write(&plan, wider.to_string()).unwrap();
    assert!(refused(&net, &to("3x")).contains("is not the network that"));
    fs::write(&plan, copy).unwrap();
    let said = refused(&net, &["--after", &half, "--plan", &plan, "-o", &new]);
    assert!(said.contains("cannot be used with"), "{said}");
    let toml = path("after.toml");
    fs::write(&toml, format!("after = {half:?}\n")).unwrap();
    let said = refused(&net, &["-c", &toml, "--plan", &plan, "-o", &new]);
    assert!(said.contains("after is"), "{said}");
    let empty = path("empty");
    fs::create_dir(&empty).unwrap();
    let said = refused(&net, &["--after", &empty, "--macs", "3x", "-o", &new]);
    assert!(said.contains("there is no result.json"), "{said}");
    let said = refused(&net, &["--after", &path("nowhere"), "--macs", "3x", "-o", &new]);
    assert!(said.contains("nowhere"), "{said}");
    assert!(!Path::new(&new).exists(), "nothing is written");
    assert_eq!(fs::read(Path::new(&half).join("result.json")).unwrap(), before);
}
