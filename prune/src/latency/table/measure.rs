//! How long a convolution takes at every width.

use super::LayerTime;
use crate::latency::statistics::median;
use pleach_kernels::conv2d::{Activation, Conv2dGeometry, PreparedConv2d};
use pleach_kernels::{AlignedBuffer, Context};
use std::hint::black_box;
use std::time::Instant;

/// Seconds of timed runs for a pair of widths, unless its runs are too few or too many.
const SECONDS: f64 = 0.002;

/// Timed runs at least and at most.
const RUNS: [usize; 2] = [5, 40];

/// Input widths up to `most` at which a layer is measured: time is nearly proportional to them.
fn input_grid(most: usize) -> Vec<usize> {
    let fine = [1, 8, 16, 32, 48].into_iter();
    fine.chain((64..).step_by(32)).take_while(|&width| width < most).chain([most]).collect()
}

/// Output widths up to `most`, which kernels compute in whole vectors of `lanes`.
fn output_grid(most: usize, lanes: usize) -> Vec<usize> {
    (1..).map(|vectors| vectors * lanes).take_while(|&width| width < most).chain([most]).collect()
}

/// Measures the layers called `names`, whose geometry is `g` at their full widths, at batches of `batch`
/// images, of which the network's weights are so many `bytes`. Their input has all its channels if it is a `fixed_input`.
pub(super) fn measure_layer(
    cx: &Context,
    g: &Conv2dGeometry,
    names: &[String],
    fixed_input: bool,
    bytes: usize,
    batch: usize,
) -> LayerTime {
    let depthwise = g.groups > 1;
    let inputs = if fixed_input || depthwise { vec![g.ic] } else { input_grid(g.ic) };
    let outputs = output_grid(g.oc, cx.isa().lanes);
    let parts = batch.div_ceil(g.n) as f64;
    let other = vec![1u8; bytes.max(1)];
    let weights: Vec<f32> = (0..g.weights_len()).map(|i| (i % 7) as f32 * 0.1 - 0.3).collect();
    let time = |ic: usize, oc: usize| {
        let narrow = match depthwise {
            true => Conv2dGeometry { ic: oc, oc, groups: oc, ..*g },
            false => Conv2dGeometry { ic, oc, ..*g },
        };
        let share = narrow.weights_len() as f64 / g.weights_len() as f64;
        let between = (bytes as f64 * share) as usize;
        (1e9 * parts * seconds(cx, &narrow, &weights, &other[..between.min(bytes)])).round() as u64
    };
    let row = |&ic: &usize| outputs.iter().map(|&oc| time(ic, oc)).collect();
    let mut ns: Vec<Vec<u64>> = inputs.iter().map(row).collect();
    // A wider layer that takes less shows what the narrower one need not exceed; so a disturbance that
    // made a time too long does not stay.
    for i in (0..ns.len()).rev() {
        for j in (0..ns[i].len()).rev() {
            let right = ns[i].get(j + 1).copied().unwrap_or(u64::MAX);
            let below = ns.get(i + 1).map_or(u64::MAX, |row| row[j]);
            ns[i][j] = ns[i][j].min(right).min(below);
        }
    }
    LayerTime { names: names.to_vec(), inputs, outputs, ns }
}

/// Median seconds of a convolution, with `other` read between two runs.
fn seconds(cx: &Context, g: &Conv2dGeometry, weights: &[f32], other: &[u8]) -> f64 {
    let mut src = AlignedBuffer::zeros(g.src_len());
    for pixel in src.chunks_exact_mut(g.src_stride()) {
        pixel[..g.ic].fill(0.5);
    }
    let bias = vec![0.1; g.oc];
    let conv = PreparedConv2d::new(
        cx,
        g,
        &weights[..g.weights_len()],
        Some(&bias),
        Activation::Relu,
        None,
    );
    let mut scratch = AlignedBuffer::zeros(conv.scratch_len(g.n));
    let mut dst = AlignedBuffer::zeros(g.dst_len());
    cx.threads().region(|| {
        let mut once = || {
            let read: u64 = other.chunks_exact(64).map(|line| u64::from(line[0])).sum();
            black_box(read);
            black_box(src.iter().sum::<f32>());
            let started = Instant::now();
            conv.forward(cx, g.n, &src, None, &mut dst, &mut scratch);
            started.elapsed().as_secs_f64()
        };
        once();
        let runs = (SECONDS / once().max(1e-9)) as usize;
        median((0..runs.clamp(RUNS[0], RUNS[1])).map(|_| once()).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_go_to_the_width() {
        assert_eq!(input_grid(1), [1]);
        assert_eq!(input_grid(8), [1, 8]);
        assert_eq!(input_grid(100), [1, 8, 16, 32, 48, 64, 96, 100]);
        assert_eq!(output_grid(10, 16), [10]);
        assert_eq!(output_grid(40, 16), [16, 32, 40]);
        assert_eq!(output_grid(32, 8), [8, 16, 24, 32]);
    }
}
