//! `pleach reproduce`: what it refuses. Its work is tested as the library's.

use crate::command::pleach;

#[test]
fn a_run_that_is_none_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let output = pleach().args(["reproduce", "--resume", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere: there is no such run"));

    std::fs::write(folder.path().join("run.toml"), "verb = \"train\"\n").unwrap();
    let output = pleach().args(["reproduce", "--resume"]).arg(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("run.toml is no settings file of reproduce"), "{stderr}");
}

#[test]
fn a_seed_cannot_be_changed_in_the_middle_of_a_run() {
    let output = pleach().args(["reproduce", "--resume", "run", "--seed", "1"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("cannot be used with"), "{stderr}");
}
