//! Files made to break the reader of checkpoints, and names that could.

use pleach_core::checkpoint::safetensors::SafeTensors;
use pleach_core::checkpoint::{self, CheckpointError, Dtype, Meta};
use pleach_core::layers::{Conv2d, GlobalAvgPool, Layer};
use pleach_core::{GraphBuilder, Network, Shape};
use std::path::Path;

/// A file of this header and this many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

/// What the reader says of `bytes`; checks that loading says the same.
fn refusal(bytes: &[u8]) -> String {
    let path = Path::new("evil.safetensors");
    let error = SafeTensors::parse(path, bytes).expect_err("a hostile file");
    let CheckpointError::Format { offset, .. } = &error else { panic!("{error}") };
    assert!(*offset <= bytes.len() as u64);
    let error = error.to_string();
    assert_eq!(checkpoint::read(path, bytes).unwrap_err().to_string(), error);
    assert!(error.starts_with("evil.safetensors: at byte "), "{error}");
    error
}

fn tensor(name: &str, dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn read_with_graph(graph: &str) -> String {
    let graph = serde_json::to_string(graph).unwrap();
    let header = format!("{{\"__metadata__\":{{\"pleach.graph\":{graph}}}}}");
    checkpoint::read(Path::new("evil"), &file(&header, 0)).unwrap_err().to_string()
}

fn image(channels: usize) -> String {
    format!(
        r#"{{"name":"input","layer":{{"kind":"input","shape":{{"channels":{channels},"height":1,"width":1}}}},"inputs":[]}}"#
    )
}

fn linear(out_features: usize) -> String {
    format!(
        r#"{{"name":"fc","layer":{{"kind":"linear","out_features":{out_features},"bias":true}},"inputs":[0]}}"#
    )
}

#[test]
fn a_file_shorter_than_its_length_field() {
    assert!(
        refusal(b"").ends_with("at byte 0: expected a header length of 8 bytes, found 0 bytes")
    );
    assert!(refusal(&[1; 7]).ends_with("found 7 bytes"));
}

#[test]
fn a_header_longer_than_the_file() {
    let bytes = u64::MAX.to_le_bytes();
    assert!(refusal(&bytes).contains("a header length of at most 0, found 18446744073709551615"));
    let mut bytes = file("{}", 0);
    bytes[0] = 3;
    assert!(refusal(&bytes).contains("at most 2, found 3"));
}

#[test]
fn a_header_above_the_bound_in_a_file_that_holds_it() {
    let header = format!("{{}}{}", " ".repeat(100_000_000));
    assert!(refusal(&file(&header, 0)).contains("at most 100000000, found 100000002"));
}

#[test]
fn a_header_that_is_not_json() {
    assert!(refusal(&file("", 0)).contains("at byte 8: expected a JSON object as header, found"));
    assert!(refusal(&file(" {}", 0)).contains("found ' '"));
    assert!(refusal(&file("[]", 0)).contains("found '['"));
    assert!(refusal(&file("{\"a\":", 0)).contains("EOF"));
    assert!(refusal(&file("{}{}", 0)).contains("at byte 11"));
}

#[test]
fn a_header_that_is_not_utf8() {
    let mut bytes = file("{\"a\"}", 0);
    bytes[10] = 0xFF;
    assert!(refusal(&bytes).contains("at byte 10: expected a header in UTF-8"));
}

#[test]
fn json_nested_deeper_than_the_stack() {
    let header = format!("{{\"a\":{}", "[".repeat(1_000_000));
    refusal(&file(&header, 0));
    let header = format!("{{\"a\":{}", "{\"dtype\":".repeat(100_000));
    refusal(&file(&header, 0));
}

#[test]
fn a_tensor_of_an_unknown_type() {
    let header = format!("{{{}}}", tensor("a", "F128", "[1]", 0, 16));
    assert!(refusal(&file(&header, 16)).contains("a known type of tensor \"a\", found \"F128\""));
}

#[test]
fn keys_that_are_there_twice() {
    let a = tensor("a", "F32", "[1]", 0, 4);
    assert!(refusal(&file(&format!("{{{a},{a}}}"), 4)).contains("key \"a\" twice"));
    // The same key, escaped.
    let b = a.replacen("\"a\"", "\"\\u0061\"", 1);
    assert!(refusal(&file(&format!("{{{a},{b}}}"), 4)).contains("key \"a\" twice"));
    let twice = "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}";
    assert!(refusal(&file(twice, 0)).contains("key \"k\" twice"));
    let twice = "{\"__metadata__\":{},\"__metadata__\":{}}";
    assert!(refusal(&file(twice, 0)).contains("key \"__metadata__\" twice"));
    let twice = "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    assert!(refusal(&file(twice, 0)).contains("duplicate field"));
}

#[test]
fn metadata_that_is_not_strings() {
    assert!(refusal(&file("{\"__metadata__\":{\"k\":1}}", 0)).contains("a string"));
    assert!(refusal(&file("{\"__metadata__\":[]}", 0)).contains("an object of strings"));
}

#[test]
fn tensors_that_overlap() {
    let header =
        format!("{{{},{}}}", tensor("a", "F32", "[2]", 0, 8), tensor("b", "F32", "[2]", 4, 12));
    let expected = "tensor \"b\" to start at byte 8 of the data, found byte 4";
    assert!(refusal(&file(&header, 12)).contains(expected));
}

#[test]
fn a_hole_between_tensors() {
    let header =
        format!("{{{},{}}}", tensor("a", "F32", "[1]", 0, 4), tensor("b", "F32", "[1]", 8, 12));
    assert!(refusal(&file(&header, 12)).contains("to start at byte 4 of the data, found byte 8"));
    let header = format!("{{{}}}", tensor("a", "F32", "[1]", 4, 8));
    assert!(refusal(&file(&header, 8)).contains("to start at byte 0 of the data, found byte 4"));
}

#[test]
fn bytes_after_the_last_tensor() {
    let header = format!("{{{}}}", tensor("a", "F32", "[1]", 0, 4));
    assert!(refusal(&file(&header, 9)).contains("the end of the file, found 5 more bytes"));
    assert!(refusal(&file("{}", 1)).contains("at byte 10"));
}

#[test]
fn a_tensor_beyond_the_end_of_the_file() {
    let header = format!("{{{}}}", tensor("a", "F32", "[2]", 0, 8));
    assert!(refusal(&file(&header, 7)).contains("within 7 bytes of data, found bytes 0..8"));
    let header = format!("{{{}}}", tensor("a", "F32", "[0]", u64::MAX, u64::MAX));
    refusal(&file(&header, 0));
}

#[test]
fn offsets_that_run_backwards() {
    let header = format!("{{{}}}", tensor("a", "F32", "[1]", 8, 4));
    assert!(refusal(&file(&header, 8)).contains("found bytes 8..4"));
}

#[test]
fn a_shape_that_is_not_the_size() {
    let header = format!("{{{}}}", tensor("a", "F16", "[3,5]", 0, 8));
    let expected = "30 bytes of tensor \"a\", F16 of shape [3, 5], found 8 bytes";
    assert!(refusal(&file(&header, 8)).contains(expected));
}

#[test]
fn a_shape_that_overflows() {
    for shape in ["[4294967296,4294967296,4]", "[4611686018427387905]", "[18446744073709551615,2]"]
    {
        let header = format!("{{{}}}", tensor("a", "F32", shape, 0, 4));
        assert!(refusal(&file(&header, 4)).contains("more than 2^64 bytes"), "{shape}");
    }
    for shape in ["[-1]", "[1.5]", "[18446744073709551616]", "1"] {
        let header = format!("{{{}}}", tensor("a", "F32", shape, 0, 4));
        refusal(&file(&header, 4));
    }
}

#[test]
fn an_architecture_without_its_weights() {
    let graph = format!(r#"{{"nodes":[{},{}],"output":1}}"#, image(1000), linear(200_000));
    let expected = "evil: the weights do not fit the architecture in the file:\n  \
                    fc.weight [200000, 1000] is missing\n  fc.bias [200000] is missing";
    assert_eq!(read_with_graph(&graph), expected);
}

#[test]
fn an_architecture_that_is_none() {
    let nodes = "expected the nodes of a graph";
    assert!(read_with_graph("nothing").contains(nodes));
    assert!(read_with_graph(&"[".repeat(100_000)).contains(nodes));
    assert!(read_with_graph(r#"{"nodes":[],"output":0}"#).contains("no image as its first layer"));
    let image = image(3);
    let output = format!(r#"{{"nodes":[{image}],"output":7}}"#);
    assert!(read_with_graph(&output).contains("its architecture is not valid"));
    let itself = r#"{"name":"x","layer":{"kind":"relu"},"inputs":[1]}"#;
    let graph = format!(r#"{{"nodes":[{image},{itself}],"output":1}}"#);
    assert!(read_with_graph(&graph).contains("not an earlier layer"));
    let twice = format!(r#"{{"nodes":[{image},{0},{0}],"output":1}}"#, linear(4));
    assert!(read_with_graph(&twice).contains("two layers are called fc"));
    let error = checkpoint::read(Path::new("evil"), &file("{}", 0)).unwrap_err().to_string();
    assert!(error.contains("--arch"), "{error}");
}

#[test]
fn every_truncation_is_refused_and_no_changed_byte_ends_in_a_panic() {
    let graph = format!(r#"{{"nodes":[{},{}],"output":1}}"#, image(3), linear(2));
    let header = format!(
        "{{\"__metadata__\":{{\"pleach.graph\":{}}},{},{}}}",
        serde_json::to_string(&graph).unwrap(),
        tensor("fc.bias", "F32", "[2]", 0, 8),
        tensor("fc.weight", "F32", "[2,3]", 8, 32)
    );
    let whole = file(&header, 32);
    let path = Path::new("evil");
    checkpoint::read(path, &whole).expect("the file as it was");
    for len in 0..whole.len() {
        assert!(checkpoint::read(path, &whole[..len]).is_err(), "{len} bytes");
    }
    for position in 0..whole.len() {
        for byte in [0, b' ', b'9', b'"', b'{', 0x7F, 0x80, 0xFF] {
            let mut bytes = whole.clone();
            bytes[position] = byte;
            if let Ok(found) = checkpoint::read(path, &bytes) {
                assert!(
                    found.network.params().iter().flat_map(|p| &p.value).all(|x| x.is_finite())
                );
            }
        }
    }
}

/// Layers whose parameters have the names that training state of the first layer's would have.
#[test]
fn a_parameter_is_never_taken_for_the_training_state_of_another() {
    let (mut builder, image) = GraphBuilder::new(Shape::new(3, 2, 2)).unwrap();
    let mut x = image;
    for name in ["conv1", "frozen.conv1", "lookahead.conv1", "optimizer.0.conv1"] {
        x = builder.add(name, Layer::Conv2d(Conv2d::same3x3(3)), &[x]).unwrap();
    }
    let x = builder.add("mean", Layer::GlobalAvgPool(GlobalAvgPool {}), &[x]).unwrap();
    let mut network = Network::init(builder.finish(x).unwrap(), 1);
    let path = Path::new("net");
    let saved = |network: &Network, training_state| {
        checkpoint::to_bytes(path, network, &Meta::default(), Dtype::F32, training_state)
    };
    let survives = |network: &Network, training_state| {
        let bytes = saved(network, training_state).unwrap();
        assert_eq!(checkpoint::read(path, &bytes).unwrap().network, *network);
    };
    survives(&network, false);
    survives(&network, true);
    // State of the last layer has names of its own.
    let values = network.params()[3].value.clone();
    network.params_mut()[3].slots = vec![values.clone(); 2];
    network.params_mut()[3].slow = values.clone();
    network.params_mut()[3].frozen = vec![true, false, true];
    survives(&network, true);
    let refused = |change: &dyn Fn(&mut Network), name: &str| {
        let mut network = network.clone();
        change(&mut network);
        let error = saved(&network, true).unwrap_err().to_string();
        let expected = format!("net: {name} would be a parameter and training state of another");
        assert!(error.starts_with(&expected), "{error}");
        saved(&network, false).unwrap();
    };
    refused(&|net| net.params_mut()[0].frozen = vec![true; 3], "frozen.conv1.weight");
    refused(&|net| net.params_mut()[0].slow = values.clone(), "lookahead.conv1.weight");
    refused(&|net| net.params_mut()[0].slots = vec![values.clone()], "optimizer.0.conv1.weight");
}

#[test]
fn what_is_said_of_a_long_text_is_short() {
    const LONGEST: usize = 2000;
    let long = "x".repeat(1 << 20);
    let shape = format!("[{}]", vec!["1"; 1 << 16].join(","));
    let files = [
        format!("{{{}}}", tensor(&long, "F32", "[1]", 0, 8)),
        format!("{{{}}}", tensor("a", &long, "[1]", 0, 4)),
        format!("{{{}}}", tensor("a", "F32", &shape, 0, 8)),
        format!("{{\"a\":{{\"{long}\":1}}}}"),
    ];
    for header in files {
        assert!(refusal(&file(&header, 8)).len() < LONGEST, "{}", &header[..60]);
    }
    let unknown = format!(r#"{{"name":"x","layer":{{"kind":"{long}"}},"inputs":[0]}}"#);
    let graph = format!(r#"{{"nodes":[{},{unknown}],"output":1}}"#, image(1));
    let error = read_with_graph(&graph);
    assert!(error.len() < LONGEST && error.contains("unknown variant"), "{error:.100}");
    // Weights that are not the architecture's.
    let graph = format!(r#"{{"nodes":[{},{}],"output":1}}"#, image(1), linear(2));
    let graph = serde_json::to_string(&graph).unwrap();
    let weight = tensor(&long, "F32", "[1]", 0, 4);
    let header = format!("{{\"__metadata__\":{{\"pleach.graph\":{graph}}},{weight}}}");
    let error = checkpoint::read(Path::new("evil"), &file(&header, 4)).unwrap_err().to_string();
    assert!(error.len() < LONGEST && error.contains("do not fit"), "{}", error.len());
}
