//! What other codes write, operator by operator. That the values are right is `oracle.rs`'s to say.

use crate::model::{
    FLOAT, INT64, Message, Model, float, floats, int, int64s, ints, node, scalar, tensor,
    tensor_attribute, text,
};
use pleach_core::checkpoint::Checkpoint;
use pleach_core::layers::Layer;
use pleach_core::onnx::{self, OnnxError};
use std::path::Path;

pub(crate) const IMAGE: [i64; 4] = [-1, 3, 8, 8];

pub(crate) fn read(model: &Model) -> Result<Checkpoint, OnnxError> {
    onnx::read(Path::new("net.onnx"), &model.bytes())
}

/// The layers of `model`, the image excepted: `name kind [C, H, W]`.
fn layers(model: &Model) -> Vec<String> {
    let network = read(model).unwrap_or_else(|error| panic!("{error}")).network;
    let rows = pleach_core::graph::rows(network.graph());
    let line = |row: &pleach_core::graph::Row| {
        let [height, width] = row.size;
        format!("{} {} [{}, {height}, {width}]", row.name, row.kind, row.out_channels)
    };
    rows.iter().map(line).collect()
}

/// Why the nodes of `model` are refused.
pub(crate) fn refusals(model: &Model) -> Vec<String> {
    match read(model) {
        Err(OnnxError::Unsupported { problems, .. }) => {
            problems.iter().map(ToString::to_string).collect()
        }
        Err(error) => panic!("{error}"),
        Ok(found) => panic!("taken over as\n{}", found.network.graph()),
    }
}

/// A model of one operator, on images or, if it takes `flat` features, on their means, and what makes
/// logits of its output.
pub(crate) fn single(
    opset: i64,
    op: &str,
    inputs: &[&str],
    attributes: &[Message],
    flat: bool,
) -> Model {
    let model = Model::new(opset, &IMAGE).weights("w", &[4, 3, 3, 3]).weights("b", &[4]);
    let model = model.weights("matrix", &[3, 5]).weights("five", &[5]).weights("three", &[3]);
    let model = model.node("GlobalAveragePool", &["x"], "mean", &[]);
    let model = model.node("Flatten", &["mean"], "flat", &[]);
    let model = model.node(op, inputs, if flat { "y" } else { "out" }, attributes);
    if flat { model } else { model.node("Flatten", &["out"], "y", &[]) }
}

#[test]
fn each_operator_becomes_its_layer() {
    let conv = |attributes: &[Message]| single(17, "Conv", &["x", "w", "b"], attributes, false);
    let padded = |pads: &[i64], op: &str, inputs: &[&str], attributes: &[Message]| {
        let model = single(17, op, inputs, attributes, false).initializer(&int64s("pads", pads));
        model.node("Pad", &["x", "pads"], "z", &[])
    };
    let flat = |op: &str, inputs: &[&str]| single(17, op, inputs, &[], true);
    let pool = |op: &str, attributes: &[Message]| single(17, op, &["x"], attributes, false);
    let cases = [
        (conv(&[]), "out conv2d [4, 6, 6]"),
        (conv(&[ints("pads", &[1; 4]), ints("strides", &[2, 2])]), "out conv2d [4, 4, 4]"),
        (conv(&[ints("pads", &[1, 1, 0, 0]), ints("strides", &[2, 2])]), "out conv2d [4, 4, 4]"),
        (conv(&[text("auto_pad", "SAME_UPPER")]), "out conv2d [4, 8, 8]"),
        (conv(&[text("auto_pad", "VALID"), ints("dilations", &[1, 1])]), "out conv2d [4, 6, 6]"),
        (pool("MaxPool", &[ints("kernel_shape", &[2, 2])]), "out max_pool2d [3, 7, 7]"),
        (
            pool(
                "MaxPool",
                &[ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)],
            ),
            "out max_pool2d [3, 4, 4]",
        ),
        (
            pool(
                "AveragePool",
                &[
                    ints("kernel_shape", &[3, 3]),
                    ints("pads", &[1; 4]),
                    int("count_include_pad", 1),
                ],
            ),
            "out avg_pool2d [3, 8, 8]",
        ),
        (pool("AveragePool", &[ints("kernel_shape", &[8, 8])]), "out avg_pool2d [3, 1, 1]"),
        // Padding that no window reaches, and zeros that are data, of which every window is whole.
        (
            pool(
                "AveragePool",
                &[
                    ints("kernel_shape", &[2, 2]),
                    ints("strides", &[2, 2]),
                    ints("pads", &[0, 0, 1, 1]),
                ],
            ),
            "out avg_pool2d [3, 4, 4]",
        ),
        (
            padded(
                &[0, 0, 1, 1, 0, 0, 0, 0],
                "AveragePool",
                &["z"],
                &[ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), int("ceil_mode", 1)],
            ),
            "out avg_pool2d [3, 4, 4]",
        ),
        (padded(&[0, 0, 1, 1, 0, 0, 1, 1], "Conv", &["z", "w", "b"], &[]), "out conv2d [4, 8, 8]"),
        (
            padded(&[0, 0, 2, 1, 0, 0, 2, 1], "Conv", &["z", "w"], &[ints("pads", &[0, 1, 0, 1])]),
            "out conv2d [4, 10, 10]",
        ),
        // What is padded by nothing may be read by anything.
        (padded(&[0; 8], "Relu", &["z"], &[]), "out relu [3, 8, 8]"),
        (pool("GlobalAveragePool", &[]), "out global_avg_pool [3, 1, 1]"),
        (pool("GlobalMaxPool", &[]), "out max_pool2d [3, 1, 1]"),
        (pool("ReduceMax", &[ints("axes", &[2, 3])]), "out max_pool2d [3, 1, 1]"),
        (pool("ReduceMean", &[ints("axes", &[3, -2])]), "out global_avg_pool [3, 1, 1]"),
        (pool("Relu", &[]), "out relu [3, 8, 8]"),
        (
            single(7, "Clip", &["x"], &[float("min", 0.0), float("max", f32::MAX)], false),
            "out relu [3, 8, 8]",
        ),
        (single(17, "Add", &["x", "x"], &[], false), "out add [3, 8, 8]"),
        (single(17, "Concat", &["x", "x"], &[int("axis", -3)], false), "out concat [6, 8, 8]"),
        (single(17, "Dropout", &["x"], &[], false), "out dropout [3, 8, 8]"),
        (
            single(
                17,
                "BatchNormalization",
                &["x", "three", "three", "three", "three"],
                &[],
                false,
            ),
            "out batch_norm2d [3, 8, 8]",
        ),
        (flat("Gemm", &["flat", "matrix", "five"]), "y linear [5, 1, 1]"),
        (flat("Gemm", &["flat", "matrix"]), "y linear [5, 1, 1]"),
        (flat("MatMul", &["flat", "matrix"]), "y linear [5, 1, 1]"),
    ];
    for (model, expected) in cases {
        let found = layers(&model);
        assert!(found.contains(&expected.to_owned()), "{expected} is not in {found:?}");
    }
    let identity = single(17, "Identity", &["x"], &[], false);
    assert_eq!(layers(&identity), ["y flatten [192, 1, 1]"]);
}

#[test]
fn axes_of_size_one_go_unless_the_batch_may_be_among_them() {
    let model = |batch| {
        let model = Model::new(17, &[batch, 3, 1, 1]).weights("matrix", &[3, 5]);
        model.node("Squeeze", &["x"], "z", &[]).node("MatMul", &["z", "matrix"], "y", &[])
    };
    assert_eq!(layers(&model(-1)), ["y linear [5, 1, 1]"]);
    let found = refusals(&model(1));
    assert!(found.len() == 1 && found[0].contains("removes axes"), "{found:?}");
}

#[test]
fn layers_are_called_after_their_parameters_or_their_nodes_or_what_they_make() {
    let named = |op: &str, inputs: &[&str], output: &str, name: &str| {
        node(op, inputs, output, &[]).text(3, name)
    };
    let model = Model::new(17, &IMAGE)
        .weights("features.0.weight", &[3, 3, 1, 1])
        .weights("onnx::Conv_7", &[3, 3, 1, 1])
        .weights("odd weights", &[3, 3, 1, 1])
        .weights("onnx::MatMul_9", &[3, 2])
        .weights("head.fc.bias", &[2])
        .node("Conv", &["x", "features.0.weight"], "1", &[])
        .raw_node(&named("Conv", &["1", "onnx::Conv_7"], "2", "/body/body.1/conv/Conv"))
        .raw_node(&named("Relu", &["2"], "3", "/body/body.1/act/Relu"))
        .node("Conv", &["3", "odd weights"], "/out/put:0", &[])
        // Once more the same weights: another layer.
        .node("Conv", &["/out/put:0", "features.0.weight"], "5", &[])
        .raw_node(&named("Relu", &["5"], "input", "input"))
        .node("GlobalAveragePool", &["input"], "7", &[])
        .node("Flatten", &["7"], "8", &[])
        .node("MatMul", &["8", "onnx::MatMul_9"], "9", &[])
        .node("Add", &["head.fc.bias", "9"], "y", &[]);
    let expected = [
        "features.0 conv2d [3, 8, 8]",
        "body.1.conv conv2d [3, 8, 8]",
        "body.1.act.Relu relu [3, 8, 8]",
        "out.put_0 conv2d [3, 8, 8]",
        "5 conv2d [3, 8, 8]",
        "input_2 relu [3, 8, 8]",
        "7 global_avg_pool [3, 1, 1]",
        "8 flatten [3, 1, 1]",
        "head.fc linear [2, 1, 1]",
    ];
    assert_eq!(layers(&model), expected);
}

#[test]
fn the_order_of_nodes_does_not_matter_nor_what_the_output_does_not_need() {
    let model = Model::new(17, &IMAGE)
        .node("Flatten", &["b"], "y", &[])
        .node("Erf", &["a"], "unused", &[])
        .node("Add", &["a", "x"], "b", &[])
        .node("Relu", &["x"], "a", &[]);
    let expected = ["a relu [3, 8, 8]", "b add [3, 8, 8]", "y flatten [192, 1, 1]"];
    assert_eq!(layers(&model), expected);
}

#[test]
fn a_sum_with_a_constant_is_a_bias_only_where_nothing_else_reads_the_product() {
    let model = single(17, "MatMul", &["flat", "matrix"], &[], false).node(
        "Add",
        &["out", "five"],
        "z",
        &[],
    );
    assert_eq!(layers(&model).len(), 4, "what reads the sum is not needed");
    let model = Model::new(17, &IMAGE)
        .weights("matrix", &[3, 5])
        .weights("five", &[5])
        .node("Add", &["five", "five"], "unused", &[])
        .node("ReduceMean", &["x"], "flat", &[ints("axes", &[2, 3]), int("keepdims", 0)])
        .node("MatMul", &["flat", "matrix"], "y", &[]);
    let network = read(&model).unwrap().network;
    assert!(network.param(network.graph().output(), "bias").is_none(), "the output is not a sum");
    let model = Model::new(17, &IMAGE)
        .weights("matrix", &[3, 3])
        .initializer(&scalar("one", 1.0))
        .node("GlobalAveragePool", &["x"], "mean", &[])
        .node("Flatten", &["mean"], "flat", &[])
        .node("MatMul", &["flat", "matrix"], "product", &[])
        .node("Add", &["product", "one"], "sum", &[])
        .node("Concat", &["product", "sum"], "y", &[int("axis", 1)]);
    assert_eq!(refusals(&model), ["sum (Add) reads the constant \"one\" where only a map will do"]);
}

#[test]
fn constants_are_read_however_they_are_written() {
    let values = [1.5f32, -2.0, 0.25];
    let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let unpacked = |message: Message| values.iter().fold(message, |m, &value| m.float(4, value));
    let list = Message::default().text(1, "value_floats").int(20, 6).bytes(7, &packed);
    let empty = || tensor("b", FLOAT, &[3]);
    let constant = |attribute: Message| node("Constant", &[], "b", &[attribute]);
    let base = || {
        let model = Model::new(17, &IMAGE).weights("matrix", &[3, 3]);
        let model =
            model.node("ReduceMean", &["x"], "mean", &[ints("axes", &[2, 3]), int("keepdims", 0)]);
        model.node("Gemm", &["mean", "matrix", "b"], "y", &[])
    };
    let models = [
        base().initializer(&floats("b", &[3], &values)),
        base().initializer(&empty().bytes(4, &packed)),
        base().initializer(&unpacked(empty())),
        base().initializer(&empty().bytes(4, &packed[..4]).float(4, -2.0).bytes(4, &packed[8..])),
        base().raw_node(&constant(tensor_attribute("value", &unpacked(tensor("", FLOAT, &[3]))))),
        base().raw_node(&constant(list)),
        base().initializer(&floats("original", &[3], &values)).node(
            "Identity",
            &["original"],
            "b",
            &[],
        ),
    ];
    for (i, model) in models.iter().enumerate() {
        let network = read(model).unwrap_or_else(|error| panic!("{i}: {error}")).network;
        let bias = network.param(network.graph().output(), "bias").unwrap();
        assert_eq!(bias.value, values, "{i}");
    }
}

#[test]
fn settings_of_batch_norms_and_dropout_are_those_of_training_again() {
    let model = single(
        17,
        "BatchNormalization",
        &["x", "three", "three", "three", "three"],
        &[float("epsilon", 0.002), float("momentum", 0.99)],
        false,
    );
    let network = read(&model).unwrap().network;
    let node = &network.graph().nodes()[1];
    assert!(
        matches!(&node.layer, Layer::BatchNorm2d(bn) if (bn.eps, bn.momentum) == (0.002, 0.01)),
        "{node:?}"
    );
    let model = single(17, "Dropout", &["x", "p"], &[], false).initializer(&scalar("p", 0.25));
    let network = read(&model).unwrap().network;
    let node = &network.graph().nodes()[1];
    assert!(matches!(&node.layer, Layer::Dropout(dropout) if dropout.p == 0.25), "{node:?}");
}

/// `x.view(x.size(0), -1)`, as exporters write it for operators of several versions.
#[test]
fn a_view_by_sizes_that_are_computed_is_a_flatten() {
    let view = |opset: i64, size: &dyn Fn(Model) -> Model| {
        let model = Model::new(opset, &IMAGE).node("Relu", &["x"], "r", &[]);
        let model = size(model).initializer(&int64s("rest", &[-1]));
        let model = model.node("Concat", &["first", "rest"], "shape", &[int("axis", 0)]);
        model.node("Reshape", &["r", "shape"], "y", &[])
    };
    let shape = |model: Model| model.node("Shape", &["r"], "sizes", &[]);
    let gathered = |model: Model| {
        let model = shape(model).initializer(&tensor("zero", INT64, &[]).int(7, 0));
        model.node("Gather", &["sizes", "zero"], "size", &[])
    };
    let models = [
        view(11, &|model| {
            gathered(model).node("Unsqueeze", &["size"], "first", &[ints("axes", &[0])])
        }),
        view(13, &|model| {
            let model = gathered(model).initializer(&int64s("axes", &[0]));
            model.node("Unsqueeze", &["size", "axes"], "first", &[])
        }),
        view(9, &|model| {
            let cut = [ints("starts", &[0]), ints("ends", &[1])];
            shape(model).node("Slice", &["sizes"], "first", &cut)
        }),
        view(10, &|model| {
            let model =
                shape(model).initializer(&int64s("from", &[0])).initializer(&int64s("to", &[1]));
            model.node("Slice", &["sizes", "from", "to"], "first", &[])
        }),
        view(15, &|model| model.node("Shape", &["r"], "first", &[int("start", 0), int("end", 1)])),
    ];
    for (i, model) in models.iter().enumerate() {
        assert_eq!(layers(model), ["r relu [3, 8, 8]", "y flatten [192, 1, 1]"], "{i}");
    }
}

#[test]
fn the_factors_and_the_order_of_a_gemm_are_in_its_layers_weights() {
    let model = |dims: &[i64], values: &[f32], is_transposed: i64| {
        let attributes = [float("alpha", 0.5), float("beta", 2.0), int("transB", is_transposed)];
        Model::new(17, &IMAGE)
            .initializer(&floats("matrix", dims, values))
            .initializer(&floats("shift", &[1, 2], &[1.0, -2.0]))
            .node("ReduceMean", &["x"], "mean", &[ints("axes", &[2, 3]), int("keepdims", 0)])
            .node("Gemm", &["mean", "matrix", "shift"], "y", &attributes)
    };
    // A column an output, and a row an output.
    for (dims, values, is_transposed) in
        [([3, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0), ([2, 3], [1.0, 3.0, 5.0, 2.0, 4.0, 6.0], 1)]
    {
        let network = read(&model(&dims, &values, is_transposed)).unwrap().network;
        let param = |name| &network.param(network.graph().output(), name).unwrap().value;
        assert_eq!(*param("weight"), [0.5, 1.5, 2.5, 1.0, 2.0, 3.0], "{dims:?}");
        assert_eq!(*param("bias"), [2.0, -4.0], "{dims:?}");
    }
}

/// By attributes, by inputs, and by inputs that name their axes.
#[test]
fn zeros_around_maps_are_the_padding_of_the_convolution_that_reads_them() {
    let padded = |opset: i64, pad: &dyn Fn(Model) -> Model| {
        let model = pad(Model::new(opset, &IMAGE).weights("w", &[4, 3, 3, 3]));
        model.node("Conv", &["z", "w"], "c", &[]).node("Flatten", &["c"], "y", &[])
    };
    let all = [0, 0, 1, 1, 0, 0, 1, 1];
    let models = [
        padded(7, &|model| model.node("Pad", &["x"], "z", &[ints("pads", &all)])),
        padded(13, &|model| {
            model.initializer(&int64s("pads", &all)).node("Pad", &["x", "pads"], "z", &[])
        }),
        padded(18, &|model| {
            let model =
                model.initializer(&int64s("pads", &[1; 4])).initializer(&int64s("axes", &[-1, 2]));
            model.node("Pad", &["x", "pads", "", "axes"], "z", &[])
        }),
    ];
    for (i, model) in models.iter().enumerate() {
        assert_eq!(layers(model)[0], "c conv2d [4, 8, 8]", "{i}");
    }
}
