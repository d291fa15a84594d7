//! Sizes and whole numbers computed from others: what exporters leave of shapes and pads.

use super::sizes::{MAX_SIZES, Size, Sizes};
use super::{Importer, Refusal, Value, refuse};
use crate::onnx::proto::{Attribute, Node};
use crate::onnx::tensor::{FLOAT, INT32, INT64, Tensor};
use std::rc::Rc;

/// A list of sizes, or constant whole numbers of any shape.
struct Numbers {
    dims: Vec<usize>,
    values: Vec<Size>,
}

impl Numbers {
    /// Input 0 of `node`.
    fn of(cx: &Importer<'_, '_>, node: &Node<'_>) -> Result<Self, Refusal> {
        if let Some(Value::Sizes(Sizes { sizes, is_scalar })) = cx.value(node, 0)? {
            let dims = if *is_scalar { Vec::new() } else { vec![sizes.len()] };
            return Ok(Self { dims, values: sizes.to_vec() });
        }
        let tensor = cx.param(node, 0)?;
        let values = tensor.to_ints(cx.files)?.into_iter().map(Size::Number).collect();
        Ok(Self { dims: tensor.dims.clone(), values })
    }

    /// These numbers in another shape, of which there may be only lists of sizes that are not known.
    fn value<'a>(self) -> Result<Value<'a>, Refusal> {
        let Self { dims, values } = self;
        let number = |size: &Size| match size {
            Size::Number(number) => Some(*number),
            Size::Batch => None,
        };
        match values.iter().map(number).collect() {
            Some(numbers) => Ok(Value::Constant(Rc::new(Tensor::ints(dims, numbers)))),
            None if dims.len() < 2 => {
                let is_scalar = dims.is_empty();
                Ok(Value::Sizes(Sizes { sizes: values.into(), is_scalar }))
            }
            None => refuse(format!("makes {values:?} a matrix")),
        }
    }
}

/// `ConstantOfShape` of a few whole numbers.
pub(super) fn of_shape<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let given = cx.param(node, 0)?.to_ints(cx.files)?;
    let dims: Option<Vec<usize>> = given.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let value = match node.attribute("value") {
        Some(Attribute::Tensor(tensor)) => tensor.to_ints(cx.files)?,
        _ => return refuse("makes floats of a shape"),
    };
    let len = |dims: &[usize]| dims.iter().fold(1usize, |n, &dim| n.saturating_mul(dim));
    match (dims, &value[..]) {
        (Some(dims), &[value]) if len(&dims) <= MAX_SIZES => {
            Numbers { values: vec![Size::Number(value); len(&dims)], dims }.value()
        }
        _ => refuse(format!("makes constants of shape {given:?}, more than {MAX_SIZES}")),
    }
}

/// `Slice` of the first axis.
pub(super) fn slice<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    // Since version 10 there are inputs instead of attributes, and steps.
    let one = |i: usize, name: &str, default: Option<i64>| {
        let given = match cx.opset {
            ..10 => node.ints(name)?.map(<[i64]>::to_vec),
            _ => cx.constant(node, i)?.map(|found| found.to_ints(cx.files)).transpose()?,
        };
        match (given.as_deref(), default) {
            (Some(&[value]), _) | (None, Some(value)) => Ok(value),
            (found, _) => refuse(format!("has {name} {found:?}; only one axis is cut")),
        }
    };
    let (start, end) = (one(1, "starts", None)?, one(2, "ends", None)?);
    let (axis, step) = (one(3, "axes", Some(0))?, one(4, "steps", Some(1))?);
    let Numbers { dims, values } = Numbers::of(cx, node)?;
    let is_first = axis == 0 || axis == -(dims.len() as i64);
    // However many rows without values there are.
    let Some(&rows) = dims.first().filter(|&&rows| is_first && rows <= values.len()) else {
        return refuse(format!("cuts axis {axis} of {values:?} of shape {dims:?}"));
    };
    let places = places(rows, start, end, step);
    let width = values.len() / rows.max(1);
    let taken = places.iter().flat_map(|&row| &values[row * width..][..width]).copied();
    let dims = [&[places.len()], &dims[1..]].concat();
    Numbers { dims, values: taken.collect() }.value()
}

/// The places from `start` to before `end`, of `len`, as `Slice` counts them. A step of 0 takes none.
fn places(len: usize, start: i64, end: i64, step: i64) -> Vec<usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_the_end = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (lowest, highest) = if step < 0 { (-1, len - 1) } else { (0, len) };
    let [mut at, end] = [start, end].map(|at| from_the_end(at).clamp(lowest, highest));
    let mut places = Vec::new();
    while step > 0 && at < end || step < 0 && at > end {
        places.extend(usize::try_from(at));
        at = at.saturating_add(step);
    }
    places
}

/// `Reshape` of numbers.
pub(super) fn reshape<'a>(cx: &Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    let target = cx.param(node, 1)?.to_ints(cx.files)?;
    let Numbers { values, .. } = Numbers::of(cx, node)?;
    let known: i64 =
        target.iter().filter(|&&dim| dim != -1).fold(1, |n, dim| n.saturating_mul(*dim));
    let len = values.len() as i64;
    let dims = target.iter().map(|&dim| match dim {
        -1 if known > 0 && len % known == 0 => usize::try_from(len / known).ok(),
        dim => usize::try_from(dim).ok(),
    });
    let dims: Option<Vec<usize>> = dims.collect();
    let product = |dims: &Vec<usize>| dims.iter().fold(1usize, |n, &dim| n.saturating_mul(dim));
    match dims.filter(|dims| product(dims) == values.len()) {
        Some(dims) => Numbers { dims, values }.value(),
        None => refuse(format!("shapes {values:?} as {target:?}")),
    }
}

/// `Squeeze` of a list of one to a number.
pub(super) fn squeeze<'a>(cx: &Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    let axes = cx.axes(node, 13)?;
    let Numbers { dims, values } = Numbers::of(cx, node)?;
    match (&dims[..], axes.as_deref()) {
        ([1], None | Some([0 | -1])) => Numbers { dims: Vec::new(), values }.value(),
        _ => refuse(format!("removes axes {axes:?} of {values:?} of shape {dims:?}")),
    }
}

/// `Cast` of whole numbers to whole numbers, and of floats to floats.
pub(super) fn cast<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    let to = node.int("to", 0)?;
    match cx.value(node, 0)? {
        Some(Value::Layer(id, rank)) if to == FLOAT => Ok(Value::Layer(*id, *rank)),
        Some(Value::Sizes(_)) if matches!(to, INT32 | INT64) => Numbers::of(cx, node)?.value(),
        Some(Value::Constant(tensor)) if to == FLOAT && tensor.kind == FLOAT => {
            Ok(Value::Constant(Rc::clone(tensor)))
        }
        Some(Value::Constant(tensor)) if tensor.kind != FLOAT && matches!(to, INT32 | INT64) => {
            Numbers::of(cx, node)?.value()
        }
        Some(Value::Lost) => Err(Refusal::Follows),
        _ => refuse(format!("casts to type {to}; only floats to FLOAT and sizes to INT64 are")),
    }
}

/// `Transpose` of a constant matrix.
pub(super) fn transpose<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let matrix = cx.param(node, 0)?;
    let [rows, columns] = matrix.dims[..] else {
        return refuse(format!("transposes a constant of shape {:?}, not a matrix", matrix.dims));
    };
    if node.ints("perm")?.is_some_and(|perm| perm != [1, 0]) {
        return refuse("keeps the axes of a matrix where they are, or has others");
    }
    let dims = vec![columns, rows];
    if matrix.kind == FLOAT {
        let values = transposed(&cx.floats(&matrix)?, columns);
        // What is said of the weights names them as before.
        let tensor = Tensor { name: matrix.name, ..Tensor::floats(dims, &values) };
        return Ok(Value::Constant(Rc::new(tensor)));
    }
    let Numbers { values, .. } = Numbers::of(cx, node)?;
    Numbers { dims, values: transposed(&values, columns) }.value()
}

/// The values of a matrix column by column.
pub(super) fn transposed<T: Copy>(values: &[T], columns: usize) -> Vec<T> {
    let column = |i: usize| values.iter().skip(i).step_by(columns).copied();
    // However many columns without values there are.
    (0..columns.min(values.len())).flat_map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_take_what_numpy_takes() {
        let none: [usize; 0] = [];
        assert_eq!(places(4, 1, 3, 1), [1, 2]);
        assert_eq!(places(4, -3, i64::MAX, 2), [1, 3]);
        assert_eq!(places(4, -1, i64::MIN, -1), [3, 2, 1, 0]);
        assert_eq!(places(4, 9, 0, -2), [3, 1]);
        assert_eq!(places(4, 3, 1, 1), none);
        assert_eq!(places(4, 0, 4, 0), none);
        assert_eq!(places(0, 0, 4, -1), none);
        assert_eq!(places(1, i64::MIN, i64::MAX, i64::MAX), [0]);
    }

    #[test]
    fn a_matrix_is_transposed() {
        assert_eq!(transposed(&[1, 2, 3, 4, 5, 6], 3), [1, 4, 2, 5, 3, 6]);
        assert!(transposed::<i64>(&[], usize::MAX).is_empty());
    }
}
