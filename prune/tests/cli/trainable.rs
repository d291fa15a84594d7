//! Trainings that cannot be, refused before anything is done.

use crate::TINY;
use crate::command::pleach;

/// What a command that is refused, or only planned, says.
fn says(args: &[&str], code: i32) -> String {
    let output = pleach().args(args).arg("--dry-run").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    stderr
}

#[test]
fn a_batch_is_no_more_than_the_images_in_any_training() {
    let expected = "a batch of 8001 is more than the 8000 training images of shapes";
    for verb in [&["train", "--model", TINY][..], &["prune", TINY, "--macs", "2x"]] {
        let stderr = says(&[verb, &["--batch", "8001"]].concat(), 2);
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn batch_norms_of_a_single_value_are_refused() {
    let one = ["--batch", "1"];
    for verb in [
        &["train", "--model", "resnet18-imagenet"][..],
        &["prune", "resnet18-imagenet", "--macs", "2x"],
        // Of small images only.
        &["train", "--model", "resnet18", "--start-size", "8"],
    ] {
        let stderr = says(&[verb, &one].concat(), 2);
        assert!(stderr.contains("leaves the batch norm"), "{stderr}");
    }
    says(&["train", "--model", TINY, "--batch", "1"], 0);
}

#[test]
fn fine_tuning_without_a_step_is_a_warning() {
    let args = ["prune", TINY, "--macs", "2x", "--batch", "4096"];
    let stderr = says(&args, 0);
    let expected = "prune.layerwise_epochs is 0.25, less than one step of 4096 images";
    assert!(stderr.contains(expected), "{stderr}");
    let stderr = says(&args[..4], 0);
    assert!(!stderr.contains("less than one step"), "{stderr}");
}
