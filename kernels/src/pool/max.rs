//! Max pooling.

use super::{Pool2dGeometry, rows_of_a_task};
use crate::dispatch::enter;
use crate::simd::{Simd, SimdOp};
use crate::{CHANNEL_ALIGN, Context, channel_stride};
use std::ops::Range;

/// The kernels of one instruction set.
#[derive(Debug)]
pub(super) struct Table {
    forward: fn(Forward<'_>),
    backward: fn(Backward<'_>),
}

impl Table {
    pub(super) const fn of<S: Simd>() -> Self {
        Self { forward: |op| enter::<S, _>(op), backward: |op| enter::<S, _>(op) }
    }
}

/// The largest input of each window; the border never wins, and NaN does, as in PyTorch.
///
/// `argmax`, as long as `dst`, receives the place of the winner in its window, `ky * kernel + kx`,
/// of several equal ones the first.
///
/// # Panics
/// If the lengths do not fit the geometry, or if `argmax` is asked for windows wider than 16.
pub fn forward(
    cx: &Context,
    g: &Pool2dGeometry,
    src: &[f32],
    dst: &mut [f32],
    argmax: Option<&mut [u8]>,
) {
    g.check(src.len(), dst.len());
    let row = g.ow() * channel_stride(g.c);
    let rows = rows_of_a_task(row);
    let chunk = rows * row;
    match argmax {
        Some(argmax) => {
            assert_eq!(argmax.len(), dst.len(), "argmax is as long as dst");
            assert!(g.kernel <= 16, "a byte holds the places of windows up to 16 wide");
            cx.threads().for_each_chunk2((dst, chunk), (argmax, chunk), |i, dst, argmax| {
                let op = Forward { g, src, first_row: i * rows, dst, argmax: Some(argmax) };
                (cx.isa().pool.max.forward)(op);
            });
        }
        None => cx.threads().for_each_chunk(dst, chunk, |i, dst| {
            let op = Forward { g, src, first_row: i * rows, dst, argmax: None };
            (cx.isa().pool.max.forward)(op);
        }),
    }
}

/// Gives each output's gradient to the input that won its window. `diff_src` is overwritten.
///
/// # Panics
/// If the lengths do not fit the geometry.
pub fn backward(
    cx: &Context,
    g: &Pool2dGeometry,
    diff_dst: &[f32],
    argmax: &[u8],
    diff_src: &mut [f32],
) {
    g.check(diff_src.len(), diff_dst.len());
    assert_eq!(argmax.len(), diff_dst.len(), "argmax is as long as diff_dst");
    let row = g.iw * channel_stride(g.c);
    let rows = rows_of_a_task(row);
    cx.threads().for_each_chunk(diff_src, rows * row, |i, diff_src| {
        let op = Backward { g, diff_dst, argmax, first_row: i * rows, diff_src };
        (cx.isa().pool.max.backward)(op);
    });
}

/// Channels in a step: a cache line of floats.
const STEP: usize = CHANNEL_ALIGN;

/// Rows of outputs, counted through all images.
struct Forward<'a> {
    g: &'a Pool2dGeometry,
    src: &'a [f32],
    first_row: usize,
    dst: &'a mut [f32],
    argmax: Option<&'a mut [u8]>,
}

impl SimdOp for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, _: S) {
        let Self { g, src, first_row, dst, argmax } = self;
        let (oh, row) = (g.oh(), g.ow() * channel_stride(g.c));
        let mut argmax = argmax.map(|argmax| argmax.chunks_exact_mut(row));
        for (y, dst) in dst.chunks_exact_mut(row).enumerate() {
            let (image, oy) = ((first_row + y) / oh, (first_row + y) % oh);
            let windows = Windows { g, image: &src[image * g.src_len() / g.n..], oy };
            let argmax = argmax.as_mut().and_then(Iterator::next);
            if (g.kernel, g.padding) == (2, 0) {
                windows.maxima(|_, _| 0..2, 2, dst, argmax);
            } else {
                windows.maxima(|o, size| g.taps(o, size), g.kernel, dst, argmax);
            }
        }
    }
}

/// The windows of a row of outputs.
struct Windows<'a> {
    g: &'a Pool2dGeometry,
    image: &'a [f32],
    oy: usize,
}

impl Windows<'_> {
    #[inline(always)]
    fn maxima(
        &self,
        taps: impl Fn(usize, usize) -> Range<usize>,
        kernel: usize,
        dst: &mut [f32],
        argmax: Option<&mut [u8]>,
    ) {
        match argmax {
            Some(argmax) => {
                let argmax = argmax.as_chunks_mut().0.iter_mut();
                self.each_step(
                    taps,
                    kernel,
                    dst.as_chunks_mut().0.iter_mut().zip(argmax),
                    |(dst, argmax), best, places| {
                        *dst = best;
                        *argmax = places.map(|place| place as u8);
                    },
                );
            }
            None => {
                self.each_step(taps, kernel, dst.as_chunks_mut().0.iter_mut(), |dst, best, _| {
                    *dst = best
                })
            }
        }
    }

    #[inline(always)]
    fn each_step<T>(
        &self,
        taps: impl Fn(usize, usize) -> Range<usize>,
        kernel: usize,
        mut steps: impl Iterator<Item = T>,
        write: impl Fn(T, [f32; STEP], [i32; STEP]),
    ) {
        let Self { g, image, oy } = *self;
        let cs = channel_stride(g.c);
        let rows = taps(oy, g.ih);
        for ox in 0..g.ow() {
            let columns = taps(ox, g.iw);
            for c in (0..cs).step_by(STEP) {
                let mut best = [f32::NEG_INFINITY; STEP];
                let mut places = [(rows.start * kernel + columns.start) as i32; STEP];
                for ky in rows.clone() {
                    let y = oy * g.stride + ky - g.padding;
                    for kx in columns.clone() {
                        let x = ox * g.stride + kx - g.padding;
                        let src = &image[(y * g.iw + x) * cs + c..][..STEP];
                        let place = (ky * kernel + kx) as i32;
                        for lane in 0..STEP {
                            if src[lane] > best[lane] || src[lane].is_nan() {
                                best[lane] = src[lane];
                                places[lane] = place;
                            }
                        }
                    }
                }
                if let Some(step) = steps.next() {
                    write(step, best, places);
                }
            }
        }
    }
}

/// Rows of inputs, counted through all images.
struct Backward<'a> {
    g: &'a Pool2dGeometry,
    diff_dst: &'a [f32],
    argmax: &'a [u8],
    first_row: usize,
    diff_src: &'a mut [f32],
}

impl SimdOp for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, _: S) {
        let Self { g, diff_dst, argmax, first_row, diff_src } = self;
        let (oh, ow, cs) = (g.oh(), g.ow(), channel_stride(g.c));
        for (y, diff_src) in diff_src.chunks_exact_mut(g.iw * cs).enumerate() {
            let (image, y) = ((first_row + y) / g.ih, (first_row + y) % g.ih);
            let rows = g.covering(y, oh);
            for (x, diff_src) in diff_src.chunks_exact_mut(cs).enumerate() {
                let columns = g.covering(x, ow);
                for (step, diff_src) in diff_src.chunks_exact_mut(STEP).enumerate() {
                    let mut sums = [0.0; STEP];
                    for oy in rows.clone() {
                        let ky = y + g.padding - oy * g.stride;
                        for ox in columns.clone() {
                            let kx = x + g.padding - ox * g.stride;
                            let place = (ky * g.kernel + kx) as u8;
                            let at = ((image * oh + oy) * ow + ox) * cs + step * STEP;
                            let (diff_dst, argmax) =
                                (&diff_dst[at..][..STEP], &argmax[at..][..STEP]);
                            // A mask of all ones or zeros keeps this a vector operation.
                            for lane in 0..STEP {
                                let mask = -i32::from(argmax[lane] == place);
                                sums[lane] +=
                                    f32::from_bits(diff_dst[lane].to_bits() & mask as u32);
                            }
                        }
                    }
                    diff_src.copy_from_slice(&sums);
                }
            }
        }
    }
}
