//! Which pixels a tap connects, and how sums over (tap, channel) pairs are cut into blocks.

use super::Conv2dGeometry;
use crate::channel_stride;
use crate::gemm::blocking::{KC, cut};
use std::ops::Range;

/// From this many channels a block has one tap: visiting the outputs for each of them then costs less
/// than the padding that it leaves out saves.
const MANY_CHANNELS: usize = 128;

/// A pass as sums over taps: output pixel `p` is the sum over taps of the weights of the tap times
/// the input pixel that it connects to `p`, if any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    /// The convolution.
    pub(crate) g: Conv2dGeometry,
    /// Whether inputs are `src` (forward) or `diff_dst` (backward_data).
    pub(crate) forward: bool,
}

/// A map of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    pub(crate) channels: usize,
    /// Floats between pixels.
    pub(crate) stride: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
}

/// The coordinates that a tap connects on one axis: `output + j * output_step` and
/// `input + j * input_step`, for `j` below `count`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) output: usize,
    pub(crate) output_step: usize,
    pub(crate) input: usize,
    pub(crate) input_step: usize,
    pub(crate) count: usize,
}

/// A block of the sum: `taps` taps from `first_tap`, of each the channels `channels`, tap by tap.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) first_tap: usize,
    pub(crate) taps: usize,
    pub(crate) channels: Range<usize>,
    /// The (tap, channel) pairs before this block.
    pub(crate) k0: usize,
}

/// A run of output pixels within a row.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) image: usize,
    pub(crate) y: usize,
    pub(crate) x: Range<usize>,
}

impl Reach {
    /// The input that `output` is connected to.
    pub(crate) fn source(&self, output: usize) -> Option<usize> {
        let distance = output.checked_sub(self.output)?;
        let j = distance / self.output_step;
        let connected = distance % self.output_step == 0 && j < self.count;
        connected.then_some(self.input + j * self.input_step)
    }

    /// The connected pairs `(output, input)` whose outputs lie in `outputs`.
    pub(crate) fn within(self, outputs: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
        let before = |end: usize| end.saturating_sub(self.output).div_ceil(self.output_step);
        let j = before(outputs.start).min(self.count)..before(outputs.end).min(self.count);
        j.map(move |j| (self.output + j * self.output_step, self.input + j * self.input_step))
    }
}

impl Block {
    /// Its (tap, channel) pairs.
    pub(crate) fn len(&self) -> usize {
        self.taps * self.channels.len()
    }
}

impl Pass {
    /// The forward pass.
    pub(crate) fn forward(g: &Conv2dGeometry) -> Self {
        Self { g: *g, forward: true }
    }

    /// The pass that computes the gradient of the input.
    pub(crate) fn backward(g: &Conv2dGeometry) -> Self {
        Self { g: *g, forward: false }
    }

    pub(crate) fn input(&self) -> Map {
        if self.forward { self.src() } else { self.dst() }
    }

    pub(crate) fn output(&self) -> Map {
        if self.forward { self.dst() } else { self.src() }
    }

    fn src(&self) -> Map {
        let g = &self.g;
        Map { channels: g.ic, stride: channel_stride(g.ic), h: g.ih, w: g.iw }
    }

    fn dst(&self) -> Map {
        let g = &self.g;
        Map { channels: g.oc, stride: channel_stride(g.oc), h: g.oh(), w: g.ow() }
    }

    /// Row and column of the kernel that tap `tap` is.
    pub(crate) fn tap(&self, tap: usize) -> (usize, usize) {
        (tap / self.g.kw, tap % self.g.kw)
    }

    /// (tap, channel) pairs.
    pub(crate) fn k(&self) -> usize {
        self.g.taps() * self.input().channels
    }

    /// Output pixels of the batch.
    pub(crate) fn pixels(&self) -> usize {
        self.g.n * self.output().h * self.output().w
    }

    /// The pixels `pixels` of the output, counted over the batch, that lie in the row of the first.
    pub(crate) fn span(&self, pixels: Range<usize>) -> Span {
        let Map { h, w, .. } = self.output();
        let (row, x) = (pixels.start / w, pixels.start % w);
        Span { image: row / h, y: row % h, x: x..w.min(x + pixels.len()) }
    }

    /// The index, over the batch, of the first pixel of the input row that tap row `ky` connects to
    /// a span.
    pub(crate) fn input_row(&self, ky: usize, span: &Span) -> Option<usize> {
        let Map { h, w, .. } = self.input();
        self.reach_y(ky).source(span.y).map(|y| (span.image * h + y) * w)
    }

    /// The rows that tap row `ky` connects.
    pub(crate) fn reach_y(&self, ky: usize) -> Reach {
        self.reach(ky, self.src().h, self.dst().h)
    }

    /// The columns that tap column `kx` connects.
    pub(crate) fn reach_x(&self, kx: usize) -> Reach {
        self.reach(kx, self.src().w, self.dst().w)
    }

    /// `o` reads `i = o * stride + k - padding`, for all `o` below `dst` that have `i` below `src`.
    fn reach(&self, k: usize, src: usize, dst: usize) -> Reach {
        let Conv2dGeometry { stride, padding, .. } = self.g;
        let first = padding.saturating_sub(k).div_ceil(stride);
        let end = (src + padding).saturating_sub(k).div_ceil(stride).min(dst);
        let count = end.saturating_sub(first);
        if count == 0 {
            return Reach { output_step: 1, input_step: 1, ..Reach::default() };
        }
        let i = first * stride + k - padding;
        if self.forward {
            Reach { output: first, output_step: 1, input: i, input_step: stride, count }
        } else {
            Reach { output: i, output_step: stride, input: first, input_step: 1, count }
        }
    }

    /// The blocks of the sum, in order. Blocks of one tap leave out the outputs that the tap does not
    /// reach; blocks of several visit the outputs less often.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Block> + use<> {
        let (taps, all) = (self.g.taps(), self.input().channels);
        let sparse = !self.forward && self.g.stride > 1;
        let most = if all >= MANY_CHANNELS || sparse { 1 } else { KC / all };
        let (_, group) = cut(taps, most, 1);
        let (parts, part) = if all <= KC { (1, all) } else { cut(all, KC, 16) };
        (0..taps.div_ceil(group)).flat_map(move |i| {
            let first_tap = i * group;
            let group = group.min(taps - first_tap);
            (0..parts).map(move |p| {
                let channels = p * part..((p + 1) * part).min(all);
                let k0 = first_tap * all + group * channels.start;
                Block { first_tap, taps: group, channels, k0 }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes() -> impl Iterator<Item = Pass> {
        let sizes = [(3, 64, 7, 3, 1, 1), (37, 5, 9, 3, 2, 1), (300, 130, 2, 3, 1, 1)];
        let more = [(64, 600, 8, 1, 2, 0), (130, 17, 11, 5, 3, 2), (20, 9, 1, 3, 1, 1)];
        sizes.into_iter().chain(more).flat_map(|(ic, oc, ih, kh, stride, padding)| {
            let g = Conv2dGeometry {
                n: 2,
                ic,
                ih,
                iw: ih + 1,
                oc,
                kh,
                kw: kh,
                stride,
                padding,
                groups: 1,
            };
            [true, false].map(|forward| Pass { g, forward })
        })
    }

    #[test]
    fn reach_is_what_the_definition_says() {
        for pass in passes() {
            let g = &pass.g;
            for k in 0..g.kh {
                let reach = pass.reach_y(k);
                let found: Vec<_> = (0..reach.count)
                    .map(|j| {
                        let output = reach.output + j * reach.output_step;
                        let input = reach.input + j * reach.input_step;
                        if pass.forward { (output, input) } else { (input, output) }
                    })
                    .collect();
                let expected: Vec<_> = (0..g.oh())
                    .filter_map(|o| {
                        let i = (o * g.stride + k).checked_sub(g.padding)?;
                        (i < g.ih).then_some((o, i))
                    })
                    .collect();
                assert_eq!(found, expected, "{pass:?} tap {k}");
            }
        }
    }

    #[test]
    fn blocks_are_consecutive_and_fit_a_packed_row() {
        for pass in passes() {
            let end = pass.blocks().fold(0, |k, block| {
                assert_eq!(block.k0, k, "{pass:?}");
                assert!((1..=KC).contains(&block.len()), "{pass:?} {block:?}");
                k + block.len()
            });
            assert_eq!(end, pass.k(), "{pass:?}");
        }
    }
}
