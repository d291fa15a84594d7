//! What other codes write, operator by operator. That the values are right is `oracle.rs`'s to say.

use crate::model::{
    FLOAT, Message, Model, float, floats, int, int64s, ints, node, scalar, tensor,
    tensor_attribute, text,
};
use pleach_core::checkpoint::Checkpoint;
use pleach_core::layers::Layer;
use pleach_core::onnx::{self, OnnxError};
use std::path::Path;

const IMAGE: [i64; 4] = [-1, 3, 8, 8];

fn read(model: &Model) -> Result<Checkpoint, OnnxError> {
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
fn refusals(model: &Model) -> Vec<String> {
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
fn single(opset: i64, op: &str, inputs: &[&str], attributes: &[Message], flat: bool) -> Model {
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
        (pool("GlobalAveragePool", &[]), "out global_avg_pool [3, 1, 1]"),
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
fn each_setting_without_a_counterpart_is_explained() {
    let conv = |attributes: &[Message]| single(17, "Conv", &["x", "w", "b"], attributes, false);
    let pool = |op: &str, attributes: &[Message]| {
        let attributes = [&[ints("kernel_shape", &[3, 3])], attributes].concat();
        single(19, op, &["x"], &attributes, false)
    };
    let gemm =
        |attributes: &[Message]| single(17, "Gemm", &["flat", "matrix", "five"], attributes, true);
    let reshape = |shape: &[i64]| {
        single(17, "Reshape", &["x", "shape"], &[], true).initializer(&int64s("shape", shape))
    };
    let cases = [
        (conv(&[int("group", 3)]), "has 3 groups from 3 to 4 channels; only one group"),
        (conv(&[ints("dilations", &[2, 2])]), "has dilations [2, 2]; only 1 is"),
        (conv(&[ints("strides", &[2, 1])]), "has strides [2, 1]; only equal ones"),
        (conv(&[ints("strides", &[0, 0])]), "a stride of 0"),
        (conv(&[ints("strides", &[2])]), "has 1 strides, not 2"),
        (conv(&[ints("pads", &[0, 0, 1, 1])]), "pads 8 values by 0 before and 1 after"),
        (conv(&[ints("pads", &[1, 0, 1, 0])]), "pads rows by 1 and columns by 0"),
        (conv(&[ints("pads", &[-1; 4])]), "has pads [-1, -1, -1, -1], outside 0 to"),
        (conv(&[ints("pads", &[300; 4])]), "a padding of 300 (at most 255 each)"),
        (conv(&[ints("pads", &[1, 1])]), "has 2 pads, not 4"),
        (conv(&[ints("kernel_shape", &[5, 5])]), "has kernel_shape [5, 5] and weights of [3, 3]"),
        (
            conv(&[text("auto_pad", "SAME_UPPER"), ints("strides", &[2, 2])]),
            "pads 8 values by 0 before and 1 after, for windows of 3 with stride 2",
        ),
        (conv(&[text("auto_pad", "FULL")]), "an auto_pad that is not known"),
        (conv(&[int("fused", 1)]), "has an attribute \"fused\", whose meaning is not known"),
        (conv(&[int("group", 1), int("group", 1)]), "has the attribute group twice"),
        (conv(&[float("group", 1.0)]), "has an attribute group that is not a whole number"),
        (single(17, "Conv", &["x", "matrix"], &[], false), "weights of shape [3, 5], not of 4"),
        (single(17, "Conv", &["x", "w", "five"], &[], false), "a bias of shape [5] for 4 channels"),
        (single(17, "Conv", &["flat", "w"], &[], false), "takes flat features where maps are"),
        (
            single(17, "Conv", &["x", "x"], &[], false),
            "computes its input 1, \"x\"; only constants",
        ),
        (single(17, "Conv", &["w", "w"], &[], false), "reads the constant \"w\" where only a map"),
        (single(17, "Conv", &["x"], &[], false), "has no input 1"),
        (single(17, "Relu", &["nothing"], &[], false), "reads \"nothing\", which nothing makes"),
        (pool("MaxPool", &[ints("dilations", &[2, 2])]), "has dilations [2, 2]"),
        (
            pool("MaxPool", &[ints("strides", &[2, 2]), int("ceil_mode", 1)]),
            "and 0 after, rounded up",
        ),
        (pool("MaxPool", &[ints("pads", &[2; 4])]), "a padding of 2 (at most half of it)"),
        (pool("AveragePool", &[ints("pads", &[1; 4])]), "leaves the padding out of the mean"),
        (
            single(17, "AveragePool", &["x"], &[ints("kernel_shape", &[2, 3])], false),
            "has windows of [2, 3]; only square ones",
        ),
        (single(17, "MaxPool", &["x"], &[], false), "has no kernel_shape"),
        (single(17, "MaxPool", &["x"], &[ints("kernel_shape", &[3])], false), "has 1 kernel_shape"),
        (single(17, "ReduceMean", &["x"], &[ints("axes", &[1])], false), "averages over axes [1]"),
        (single(17, "ReduceMean", &["x"], &[], false), "averages over axes []"),
        (
            single(7, "Clip", &["x"], &[float("min", 0.0), float("max", 6.0)], false),
            "clips to [0, 6]",
        ),
        (
            single(13, "Clip", &["x", "", "three"], &[], false),
            "has \"three\" of shape [3], not a scalar",
        ),
        (single(17, "Add", &["x", "three"], &[], false), "reads the constant \"three\""),
        (
            single(17, "Add", &["x", "mean"], &[], false),
            "adds maps of [3, 8, 8] and maps of [3, 1, 1]",
        ),
        (single(17, "Add", &["mean", "flat"], &[], false), "and features of [3, 1, 1]; only equal"),
        (single(17, "Concat", &["x", "x"], &[int("axis", 2)], false), "joins along axis 2"),
        (single(17, "Concat", &["mean", "flat"], &[int("axis", 1)], false), "joins maps and flat"),
        (
            single(17, "Concat", &["x", "mean"], &[int("axis", 1)], false),
            "joins maps of different sizes",
        ),
        (single(17, "Flatten", &["x"], &[int("axis", 2)], true), "keeps the axes before 2"),
        (reshape(&[0, 3, 64]), "shapes maps of [3, 8, 8] as [0, 3, 64]"),
        (reshape(&[1, -1]), "as [1, -1]; only a list of 192"),
        (reshape(&[0, 191]), "only a list of 192 features an image"),
        (single(17, "Reshape", &["x", "flat"], &[], true), "computes its input 1, \"flat\""),
        (
            single(11, "Squeeze", &["x"], &[ints("axes", &[2, 3])], true),
            "only axes 2 and 3 of one pixel",
        ),
        (
            single(11, "Unsqueeze", &["x"], &[ints("axes", &[2, 3])], false),
            "axes 2 and 3 of flat features",
        ),
        (gemm(&[int("transA", 1)]), "has transA 1; only 0"),
        (gemm(&[int("transB", 1)]), "multiplies 3 features by a matrix for 5"),
        (single(17, "Gemm", &["x", "matrix"], &[], true), "multiplies maps of [3, 8, 8]"),
        (
            single(17, "Gemm", &["flat", "five"], &[], true),
            "has a factor of shape [5], not a matrix",
        ),
        (
            single(17, "Gemm", &["flat", "matrix", "three"], &[], true),
            "adds [3] values to 5 outputs",
        ),
        (
            single(17, "BatchNormalization", &["x", "three", "three", "three", "five"], &[], false),
            "has \"five\" of shape [5] for 3 channels",
        ),
        (
            single(
                17,
                "BatchNormalization",
                &["x", "three", "three", "three", "three"],
                &[int("training_mode", 1)],
                false,
            ),
            "has training_mode 1; only 0",
        ),
        (
            single(
                17,
                "BatchNormalization",
                &["x", "three", "three", "three", "three"],
                &[float("epsilon", 0.0)],
                false,
            ),
            "has an eps of 0 (above 0)",
        ),
        (
            single(7, "Dropout", &["x"], &[float("ratio", 1.0)], false),
            "a probability of 1, outside [0, 1)",
        ),
        (single(17, "Sigmoid", &["x"], &[], false), "is no operator that has a layer here"),
    ];
    for (model, expected) in cases {
        let found = refusals(&model);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn everything_that_is_not_taken_over_is_listed_at_once() {
    let relu = node("Relu", &["b"], "c", &[]).text(3, "/act/Relu");
    let custom = node("Fancy", &["c"], "d", &[]).text(7, "com.acme");
    let model = Model::new(17, &IMAGE)
        .node("LeakyRelu", &["x"], "a", &[])
        .node("Conv", &["a", "none"], "b", &[ints("dilations", &[3, 3])])
        .raw_node(&relu)
        .raw_node(&custom)
        .node("MaxPool", &["d"], "e", &[ints("kernel_shape", &[2, 3]), int("ceil_mode", 7)])
        .node("Softmax", &["e"], "y", &[]);
    assert_eq!(
        read(&model).unwrap_err().to_string(),
        "net.onnx: 5 nodes cannot be taken over:\
         \n  a (LeakyRelu) is no operator that has a layer here\
         \n  b (Conv) reads \"none\", which nothing makes\
         \n  d (com.acme.Fancy) is no operator that has a layer here\
         \n  e (MaxPool) has ceil_mode 7, neither 0 nor 1\
         \n  y (Softmax) is no operator that has a layer here"
    );
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
