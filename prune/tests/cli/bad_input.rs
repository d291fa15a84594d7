//! What the command says and leaves behind when it cannot do what it is asked.

mod files;
mod overflow;
mod runs;
mod values;

use crate::TINY;
use crate::command::{pleach, process, verbs};
use std::fs;
use std::path::Path;

/// Files that a test's folder holds before the command runs: name and contents.
const FILES: &[(&str, &[u8])] = &[
    ("empty.safetensors", b""),
    ("noise.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\x7fnoise"),
    ("plain.safetensors", b"\x02\0\0\0\0\0\0\0{}"),
    ("old.pth", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."),
    ("cut.pth", b"PK\x03\x04"),
    ("empty.onnx", b""),
    ("flat.npy", b"\x93NUMPY\x01\0\x39\0{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }"),
    ("notes.toml", b"verb = \"prune\"\nnet = \"vgg16\"\n[prune]\ncriterium = \"l1\"\n"),
    ("broken.toml", b"[prune\nfloor = 0.1\n"),
    ("unset.toml", b"unset = 3\n"),
    ("range.toml", b"[prune]\nfloor = 1.5\n"),
    ("train.toml", b"verb = \"train\"\nnet = \"vgg16\"\n[prune]\n"),
    ("full/notes.txt", b"mine"),
    ("type.safetensors", b"\x36\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}\0\0\0\0"),
    ("garbage.onnx", b"\x08\x0a\x12\x03abc"),
    ("small.npy", b"\x93NUMPY\x01\0\x44\0{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2, 2), }   0000000000000000"),
    ("short.npy", b"\x93NUMPY\x01\0\x44\0{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2, 2), }   00000"),
    ("study/run.toml", b"verb = \"reproduce\"\n[settings]\n"),
    ("study/run.lock", b""),
    ("broken/run.toml", b"verb = "),
    ("newer/plan.json", b"{\"schema\": \"pleach.plan/9\"}"),
    ("newer/report.json", b"{\"schema\": \"pleach.report/99\"}"),
    ("cut.json", b"{\"schema\": \"pleach.plan/1\", \"model\": "),
    ("bare.json", b"{\"schema\": \"pleach.plan/1\", \"model\": \"x\", \"groups\": [], \"steps\": [], \"kept\": {\"conv9\": [0]}}"),
    ("more.json", b"{\"schema\": \"pleach.plan/1\", \"model\": \"x\", \"groups\": [], \"steps\": [], \"kept\": {}, \"extra\": 1}"),
    ("broken/run.lock", b""),
    ("cifar-10-batches-bin/data_batch_1.bin", b"short"),
];

struct Case {
    args: &'static [&'static str],
    code: i32,
    says: &'static [&'static str],
}

const fn case(args: &'static [&'static str], code: i32, says: &'static [&'static str]) -> Case {
    Case { args, code, says }
}

const CASES: &[Case] = &[
    // The command line.
    case(&[], 2, &["Usage: pleach"]),
    case(&["prun"], 2, &["unrecognized subcommand 'prun'", "'prune'"]),
    case(&["eval", TINY, "--thread", "2"], 2, &["'--thread'", "'--threads'"]),
    case(&["eval", TINY, "--threads", "0"], 2, &["expected a number of threads, 1 to 1024"]),
    case(&["eval", TINY, "--threads", "1,2"], 2, &["--threads", "give one"]),
    case(&["eval", TINY, "-q", "-v"], 2, &["cannot be used with"]),
    case(&["bench", TINY, "--batch", "0"], 2, &["expected a number of images, 1 to 4096"]),
    case(&["bench"], 2, &["<NETS>"]),
    case(&["eval", TINY, "--isa", "avx1024"], 2, &["no instruction set \"avx1024\"", "portable"]),
    // Networks.
    case(&["inspect", "vgg-16"], 2, &["neither a file nor a model", "did you mean vgg16?"]),
    case(&["inspect", "transformer"], 2, &["neither a file nor a model", "there are vgg11, vgg16"]),
    case(&["inspect", "vgg16:1,2,3"], 2, &["vgg16 takes 13 widths, found 3"]),
    case(&["inspect", "vgg16:0,2"], 2, &["width 1 of vgg16 is \"0\""]),
    case(&["inspect", "no/such.safetensors"], 1, &["no/such.safetensors: there is no such file"]),
    case(
        &["inspect", "."],
        2,
        &[". is a folder: name the checkpoint in it (cut.pth, empty.onnx, "],
    ),
    case(&["inspect", "empty.safetensors"], 1, &["empty.safetensors: at byte 0: expected "]),
    case(&["inspect", "noise.safetensors"], 1, &["noise.safetensors: at byte 0: expected "]),
    case(&["inspect", "plain.safetensors"], 2, &["has weights but no architecture", "--arch"]),
    case(
        &["inspect", "plain.safetensors", "--arch", "vgg-small"],
        1,
        &["the weights do not fit vgg-small", "is missing"],
    ),
    case(&["inspect", "plain.safetensors", "--arch", "vgg-smal"], 2, &["did you mean vgg-small?"]),
    case(&["inspect", "old.pth"], 1, &["old.pth: at byte 0: expected a zip", "save it again"]),
    case(&["inspect", "cut.pth"], 1, &["cut.pth: at byte 4: expected", "cut short"]),
    case(&["inspect", "empty.onnx"], 1, &["empty.onnx: "]),
    case(&["inspect", "none.pth"], 1, &["none.pth: there is no such file"]),
    // What comes in and goes out.
    case(&["import", "none.pth", "-o", "net"], 1, &["none.pth: there is no such file"]),
    case(&["import", "plain.safetensors", "-o", "net"], 2, &["no architecture", "--arch"]),
    case(&["import", "old.pth", "-o", "full/notes.txt"], 2, &["is there already", "--force"]),
    case(&["import", "old.pth", "-o", "net", "--image", "3,32"], 2, &["three numbers C,H,W"]),
    case(&["import", "old.pth", "-o", "net", "--mean", "1,1,1"], 2, &["--std"]),
    case(&["export", TINY, "-o", "net"], 2, &["--format"]),
    case(&["export", TINY, "--format", "tf", "-o", "net"], 2, &["'tf'", "onnx", "pytorch"]),
    case(&["export", TINY, "--format", "onnx"], 2, &["--out"]),
    case(&["export", TINY, "--format", "pytorch", "-o", ".py"], 2, &["begins with a letter"]),
    case(&["eval", TINY, "--input", "flat.npy"], 2, &["--logits"]),
    case(&["eval", TINY, "--input", "a.npy", "--logits", "a.npy"], 2, &["overwrite --input"]),
    case(&["eval", TINY, "--input", "none.npy", "--logits", "l.npy"], 1, &["open none.npy"]),
    case(
        &["eval", TINY, "--input", "flat.npy", "--logits", "l.npy", "--data", "x"],
        2,
        &["--data has no effect: --input has the images"],
    ),
    case(
        &["eval", TINY, "--input", "notes.toml", "--logits", "l.npy"],
        1,
        &["notes.toml: at byte 0: expected a .npy file"],
    ),
    case(
        &["eval", TINY, "--input", "flat.npy", "--logits", "l.npy"],
        2,
        &["flat.npy: expected images [N, C, H, W], found [0]"],
    ),
    // Data.
    case(&["eval", TINY, "--data", "nowhere"], 1, &["nowhere: "]),
    case(
        &["eval", TINY, "--data", "full"],
        1,
        &["full: expected the files of cifar-10", "notes.txt"],
    ),
    case(&["eval", TINY, "--data", "."], 1, &["cifar-10-batches-bin", "expected", "found"]),
    case(
        &["data", "verify", "notes.toml"],
        1,
        &["notes.toml: at byte 0: expected", "found the bytes"],
    ),
    case(&["data", "fetch", "imagenet"], 2, &["'imagenet'", "cifar-10"]),
    // Training.
    case(&["train", "-o", "run"], 2, &["name a model to train (--model)"]),
    case(&["train", "--model", "vgg17", "-o", "run"], 2, &["no model called \"vgg17\"", "vgg1"]),
    case(
        &["train", "--model", TINY, "--lr", "-1", "-o", "run"],
        2,
        &["expected a number, more than 0"],
    ),
    case(
        &["train", "--model", TINY, "-e", "0", "-o", "run"],
        2,
        &["expected a number, more than 0"],
    ),
    case(&["train", "--model", TINY, "-b", "9000", "-o", "run"], 2, &["8000 training images"]),
    case(&["train", "--model", TINY, "-e", "0.001", "-o", "run"], 2, &["less than one step"]),
    case(&["train", "--model", TINY, "-o", "full"], 2, &["full is not empty", "--force"]),
    case(&["train", "--resume", "nowhere"], 2, &["nowhere is not there", "--model"]),
    case(&["train", "--resume", "full"], 2, &["full has no run.toml", "--model"]),
    case(&["train", "--model", TINY, "--resume", "full"], 2, &["full is not empty"]),
    case(
        &["train", "-c", "notes.toml", "-o", "run"],
        2,
        &["notes.toml is no settings file of train"],
    ),
    case(&["train", "--model", TINY, "--optimizer", "adamw", "-o", "run"], 2, &["'adamw'", "adam"]),
    // Settings files.
    case(&["prune", TINY, "-c", "nowhere.toml", "-o", "run"], 1, &["cannot read nowhere.toml"]),
    case(
        &["prune", TINY, "-c", "notes.toml", "-o", "run"],
        2,
        &["unknown key prune.criterium (from notes.toml); did you mean prune.criterion?"],
    ),
    case(
        &["prune", TINY, "-c", "broken.toml", "-o", "run"],
        2,
        &["broken.toml is no settings file of prune", "line 1, column 7"],
    ),
    case(
        &["prune", TINY, "-c", "range.toml", "-o", "run"],
        2,
        &["prune.floor is 1.5, expected a fraction, 0 to 1 (from range.toml)"],
    ),
    case(&["train", "-c", "unset.toml"], 2, &["unset: invalid type", "from unset.toml"]),
    case(
        &["prune", TINY, "-c", "train.toml", "-o", "run"],
        2,
        &["train.toml is no settings file of prune: it has settings of \"train\""],
    ),
    case(&["prune", "--resume", "nowhere"], 2, &["nowhere is not there", "name a network"]),
    case(&["prune", "--resume", "full"], 2, &["full has no run.toml", "name a network"]),
    case(&["prune", TINY, "--resume", "full"], 2, &["full is not empty"]),
    case(&["prune", TINY, "--resume", "run", "-o", "run"], 2, &["cannot be used with"]),
    // Folders.
    case(&["prune", TINY, "--macs", "2x", "-o", "full"], 2, &["full is not empty", "--force"]),
    case(
        &["prune", TINY, "--macs", "2x", "-o", "notes.toml"],
        2,
        &["notes.toml: expected a folder, found a file"],
    ),
    case(
        &["prune", TINY, "--macs", "2x", "-o", "notes.toml/run"],
        1,
        &["cannot make notes.toml/run"],
    ),
];

/// Names and contents of all files below a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.is_dir() {
            all.extend(contents(&path));
            all.push((name, Vec::new()));
        } else if path.ends_with("run.lock") {
            // It tells of the process that had it last.
            all.push((name, Vec::new()));
        } else {
            all.push((name, fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

fn cases() -> impl Iterator<Item = &'static Case> {
    [CASES, values::CASES, files::CASES, runs::CASES].into_iter().flatten()
}

#[test]
fn every_verb_has_bad_inputs_and_all_of_them_are_many() {
    assert!(cases().count() >= 200, "{} cases", cases().count());
    for verb in verbs() {
        let count = cases().filter(|case| case.args.first() == Some(&verb.as_str())).count();
        assert!(count >= 3, "{verb} has {count} cases");
    }
}

#[test]
fn every_bad_input_is_named_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in FILES {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let before = contents(folder.path());
    let mut wrong = Vec::new();
    for Case { args, code, says } in cases() {
        let output = pleach().current_dir(&folder).args(*args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let mut check = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{args:?} {what}: {stderr}"));
            }
        };
        let found = output.status.code();
        check(found == Some(*code), &format!("ends with {code}, not {found:?}"));
        check(output.stdout.is_empty(), "writes nothing on stdout");
        check(!stderr.contains("panicked"), "does not panic");
        for part in *says {
            check(stderr.contains(part), &format!("says {part:?}"));
        }
        check(contents(folder.path()) == before, "leaves the files as they were");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn an_instruction_set_that_this_cpu_lacks_is_refused_with_those_it_has() {
    use pleach_kernels::ISAS;
    for isa in ISAS.iter().filter(|isa| !isa.is_available()) {
        let output = pleach().env("PLEACH_ISA", isa.name).args(["eval", TINY]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        let start = format!("this CPU cannot run the instruction set {}; it can run", isa.name);
        assert!(stderr.contains(&start) && stderr.contains("portable"), "{stderr}");
    }
    let output = pleach().env("PLEACH_ISA", "sse9").args(["eval", TINY]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_a_reader_that_left_is_not() {
    use std::process::Stdio;
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = process().args(["inspect", TINY]).stdout(full).stderr(Stdio::piped()).output();
    let output = output.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("cannot write the result to stdout: No space left"), "{stderr}");

    let mut child = process()
        .args(["inspect", "resnet56"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    // Nor is one of what runs say of themselves, or of their errors.
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let train = ["train", "-m", TINY, "-e", "0.01", "--progress", "lines", "-o"];
    for (args, code) in
        [(&[&train[..], &[run.to_str().unwrap()]].concat()[..], 0), (&["inspect", "vgg17"], 2)]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = process().args(args).stdout(Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn colour_is_used_when_asked_for_only() {
    let colored = |args: &[&str], no_color: &str| {
        let output = pleach().args(args).env("NO_COLOR", no_color).output().unwrap();
        output.stderr.contains(&0x1b)
    };
    assert!(!colored(&["inspect", "vgg-16"], ""), "stderr is no terminal");
    assert!(colored(&["inspect", "vgg-16", "--color", "always"], ""));
    assert!(colored(&["inspect", "vgg-16", "--color=always"], "1"), "a flag beats the environment");
    assert!(!colored(&["inspect", "vgg-16", "--color", "never"], ""));
}
