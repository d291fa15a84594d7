//! What has no counterpart, and what is said of it.

use crate::import::{IMAGE, read, refusals, single};
use crate::model::{Message, Model, float, int, int64s, ints, node, scalar, text};

#[test]
fn each_setting_without_a_counterpart_is_explained() {
    let conv = |attributes: &[Message]| single(17, "Conv", &["x", "w", "b"], attributes, false);
    let pool = |op: &str, attributes: &[Message]| {
        let attributes = [&[ints("kernel_shape", &[3, 3])], attributes].concat();
        single(19, op, &["x"], &attributes, false)
    };
    let pad = |pads: &[i64], inputs: &[&str], op: &str| {
        let attributes: &[Message] = match op {
            "MaxPool" => &[ints("kernel_shape", &[3, 3])],
            _ => &[],
        };
        let model = single(17, op, &["z", "w"], attributes, false);
        let model = model.initializer(&int64s("pads", pads)).initializer(&scalar("two", 2.0));
        model.node("Pad", inputs, "z", &[])
    };
    // Zeros before the rows and columns of a map, as data, then means.
    let padded_means = |attributes: &[Message]| {
        let model = single(17, "AveragePool", &["z"], attributes, false);
        let model = model.initializer(&int64s("pads", &[0, 0, 1, 1, 0, 0, 0, 0]));
        model.node("Pad", &["x", "pads"], "z", &[])
    };
    let gemm =
        |attributes: &[Message]| single(17, "Gemm", &["flat", "matrix", "five"], attributes, true);
    let reshape = |shape: &[i64]| {
        single(17, "Reshape", &["x", "shape"], &[], true).initializer(&int64s("shape", shape))
    };
    let sizes = |op: &str, inputs: &[&str], attributes: &[Message]| {
        let model = Model::new(17, &IMAGE).initializer(&int64s("four", &[4]));
        model.node("Shape", &["x"], "sizes", &[]).node(op, inputs, "y", attributes)
    };
    let second_output = |op: &str, inputs: &[&str], opset: i64| {
        let attributes: &[Message] = match op {
            "MaxPool" => &[ints("kernel_shape", &[2, 2])],
            _ => &[],
        };
        let node = node(op, inputs, "first", attributes).text(2, "second");
        let model = Model::new(opset, &IMAGE).raw_node(&node);
        model.node("Add", &["first", "second"], "y", &[])
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
        (
            pool("AveragePool", &[ints("pads", &[1; 4])]),
            "within the maps (count_include_pad 0); only",
        ),
        (
            padded_means(&[ints("kernel_shape", &[3, 3]), ints("pads", &[0, 0, 1, 1])]),
            "within the maps (count_include_pad 0); only",
        ),
        (
            padded_means(&[
                ints("kernel_shape", &[2, 2]),
                ints("strides", &[2, 2]),
                int("ceil_mode", 1),
            ]),
            "within the maps (ceil_mode 1); only means of whole windows",
        ),
        (
            single(
                19,
                "AveragePool",
                &["x"],
                &[
                    ints("kernel_shape", &[2, 2]),
                    ints("strides", &[2, 2]),
                    ints("pads", &[1, 1, 0, 0]),
                    int("ceil_mode", 1),
                    int("count_include_pad", 1),
                ],
                false,
            ),
            "within the maps (ceil_mode 1); only means of whole windows",
        ),
        (pad(&[0, 0, 1, 1, 0, 0, 1, 1], &["x", "pads"], "Relu"), "reads \"z\", maps with zeros"),
        (pad(&[0, 0, 1, 1, 0, 0, 1, 1], &["x", "pads"], "MaxPool"), "only after a Relu is this"),
        (pad(&[0, 1, 0, 0, 0, 0, 0, 0], &["x", "pads"], "Relu"), "pads axis 1; only rows and"),
        (pad(&[0, 0, -1, 0, 0, 0, 0, 0], &["x", "pads"], "Relu"), "0, 0, 0, 0], outside 0 to"),
        (pad(&[1, 1], &["x", "pads"], "Relu"), "has 2 pads for 4 axes"),
        (pad(&[0; 8], &["x", "pads", "two"], "Relu"), "pads with 2; only zeros"),
        (pad(&[0, 0, 0, 0, 0, 0, 1, 1], &["x", "pads"], "Conv"), "by 0 before and 1 after"),
        (single(17, "Pad", &["x"], &[text("mode", "reflect")], false), "pads by mode reflect"),
        (
            single(17, "AveragePool", &["x"], &[ints("kernel_shape", &[2, 3])], false),
            "has windows of [2, 3]; only square ones",
        ),
        (single(17, "MaxPool", &["x"], &[], false), "has no kernel_shape"),
        (single(17, "MaxPool", &["x"], &[ints("kernel_shape", &[3])], false), "has 1 kernel_shape"),
        (single(17, "ReduceMean", &["x"], &[ints("axes", &[1])], false), "goes over axes [1]"),
        (single(17, "ReduceMean", &["x"], &[], false), "goes over axes []"),
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
        (sizes("Relu", &["sizes"], &[]), "reads the sizes \"sizes\" where only a map will do"),
        (sizes("Conv", &["x", "sizes"], &[]), "computes its input 1, \"sizes\"; only constants"),
        (sizes("Reshape", &["x", "sizes"], &[]), "shapes maps of [3, 8, 8] as [N, 3, 8, 8]; only"),
        (sizes("Gather", &["sizes", "four"], &[]), "sizes that are not among [N, 3, 8, 8]"),
        (sizes("Gather", &["sizes", "four"], &[int("axis", 1)]), "has axis 1; only 0"),
        (sizes("Concat", &["sizes"; 3], &[int("axis", 0)]), "no list, or more than 8"),
        (sizes("Concat", &["sizes", "x"], &[int("axis", 0)]), "computes its input 1, \"x\""),
        (sizes("ConstantOfShape", &["four"], &[]), "makes floats of a shape"),
        (sizes("Slice", &["sizes", "four"], &[]), "has ends None; only one axis is cut"),
        (sizes("Slice", &["sizes", "four", "four", "four"], &[]), "cuts axis 4 of [N, 3, 8, 8]"),
        (sizes("Reshape", &["four", "four"], &[]), "shapes [4] as [4]"),
        (sizes("Squeeze", &["sizes"], &[]), "removes axes None of [N, 3, 8, 8] of shape [4]"),
        (sizes("Cast", &["sizes"], &[int("to", 1)]), "casts to type 1; only floats to FLOAT"),
        (single(17, "Cast", &["x"], &[int("to", 10)], false), "casts to type 10; only floats"),
        (
            single(17, "Transpose", &["x"], &[], false),
            "computes its input 0, \"x\"; only constants",
        ),
        (single(17, "Transpose", &["five"], &[], false), "of shape [5], not a matrix"),
        (sizes("Unsqueeze", &["sizes", "four"], &[]), "inserts axes [4] into [N, 3, 8, 8]"),
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
        (reshape(&[1; 9]), "has \"shape\" of shape [9], too many values for a shape"),
        (second_output("MaxPool", &["x"], 17), "has a second output, \"second\", which is read"),
        (second_output("BatchNormalization", &["x"; 5], 9), "is in training: it has outputs"),
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
