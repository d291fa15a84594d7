//! What `--force` does not overwrite: what is read, what is no file, what is no run. And paths that are no UTF-8.

use crate::command::pleach;
use crate::kinds::{LEAST, contents};
use pleach_core::npy;
use std::fs;
use std::path::Path;

/// What a command in a folder says that ends with `code` and leaves all files as they were.
fn refused(folder: &Path, args: &[&str], code: i32) -> String {
    let before = contents(folder);
    let output = pleach().current_dir(folder).args(args).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(contents(folder) == before, "{args:?}");
    stderr
}

/// A folder with a network and an image.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    npy::save(&folder.path().join("a.npy"), &[1, 3, 32, 32], &[0.5; 3 * 32 * 32]).unwrap();
    let export = ["export", LEAST, "--format", "safetensors", "-o", "net.safetensors"];
    pleach().current_dir(&folder).args(export).assert().success();
    folder
}

#[test]
fn what_a_verb_reads_it_does_not_overwrite_by_whatever_path() {
    let folder = folder();
    let (net, same) = ("net.safetensors", "./net.safetensors");
    for (args, says) in [
        (&["eval", LEAST, "--input", "./a.npy", "--logits", "a.npy"][..], "overwrite --input"),
        (&["eval", net, "--input", "a.npy", "--logits", same], "overwrite NET"),
        (&["eval", same, "--logits", net], "overwrite NET"),
        (&["export", net, "--format", "pytorch", "-o", "net"], "overwrite NET"),
        (&["export", net, "--format", "safetensors", "-o", same], "overwrite NET"),
        (&["export", net, "--format", "onnx", "-o", same, "-n"], "overwrite NET"),
        (&["import", same, "-o", net], "overwrite FILE"),
    ] {
        let said = refused(folder.path(), &[args, &["--force"]].concat(), 2);
        assert!(said.contains(says), "{args:?}: {said}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(net, folder.path().join("link.safetensors")).unwrap();
        let export = ["export", "link.safetensors", "--format", "safetensors", "-o", net, "-f"];
        assert!(refused(folder.path(), &export, 2).contains("overwrite NET"));
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_replaced_by_one() {
    use std::os::unix::fs::FileTypeExt;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let export = ["export", LEAST, "-o", "socket", "--format"];
    for args in [
        &["eval", LEAST, "--logits", "socket"][..],
        &[&export[..], &["onnx"]].concat()[..],
        &[&export[..], &["safetensors"]].concat()[..],
    ] {
        let output = pleach().current_dir(&folder).args(args).arg("-f").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("cannot write socket: it is no regular file"), "{stderr}");
        assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "{args:?}");
    }
}

#[test]
fn files_that_no_run_left_are_not_cleared_whatever_they_are_called() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["plan.json", "report.html", "figure-paper.svg", "report.json", "t1-mine.csv"] {
        fs::write(folder.path().join(name), "mine").unwrap();
    }
    let runs = [
        &["train", "-m", LEAST, "-e", "0.01", "-b", "10"][..],
        &["train", "-m", LEAST, "-n"],
        &["prune", LEAST, "--macs", "1.1x"],
        &["reproduce", "T1", "--quick", "--list-cells"],
    ];
    for settings in [None, Some("verb = \"cook\"\n"), Some("[package]\n")] {
        settings.iter().for_each(|text| fs::write(folder.path().join("run.toml"), text).unwrap());
        for args in runs {
            let said = refused(folder.path(), &[args, &["--force", "-o", "."]].concat(), 2);
            assert!(said.contains("there is no run in it to overwrite"), "{args:?}: {said}");
        }
    }
    fs::write(folder.path().join("run.toml"), "verb = \"prune\"\n").unwrap();
    let args = [runs[0], &["--force", "-o", "."]].concat();
    pleach().current_dir(&folder).args(args).assert().success();
    let left = contents(folder.path());
    let has = |name: &str| left.contains_key(name);
    assert!(!has("plan.json") && has("t1-mine.csv") && has("report.json"), "{:?}", left.keys());
}

#[cfg(target_os = "linux")]
#[test]
fn paths_that_are_no_utf_8_are_shown_as_well_as_they_can_be_or_refused_before_anything_is_done() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let odd = |name: &str| [name.as_bytes(), b"-\xff"].concat();
    for (args, key) in [
        (&["eval", LEAST, "--logits"][..], "/logits"),
        (&["eval", LEAST, "--input", "a.npy", "--logits"], "/logits"),
        (&["import", "net.safetensors", "-o"], "/out"),
        (&["export", LEAST, "--format", "onnx", "-o"], "/files/0"),
        (&["train", "-m", LEAST, "-n", "-o"], "/out"),
        (&["train", "-m", LEAST, "-e", "0.01", "-b", "10", "-o"], "/best"),
        (&["reproduce", "T1", "--quick", "--list-cells", "-o"], "/run"),
    ] {
        let out = odd(&args.join("-").replace(['.', ':', ','], ""));
        let mut command = pleach();
        command.current_dir(&folder).args(args).arg(OsStr::from_bytes(&out)).arg("--json");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let shown = found.pointer(key).unwrap().as_str().unwrap();
        assert!(shown.contains("-\u{fffd}"), "{args:?}: {shown}");
    }

    // What run.toml says is UTF-8.
    let data = odd("data");
    fs::create_dir(folder.path().join(OsStr::from_bytes(&data))).unwrap();
    let study = ["reproduce", "T1", "--quick", "--list-cells", "-o", "study"];
    pleach().current_dir(&folder).args(study).assert().success();
    let settings = fs::read(folder.path().join("study/run.toml")).unwrap();
    for args in [&study[..], &["train", "-m", LEAST, "-o", "study"]] {
        let mut command = pleach();
        command.current_dir(&folder).args(args).args(["--force", "--data"]);
        let output = command.arg(OsStr::from_bytes(&data)).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("its name is no UTF-8"), "{stderr}");
        assert!(fs::read(folder.path().join("study/run.toml")).unwrap() == settings, "{args:?}");
    }
}
