use super::{Importer, Refusal, Value, refuse};
use crate::layers::{Add, BatchNorm2d, Dropout, Layer, Relu};
use crate::onnx::momentum;
use crate::onnx::proto::Node;

/// `Add` of two maps; of a constant only as the bias of a `MatMul`, which has taken it.
pub(super) fn add<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    if node.outputs.first().is_some_and(|output| cx.absorbed.contains(output)) {
        let values = [cx.value(node, 0)?, cx.value(node, 1)?];
        let product = values.into_iter().flatten().find(|value| matches!(value, Value::Layer(..)));
        return product.cloned().ok_or(Refusal::Follows);
    }
    let (a, b) = (cx.operand(node, 0)?, cx.operand(node, 1)?);
    if a.rank != b.rank || a.shape != b.shape {
        return refuse(format!(
            "adds {} {} and {} {}; only equal shapes are",
            a.rank.noun(),
            a.shape,
            b.rank.noun(),
            b.shape
        ));
    }
    let id = cx.add(node, Layer::Add(Add {}), &[a.id, b.id], Vec::new(), &[])?;
    Ok(Value::Layer(id, a.rank))
}

/// `BatchNormalization` by running statistics.
pub(super) fn batch_normalization<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    node.must_be("training_mode", 0)?;
    node.must_be("spatial", 1)?;
    // Before there was an attribute, more outputs were the sign of training.
    if cx.opset < 14 && node.outputs.iter().skip(1).any(|name| !name.is_empty()) {
        return refuse("is in training: it has outputs for statistics of the batch");
    }
    let eps = node.float("epsilon")?.unwrap_or(1e-5);
    let momentum = node.float("momentum")?.unwrap_or(0.9);
    let tensors = [cx.param(node, 1)?, cx.param(node, 2)?, cx.param(node, 3)?, cx.param(node, 4)?];
    let x = cx.operand(node, 0)?;
    let channels = x.shape.channels;
    if let Some(tensor) = tensors.iter().find(|tensor| tensor.dims != [channels]) {
        let (name, dims) = (tensor.name, &tensor.dims);
        return refuse(format!("has {name:?} of shape {dims:?} for {channels} channels"));
    }
    let names = tensors.each_ref().map(|tensor| tensor.name);
    let params = tensors.iter().map(|tensor| cx.floats(tensor)).collect::<Result<_, _>>()?;
    let name = cx.names.of(node, &names);
    let momentum = momentum::read(cx.metadata, &name, momentum);
    let layer = Layer::BatchNorm2d(BatchNorm2d { eps, momentum });
    Ok(Value::Layer(cx.add_named(name, layer, &[x.id], params)?, x.rank))
}

/// `Relu`.
pub(super) fn relu<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    let x = cx.operand(node, 0)?;
    cx.keep(node, Layer::Relu(Relu {}), x)
}

/// `Clip` from 0 upwards without end, a ReLU.
pub(super) fn clip<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    let bound = |cx: &Importer<'_, 'a>, name: &str, i: usize| match cx.opset {
        ..11 => node.float(name),
        _ => match cx.constant(node, i)? {
            Some(tensor) => Ok(Some(tensor.to_float(cx.files)?)),
            None => Ok(None),
        },
    };
    let min = bound(cx, "min", 1)?.unwrap_or(f32::MIN);
    let max = bound(cx, "max", 2)?.unwrap_or(f32::MAX);
    if min != 0.0 || max < f32::MAX || max.is_nan() {
        return refuse(format!(
            "clips to [{min}, {max}]; no layer does, and only [0, infinity) is taken over, as a ReLU"
        ));
    }
    relu(cx, node)
}

/// `Dropout`: nothing in use, and in training what it was.
pub(super) fn dropout<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let p = match cx.opset {
        ..12 => node.float("ratio")?,
        _ => match cx.constant(node, 1)? {
            Some(tensor) => Some(tensor.to_float(cx.files)?),
            None => None,
        },
    };
    if let Some(mode) = cx.constant(node, 2)?
        && mode.to_ints(cx.files)? != [0]
    {
        return refuse("drops values in use too (training_mode)");
    }
    let x = cx.operand(node, 0)?;
    cx.keep(node, Layer::Dropout(Dropout { p: p.unwrap_or(0.5) }), x)
}
