//! Operators that compute nothing, or put values side by side.

use super::sizes::{self, Size, Size::Number};
use super::{Importer, Operand, Refusal, Value, constants, refuse};
use crate::layers::{Concat, Flatten, Layer};
use crate::onnx::Rank;
use crate::onnx::proto::{Attribute, Node};
use crate::onnx::tensor::Tensor;
use std::rc::Rc;

/// `Concat` over channels.
pub(super) fn concat<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    if cx.reads_sizes(node) {
        return sizes::concat(cx, node);
    }
    let axis = node.int("axis", i64::MIN)?;
    let operands = (0..node.inputs.len()).map(|i| cx.operand(node, i));
    let operands: Vec<Operand> = operands.collect::<Result<_, _>>()?;
    let Some(&Operand { rank, .. }) = operands.first() else { return refuse("has no inputs") };
    if operands.iter().any(|operand| operand.rank != rank) {
        return refuse("joins maps and flat features");
    }
    if axis != 1 && axis.checked_add(rank.dims()) != Some(1) {
        return refuse(format!("joins along axis {axis}; only channels, axis 1, are joined"));
    }
    let inputs: Vec<_> = operands.iter().map(|operand| operand.id).collect();
    let id = cx.add(node, Layer::Concat(Concat {}), &inputs, Vec::new(), &[])?;
    Ok(Value::Layer(id, rank))
}

/// `Flatten` from axis 1.
pub(super) fn flatten<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let axis = node.int("axis", 1)?;
    let x = cx.operand(node, 0)?;
    if axis != 1 && axis.checked_add(x.rank.dims()) != Some(1) {
        return refuse(format!("keeps the axes before {axis}; only the batch, axis 0, is kept"));
    }
    flat(cx, node, x)
}

/// `Reshape` of each image to a list, or to maps of one pixel; or of sizes.
pub(super) fn reshape<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    if let Some(Value::Sizes(_) | Value::Constant(_)) = cx.value(node, 0)? {
        return constants::reshape(cx, node);
    }
    let keeps_zeros = node.int("allowzero", 0)? != 0;
    let target = cx.sizes(node, 1)?.sizes;
    let x = cx.operand(node, 0)?;
    let len = i64::try_from(x.shape.len()).unwrap_or(i64::MAX);
    let keeps_batch = |size: Size| match size {
        Size::Batch => true,
        Size::Number(0) => !keeps_zeros,
        Size::Number(n) => n > 0 && Some(n) == cx.batch,
    };
    match *target {
        [batch, Number(-1)] if keeps_batch(batch) => flat(cx, node, x),
        [batch, Number(n)] if n == len && (batch == Number(-1) || keeps_batch(batch)) => {
            flat(cx, node, x)
        }
        [batch, Number(n), Number(1), Number(1)]
            if x.shape.area() == 1 && n == len && (batch == Number(-1) || keeps_batch(batch)) =>
        {
            Ok(Value::Layer(x.id, Rank::Maps))
        }
        _ => refuse(format!(
            "shapes {} {} as {target:?}; only a list of {len} features an image is taken over",
            x.rank.noun(),
            x.shape
        )),
    }
}

/// `Squeeze` of maps of one pixel, or of sizes.
pub(super) fn squeeze<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    if let Some(Value::Sizes(_) | Value::Constant(_)) = cx.value(node, 0)? {
        return constants::squeeze(cx, node);
    }
    let axes = cx.axes(node, 13)?;
    let x = cx.maps(node, 0)?;
    let is_spatial = match axes.as_deref() {
        Some(axes) => are_spatial(axes),
        // All of size 1: the channels' or the batch's too, if there is one of them.
        None => x.shape.channels > 1 && cx.batch != Some(1),
    };
    match x.shape.area() {
        1 if is_spatial => Ok(Value::Layer(x.id, Rank::Flat)),
        _ => refuse(format!(
            "removes axes {:?} of maps of {}; only axes 2 and 3 of one pixel are removed",
            axes.unwrap_or_default(),
            x.shape
        )),
    }
}

/// `Unsqueeze` to maps of one pixel.
pub(super) fn unsqueeze<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    if let Some(Value::Sizes(_) | Value::Constant(_)) = cx.value(node, 0)? {
        return sizes::unsqueeze(cx, node);
    }
    let axes = cx.axes(node, 13)?;
    let x = cx.operand(node, 0)?;
    match x.rank {
        Rank::Flat if axes.as_deref().is_some_and(are_spatial) => {
            Ok(Value::Layer(x.id, Rank::Maps))
        }
        _ => refuse(format!(
            "inserts axes {:?}; only axes 2 and 3 of flat features are inserted",
            axes.unwrap_or_default()
        )),
    }
}

/// Whether these are height and width of maps, in any order.
pub(super) fn are_spatial(axes: &[i64]) -> bool {
    matches!(*axes, [a, b] if matches!((a, b), (2 | -2, 3 | -1) | (3 | -1, 2 | -2)))
}

/// `Identity`.
pub(super) fn identity<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    match cx.value(node, 0)? {
        Some(Value::Lost) => Err(Refusal::Follows),
        Some(value) => Ok(value.clone()),
        None => refuse("has no input 0"),
    }
}

/// `Constant`.
pub(super) fn constant<'a>(
    _: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let tensor = match &node.attributes[..] {
        [("value", Attribute::Tensor(tensor))] => Rc::clone(tensor),
        [("value_float", Attribute::Float(value))] => Rc::new(Tensor::floats(vec![], &[*value])),
        [("value_floats", Attribute::Floats(values))] => {
            Rc::new(Tensor::floats(vec![values.len()], values))
        }
        [("value_int", Attribute::Int(value))] => Rc::new(Tensor::ints(vec![], vec![*value])),
        [("value_ints", Attribute::Ints(values))] => {
            Rc::new(Tensor::ints(vec![values.len()], values.clone()))
        }
        _ => return refuse("has no value that is read"),
    };
    Ok(Value::Constant(tensor))
}

fn flat<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>, x: Operand) -> Result<Value<'a>, Refusal> {
    let id = cx.add(node, Layer::Flatten(Flatten {}), &[x.id], Vec::new(), &[])?;
    Ok(Value::Layer(id, Rank::Flat))
}

impl<'a> Importer<'_, 'a> {
    /// The axes of `node`: an attribute, and since version `since` input 1.
    pub(super) fn axes(&self, node: &Node<'a>, since: i64) -> Result<Option<Vec<i64>>, Refusal> {
        if self.opset < since {
            return Ok(node.ints("axes")?.map(<[i64]>::to_vec));
        }
        match self.constant(node, 1)? {
            Some(tensor) => Ok(Some(tensor.to_ints(self.files)?)),
            None => Ok(None),
        }
    }
}
