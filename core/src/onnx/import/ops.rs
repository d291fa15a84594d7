//! The operators that are taken over.

use super::{
    Importer, Refusal, Value, constants, conv, elementwise, linear, pad, pool, shapes, sizes,
};
use crate::onnx::proto::Node;

/// How to take over an operator.
pub(super) struct Op {
    pub(super) name: &'static str,
    /// The attributes that it may have.
    pub(super) attributes: &'static [&'static [&'static str]],
    pub(super) import: Import,
}

/// Gives the value of the node's first output.
type Import = for<'a> fn(&mut Importer<'_, 'a>, &Node<'a>) -> Result<Value<'a>, Refusal>;

const WINDOW: &[&str] = &["auto_pad", "dilations", "kernel_shape", "pads", "strides"];

const REDUCED: &[&str] = &["axes", "keepdims", "noop_with_empty_axes"];

/// Every operator.
pub(super) const OPS: &[Op] = &[
    op("Add", &[], elementwise::add),
    op("AveragePool", &[WINDOW, &["ceil_mode", "count_include_pad"]], pool::average),
    op(
        "BatchNormalization",
        &[&["epsilon", "momentum", "spatial", "training_mode"]],
        elementwise::batch_normalization,
    ),
    // Whether values are saturated is about 8-bit floats.
    op("Cast", &[&["saturate", "to"]], constants::cast),
    op("Clip", &[&["max", "min"]], elementwise::clip),
    op("Concat", &[&["axis"]], shapes::concat),
    op(
        "Constant",
        &[&["value", "value_float", "value_floats", "value_int", "value_ints"]],
        shapes::constant,
    ),
    op("ConstantOfShape", &[&["value"]], constants::of_shape),
    op("Conv", &[WINDOW, &["group"]], conv::conv),
    op("Dropout", &[&["ratio", "seed"]], elementwise::dropout),
    op("Flatten", &[&["axis"]], shapes::flatten),
    op("Gather", &[&["axis"]], sizes::gather),
    op("Gemm", &[&["alpha", "beta", "transA", "transB"]], linear::gemm),
    op("GlobalAveragePool", &[], pool::global_average),
    op("GlobalMaxPool", &[], pool::global_max),
    op("Identity", &[], shapes::identity),
    op("MatMul", &[], linear::mat_mul),
    // The order of storage is that of the indices, the second output, which is not read.
    op("MaxPool", &[WINDOW, &["ceil_mode", "storage_order"]], pool::max),
    op("Pad", &[&["mode", "pads", "value"]], pad::pad),
    op("ReduceMax", &[REDUCED], pool::reduce_max),
    op("ReduceMean", &[REDUCED], pool::reduce_mean),
    op("Relu", &[], elementwise::relu),
    op("Reshape", &[&["allowzero"]], shapes::reshape),
    op("Shape", &[&["end", "start"]], sizes::shape),
    op("Slice", &[&["axes", "ends", "starts"]], constants::slice),
    op("Squeeze", &[&["axes"]], shapes::squeeze),
    op("Transpose", &[&["perm"]], constants::transpose),
    op("Unsqueeze", &[&["axes"]], shapes::unsqueeze),
];

const fn op(
    name: &'static str,
    attributes: &'static [&'static [&'static str]],
    import: Import,
) -> Op {
    Op { name, attributes, import }
}
