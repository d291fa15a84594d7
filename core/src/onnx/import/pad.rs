//! Padding as an operator of its own: it becomes that of the windows which read it.

use super::{Importer, Operand, Refusal, Value, refuse};
use crate::layers::Layer;
use crate::onnx::proto::Node;

/// Zeros around maps: before and after, by axis.
pub(super) type Zeros = [[usize; 2]; 2];

pub(super) const NONE: Zeros = [[0; 2]; 2];

/// Far above what layers take, and low enough that no size overflows.
const MAX: i64 = 1 << 16;

/// `Pad` of maps with zeros.
pub(super) fn pad<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    if let Some(mode) = node.text("mode")?.filter(|mode| !matches!(*mode, b"constant" | b"")) {
        return refuse(format!(
            "pads by mode {}; only constant is taken over",
            String::from_utf8_lossy(mode)
        ));
    }
    // Since version 11 there are inputs instead of attributes, and since version 18 axes.
    let (pads, value) = match cx.opset {
        ..11 => (node.ints("pads")?.unwrap_or_default().to_vec(), node.float("value")?),
        _ => {
            let value = cx.constant(node, 2)?.map(|value| value.to_float(cx.files)).transpose()?;
            (cx.param(node, 1)?.to_ints(cx.files)?, value)
        }
    };
    let axes = match cx.opset {
        ..18 => None,
        _ => cx.constant(node, 3)?.map(|axes| axes.to_ints(cx.files)).transpose()?,
    };
    if let Some(value) = value.filter(|&value| value != 0.0) {
        return refuse(format!("pads with {value}; only zeros are taken over"));
    }
    let axes = axes.unwrap_or_else(|| (0..4).collect());
    let x = cx.maps(node, 0)?;
    if pads.len() != 2 * axes.len() {
        return refuse(format!("has {} pads for {} axes", pads.len(), axes.len()));
    }
    let mut zeros = NONE;
    let (before, after) = pads.split_at(axes.len());
    for ((&axis, &before), &after) in axes.iter().zip(before).zip(after) {
        if [before, after].iter().any(|pad| !(0..=MAX).contains(pad)) {
            return refuse(format!("has pads {pads:?}, outside 0 to {MAX}"));
        }
        let pair = [before, after].map(|pad| usize::try_from(pad).unwrap_or_default());
        match axis {
            2 | -2 => zeros[0] = pair,
            3 | -1 => zeros[1] = pair,
            _ if pair == [0; 2] => {}
            _ => return refuse(format!("pads axis {axis}; only rows and columns are padded")),
        }
    }
    Ok(match zeros {
        NONE => Value::Layer(x.id, x.rank),
        zeros => Value::Padded(x, zeros),
    })
}

impl<'a> Importer<'_, 'a> {
    /// Input `i`, `[N, C, H, W]`, and the zeros that are to be around it.
    pub(super) fn padded_maps(
        &self,
        node: &Node<'a>,
        i: usize,
    ) -> Result<(Operand, Zeros), Refusal> {
        match self.value(node, i)? {
            Some(&Value::Padded(x, zeros)) => Ok((x, zeros)),
            _ => Ok((self.maps(node, i)?, NONE)),
        }
    }

    /// Whether `x` is the output of a ReLU, which zeros never exceed.
    pub(super) fn is_rectified(&self, x: Operand) -> bool {
        matches!(self.builder.layer(x.id), Layer::Relu(_))
    }
}
