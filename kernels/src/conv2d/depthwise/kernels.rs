//! The three loops.

use crate::conv2d::Conv2dGeometry;
use crate::simd::{Simd, SimdOp, load_up_to};
use crate::windows::{covering, inside};
use std::ops::Range;

/// Output pixels of a register tile: they share a read of each weight.
const TILE: usize = 4;

/// Taps of a filter's row that share a read of the gradient.
const TAPS: usize = 3;

/// Rows of `dst`, counted through all images: `dst = activation(src * filters + bias)`.
pub(super) struct Correlate<'a> {
    /// States the sizes of `src` and of the filters, and the stride.
    pub(super) g: &'a Conv2dGeometry,
    /// Zeros above and to the left of `src`; negative where rows and columns are left out.
    pub(super) pad: [isize; 2],
    pub(super) src: &'a [f32],
    pub(super) packed: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) relu: bool,
    /// The size of the whole output.
    pub(super) out: [usize; 2],
    pub(super) first_row: usize,
    pub(super) dst: &'a mut [f32],
}

impl SimdOp for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { g, pad, src, packed, bias, relu, out: [oh, ow], first_row, dst } = self;
        let (cs, image) = (g.src_stride(), g.ih * g.iw * g.src_stride());
        for (row, dst) in dst.chunks_exact_mut(ow * cs).enumerate() {
            let (n, oy) = ((first_row + row) / oh, (first_row + row) % oh);
            let top = (oy * g.stride) as isize - pad[0];
            let row = Row {
                g,
                image: &src[n * image..][..image],
                packed,
                bias,
                relu,
                top,
                rows: inside(top, g.kh, g.ih),
            };
            let mut ox = 0;
            while ox < ow {
                let left = (ox * g.stride) as isize - pad[1];
                let last = left + ((TILE - 1) * g.stride) as isize;
                let fits = left >= 0 && last + g.kw as isize <= g.iw as isize;
                if ox + TILE <= ow && fits {
                    let dst = &mut dst[ox * cs..][..TILE * cs];
                    row.pixels::<S, TILE>(simd, left, 0..g.kw, dst);
                    ox += TILE;
                } else {
                    let dst = &mut dst[ox * cs..][..cs];
                    row.pixels::<S, 1>(simd, left, inside(left, g.kw, g.iw), dst);
                    ox += 1;
                }
            }
        }
    }
}

/// What the windows of a row of outputs share.
struct Row<'a> {
    g: &'a Conv2dGeometry,
    image: &'a [f32],
    packed: &'a [f32],
    bias: Option<&'a [f32]>,
    relu: bool,
    /// The windows' first row, and those of their rows that lie in the image.
    top: isize,
    rows: Range<usize>,
}

impl Row<'_> {
    /// `M` neighbouring outputs, the first window starting at column `left`, from the taps in
    /// `columns`.
    #[inline(always)]
    fn pixels<S: Simd, const M: usize>(
        &self,
        simd: S,
        left: isize,
        columns: Range<usize>,
        dst: &mut [f32],
    ) {
        let g = self.g;
        let cs = g.src_stride();
        let zero = simd.splat(0.0);
        for c in (0..cs).step_by(S::LANES) {
            let bias = self.bias.map_or(zero, |bias| load_up_to(simd, bias, c));
            let mut sums = [bias; M];
            for ky in self.rows.clone() {
                let y = (self.top + ky as isize) as usize;
                for kx in columns.clone() {
                    let x = (left + kx as isize) as usize;
                    let w = simd.load(&self.packed[(ky * g.kw + kx) * cs + c..]);
                    let src = &self.image[(y * g.iw + x) * cs + c..];
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = simd.mul_add(simd.load(&src[i * g.stride * cs..]), w, *sum);
                    }
                }
            }
            for (i, sum) in sums.into_iter().enumerate() {
                let sum = if self.relu { simd.max(zero, sum) } else { sum };
                simd.store(sum, &mut dst[i * cs + c..]);
            }
        }
    }
}

/// Rows of `diff_src`, counted through all images, at any stride.
pub(super) struct Gather<'a> {
    pub(super) g: &'a Conv2dGeometry,
    pub(super) diff_dst: &'a [f32],
    pub(super) packed: &'a [f32],
    pub(super) first_row: usize,
    pub(super) diff_src: &'a mut [f32],
}

impl SimdOp for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { g, diff_dst, packed, first_row, diff_src } = self;
        let (oh, ow, cs) = (g.oh(), g.ow(), g.src_stride());
        for (row, diff_src) in diff_src.chunks_exact_mut(g.iw * cs).enumerate() {
            let (n, y) = ((first_row + row) / g.ih, (first_row + row) % g.ih);
            let rows = covering(y, g.kh, [g.stride, g.padding], oh);
            for (x, diff_src) in diff_src.chunks_exact_mut(cs).enumerate() {
                let columns = covering(x, g.kw, [g.stride, g.padding], ow);
                for c in (0..cs).step_by(S::LANES) {
                    let mut sum = simd.splat(0.0);
                    for oy in rows.clone() {
                        let ky = y + g.padding - oy * g.stride;
                        for ox in columns.clone() {
                            let kx = x + g.padding - ox * g.stride;
                            let w = simd.load(&packed[(ky * g.kw + kx) * cs + c..]);
                            let at = ((n * oh + oy) * ow + ox) * cs + c;
                            sum = simd.mul_add(simd.load(&diff_dst[at..]), w, sum);
                        }
                    }
                    simd.store(sum, &mut diff_src[c..]);
                }
            }
        }
    }
}

/// `sums`, `[KH, KW, C]`, over the outputs in `rows`, counted through all images.
pub(super) struct Weights<'a> {
    pub(super) g: &'a Conv2dGeometry,
    pub(super) src: &'a [f32],
    pub(super) diff_dst: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) sums: &'a mut [f32],
}

impl SimdOp for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { g, src, diff_dst, rows, sums } = self;
        let (oh, row, cs) = (g.oh(), g.ow() * g.dst_stride(), g.src_stride());
        sums.fill(0.0);
        for row_index in rows {
            let (n, oy) = (row_index / oh, row_index % oh);
            let diff_dst = &diff_dst[row_index * row..][..row];
            let top = (oy * g.stride) as isize - g.padding as isize;
            for ky in inside(top, g.kh, g.ih) {
                let y = n * g.ih + (top + ky as isize) as usize;
                let src = &src[y * g.iw * cs..][..g.iw * cs];
                let sums = &mut sums[ky * g.kw * cs..][..g.kw * cs];
                let mut kx = 0;
                while kx + TAPS <= g.kw {
                    add_taps::<S, TAPS>(simd, g, (src, diff_dst), kx, &mut sums[kx * cs..]);
                    kx += TAPS;
                }
                while kx < g.kw {
                    add_taps::<S, 1>(simd, g, (src, diff_dst), kx, &mut sums[kx * cs..]);
                    kx += 1;
                }
            }
        }
    }
}

/// Adds a row's products to the sums of the `M` taps from column `kx` of a filter's row.
#[inline(always)]
fn add_taps<S: Simd, const M: usize>(
    simd: S,
    g: &Conv2dGeometry,
    (src, diff_dst): (&[f32], &[f32]),
    kx: usize,
    sums: &mut [f32],
) {
    let cs = g.src_stride();
    for c in (0..cs).step_by(S::LANES) {
        let mut taps = [simd.splat(0.0); M];
        for (i, tap) in taps.iter_mut().enumerate() {
            *tap = simd.load(&sums[i * cs + c..]);
        }
        for (ox, diff) in diff_dst.chunks_exact(cs).enumerate() {
            let diff = simd.load(&diff[c..]);
            let x = ox * g.stride + kx;
            if x >= g.padding && x - g.padding + M <= g.iw {
                let src = &src[(x - g.padding) * cs + c..];
                for (i, tap) in taps.iter_mut().enumerate() {
                    *tap = simd.mul_add(simd.load(&src[i * cs..]), diff, *tap);
                }
            } else {
                for (i, tap) in taps.iter_mut().enumerate() {
                    if x + i >= g.padding && x + i - g.padding < g.iw {
                        let src = &src[(x + i - g.padding) * cs + c..];
                        *tap = simd.mul_add(simd.load(src), diff, *tap);
                    }
                }
            }
        }
        for (i, tap) in taps.into_iter().enumerate() {
            simd.store(tap, &mut sums[i * cs + c..]);
        }
    }
}
