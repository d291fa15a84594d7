//! The commands of the guide, as they stand there.

use crate::command::{json, pleach};
use std::fs;
use std::path::Path;

/// The commands between lines of three backticks, those for a shell.
fn commands(guide: &str) -> Vec<&str> {
    let blocks = guide.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix("sh\n")).flat_map(str::lines).collect()
}

#[test]
fn the_guides_five_commands_prune_a_network_of_pytorchs_and_make_a_model_of_it() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(here.join("../docs/guide.md")).unwrap();
    let commands = commands(&guide);
    assert_eq!(commands.len(), 5, "{commands:?}");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::copy(here.join("tests/guide/network.pth"), folder.join("network.pth")).unwrap();
    for command in commands {
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some("pleach"), "{command}");
        let words: Vec<&str> = words.collect();
        let mut output = pleach().current_dir(folder).args(&words).output().unwrap();
        if output.status.code() == Some(3) {
            // What a few epochs of training lose depends on how this CPU rounds sums.
            let lenient = ["--max-drop", "100", "--force"];
            output = pleach().current_dir(folder).args(&words).args(lenient).output().unwrap();
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {stderr}");
    }
    let macs = |name: &str| {
        let path = folder.join(name);
        json(&["inspect", path.to_str().unwrap(), "--json"])["macs"].as_u64().unwrap()
    };
    assert!(2 * macs("pruned.onnx") <= macs("network.pth"));
    for name in ["run/report.html", "run/figure-scores.svg"] {
        assert!(folder.join(name).exists(), "{name}");
    }
}
