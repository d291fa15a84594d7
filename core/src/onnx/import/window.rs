//! Windows that slide over maps: this crate's have one stride, and one padding on all sides.

use super::pad::Zeros;
use super::{Refusal, refuse};
use crate::onnx::proto::Node;
use crate::tensor::Shape;

/// Far above what layers take, and low enough that no size overflows.
const MAX: i64 = 1 << 20;

/// What a node says of its windows.
pub(super) struct Windows {
    /// Height and width.
    pub(super) kernel: [usize; 2],
    pub(super) stride: usize,
    pads: Pads,
    rounds_up: bool,
}

enum Pads {
    /// Before and after, by axis.
    Explicit([[usize; 2]; 2]),
    /// As many as it takes for outputs of the input's size, over the stride; an odd one comes first if `first`.
    Same { first: bool },
}

impl Windows {
    /// Windows of `node`, of the size that it says, or else `kernel`.
    pub(super) fn of(node: &Node<'_>, kernel: Option<[usize; 2]>) -> Result<Self, Refusal> {
        let kernel = match (node.ints("kernel_shape")?, kernel) {
            (Some(stated), expected) => {
                let stated = pair("kernel_shape", stated)?;
                match expected.filter(|&kernel| kernel != stated) {
                    Some(kernel) => {
                        return refuse(format!(
                            "has kernel_shape {stated:?} and weights of {kernel:?}"
                        ));
                    }
                    None => stated,
                }
            }
            (None, Some(kernel)) => kernel,
            (None, None) => return refuse("has no kernel_shape"),
        };
        let stride = match node.ints("strides")?.map(|strides| pair("strides", strides)) {
            None => 1,
            Some(strides) => match strides? {
                [a, b] if a == b => a,
                strides => {
                    return refuse(format!(
                        "has strides {strides:?}; only equal ones are taken over"
                    ));
                }
            },
        };
        if let Some(dilations) = node.ints("dilations")? {
            let dilations = pair("dilations", dilations)?;
            if dilations.iter().zip(kernel).any(|(&dilation, kernel)| dilation != 1 && kernel != 1)
            {
                return refuse(format!("has dilations {dilations:?}; only 1 is taken over"));
            }
        }
        let auto = match node.text("auto_pad")? {
            None | Some(b"NOTSET" | b"") => None,
            Some(b"VALID") => Some(Pads::Explicit([[0; 2]; 2])),
            Some(b"SAME_UPPER") => Some(Pads::Same { first: false }),
            Some(b"SAME_LOWER") => Some(Pads::Same { first: true }),
            Some(_) => return refuse("has an auto_pad that is not known"),
        };
        let explicit = match node.ints("pads")? {
            None => [[0; 2]; 2],
            Some(&[top, left, bottom, right]) => {
                let [top, left, bottom, right] = sizes("pads", [top, left, bottom, right])?;
                [[top, bottom], [left, right]]
            }
            Some(pads) => return refuse(format!("has {} pads, not 4", pads.len())),
        };
        let rounds_up = match node.int("ceil_mode", 0)? {
            0 => false,
            1 => true,
            other => return refuse(format!("has ceil_mode {other}, neither 0 nor 1")),
        };
        if kernel.contains(&0) || stride == 0 {
            return refuse(format!("has a kernel of {kernel:?} and a stride of {stride}"));
        }
        let pads = auto.unwrap_or(Pads::Explicit(explicit));
        Ok(Self { kernel, stride, pads, rounds_up })
    }

    /// The one padding on all sides by which the windows on maps of `shape` with `zeros` around them are the
    /// same ones. Padding that no window reaches may differ.
    pub(super) fn padding(&self, shape: Shape, zeros: Zeros) -> Result<usize, Refusal> {
        let mut paddings = [0; 2];
        for (axis, len) in [shape.height, shape.width].into_iter().enumerate() {
            let own = self.own(axis, len + zeros[axis][0] + zeros[axis][1]);
            let [before, after] = [zeros[axis][0] + own[0], zeros[axis][1] + own[1]];
            let found = self.steps(axis, len + before + after, self.rounds_up);
            if found != self.steps(axis, len + 2 * before, false) {
                let (kernel, stride) = (self.kernel[axis], self.stride);
                let rounding = if self.rounds_up { ", rounded up" } else { "" };
                return refuse(format!(
                    "pads {len} values by {before} before and {after} after{rounding}, for windows of \
                     {kernel} with stride {stride}; only equal padding on both sides is taken over"
                ));
            }
            paddings[axis] = before;
        }
        match paddings {
            [a, b] if a == b => Ok(a),
            [a, b] => refuse(format!("pads rows by {a} and columns by {b}, not equally")),
        }
    }

    /// Padding of its own before and after `len` values, along an axis.
    fn own(&self, axis: usize, len: usize) -> [usize; 2] {
        match self.pads {
            Pads::Explicit(pads) => pads[axis],
            Pads::Same { first } => {
                let covered = (len.div_ceil(self.stride) - 1) * self.stride + self.kernel[axis];
                let total = covered.saturating_sub(len);
                let (less, more) = (total / 2, total - total / 2);
                if first { [more, less] } else { [less, more] }
            }
        }
    }

    /// The steps from the first window on `padded` values to the last, if there is one.
    fn steps(&self, axis: usize, padded: usize, rounds_up: bool) -> Option<usize> {
        let rest = padded.checked_sub(self.kernel[axis])?;
        Some(if rounds_up { rest.div_ceil(self.stride) } else { rest / self.stride })
    }

    /// The setting by which a mean takes less than a whole window somewhere on maps of `shape` with `zeros`
    /// around them, if one does: what is beyond all padding never counts, and padding only if
    /// `counts_padding`. Zeros around maps are values like others.
    pub(super) fn cuts_means(
        &self,
        shape: Shape,
        zeros: Zeros,
        counts_padding: bool,
    ) -> Option<&'static str> {
        let mut lens = [shape.height, shape.width].into_iter().zip(zeros).enumerate();
        lens.find_map(|(axis, (len, zeros))| {
            let len = len + zeros[0] + zeros[1];
            let [before, after] = self.own(axis, len);
            let padded = before + len + after;
            let end = self.steps(axis, padded, self.rounds_up)? * self.stride + self.kernel[axis];
            if end > padded {
                return Some("ceil_mode 1");
            }
            let cuts = !counts_padding && (before > 0 || end > before + len);
            cuts.then_some("count_include_pad 0")
        })
    }

    /// Whether there is one window, and it is the whole map.
    pub(super) fn is_whole(&self, shape: Shape) -> bool {
        self.kernel == [shape.height, shape.width]
            && match self.pads {
                Pads::Explicit(pads) => pads == [[0; 2]; 2],
                Pads::Same { .. } => self.kernel == [1, 1],
            }
    }
}

fn pair(name: &str, values: &[i64]) -> Result<[usize; 2], Refusal> {
    match values {
        &[a, b] => sizes(name, [a, b]),
        _ => refuse(format!(
            "has {} {name}, not 2: only maps of two dimensions are taken over",
            values.len()
        )),
    }
}

fn sizes<const N: usize>(name: &str, values: [i64; N]) -> Result<[usize; N], Refusal> {
    match values.iter().all(|value| (0..=MAX).contains(value)) {
        true => Ok(values.map(|value| usize::try_from(value).unwrap_or_default())),
        false => refuse(format!("has {name} {values:?}, outside 0 to {MAX}")),
    }
}
