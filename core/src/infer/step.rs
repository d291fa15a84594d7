//! A step of a plan: a kernel, ready to run, and where it reads and writes.

use super::PlanOptions;
use super::simplify::Op;
use crate::layers::{join, spread};
use crate::tensor::Shape;
use pleach_kernels::conv2d::{Activation, Conv2dGeometry, PreparedConv2d};
use pleach_kernels::pool::{Pool2dGeometry, avg, global_avg, max};
use pleach_kernels::{Context, add, channel_stride, relu};
use std::ops::Range;

/// A step of a [`Plan`](super::Plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedStep<'a> {
    /// The layer it began as.
    pub name: &'a str,
    /// What computes it: for convolutions, linear layers included, the algorithm.
    pub kernel: &'static str,
    /// What a convolution, linear layers included, convolves, in a part of the batch.
    pub geometry: Option<Conv2dGeometry>,
    /// Multiply-adds of convolutions and linear layers, per image.
    pub macs: u64,
    /// Bytes of weights as `kernel` reads them, for a batch of any size.
    pub weight_bytes: usize,
    /// Bytes of inputs and outputs, per image.
    pub map_bytes: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) kernel: Kernel,
    pub(super) inputs: Vec<Place>,
    pub(super) dst: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Kernel {
    Conv(PreparedConv2d),
    Add(Activation),
    Relu,
    MaxPool(Pool2dGeometry),
    AvgPool(Pool2dGeometry),
    GlobalAvgPool,
    Concat,
    Flatten,
}

/// Where a value lies, and its shape per image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its start in the arena; `None`: it is the image.
    pub(super) start: Option<usize>,
    /// Whether it is there for all images of the batch, or only for the part being run.
    pub(super) whole: bool,
    pub(super) shape: Shape,
}

impl Place {
    /// The part of the arena that the images `part` of the batch take.
    pub(super) fn arena(self, part: &Range<usize>) -> Option<Range<usize>> {
        let floats = self.floats(part);
        self.start.map(|start| start + floats.start..start + floats.end)
    }

    /// The floats, from the start of the value, that the images `part` of the batch take.
    fn floats(self, part: &Range<usize>) -> Range<usize> {
        let first = if self.whole { part.start } else { 0 };
        let len = self.shape.padded_len();
        first * len..(first + part.len()) * len
    }
}

impl Kernel {
    pub(super) fn new(cx: &Context, op: &Op, batch: usize, options: &PlanOptions<'_>) -> Self {
        match op {
            Op::Conv { geometry, weights, bias, activation, pooling } => {
                let g = geometry.with_batch(batch);
                let chosen = options.choose.and_then(|choose| choose(&g));
                let algorithm = chosen.filter(|algorithm| (algorithm.applies)(&g));
                let bias = bias.as_deref();
                let conv = PreparedConv2d::new(cx, &g, weights, bias, *activation, algorithm);
                Self::Conv(conv.pooled(*pooling).stored_as(options.weights))
            }
            Op::Add(activation) => Self::Add(*activation),
            Op::Relu => Self::Relu,
            Op::MaxPool(geometry) => Self::MaxPool(*geometry),
            Op::AvgPool(geometry) => Self::AvgPool(*geometry),
            Op::GlobalAvgPool => Self::GlobalAvgPool,
            Op::Concat => Self::Concat,
            Op::Flatten => Self::Flatten,
        }
    }

    /// The convolution that it is, if it is one.
    pub(super) fn conv_mut(&mut self) -> Option<&mut PreparedConv2d> {
        match self {
            Self::Conv(conv) => Some(conv),
            _ => None,
        }
    }

    /// Floats of scratch for any number of images up to `batch`.
    pub(super) fn scratch_len(&self, batch: usize) -> usize {
        match self {
            Self::Conv(conv) => (1..=batch).map(|n| conv.scratch_len(n)).max().unwrap_or(0),
            _ => 0,
        }
    }
}

impl Step {
    pub(super) fn planned(&self) -> PlannedStep<'_> {
        let conv = match &self.kernel {
            Kernel::Conv(conv) => Some(conv),
            _ => None,
        };
        let kernel = match &self.kernel {
            Kernel::Conv(conv) => conv.algorithm_name(),
            Kernel::Add(_) => "add",
            Kernel::Relu => "relu",
            Kernel::MaxPool(_) => "max_pool",
            Kernel::AvgPool(_) => "avg_pool",
            Kernel::GlobalAvgPool => "global_avg_pool",
            Kernel::Concat => "concat",
            Kernel::Flatten => "flatten",
        };
        let geometry = conv.map(|conv| *conv.geometry());
        let maps = self.inputs.iter().chain([&self.dst]).map(|place| place.shape.padded_len());
        PlannedStep {
            name: &self.name,
            kernel,
            geometry,
            macs: geometry.map_or(0, |g| g.with_batch(1).macs()),
            weight_bytes: conv.map_or(0, PreparedConv2d::packed_bytes),
            map_bytes: maps.sum::<usize>() * size_of::<f32>(),
        }
    }

    /// Runs the images `part` of the batch.
    pub(super) fn run(
        &self,
        cx: &Context,
        part: Range<usize>,
        image: &[f32],
        arena: &mut [f32],
        scratch: &mut [f32],
    ) {
        let n = part.len();
        let range = self.dst.arena(&part).expect("no step writes to the image");
        let (before, rest) = arena.split_at_mut(range.start);
        let (dst, after) = rest.split_at_mut(range.len());
        // An input lives while the step runs, so it lies on one side of the output.
        let src = |place: Place| match place.arena(&part) {
            None => &image[place.floats(&part)],
            Some(src) if src.end <= range.start => &before[src],
            Some(src) => &after[src.start - range.end..src.end - range.end],
        };
        let first = self.inputs[0];
        match &self.kernel {
            Kernel::Conv(conv) => {
                let residual = self.inputs.get(1).map(|&place| src(place));
                conv.forward(cx, n, src(first), residual, dst, scratch);
            }
            Kernel::Add(Activation::None) => {
                add::forward(cx, src(first), src(self.inputs[1]), dst);
            }
            Kernel::Add(Activation::Relu) => {
                add::forward_relu(cx, src(first), src(self.inputs[1]), dst);
            }
            Kernel::Relu => relu::forward(cx, src(first), dst),
            Kernel::MaxPool(g) => max::forward(cx, &batched(g, n), src(first), dst, None),
            Kernel::AvgPool(g) => avg::forward(cx, &batched(g, n), src(first), dst),
            Kernel::GlobalAvgPool => {
                let Shape { channels, .. } = first.shape;
                global_avg::forward(cx, n, first.shape.area(), channels, src(first), dst);
            }
            Kernel::Concat => {
                let inputs = self.inputs.iter().map(|&place| (src(place), place.shape.channels));
                join(cx, self.dst.shape.channels, inputs, dst);
            }
            Kernel::Flatten => spread(cx, first.shape, src(first), dst),
        }
        debug_assert!(pads_are_zero(dst, self.dst.shape), "pad lanes after {}", self.name);
    }
}

fn batched(g: &Pool2dGeometry, n: usize) -> Pool2dGeometry {
    Pool2dGeometry { n, ..*g }
}

/// Whether pad lanes are zero, or NaN where values have overflown (an infinity times a weight of 0).
fn pads_are_zero(values: &[f32], shape: Shape) -> bool {
    let pixels = values.chunks_exact(channel_stride(shape.channels));
    let mut pads = pixels.flat_map(|pixel| &pixel[shape.channels..]);
    pads.all(|&pad| pad == 0.0 || pad.is_nan())
}
