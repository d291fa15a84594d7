//! Networks that come in and go out: `pleach import`, `pleach export`, and files of other programs where a
//! network is meant.

use crate::TINY;
use crate::command::{assert_keys, json, pleach};
use pleach_core::npy::{self, Array};
use std::fs;
use std::path::{Path, PathBuf};

/// A file that PyTorch or NumPy made; the state dicts are of a network for images of 6x6.
fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/exchange");
    folder.join(name).to_str().unwrap().to_owned()
}

/// Runs the command in a folder, and returns its exit code and what it says on stderr.
fn run(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = pleach().current_dir(folder).args(args).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn assert_close(found: &Path, expected: &Path) {
    let [found, expected] = [found, expected].map(|path| npy::load(path).unwrap());
    assert_eq!(found.shape, expected.shape);
    let largest = expected.values.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    for (a, b) in found.values.iter().zip(&expected.values) {
        assert!((a - b).abs() <= 1e-4 * largest, "{a}, expected {b} of {largest}");
    }
}

#[test]
fn pytorchs_state_dicts_give_pytorchs_logits_without_being_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("logits.npy");
    for net in ["plain.pth", "wrapped.pth"] {
        let (net, images) = (fixture(net), fixture("images.npy"));
        let eval = ["eval", &net, "--input", &images, "--logits", out.to_str().unwrap(), "--json"];
        let found = json(&[&eval[..], &["--force"]].concat());
        let (code, said) = run(folder.path(), &eval);
        assert!(code == Some(2) && said.contains("is there already"), "{said}");
        assert_keys(&found, &["schema", "weights", "images", "classes", "input", "logits"]);
        assert_eq!((&found["images"], &found["classes"]), (&4.into(), &2.into()));
        assert_close(&out, Path::new(&fixture("logits.npy")));
    }
}

#[test]
fn import_keeps_the_network_and_what_its_images_are_normalised_by() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (file, out) = (fixture("plain.pth"), folder.join("net"));
    let out = out.to_str().unwrap();
    let import = ["import", &file, "-o", out, "--image", "3,6,6"];
    let normalised = ["--mean", "0.1,0.2,0.3", "--std", "0.4,0.5,0.6"];
    let found = json(&[&import[..], &normalised, &["--json"]].concat());
    let expected = [
        "schema",
        "file",
        "format",
        "model",
        "widths",
        "image",
        "classes",
        "macs",
        "params",
        "normalisation",
        "out",
    ];
    assert_keys(&found, &expected);
    assert_eq!((&found["format"], &found["model"]), (&"torch".into(), &"concat-small".into()));
    assert_eq!(found["widths"], serde_json::json!([2, 3, 1, 4, 2]));
    let loaded = pleach_core::checkpoint::load(Path::new(out)).unwrap();
    assert_eq!(loaded.meta.normalisation.unwrap().std, [0.4, 0.5, 0.6]);

    let args = ["eval", out, "--input", &fixture("images.npy"), "--logits", "logits.npy"];
    assert_eq!(run(folder, &args).0, Some(0));
    assert_close(&folder.join("logits.npy"), Path::new(&fixture("logits.npy")));

    let (code, said) = run(folder, &import);
    assert!(code == Some(2) && said.contains("is there already; overwrite it with --force"));
    assert_eq!(run(folder, &[&import[..], &["--force"]].concat()).0, Some(0));
    let few = [&import[..], &["--force", "--mean", "0.1", "--std", "0.1"]].concat();
    let (code, said) = run(folder, &few);
    assert!(code == Some(2) && said.contains("each of the 3 channels"), "{said}");
}

#[test]
fn an_architecture_or_images_are_not_named_for_what_says_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (format, out) in [("safetensors", "own.safetensors"), ("onnx", "model.onnx")] {
        let export = ["export", TINY, "--format", format, "-o", out];
        assert_eq!(run(folder, &export).0, Some(0));
    }
    let is_refused = |args: &[&str], says: &str| {
        let (code, said) = run(folder, args);
        assert!(code == Some(2) && said.contains(says), "{args:?}: {said}");
    };
    for net in [TINY, "own.safetensors", "model.onnx"] {
        let arch = ["--arch", "vgg-small"];
        let idle = "the architecture vgg-small (--arch) has no effect: ";
        is_refused(&[&["inspect", net], &arch[..]].concat(), idle);
        is_refused(&[&["eval", net], &arch[..]].concat(), idle);
        is_refused(&[&["prune", net, "--macs", "2x", "-n"], &arch[..]].concat(), idle);
        is_refused(&["inspect", net, "--arch", "vgg-smal"], "did you mean vgg-small?");
    }
    for net in ["own.safetensors", "model.onnx"] {
        let import = ["import", net, "-o", "net"];
        let image = [&import[..], &["--image", "3,32,32"]].concat();
        is_refused(&image, "--image has no effect: ");
        is_refused(&[&import[..], &["--arch", "vgg-small"]].concat(), "(--arch) has no effect: ");
        assert_eq!(run(folder, &[&import[..], &["-n"]].concat()).0, Some(0));
    }
    let plain = fixture("plain.pth");
    let import = ["import", &plain, "--arch", "concat-small", "--image", "3,6,6", "-o", "net"];
    assert_eq!(run(folder, &import).0, Some(0));

    // What an earlier version took is no reason not to go on.
    let once = ["--macs", "1.1x", "--epochs-budget", "0", "--max-drop", "100"];
    let prune = [&["prune", "own.safetensors", "--bench-seconds", "0", "-o", "run"], &once[..]];
    assert_eq!(run(folder, &prune.concat()).0, Some(0));
    fs::remove_file(folder.join("run/result.json")).unwrap();
    let toml = fs::read_to_string(folder.join("run/run.toml")).unwrap();
    let named = toml.replacen("net = ", "arch = \"vgg-small\"\nnet = ", 1);
    fs::write(folder.join("run/run.toml"), named).unwrap();
    let (code, said) = run(folder, &["prune", "--resume", "run", "-n"]);
    assert!(code == Some(0) && said.contains("(--arch) has no effect: "), "{said}");
}

#[test]
fn every_format_that_is_written_is_read_as_the_same_network() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let images = Array {
        shape: vec![3, 3, 32, 32],
        values: (0..3 * 3 * 1024).map(|i| (i as f32).sin()).collect(),
    };
    npy::save(&folder.join("images.npy"), &images.shape, &images.values).unwrap();
    let eval = |net: &str, logits: &str| {
        let eval = ["eval", net, "--input", "images.npy", "--force", "--logits", logits];
        let (code, said) = run(folder, &eval);
        assert_eq!(code, Some(0), "{said}");
    };
    eval(TINY, "expected.npy");
    for (format, out, files, flags) in [
        ("onnx", "folded.onnx", &["folded.onnx"][..], &[][..]),
        ("onnx", "kept.onnx", &["kept.onnx"], &["--keep-bn"]),
        ("safetensors", "net", &["net"], &[]),
        ("pytorch", "tiny-vgg", &["tiny-vgg.safetensors", "modeling_tiny_vgg.py"], &[]),
        ("pytorch", "modeling_x.py", &["x.safetensors", "modeling_x.py"], &[]),
    ] {
        let export = ["export", TINY, "--format", format, "-o", out];
        let output = pleach()
            .current_dir(folder)
            .args(export)
            .args(flags)
            .args(["--verify", "--json"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_keys(&found, &["schema", "net", "files", "bytes", "relative_difference"]);
        assert_eq!(found["files"], serde_json::json!(files));
        assert!(found["relative_difference"].as_f64().unwrap() <= 1e-4);
        assert!(files.iter().all(|file| folder.join(file).exists()));
        eval(files[0], "found.npy");
        assert_close(&folder.join("found.npy"), &folder.join("expected.npy"));
        let (code, said) = run(folder, &export);
        assert!(code == Some(2) && said.contains("--force"), "{said}");
    }
    let len = |name: &str| fs::metadata(folder.join(name)).unwrap().len();
    assert!(len("folded.onnx") < len("kept.onnx"));
    for (dtype, allowed) in [("f16", "1e-2 allowed"), ("bf16", "1e-1 allowed")] {
        let export = ["export", TINY, "--format", "safetensors", "--dtype", dtype, "-o", dtype];
        let output = pleach().current_dir(folder).args(export).arg("--verify").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(allowed), "{said}");
        assert!(5 * len(dtype) < 4 * len("net"), "{} and {}", len(dtype), len("net"));
    }
    let half = ["export", TINY, "--format", "onnx", "--dtype", "f16", "-o", "half.onnx"];
    let (code, said) = run(folder, &half);
    assert!(code == Some(2) && said.contains("--dtype has no effect"), "{said}");
    let code = fs::read_to_string(folder.join("modeling_tiny_vgg.py")).unwrap();
    assert!(code.contains("class TinyVgg(nn.Module):"), "{code}");
}

#[test]
fn verbs_for_networks_take_files_of_any_format_whatever_they_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let export = ["export", TINY, "--format", "onnx", "-o", "net.bin"];
    assert_eq!(run(folder, &export).0, Some(0));
    let out = folder.join("net.bin");
    let found = json(&["inspect", out.to_str().unwrap(), "--json"]);
    assert_eq!(found["macs"], json(&["inspect", TINY, "--json"])["macs"]);
    let pth = folder.join("net.onnx");
    fs::copy(fixture("plain.pth"), &pth).unwrap();
    let found = json(&["inspect", pth.to_str().unwrap(), "--json"]);
    assert_eq!(found["model"], "concat-small");
}

#[test]
fn eval_writes_the_logits_of_the_test_images() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("logits.npy");
    let found = json(&["eval", TINY, "--logits", out.to_str().unwrap(), "--json"]);
    let logits = npy::load(&out).unwrap();
    let [images, classes] = logits.shape[..] else { panic!("{:?}", logits.shape) };
    assert_eq!(found["images"], images);
    assert_eq!(logits.values.len(), images * classes);
}

#[test]
fn images_normalised_otherwise_are_warned_of_with_both_values() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(run(folder, &["export", TINY, "--format", "safetensors", "-o", "a"]).0, Some(0));
    let normalised = ["--mean", "0.1,0.2,0.3", "--std", "0.4,0.5,0.6"];
    let import = [&["import", "a", "-o", "b"][..], &normalised].concat();
    assert_eq!(run(folder, &import).0, Some(0));
    let (code, said) = run(folder, &["eval", "b"]);
    assert_eq!(code, Some(0));
    let start = "b expects images normalised by mean [0.1, 0.2, 0.3] and deviation [0.4, 0.5, 0.6], but \
                 those of shapes are by [";
    assert!(said.contains(start), "{said}");
    assert!(!run(folder, &["eval", "a"]).1.contains("normalised"));
}

#[test]
fn a_pickle_that_would_run_something_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut bytes = fs::read(fixture("plain.pth")).unwrap();
    let (theirs, evil) = (b"collections\nOrderedDict\n", b"subprocess\ncheck_output\n");
    let at = bytes.windows(theirs.len()).position(|window| window == theirs).unwrap();
    bytes[at..at + evil.len()].copy_from_slice(evil);
    fs::write(folder.join("evil.pth"), bytes).unwrap();
    for args in [&["inspect", "evil.pth"][..], &["import", "evil.pth", "-o", "net"]] {
        let (code, said) = run(folder, args);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("found the global \"subprocess.check_output\""), "{said}");
        assert!(said.contains("nothing in a file is executed"), "{said}");
    }
    let names: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
}
