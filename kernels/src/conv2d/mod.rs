//! Two-dimensional convolution: `[N, IC, IH, IW] * [OC, IC / groups, KH, KW] -> [N, OC, OH, OW]`.
//!
//! Each pass has an ordered list of algorithms. Of those that apply the one with the lowest estimated
//! [`Cost`] runs, the first of several: a pure function of the geometry and the instruction set.
//! `reference` is last and always applies.

mod algorithm;
mod cost;
pub(crate) mod depthwise;
pub(crate) mod direct;
mod geometry;
pub(crate) mod im2col;
pub(crate) mod implicit_gemm;
pub(crate) mod implicit_gemm_weights;
mod prepared;
pub(crate) mod reference;
mod taps;
pub(crate) mod winograd;

pub use crate::gemm::Storage;
pub use algorithm::{Algorithm, Operands};
pub use cost::Cost;
pub use geometry::Conv2dGeometry;
pub use prepared::PreparedConv2d;

use crate::dispatch::enter;
use crate::simd::Simd;
use crate::{AlignedBuffer, Context, reduce};

/// What follows a convolution in the same pass over its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
}

/// What is written of the output of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// All of it.
    None,
    /// The largest of each 2x2 pixels, NaN if one is, after the activation. Its height and width are even.
    Max2x2,
}

/// What a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The output.
    Forward,
    /// The gradient with respect to the input.
    BackwardData,
    /// The gradient with respect to the weights.
    BackwardWeights,
}

/// Algorithms of the forward pass, in order of priority.
pub const FORWARD: &[Algorithm] = &[
    depthwise::FORWARD,
    implicit_gemm::FORWARD,
    direct::FORWARD,
    winograd::FORWARD_F43,
    winograd::FORWARD_F23,
    winograd::FORWARD_F23_STRIDE_2,
    winograd::FORWARD_F43_STRIDE_2,
    winograd::FORWARD_TOEPLITZ,
    im2col::FORWARD,
    im2col::FORWARD_MATRIXMULTIPLY,
    reference::FORWARD,
];

/// Algorithms of the gradient with respect to the input, in order of priority.
pub const BACKWARD_DATA: &[Algorithm] = &[
    depthwise::BACKWARD_DATA,
    implicit_gemm::BACKWARD_DATA,
    winograd::BACKWARD_DATA_F43,
    winograd::BACKWARD_DATA_F23,
    winograd::BACKWARD_DATA_F43_STRIDE_2,
    winograd::BACKWARD_DATA_TOEPLITZ,
    im2col::BACKWARD_DATA,
    im2col::BACKWARD_DATA_MATRIXMULTIPLY,
    reference::BACKWARD_DATA,
];

/// Algorithms of the gradient with respect to the weights, in order of priority.
pub const BACKWARD_WEIGHTS: &[Algorithm] = &[
    depthwise::BACKWARD_WEIGHTS,
    implicit_gemm_weights::BACKWARD_WEIGHTS,
    winograd::gradient::BACKWARD_WEIGHTS_F43,
    winograd::gradient::BACKWARD_WEIGHTS_F23,
    winograd::gradient::BACKWARD_WEIGHTS_F23_STRIDE_2,
    winograd::gradient::BACKWARD_WEIGHTS_F43_STRIDE_2,
    winograd::gradient::BACKWARD_WEIGHTS_TOEPLITZ,
    im2col::BACKWARD_WEIGHTS,
    im2col::BACKWARD_WEIGHTS_MATRIXMULTIPLY,
    reference::BACKWARD_WEIGHTS,
];

/// `dst = activation(conv2d(src, weights) + bias)`. Packs the weights on each call; see
/// [`PreparedConv2d`] for weights that stay.
///
/// # Panics
/// If a slice is shorter than the geometry says.
pub fn forward(
    cx: &Context,
    g: &Conv2dGeometry,
    src: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    dst: &mut [f32],
    scratch: &mut AlignedBuffer,
) {
    let algorithm = chosen(Direction::Forward, cx, g);
    forward_with(algorithm, cx, g, src, weights, bias, activation, dst, scratch);
}

/// [`forward`] by the algorithm given.
///
/// # Panics
/// If a slice is shorter than the geometry says, or `algorithm` does not apply to `g`.
pub fn forward_with(
    algorithm: &Algorithm,
    cx: &Context,
    g: &Conv2dGeometry,
    src: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    dst: &mut [f32],
    scratch: &mut AlignedBuffer,
) {
    algorithm.check(g);
    check_lengths(g, src, weights, dst);
    let (src, dst) = (&src[..g.src_len()], &mut dst[..g.dst_len()]);
    let bias = bias.map(|bias| &bias[..g.oc]);
    if g.n == 0 {
        return;
    }
    algorithm.pack_and_run(cx, g, &weights[..g.weights_len()], scratch, |packed, scratch| {
        let operands = Operands { bias, activation, ..Operands::new(src, packed, dst) };
        (algorithm.run)(cx, g, operands, scratch);
    });
}

/// `diff_src`, the gradient with respect to `src`, from `diff_dst`; overwritten.
///
/// # Panics
/// If a slice is shorter than the geometry says.
pub fn backward_data(
    cx: &Context,
    g: &Conv2dGeometry,
    diff_dst: &[f32],
    weights: &[f32],
    diff_src: &mut [f32],
    scratch: &mut AlignedBuffer,
) {
    let algorithm = chosen(Direction::BackwardData, cx, g);
    backward_data_with(algorithm, cx, g, diff_dst, weights, diff_src, scratch);
}

/// [`backward_data`] by the algorithm given.
///
/// # Panics
/// If a slice is shorter than the geometry says, or `algorithm` does not apply to `g`.
pub fn backward_data_with(
    algorithm: &Algorithm,
    cx: &Context,
    g: &Conv2dGeometry,
    diff_dst: &[f32],
    weights: &[f32],
    diff_src: &mut [f32],
    scratch: &mut AlignedBuffer,
) {
    algorithm.check(g);
    check_lengths(g, diff_src, weights, diff_dst);
    let (a, dst) = (&diff_dst[..g.dst_len()], &mut diff_src[..g.src_len()]);
    if g.n == 0 {
        return;
    }
    algorithm.pack_and_run(cx, g, &weights[..g.weights_len()], scratch, |b, scratch| {
        (algorithm.run)(cx, g, Operands::new(a, b, dst), scratch);
    });
}

/// `diff_weights`, the gradient with respect to the weights (`[OC, IC / groups, KH, KW]`);
/// overwritten.
///
/// # Panics
/// If a slice is shorter than the geometry says.
pub fn backward_weights(
    cx: &Context,
    g: &Conv2dGeometry,
    src: &[f32],
    diff_dst: &[f32],
    diff_weights: &mut [f32],
    scratch: &mut AlignedBuffer,
) {
    let algorithm = chosen(Direction::BackwardWeights, cx, g);
    backward_weights_with(algorithm, cx, g, src, diff_dst, diff_weights, scratch);
}

/// [`backward_weights`] by the algorithm given.
///
/// # Panics
/// If a slice is shorter than the geometry says, or `algorithm` does not apply to `g`.
pub fn backward_weights_with(
    algorithm: &Algorithm,
    cx: &Context,
    g: &Conv2dGeometry,
    src: &[f32],
    diff_dst: &[f32],
    diff_weights: &mut [f32],
    scratch: &mut AlignedBuffer,
) {
    algorithm.check(g);
    check_lengths(g, src, diff_weights, diff_dst);
    let (a, b) = (&src[..g.src_len()], &diff_dst[..g.dst_len()]);
    let dst = &mut diff_weights[..g.weights_len()];
    if g.n == 0 {
        return dst.fill(0.0);
    }
    let scratch = scratch.take((algorithm.scratch_len)(g));
    (algorithm.run)(cx, g, Operands::new(a, b, dst), scratch);
}

/// `diff_bias`, the sum of `diff_dst` over images and pixels; overwritten.
///
/// # Panics
/// If a slice is shorter than the geometry says.
pub fn backward_bias(cx: &Context, g: &Conv2dGeometry, diff_dst: &[f32], diff_bias: &mut [f32]) {
    let (diff_dst, diff_bias) = (&diff_dst[..g.dst_len()], &mut diff_bias[..g.oc]);
    reduce::channel_sums_f32(cx, g.dst_pixels(), g.oc, diff_dst, diff_bias);
}

/// The algorithm by which [`forward`], [`backward_data`] or [`backward_weights`] computes `g`: the one that is
/// expected to take the least time, packing included.
#[must_use]
pub fn chosen(direction: Direction, cx: &Context, g: &Conv2dGeometry) -> &'static Algorithm {
    let list = match direction {
        Direction::Forward => FORWARD,
        Direction::BackwardData => BACKWARD_DATA,
        Direction::BackwardWeights => BACKWARD_WEIGHTS,
    };
    choose(list, cx, g, |cost| cost.run + cost.pack)
}

/// The algorithm of `list` called `name`.
#[must_use]
pub fn named(list: &'static [Algorithm], name: &str) -> Option<&'static Algorithm> {
    list.iter().find(|algorithm| algorithm.name == name)
}

/// The kernels of an instruction set.
#[derive(Debug)]
pub(crate) struct Table {
    direct: fn(direct::Direct<'_>),
    correlate: fn(implicit_gemm_weights::Correlate<'_>),
    gather: fn(implicit_gemm::Gather<'_>),
    winograd: winograd::Table,
}

impl Table {
    pub(crate) const fn of<S: Simd>() -> Self {
        Self {
            direct: |task| enter::<S, _>(task),
            correlate: |task| enter::<S, _>(task),
            gather: |task| enter::<S, _>(task),
            winograd: winograd::Table::of::<S>(),
        }
    }
}

/// The algorithm of `list` that applies to `g` with the lowest `price` of its cost; of several, the
/// first.
fn choose(
    list: &'static [Algorithm],
    cx: &Context,
    g: &Conv2dGeometry,
    price: impl Fn(Cost) -> f64,
) -> &'static Algorithm {
    let allowed = |algorithm: &&Algorithm| cx.filtering() || !algorithm.filtering;
    let applicable = list.iter().filter(allowed).filter(|algorithm| (algorithm.applies)(g));
    let price = |algorithm: &Algorithm| price((algorithm.cost)(cx.isa(), g));
    applicable.min_by(|a, b| price(a).total_cmp(&price(b))).expect("the reference always applies")
}

fn check_lengths(g: &Conv2dGeometry, src: &[f32], weights: &[f32], dst: &[f32]) {
    assert!(src.len() >= g.src_len(), "the input is shorter than its geometry {g:?}");
    assert!(weights.len() >= g.weights_len(), "the weights are fewer than in {g:?}");
    assert!(dst.len() >= g.dst_len(), "the output is shorter than its geometry {g:?}");
}
