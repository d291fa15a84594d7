//! Files made to break the reader.

use crate::model::{
    FLOAT, INT64, Message, Model, floats, int, int64s, ints, node, tensor, tensor_attribute, value,
};
use pleach_core::onnx;
use std::path::Path;

pub(crate) const IMAGE: [i64; 4] = [-1, 3, 8, 8];

fn refusal_of_bytes(bytes: &[u8]) -> String {
    onnx::read(Path::new("evil.onnx"), bytes).unwrap_err().to_string()
}

pub(crate) fn refusal(model: &Model) -> String {
    refusal_of_bytes(&model.bytes())
}

/// A sound model: a convolution, a sum, means, and a matrix.
fn sound() -> Model {
    Model::new(17, &IMAGE)
        .weights("conv.weight", &[3, 3, 3, 3])
        .initializer(&floats("fc.bias", &[2], &[0.5, -0.5]))
        .weights("fc.weight", &[2, 3])
        .initializer(&int64s("axes", &[2, 3]))
        .node("Conv", &["x", "conv.weight"], "a", &[ints("pads", &[1; 4])])
        .node("Add", &["a", "x"], "b", &[])
        .node("GlobalAveragePool", &["b"], "c", &[])
        .node("Squeeze", &["c", "axes"], "d", &[])
        .node("Gemm", &["d", "fc.weight", "fc.bias"], "y", &[int("transB", 1)])
        .metadata("pleach.model", "sound")
}

/// A model that ends in means, with what `with` adds.
pub(crate) fn means(with: impl Fn(Model) -> Model) -> Model {
    with(Model::new(17, &IMAGE)).node("GlobalAveragePool", &["x"], "y", &[])
}

#[test]
fn every_truncation_is_refused_and_no_changed_byte_ends_in_a_panic() {
    let whole = sound().bytes();
    let path = Path::new("evil.onnx");
    onnx::read(path, &whole).expect("the file as it was");
    // The last field is metadata: without it the rest is a model.
    let end = whole.len() - sound().metadata.0.len();
    for len in 0..whole.len() {
        assert!(len == end || onnx::read(path, &whole[..len]).is_err(), "{len} bytes");
    }
    for position in 0..whole.len() {
        for byte in [0, 1, 7, b'a', 0x1A, 0x7F, 0x80, 0xFF] {
            let mut bytes = whole.clone();
            bytes[position] = byte;
            if let Ok(found) = onnx::read(path, &bytes) {
                let mut values = found.network.params().iter().flat_map(|p| &p.value);
                assert!(values.all(|x| x.is_finite()));
            }
        }
    }
}

#[test]
fn bytes_that_are_no_messages() {
    for (bytes, expected) in [
        (&b""[..], "there is no graph: this is no ONNX model"),
        (b"PK\x03\x04", "at byte 2: expected a field number of a message, found tag 3"),
        (b"{}", "expected a varint, a fixed number or bytes, found wire type 3"),
        (b"\x00\x01", "expected a field number of a message, found tag 0"),
        (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "a number of at most 64 bits"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a field of 18446744073709551615 bytes"),
        (b"\x38\x01", "at byte 1: expected bytes in field 7, found a varint"),
        (b"\x0d\x00", "a field of 4 bytes, found 1 more bytes"),
        (b"\x09\x00", "a field of 8 bytes, found 1 more bytes"),
    ] {
        let error = refusal_of_bytes(bytes);
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with("evil.onnx: "), "{error}");
    }
}

#[test]
fn text_that_is_not_utf8() {
    let mut model = Model::new(17, &IMAGE);
    model.graph = model.graph.message(1, &Message::default().bytes(1, b"ab\xFF"));
    let error = refusal(&model);
    assert!(error.contains("expected text in UTF-8, found other bytes"), "{error}");
}

#[test]
fn graphs_nested_deeper_than_the_stack() {
    // An `If` whose branch is a graph with an `If` whose branch ...
    let mut graph = Message::default();
    for _ in 0..100_000 {
        let attribute = Message::default().text(1, "then_branch").int(20, 5).message(6, &graph);
        let branch = Message::default().text(4, "If").text(2, "y").message(5, &attribute);
        graph = Message::default().message(1, &branch);
        if graph.0.len() > 1 << 20 {
            break;
        }
    }
    let attribute = Message::default().text(1, "then_branch").int(20, 5).message(6, &graph);
    let model = Model::new(17, &IMAGE).node("If", &["x"], "y", &[attribute]);
    assert!(refusal(&model).ends_with("y (If) is no operator that has a layer here"));
    // Groups, the other way to nest, are refused at once.
    assert!(refusal_of_bytes(&[0x3B; 1 << 20]).contains("found wire type 3"));
}

#[test]
fn more_messages_than_any_network_has() {
    let mut model = Model::new(17, &IMAGE);
    model.graph.0.extend([0x0A, 0x00].repeat(200_000));
    let error = refusal(&model);
    assert!(error.contains("expected at most 131072 nodes, attributes and tensors"), "{error}");
}

#[test]
fn models_without_what_every_model_has_or_with_two_of_it() {
    let twice = {
        let model = sound();
        Message(model.bytes()).message(7, &model.graph).0
    };
    assert!(refusal_of_bytes(&twice).contains("expected one graph, found a second one"));
    let versions = Message(sound().bytes()).message(8, &Message::default().int(2, 17)).0;
    assert!(
        refusal_of_bytes(&versions).contains("one version of ONNX's operators, found a second")
    );
    let without = Message::default().message(7, &sound().graph).0;
    assert!(refusal_of_bytes(&without).contains("does not say which version its operators are of"));
    for opset in [0, 6, 23, -1] {
        let error = refusal(&Model { opset, ..sound() });
        let expected = format!("its operators are of version {opset}; versions 7 to 22 are read");
        assert!(error.ends_with(&expected), "{error}");
    }
    let again = sound().metadata("pleach.model", "other");
    assert!(
        refusal(&again).contains("each key of the metadata once, found \"pleach.model\" again")
    );
}

#[test]
fn inputs_that_are_no_images() {
    for (dims, expected) in [
        (&[-1, 3, 8][..], "its input \"x\" has shape (N, 3, 8); it must be images of a fixed size"),
        (&[-1, -1, 8, 8], "has shape (N, N, 8, 8)"),
        (
            &[1, 3, 8, i64::MAX],
            "its layers are no network: layer input has a map (with channels rounded up to 16) of more than 2^28",
        ),
        (
            &[1, 3, 1 << 30, 1 << 30],
            "a map (with channels rounded up to 16) of more than 2^28 values",
        ),
        (&[1, 0, 8, 8], "makes empty maps"),
        (&[], "its input \"x\" has no shape"),
    ] {
        let error = refusal(&Model::new(17, dims).node("Relu", &["x"], "y", &[]));
        assert!(error.contains(expected), "{error}");
    }
    let negative = Message::default().int(1, 3);
    let dim = Message::default().int(1, -8);
    let dims = Message::default().message(1, &negative).message(1, &negative);
    let dims = dims.message(1, &dim).message(1, &dim);
    let kind = Message::default().int(1, FLOAT).message(2, &dims);
    let input = Message::default().text(1, "x").message(2, &Message::default().message(1, &kind));
    let graph = Message::default().message(11, &input).message(12, &value("y", &[]));
    let model = Model { graph, ..sound() };
    assert!(refusal(&model).contains("has shape (3, 3, -8, -8); it must be images"));

    let kind = Message::default().int(1, INT64);
    let input = Message::default().text(1, "x").message(2, &Message::default().message(1, &kind));
    let graph = Message::default().message(11, &input).message(12, &value("y", &[]));
    let model = Model { graph, ..sound() };
    assert!(refusal(&model).ends_with("its input \"x\" is no tensor of floats"));
    let mut model = sound();
    model.graph = model.graph.message(11, &value("mask", &IMAGE));
    assert!(refusal(&model).ends_with("it has 2 inputs (x, mask), not one image"));
    let mut model = sound();
    model.graph = model.graph.message(12, &value("a", &IMAGE));
    assert!(refusal(&model).ends_with("it has 2 outputs (y, a), not one"));
}

#[test]
fn values_made_twice_or_never_or_from_themselves() {
    let relu = |model: Model, from: &str, to: &str| model.node("Relu", &[from], to, &[]);
    let twice = relu(relu(sound(), "x", "e"), "a", "e");
    assert!(refusal(&twice).ends_with("the value \"e\" is made twice"));
    for name in ["x", "fc.bias"] {
        let expected = format!("the value {name:?} is given, and made by a node too");
        assert!(refusal(&relu(sound(), "a", name)).ends_with(&expected));
    }
    let two = sound().weights("fc.bias", &[2]);
    assert!(refusal(&two).ends_with("two initialisers are called \"fc.bias\""));
    let nothing = Model::new(17, &IMAGE);
    assert!(refusal(&nothing).ends_with("nothing makes its output \"y\""));
    let constant = Model::new(17, &IMAGE).weights("w", &[1]).node("Identity", &["w"], "y", &[]);
    assert!(refusal(&constant).ends_with("its output is a constant"));
    let maps = Model::new(17, &IMAGE).node("Relu", &["x"], "y", &[]);
    assert!(refusal(&maps).ends_with("the network's output has shape [3, 8, 8], not flat logits"));
    let missing = Model::new(17, &IMAGE).node("Conv", &["x", "w"], "y", &[]);
    assert!(refusal(&missing).ends_with("y (Conv) reads \"w\", which nothing makes"));

    let model = Model::new(17, &IMAGE).node("Relu", &["a"], "a", &[]);
    let model = model.node("Add", &["x", "a"], "y", &[]);
    assert!(refusal(&model).ends_with("its nodes form a circle: a needs its own output"));
    let model = Model::new(17, &IMAGE)
        .node("Relu", &["c"], "y", &[])
        .node("Add", &["x", "b"], "a", &[])
        .node("Relu", &["a"], "b", &[])
        .node("Relu", &["b"], "c", &[]);
    let error = refusal(&model);
    assert!(error.contains("form a circle: a ") || error.contains("form a circle: b "), "{error}");
}

#[test]
fn a_circle_of_nodes_with_very_many_inputs_is_found_in_time() {
    let inputs: Vec<&str> = std::iter::repeat_n("", 50_000).collect();
    let mut model = Model::new(17, &IMAGE)
        .raw_node(&node("Add", &[&inputs[..], &["a"]].concat(), "y", &[]))
        .raw_node(&node("Add", &[&inputs[..], &["y"]].concat(), "a", &[]));
    for i in 0..100_000 {
        model = model.raw_node(&node("Relu", &["x"], &format!("n{i}"), &[]));
    }
    assert!(refusal(&model).contains("its nodes form a circle: "));
}

#[test]
fn a_long_chain_backwards_and_many_equal_names_are_read_in_time() {
    let mut model = Model::new(17, &IMAGE);
    let count = 20_000;
    // Names without a letter that layers' names may have.
    let value = |i: u32| char::from_u32(0x4E00 + i).unwrap().to_string();
    for i in (0..count).rev() {
        let from = if i == 0 { "x".into() } else { value(i) };
        model = model.raw_node(&node("Relu", &[&from], &value(i + 1), &[]));
    }
    model = model.node("Flatten", &[&value(count)], "y", &[]);
    let found = onnx::read(Path::new("long.onnx"), &model.bytes()).unwrap();
    assert_eq!(found.network.graph().nodes().len(), count as usize + 2);
    assert!(found.network.graph().find("__20000").is_some());
}

#[test]
fn tensors_that_are_not_what_they_say() {
    let conv = |weights: &Message| {
        let model = Model::new(17, &IMAGE).initializer(weights);
        model.node("Conv", &["x", "w"], "a", &[]).node("Flatten", &["a"], "y", &[])
    };
    let dims = [4, 3, 3, 3];
    let raw = [0; 4 * 108];
    for (weights, expected) in [
        (tensor("w", FLOAT, &dims), "has 0 bytes in \"w\" of shape [4, 3, 3, 3], which takes 432"),
        (tensor("w", FLOAT, &dims).bytes(9, &raw[1..]), "has 431 bytes"),
        (tensor("w", FLOAT, &[1 << 62, 3, 3, 3]).bytes(9, &raw), "which takes more than 2^64"),
        (tensor("w", FLOAT, &[1 << 31, 1 << 31, 3, 3]), "expected 3 in their place 1"),
        (
            tensor("w", FLOAT, &[1 << 40, 3, 3, 3]),
            "has 0 bytes in \"w\" of shape [1099511627776, 3, 3, 3]",
        ),
        (tensor("w", FLOAT, &[-1, 3, 3, 3]), "expected dimensions of at least 0, found -1"),
        (tensor("w", FLOAT, &[1; 9]), "expected a tensor of at most 8 dimensions, found more"),
        (tensor("w", FLOAT, &[0, 3, 3, 3]), "has no output channels"),
        (tensor("w", FLOAT, &[4, 3, 0, 0]), "has a kernel of [0, 0] and a stride of 1"),
        (tensor("w", 11, &dims), "has \"w\" of type DOUBLE; only FLOAT is read there"),
        (tensor("w", 10, &dims).bytes(9, &raw), "has \"w\" of type FLOAT16; only FLOAT"),
        (tensor("w", 99, &dims), "has \"w\" of type type 99; only FLOAT"),
        (tensor("w", 0, &dims), "has \"w\" of type UNDEFINED"),
        (
            tensor("w", FLOAT, &dims).bytes(9, &raw).bytes(4, &raw),
            "raw data or numbers of a tensor",
        ),
        (tensor("w", FLOAT, &dims).bytes(4, &raw[1..]), "a multiple of four bytes in field 4"),
        (tensor("w", FLOAT, &dims).text(3, ""), "expected a whole tensor, found a segment of one"),
        (floats("w", &dims, &[f32::NAN; 108]), "a.weight[0] is NaN, which is not finite as f32"),
    ] {
        let error = refusal(&conv(&weights));
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let variance = Model::new(17, &IMAGE).weights("w", &[3]);
    let variance = variance
        .initializer(&floats("v", &[3], &[1.0, -1.0, 1.0]))
        .node("BatchNormalization", &["x", "w", "w", "w", "v"], "a", &[])
        .node("Flatten", &["a"], "y", &[]);
    assert!(refusal(&variance).ends_with("a.running_var[1] is -1, which is no variance"));
    let shape = tensor("s", INT64, &[2]).int(7, 0);
    let reshape = Model::new(17, &IMAGE).initializer(&shape);
    let reshape = reshape.node("Reshape", &["x", "s"], "y", &[]);
    assert!(refusal(&reshape).contains("has 1 values in \"s\" of shape [2], which takes 2"));
    let mut sparse = sound();
    sparse.graph = sparse.graph.message(15, &Message::default());
    assert!(refusal(&sparse).ends_with("it has sparse initialisers; only dense ones are read"));
}

#[test]
fn weights_shared_so_often_that_they_would_fill_the_memory() {
    let mut model = Model::new(17, &[-1, 64, 3, 3]).weights("w", &[64, 64, 3, 3]);
    let (mut from, count) = ("x".to_owned(), 10_000);
    for i in 0..count {
        let to = format!("v{i}");
        model = model.node("Conv", &[&from, "w"], &to, &[ints("pads", &[1; 4])]);
        from = to;
    }
    let error = refusal(&model.node("Flatten", &[&from], "y", &[]));
    assert!(error.contains("1 node cannot be taken over"), "{error}");
    assert!(error.contains("reads \"w\" once more, which makes far more parameters"), "{error}");
}

#[test]
fn a_long_name_that_many_refusals_would_repeat() {
    let too_long = Model::new(17, &IMAGE).initializer(&floats(&"a".repeat(4097), &[1], &[1.0]));
    let error = refusal(&too_long.node("Flatten", &["x"], "y", &[]));
    assert!(error.contains("expected a tensor's name of at most 4096 bytes"), "{error}");

    let name = "a".repeat(4096);
    let mut model = Model::new(17, &IMAGE).initializer(&floats(&name, &[1], &[1.0]));
    model = model.node("Identity", &[&name], "i", &[]);
    let outputs: Vec<String> = (0..300).map(|i| format!("r{i}")).collect();
    for output in &outputs {
        model = model.node("Reshape", &["x", "i"], output, &[]);
    }
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let refused = refusal(&model.node("Concat", &outputs, "y", &[int("axis", 1)]));
    assert!(refused.starts_with("evil.onnx: 300 nodes cannot be taken over"), "{refused:.200}");
    assert!(refused.len() < 200_000, "{} bytes", refused.len());
}

#[test]
fn metadata_that_is_malformed() {
    let error = refusal(&means(|model| model.metadata("pleach.normalisation", "{}")));
    assert!(error.contains("metadata \"pleach.normalisation\": expected mean and std"), "{error}");
    let good =
        means(|model| model.metadata("pleach.momentum.x", "NaN").metadata("author", "someone"));
    onnx::read(Path::new("good.onnx"), &good.bytes()).expect("entries of others do not matter");
}

#[test]
fn constants_that_refer_or_are_empty() {
    let reference = Message::default().text(1, "value").text(21, "outer").int(20, 4);
    let empty = Message::default().text(1, "value").int(20, 4);
    let text = Message::default().text(1, "value_string").text(4, "s").int(20, 3);
    for attribute in [reference, empty] {
        let model = Model::new(17, &IMAGE).node("Constant", &[], "y", &[attribute]);
        assert!(refusal(&model).ends_with("y (Constant) has no value that is read"));
    }
    let model = Model::new(17, &IMAGE).node("Constant", &[], "y", &[text]);
    assert!(
        refusal(&model).contains("has an attribute \"value_string\", whose meaning is not known")
    );
    let bare = tensor_attribute("value", &tensor("", FLOAT, &[2]));
    let model = Model::new(17, &IMAGE).node("Constant", &[], "w", &[bare]).node(
        "BatchNormalization",
        &["x", "w", "w", "w", "w"],
        "y",
        &[],
    );
    assert!(refusal(&model).contains("of shape [2] for 3 channels"));
}
