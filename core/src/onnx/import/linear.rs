use super::constants::transposed;
use super::{Importer, Operand, Refusal, Value, refuse};
use crate::layers::{Layer, Linear};
use crate::onnx::Rank;
use crate::onnx::proto::{Node, is_onnx};
use crate::onnx::tensor::Tensor;

/// `Gemm` of flat features and constants: `alpha x w + beta c`, the factors multiplied into the constants.
pub(super) fn gemm<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    node.must_be("transA", 0)?;
    let is_transposed = node.int("transB", 0)? != 0;
    let alpha = node.float("alpha")?.unwrap_or(1.0);
    let beta = node.float("beta")?.unwrap_or(1.0);
    let (weight, bias) = (cx.param(node, 1)?, cx.constant(node, 2)?);
    let x = flat(cx, node)?;
    let [outputs, inputs] = sides(&weight, is_transposed)?;
    fits(x, inputs)?;
    let mut values = rows(cx, &weight, is_transposed)?;
    scale(&mut values, alpha);
    let mut params = vec![values];
    let mut names = vec![weight.name];
    if let Some(bias) = bias.filter(|_| beta != 0.0) {
        let mut values = broadcast(cx, &bias, outputs)?;
        scale(&mut values, beta);
        params.push(values);
        names.push(bias.name);
    }
    let layer = Linear { out_features: outputs, bias: params.len() > 1 };
    let id = cx.add(node, Layer::Linear(layer), &[x.id], params, &names)?;
    Ok(Value::Layer(id, Rank::Flat))
}

/// `MatMul` of flat features and a constant, and the `Add` of a constant after it.
pub(super) fn mat_mul<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let weight = cx.param(node, 1)?;
    let x = flat(cx, node)?;
    let [outputs, inputs] = sides(&weight, false)?;
    fits(x, inputs)?;
    let mut params = vec![rows(cx, &weight, false)?];
    let mut names = vec![weight.name];
    let sum = cx.only_reader(node).filter(|sum| sum.op == "Add" && is_onnx(sum.domain));
    if let Some(sum) = sum {
        let other = usize::from(sum.inputs.first() == node.outputs.first());
        if let Ok(Some(Value::Constant(bias))) = cx.value(sum, other).map(Option::<&_>::cloned) {
            params.push(broadcast(cx, &bias, outputs)?);
            names.push(bias.name);
            cx.absorbed.extend(sum.outputs.first());
        }
    }
    let layer = Linear { out_features: outputs, bias: params.len() > 1 };
    let id = cx.add(node, Layer::Linear(layer), &[x.id], params, &names)?;
    Ok(Value::Layer(id, Rank::Flat))
}

fn flat<'a>(cx: &Importer<'_, 'a>, node: &Node<'a>) -> Result<Operand, Refusal> {
    match cx.operand(node, 0)? {
        operand if operand.rank == Rank::Flat => Ok(operand),
        operand => refuse(format!("multiplies maps of {}; only flat features are", operand.shape)),
    }
}

/// Outputs and inputs of a matrix.
fn sides(weight: &Tensor<'_>, is_transposed: bool) -> Result<[usize; 2], Refusal> {
    match weight.dims[..] {
        [a, b] => Ok(if is_transposed { [a, b] } else { [b, a] }),
        _ => refuse(format!("has a factor of shape {:?}, not a matrix", weight.dims)),
    }
}

fn fits(x: Operand, inputs: usize) -> Result<(), Refusal> {
    match x.shape.len() {
        len if len == inputs => Ok(()),
        len => refuse(format!("multiplies {len} features by a matrix for {inputs}")),
    }
}

/// The matrix, a row an output.
fn rows(
    cx: &mut Importer<'_, '_>,
    weight: &Tensor<'_>,
    is_transposed: bool,
) -> Result<Vec<f32>, Refusal> {
    let values = cx.floats(weight)?;
    let [outputs, _] = sides(weight, is_transposed)?;
    Ok(if is_transposed { values } else { transposed(&values, outputs) })
}

/// A bias of one value, or of one an output.
fn broadcast(
    cx: &mut Importer<'_, '_>,
    bias: &Tensor<'_>,
    outputs: usize,
) -> Result<Vec<f32>, Refusal> {
    let values = cx.floats(bias)?;
    match (&bias.dims[..], &values[..]) {
        ([] | [_] | [1, _], &[value]) => Ok(vec![value; outputs]),
        ([_] | [1, _], values) if values.len() == outputs => Ok(values.to_vec()),
        (dims, _) => refuse(format!("adds {dims:?} values to {outputs} outputs")),
    }
}

fn scale(values: &mut [f32], factor: f32) {
    if factor != 1.0 {
        values.iter_mut().for_each(|value| *value *= factor);
    }
}
