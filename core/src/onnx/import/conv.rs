use super::window::Windows;
use super::{Importer, Refusal, Value, refuse};
use crate::layers::{Conv2d, Groups, Layer};
use crate::onnx::Rank;
use crate::onnx::proto::Node;

/// `Conv`: one group, or as many as channels.
pub(super) fn conv<'a>(cx: &mut Importer<'_, 'a>, node: &Node<'a>) -> Result<Value<'a>, Refusal> {
    let (weight, bias) = (cx.param(node, 1)?, cx.constant(node, 2)?);
    let &[out_channels, per_group, kh, kw] = &weight.dims[..] else {
        return refuse(format!("has weights of shape {:?}, not of 4 dimensions", weight.dims));
    };
    let windows = Windows::of(node, Some([kh, kw]))?;
    let groups = node.int("group", 1)?;
    let is_said = node.attribute("group").is_some();
    let (x, zeros) = cx.padded_maps(node, 0)?;
    let channels = x.shape.channels;
    let groups = match usize::try_from(groups) {
        // One channel alone is either; what says so is called depthwise.
        Ok(n) if is_said && n == channels && out_channels == channels => Groups::Depthwise,
        Ok(1) => Groups::One,
        _ => {
            return refuse(format!(
                "has {groups} groups from {channels} to {out_channels} channels; only one group, or one \
                 for each channel, is taken over"
            ));
        }
    };
    let expected = if groups == Groups::One { channels } else { 1 };
    if per_group != expected {
        return refuse(format!(
            "has weights of shape {:?} for {channels} channels; expected {expected} in their place 1",
            weight.dims
        ));
    }
    if let Some(bias) = bias.as_ref().filter(|bias| bias.dims != [out_channels]) {
        return refuse(format!("has a bias of shape {:?} for {out_channels} channels", bias.dims));
    }
    let layer = Layer::Conv2d(Conv2d {
        out_channels,
        kernel: windows.kernel,
        stride: windows.stride,
        padding: windows.padding(x.shape, zeros)?,
        bias: bias.is_some(),
        groups,
    });
    let names: Vec<&str> =
        [Some(&weight), bias.as_ref()].into_iter().flatten().map(|t| t.name).collect();
    let mut params = vec![cx.floats(&weight)?];
    if let Some(bias) = &bias {
        params.push(cx.floats(bias)?);
    }
    Ok(Value::Layer(cx.add(node, layer, &[x.id], params, &names)?, Rank::Maps))
}
