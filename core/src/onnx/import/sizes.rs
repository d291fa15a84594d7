//! Sizes of values as values of their own: what `x.view(x.size(0), -1)` of PyTorch becomes.

use super::{Importer, Refusal, Value, refuse};
use crate::onnx::Rank;
use crate::onnx::proto::Node;
use std::fmt;
use std::rc::Rc;

/// Sizes that a list of them may have: as many as a tensor has dimensions.
pub(super) const MAX_SIZES: usize = 8;

/// A size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// The number of images.
    Batch,
    /// A number, or what it stands for in a shape.
    Number(i64),
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch => f.write_str("N"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// A size, or a list of them.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub(super) sizes: Rc<[Size]>,
    /// Whether it is one size and no list.
    pub(super) is_scalar: bool,
}

impl Sizes {
    fn list(sizes: impl IntoIterator<Item = Size>) -> Self {
        Self { sizes: sizes.into_iter().collect(), is_scalar: false }
    }
}

impl<'a> Importer<'_, 'a> {
    /// Input `i`, sizes or constants that may be.
    pub(super) fn sizes(&self, node: &Node<'a>, i: usize) -> Result<Sizes, Refusal> {
        if let Some(Value::Sizes(sizes)) = self.value(node, i)? {
            return Ok(sizes.clone());
        }
        let tensor = self.param(node, i)?;
        let sizes = tensor.to_ints(self.files)?.into_iter().map(Size::Number).collect();
        Ok(Sizes { sizes, is_scalar: tensor.dims.is_empty() })
    }

    /// Whether some input of `node` is sizes, or its first one that or constant.
    pub(super) fn reads_sizes(&self, node: &Node<'a>) -> bool {
        let mut values = node.inputs.iter().map(|name| self.values.get(name)).enumerate();
        values.any(|(i, value)| {
            matches!((i, value), (_, Some(Value::Sizes(_))) | (0, Some(Value::Constant(_))))
        })
    }
}

/// `Shape`.
pub(super) fn shape<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    let x = cx.operand(node, 0)?;
    let number = |size: usize| Size::Number(i64::try_from(size).unwrap_or(i64::MAX));
    let [c, h, w] = [x.shape.channels, x.shape.height, x.shape.width].map(number);
    let all = match x.rank {
        Rank::Maps => vec![Size::Batch, c, h, w],
        Rank::Flat => vec![Size::Batch, number(x.shape.len())],
    };
    // Since version 15 these may be some of them.
    let len = x.rank.dims();
    let place = |at: i64| {
        let at = if at < 0 { at.saturating_add(len) } else { at };
        usize::try_from(at.clamp(0, len)).unwrap_or_default()
    };
    let (start, end) = (place(node.int("start", 0)?), place(node.int("end", len)?));
    Ok(Value::Sizes(Sizes::list(all.get(start..end).unwrap_or_default().iter().copied())))
}

/// `Gather` of some sizes of a list.
pub(super) fn gather<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    node.must_be("axis", 0)?;
    let places = cx.param(node, 1)?;
    let data = cx.sizes(node, 0)?;
    let of = |place: i64| {
        let len = data.sizes.len() as i64;
        let place = if place < 0 { place.checked_add(len) } else { Some(place) };
        data.sizes.get(usize::try_from(place?).ok()?).copied()
    };
    let found: Option<_> = places.to_ints(cx.files)?.into_iter().map(of).collect();
    match found {
        Some(sizes) if !data.is_scalar => {
            Ok(Value::Sizes(Sizes { sizes, is_scalar: places.dims.is_empty() }))
        }
        _ => refuse(format!("takes sizes that are not among {:?}", data.sizes)),
    }
}

/// `Unsqueeze` of one size to a list.
pub(super) fn unsqueeze<'a>(cx: &Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    let axes = cx.axes(node, 13)?.unwrap_or_default();
    match cx.sizes(node, 0)? {
        Sizes { sizes, is_scalar: true } if matches!(axes[..], [0 | -1]) => {
            Ok(Value::Sizes(Sizes { sizes, is_scalar: false }))
        }
        sizes => refuse(format!("inserts axes {axes:?} into {:?}", sizes.sizes)),
    }
}

/// `Concat` of lists of sizes.
pub(super) fn concat<'a>(cx: &Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    let mut all = Vec::new();
    for i in 0..node.inputs.len() {
        let Sizes { sizes, is_scalar } = cx.sizes(node, i)?;
        if is_scalar || all.len() + sizes.len() > MAX_SIZES {
            return refuse(format!("joins sizes that are no list, or more than {MAX_SIZES}"));
        }
        all.extend_from_slice(&sizes);
    }
    match node.int("axis", i64::MIN)? {
        0 | -1 => Ok(Value::Sizes(Sizes::list(all))),
        axis => refuse(format!("joins lists of sizes along axis {axis}")),
    }
}
