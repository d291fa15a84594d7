//! What the command says of itself: completions and manual pages.

use crate::command::{json, pleach, verbs};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

#[test]
fn every_shell_completes_every_verb_and_flag() {
    for shell in SHELLS {
        let output = pleach().args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        for word in verbs().iter().map(String::as_str).chain(["max-drop", "per-layer", "isa"]) {
            assert!(script.contains(word), "{shell} completes {word}");
        }
    }
}

#[test]
fn bash_takes_the_script_and_completes_by_it() {
    let output = pleach().args(["completions", "bash"]).output().unwrap();
    let script = String::from_utf8(output.stdout).unwrap();
    let ask = "COMP_WORDS=(pleach pru); COMP_CWORD=1; _pleach pleach pru pleach; echo \"${COMPREPLY[@]}\"";
    let bash = Command::new("bash")
        .args(["-c", &format!("{script}\n{ask}")])
        .stdin(Stdio::null())
        .output();
    // Where there is no bash, nobody completes by it.
    if let Ok(output) = bash {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "prune", "{stderr}");
    }
}

#[test]
fn every_verb_has_a_manual_page_which_is_not_overwritten_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("share/man1");
    let found = json(&["man", man.to_str().unwrap(), "--json"]);
    assert_eq!(found["schema"], "pleach.man/1");
    let files = found["files"].as_array().unwrap().iter();
    let files: Vec<&Path> = files.map(|file| Path::new(file.as_str().unwrap())).collect();
    let page = |name: &str| {
        assert!(files.contains(&man.join(name).as_path()), "{name}: {files:?}");
        fs::read_to_string(man.join(name)).unwrap()
    };
    for verb in verbs() {
        let text = page(&format!("pleach-{verb}.1"));
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{verb}: {text}");
    }
    assert!(page("pleach-prune.1").contains("max\\-drop"));
    assert!(page("pleach.1").contains("Exit codes") && page("pleach-data-fetch.1").contains("url"));
    let again = pleach().arg("man").arg(&man).output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("pleach.1 is there already"));
    pleach().arg("man").arg(&man).arg("--force").assert().success();
}
