use super::shapes::are_spatial;
use super::window::Windows;
use super::{Importer, Operand, Refusal, Value, pad, refuse};
use crate::layers::{AvgPool2d, GlobalAvgPool, Layer, MaxPool2d};
use crate::onnx::Rank;
use crate::onnx::proto::Node;

/// `MaxPool` over square windows. Those with zeros around the maps are those that padding is left out of where
/// no value is below zero.
pub(super) fn max<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    let windows = Windows::of(node, None)?;
    let (x, zeros) = cx.padded_maps(node, 0)?;
    if zeros != pad::NONE && !cx.is_rectified(x) {
        return refuse(
            "takes maxima of maps with zeros around them; only after a Relu is this taken over",
        );
    }
    let (stride, padding) = (windows.stride, windows.padding(x.shape, zeros)?);
    let layer = MaxPool2d { kernel: square(&windows)?, stride, padding };
    cx.keep(node, Layer::MaxPool2d(layer), x)
}

/// `AveragePool` over square windows, each whole, with padding that counts or without, or over whole maps.
pub(super) fn average<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let windows = Windows::of(node, None)?;
    let counts_padding = node.int("count_include_pad", 0)? != 0;
    let (x, zeros) = cx.padded_maps(node, 0)?;
    /// The largest window of [`AvgPool2d`].
    const LARGEST: usize = 15;
    let is_layer = windows.kernel[0] == windows.kernel[1] && windows.kernel[0] <= LARGEST;
    if !is_layer && zeros == pad::NONE && windows.is_whole(x.shape) {
        return whole(cx, node, x, Rank::Maps);
    }
    let (stride, padding) = (windows.stride, windows.padding(x.shape, zeros)?);
    if let Some(setting) = windows.cuts_means(x.shape, zeros, counts_padding) {
        return refuse(format!(
            "takes means of what its windows have within the maps ({setting}); only means of whole windows \
             are taken over"
        ));
    }
    let layer = AvgPool2d { kernel: square(&windows)?, stride, padding };
    cx.keep(node, Layer::AvgPool2d(layer), x)
}

/// `GlobalAveragePool`.
pub(super) fn global_average<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let x = cx.maps(node, 0)?;
    whole(cx, node, x, Rank::Maps)
}

/// `GlobalMaxPool` of square maps.
pub(super) fn global_max<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let x = cx.maps(node, 0)?;
    largest(cx, node, x, Rank::Maps)
}

/// `ReduceMax` over both axes of square maps.
pub(super) fn reduce_max<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let (x, rank) = reduced(cx, node)?;
    largest(cx, node, x, rank)
}

/// `ReduceMean` over both axes of maps.
pub(super) fn reduce_mean<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
) -> Result<Value<'a>, Refusal> {
    let (x, rank) = reduced(cx, node)?;
    whole(cx, node, x, rank)
}

/// The maps that `node` reduces over both axes, and the rank of what it leaves.
fn reduced<'a>(cx: &Importer<'_, 'a>, node: &Node<'a>) -> Result<(Operand, Rank), Refusal> {
    // Since version 18 the axes are an input.
    let axes = cx.axes(node, 18)?;
    let keeps = node.int("keepdims", 1)? != 0;
    let x = cx.maps(node, 0)?;
    if !axes.as_deref().is_some_and(are_spatial) {
        return refuse(format!(
            "goes over axes {:?}; only 2 and 3 together are taken over",
            axes.unwrap_or_default()
        ));
    }
    Ok((x, if keeps { Rank::Maps } else { Rank::Flat }))
}

fn largest<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
    x: Operand,
    rank: Rank,
) -> Result<Value<'a>, Refusal> {
    if x.shape.height != x.shape.width {
        return refuse(format!("takes maxima of whole maps of {}; only of square ones", x.shape));
    }
    let layer = MaxPool2d { kernel: x.shape.height, stride: 1, padding: 0 };
    let id = cx.add(node, Layer::MaxPool2d(layer), &[x.id], Vec::new(), &[])?;
    Ok(Value::Layer(id, rank))
}

fn whole<'a>(
    cx: &mut Importer<'_, 'a>,
    node: &Node<'a>,
    x: Operand,
    rank: Rank,
) -> Result<Value<'a>, Refusal> {
    let layer = Layer::GlobalAvgPool(GlobalAvgPool {});
    Ok(Value::Layer(cx.add(node, layer, &[x.id], Vec::new(), &[])?, rank))
}

fn square(windows: &Windows) -> Result<usize, Refusal> {
    match windows.kernel {
        [a, b] if a == b => Ok(a),
        kernel => refuse(format!("has windows of {kernel:?}; only square ones are taken over")),
    }
}
