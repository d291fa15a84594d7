//! Weights that a model says are in other files.

use crate::hostile::{IMAGE, means, refusal};
use crate::model::{Message, Model, external, floats};
use pleach_core::onnx;
use std::fs;

/// A message has at most 2 GiB less a byte. The file is one hole, which no disk holds.
#[test]
fn a_model_that_is_larger_than_a_message_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    fs::File::create(&path).unwrap().set_len(1 << 31).unwrap();
    let error = onnx::load(&path).unwrap_err().to_string();
    assert!(error.ends_with("2147483648 bytes, of which a message holds 2147483647"), "{error}");
}

#[test]
fn weights_in_other_files_are_read_from_beside_the_model_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sub").join("net.onnx");
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(folder.path().join("secret"), [0; 256]).unwrap();
    fs::write(path.with_file_name("data"), [0; 260]).unwrap();
    let model = |a: &Message, b: &Message| {
        let model = Model::new(17, &IMAGE).initializer(a).initializer(b);
        let model = model.node("Conv", &["x", "a", "b"], "c", &[]);
        model.node("GlobalAveragePool", &["c"], "y", &[])
    };
    let load = |model: &Model| {
        fs::write(&path, model.bytes()).unwrap();
        onnx::load(&path).map_err(|error| error.to_string())
    };
    let (dims, bias) = ([5, 3, 2, 2], [5]);
    let data = [("location", "data")];
    let at = |offset| {
        external("b", &bias, &[("location", "data"), ("offset", offset), ("length", "20")])
    };
    let good = model(&external("a", &dims, &data), &at("240"));
    load(&good).unwrap();
    load(&model(&external("a", &dims, &[("location", "./data")]), &at("240"))).unwrap();
    assert!(refusal(&good).contains("has its values in \"data\", which is only looked for beside"));

    let inline = floats("b", &bias, &[0.0; 5]);
    let secret = folder.path().join("secret");
    for location in [
        "../secret",
        "..",
        ".",
        "",
        "/etc/passwd",
        "a/../../secret",
        "C:data",
        "..\\data",
        secret.to_str().unwrap(),
    ] {
        let error =
            load(&model(&external("a", &dims, &[("location", location)]), &inline)).unwrap_err();
        assert!(error.contains("which is no file beside the model"), "{location}: {error}");
    }
    let missing =
        load(&model(&external("a", &dims, &[("location", "none")]), &inline)).unwrap_err();
    assert!(missing.starts_with("cannot open "), "{missing}");
    let long = "./".repeat(5000) + "data";
    let long = load(&model(&external("a", &dims, &[("location", &long)]), &inline)).unwrap_err();
    assert!(
        long.contains("expected a location of at most 4096 bytes, found one of 10004"),
        "{long}"
    );
    for (b, expected) in [
        (at("220"), "\"a\" and \"b\" overlap in data"),
        (at("241"), "has its values at byte 241 of \"data\", beyond its 260 bytes"),
        (at("18446744073709551615"), "at byte 18446744073709551615"),
        (at("-1"), "expected a number of bytes as offset of external data, found \"-1\""),
        (
            external("b", &bias, &[("location", "data"), ("offset", "240"), ("length", "16")]),
            "has 16 bytes in \"b\" of shape [5], which takes 20",
        ),
    ] {
        let error = load(&model(&external("a", &dims, &data), &b)).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // The same range is the same values, which exporters keep once.
    let zeros = external("a", &[5, 3, 1, 1], &[("location", "data"), ("length", "60")]);
    let same = external("b", &[5], &[("location", "data"), ("length", "60")]);
    let error = load(&model(&zeros, &same)).unwrap_err();
    assert!(error.contains("has 60 bytes in \"b\""), "{error}");

    let mut many = means(|model| model);
    for i in 0..4097 {
        let name = format!("f{i}");
        fs::write(path.with_file_name(&name), "").unwrap();
        many = many.initializer(&external(&name, &[0], &[("location", &name)]));
    }
    assert!(load(&many).unwrap_err().ends_with("its values are in more than 4096 other files"));
}
