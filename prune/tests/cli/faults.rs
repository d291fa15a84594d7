//! Runs that meet another run, a signal, missing data, a full disk or one that cannot be written.

use crate::command::pleach;
#[cfg(unix)]
use crate::command::{json, process, send};
use crate::kinds::{Kind, LEAST, PRUNE, REPRODUCE, TRAIN, contents};
use std::fs;
use std::io::{BufRead, BufReader, Read};
#[cfg(unix)]
use std::net::TcpListener;
use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Begins a run, and waits for a line on stderr.
fn begin(kind: &Kind, run: &Path, line: &str) -> (Child, BufReader<ChildStderr>) {
    let mut command = kind.resume(run);
    command.args(["--progress", "lines"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut found = String::new();
    while !found.starts_with(line) {
        found.clear();
        assert!(stderr.read_line(&mut found).unwrap() > 0, "{line:?} is said");
    }
    (child, stderr)
}

/// Begins a run, and asks it to end after a line on stderr. Returns its folder, and the rest of what it says. One that is
/// through before the signal comes, as on a busy machine, is begun again in another folder.
#[cfg(unix)]
fn interrupted(kind: &Kind, above: &Path, line: &str) -> (PathBuf, String) {
    const TRIES: usize = 5;
    for run in (0..TRIES).map(|number| above.join(format!("run-{number}"))) {
        let (mut child, mut stderr) = begin(kind, &run, line);
        send("TERM", &child);
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        match child.wait().unwrap().code() {
            Some(143) => return (run, rest),
            Some(0) => {}
            code => panic!("{code:?}: {rest}"),
        }
    }
    panic!("{TRIES} runs were through before they could be interrupted");
}

/// What a command says when it ends with this exit code.
fn refused(args: &[&str], run: &Path, code: i32) -> String {
    let output = pleach().args(args).arg(run).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    stderr
}

#[test]
fn a_second_run_in_a_folder_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let (mut child, _stderr) = begin(&TRAIN, &run, "training");
    // Or it might end before the others are refused.
    #[cfg(unix)]
    send("STOP", &child);
    let expected = format!("is in use by process {}", child.id());
    for args in [
        &["train", "--resume"][..],
        &["train", "--model", LEAST, "--force", "-o"],
        &["prune", LEAST, "--macs", "2x", "--force", "-o"],
    ] {
        let said = refused(args, &run, 1);
        assert!(said.contains(&expected), "{args:?}: {said}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    TRAIN.finish(&run);
    TRAIN.whole().assert_is_what_is_in(&run, "after others were refused");
}

#[test]
fn a_run_that_goes_on_from_another_folder_says_where_its_files_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let here = |args: &[&str]| {
        pleach().current_dir(&folder).args(args).assert().success();
    };
    here(&["export", LEAST, "--format", "safetensors", "-o", "net.safetensors"]);
    here(&["train", "--init", "net.safetensors", "-e", "0.05", "-o", "train"]);
    let once = ["--epochs-budget", "0", "--max-drop", "100", "--bench-seconds", "0"];
    here(&[&["prune", "net.safetensors", "--macs", "1.1x", "-o", "prune"], &once[..]].concat());
    for verb in ["train", "prune"] {
        let run = folder.path().join(verb);
        fs::remove_file(run.join("result.json")).unwrap();
        let said = refused(&[verb, "--resume"], &run, 1);
        let expected = format!(
            "error: {} names net.safetensors as seen from the folder in which the run was begun: net.safetensors: \
             there is no such file\n",
            run.join("run.toml").display()
        );
        assert_eq!(said, expected);
    }
}

#[cfg(unix)]
#[test]
fn pruning_that_is_asked_to_end_saves_and_says_how_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (run, rest) = interrupted(&PRUNE, folder.path(), "global:");
    assert!(rest.contains("the network after the last accepted step is"), "{rest}");
    assert!(rest.contains(&format!("pleach prune --resume {} goes on", run.display())), "{rest}");
    for name in ["pruned.safetensors", "plan.json", "state.json"] {
        assert!(run.join(name).exists(), "{name}");
    }

    // What would make another run of it is refused, and so is what is not there any more.
    let before = contents(&run);
    for other in [
        &["--macs", "2x"][..],
        &["--seed", "1"],
        &["--preset", "2pfpce"],
        &["--verify"],
        &["--bench-seconds", "1"],
        &["vgg16"],
        // It was begun with the built-in data.
        &["--data", "gone"],
    ] {
        let said = refused(&[&["prune"], other, &["--resume"]].concat(), &run, 2);
        assert!(said.contains("was begun with other settings"), "{other:?}: {said}");
    }
    let is_not_lock = |(name, _): &(&String, &Vec<u8>)| *name != "run.lock";
    assert!(contents(&run).iter().filter(is_not_lock).eq(before.iter().filter(is_not_lock)));

    let resume = ["prune", "--json", "--resume", run.to_str().unwrap()];
    let found = json(&resume);
    PRUNE.whole().assert_is_what_is_in(&run, "after an interruption");
    // A finished run ends at once, well, and as it was.
    let before = contents(&run);
    assert_eq!(json(&resume), found);
    assert!(contents(&run).iter().filter(is_not_lock).eq(before.iter().filter(is_not_lock)));
}

#[cfg(unix)]
#[test]
fn a_study_that_is_asked_to_end_keeps_its_cells_and_says_how_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (run, rest) = interrupted(&REPRODUCE, folder.path(), "-- t1-global");
    let says = format!("pleach reproduce --resume {} goes on", run.display());
    assert!(rest.contains(&says), "{rest}");
    assert!(run.join("cells/t1-both/cell.json").exists());

    let before = contents(&run);
    let said = refused(&["reproduce", "--data", "gone", "--resume"], &run, 2);
    assert!(said.contains("was begun with the built-in data"), "{said}");
    assert!(contents(&run) == before, "nothing was touched");
    REPRODUCE.finish(&run);
    REPRODUCE.whole().assert_is_what_is_in(&run, "after an interruption");
}

#[cfg(unix)]
#[test]
fn a_download_that_is_asked_to_end_does_while_the_server_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut child = process()
        .current_dir(&folder)
        .args(["data", "fetch", "cifar-10", "--url", &url])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _silent = loop {
        match listener.accept() {
            Ok(connection) => break connection,
            Err(_) => assert!(child.try_wait().unwrap().is_none(), "it asks the server"),
        }
        thread::sleep(Duration::from_millis(1));
    };
    send("TERM", &child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(143), "{stderr}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{stderr}");
}

/// A file system of its own for a test, as long as this lives.
#[cfg(target_os = "linux")]
struct Disk(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl Disk {
    /// Nothing where the test may not mount one.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "pleach-test"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if !mount.is_ok_and(|status| status.success()) {
            eprintln!("left out: only who may mount a file system can have one that is full");
            return None;
        }
        Some(Self(folder))
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let mount = Command::new("mount").args(["-o", &options]).arg(self.0.path()).status();
        assert!(mount.unwrap().success());
    }
}

#[cfg(target_os = "linux")]
impl Drop for Disk {
    fn drop(&mut self) {
        // A failure leaves the folder, which the system's own cleaning takes.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

/// A run is killed when it has saved a file whose name is `saved` or begins with that.
#[cfg(target_os = "linux")]
fn survives_a_disk_that_takes_no_more(kind: &'static Kind, saved: &str) {
    let Some(disk) = Disk::new() else { return };
    let run = disk.0.path().join("run");
    let mut child = kind.command(&run).spawn().unwrap();
    let (folder, name) = saved.rsplit_once('/').unwrap_or(("", saved));
    let has_saved = || {
        let files = fs::read_dir(run.join(folder)).into_iter().flatten().flatten();
        files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with(name))
    };
    while !has_saved() && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What is appended and what is half written is no part of the state that is gone on from.
    let good = |run: &Path| {
        let mut files = contents(run);
        files.retain(|name, _| {
            name.ends_with("safetensors") || name.ends_with("json") || name == "run.toml"
        });
        files
    };
    let before = good(&run);
    assert!(before.keys().any(|name| name.starts_with(saved)));

    disk.remount("ro");
    let said = refused(&[kind.verb, "--resume"], &run, 1);
    assert!(said.contains("run.lock: Read-only file system"), "{said}");
    let fresh = disk.0.path().join("fresh");
    let said = refused(&[&[kind.verb], kind.args, &["-o"]].concat(), &fresh, 1);
    assert!(said.contains("cannot make") && said.contains("Read-only file system"), "{said}");
    disk.remount("rw");

    let filler = disk.0.path().join("filler");
    fs::write(&filler, vec![0; 1 << 20]).expect_err("the disk is full");
    let said = refused(&[kind.verb, "--resume"], &run, 1);
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("goes on"), "{said}");
    assert!(good(&run) == before, "the last good state is there");

    fs::remove_file(&filler).unwrap();
    kind.finish(&run);
    kind.whole().assert_is_what_is_in(&run, "after the disk was full");
}

#[cfg(target_os = "linux")]
#[test]
fn training_survives_a_disk_that_takes_no_more() {
    survives_a_disk_that_takes_no_more(&TRAIN, "last.safetensors");
}

#[cfg(target_os = "linux")]
#[test]
fn pruning_survives_a_disk_that_takes_no_more() {
    survives_a_disk_that_takes_no_more(&PRUNE, "state.network-");
}

#[cfg(target_os = "linux")]
#[test]
fn a_study_survives_a_disk_that_takes_no_more() {
    survives_a_disk_that_takes_no_more(&REPRODUCE, "cells/t1-both/pruned.safetensors");
}
