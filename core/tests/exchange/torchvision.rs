//! torchvision's own networks, at channels that it does not build: `torchvision_nets.py` saves them.

use crate::{logits, python};
use pleach_core::{Shape, Tensor, checkpoint, npy};

#[test]
fn torchvisions_resnets_are_recognised_and_give_its_logits() {
    let folder = tempfile::tempdir().unwrap();
    let left_out = "networks that torchvision makes, against its logits";
    if python("torchvision_nets.py", folder.path(), left_out).is_none() {
        return;
    }
    let image = Shape::new(3, 64, 64);
    for (name, model) in [
        ("resnet18", "resnet18-imagenet"),
        ("resnet34", "resnet34-imagenet"),
        ("resnet50", "resnet50-imagenet"),
        ("resnet101", "resnet101-imagenet"),
        ("resnet152", "resnet152-imagenet"),
        ("wide_resnet50_2", "resnet50-imagenet"),
    ] {
        let path = |file: &str| folder.path().join(format!("{name}.{file}"));
        let found = checkpoint::load_state_dict(&path("pth"), None, image, None).unwrap();
        assert_eq!(found.meta.model, model, "{name}");
        let images = npy::load(&path("images.npy")).unwrap();
        let images = Tensor::from_nchw(images.shape[0], image, &images.values);
        let (found, expected) = (logits(&found.network, &images), npy::load(&path("logits.npy")));
        let expected = expected.unwrap().values;
        assert_eq!(found.len(), expected.len(), "{name}");
        let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-4 * largest, "{name}: {a}, expected {b} of {largest}");
        }
    }
}
