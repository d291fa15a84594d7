//! The operations around the convolutions of VGG-16 at batch 128, one thread, named
//! `op-isa/size`. Throughput counts the bytes that an operation must read and write once; `copy` is
//! what memory gives on this machine.

use criterion::{Criterion, Throughput};
use pleach_kernels::batch_norm::{self, Gradient, Then};
use pleach_kernels::conv2d::{self, Activation, Conv2dGeometry};
use pleach_kernels::optimizer::{self, AdamStep};
use pleach_kernels::pool::{Pool2dGeometry, avg, global_avg, max};
use pleach_kernels::{AlignedBuffer, Context, Isa, add, channel_stride, linear, relu, softmax};
use std::time::Duration;

const BATCH: usize = 128;

/// `(channels, size)` of the maps.
const MAPS: [(usize, usize); 4] = [(64, 32), (128, 16), (256, 8), (512, 4)];

/// Trainable parameters of VGG-16.
const PARAMS: usize = 14_724_042;

fn contexts() -> impl Iterator<Item = Context> {
    Isa::available().map(|isa| Context::new(isa, 1))
}

/// Seeded floats in [-1, 1), pad lanes zero.
fn map(pixels: usize, channels: usize) -> AlignedBuffer {
    let stride = channel_stride(channels);
    let mut map = AlignedBuffer::zeros(pixels * stride);
    let mut values =
        (0u32..).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0);
    for pixel in map.chunks_exact_mut(stride) {
        pixel[..channels].fill_with(|| values.next().expect("endless"));
    }
    map
}

/// Times `work`, which moves `floats` floats.
fn time(c: &mut Criterion, op: &str, cx: &Context, size: &str, floats: usize, work: impl FnMut()) {
    let mut work = work;
    let mut group = c.benchmark_group(format!("{op}-{}", cx.isa().name));
    group.throughput(Throughput::Bytes((floats * size_of::<f32>()) as u64));
    group.sample_size(10).warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_millis(700));
    group.bench_function(size, |b| b.iter(&mut work));
    group.finish();
}

fn maps(c: &mut Criterion) {
    for cx in &contexts().collect::<Vec<_>>() {
        for (channels, size) in MAPS {
            let pixels = BATCH * size * size;
            let name = format!("{channels}x{size}x{size}");
            let (src, other) = (map(pixels, channels), map(pixels, channels));
            let mut dst = AlignedBuffer::zeros(src.len());
            let len = src.len();
            time(c, "copy", cx, &name, 2 * len, || dst.copy_from_slice(&src));
            time(c, "relu", cx, &name, 2 * len, || relu::forward(cx, &src, &mut dst));
            time(c, "relu_backward", cx, &name, 3 * len, || {
                relu::backward(cx, &src, &other, &mut dst);
            });
            time(c, "add", cx, &name, 3 * len, || add::forward(cx, &src, &other, &mut dst));
            norms(c, cx, &name, (pixels, channels), &src, &other, &mut dst);
            pools(c, cx, (channels, size), &src, &mut dst);
        }
    }
}

fn norms(
    c: &mut Criterion,
    cx: &Context,
    name: &str,
    (pixels, channels): (usize, usize),
    src: &[f32],
    diff_dst: &[f32],
    dst: &mut [f32],
) {
    let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
    let [mut mean, mut inv_std, mut var] = std::array::from_fn(|_| vec![0.0; channels]);
    let eps = 1e-5;
    time(c, "batch_norm_train", cx, name, 3 * src.len(), || {
        batch_norm::forward_train(
            cx,
            pixels,
            channels,
            src,
            &ones,
            &zeros,
            eps,
            &mut mean,
            &mut inv_std,
            &mut var,
            Then::Nothing,
            dst,
        );
    });
    time(c, "batch_norm_eval", cx, name, 2 * src.len(), || {
        batch_norm::forward_eval(cx, pixels, channels, src, &ones, &zeros, &mean, &var, eps, dst);
    });
    let [mut diff_weight, mut diff_bias] = std::array::from_fn(|_| vec![0.0; channels]);
    dst.copy_from_slice(src);
    time(c, "batch_norm_train_backward", cx, name, 5 * src.len(), || {
        batch_norm::backward_train(
            cx,
            pixels,
            channels,
            dst,
            Gradient::Nothing { diff_dst },
            &ones,
            &mean,
            &inv_std,
            &mut diff_weight,
            &mut diff_bias,
        );
    });
}

fn pools(
    c: &mut Criterion,
    cx: &Context,
    (channels, size): (usize, usize),
    src: &[f32],
    diff_src: &mut [f32],
) {
    let name = format!("{channels}x{size}x{size}");
    let (ih, iw, kernel, stride, padding) = (size, size, 2, 2, 0);
    let g = Pool2dGeometry { n: BATCH, c: channels, ih, iw, kernel, stride, padding };
    let mut dst = AlignedBuffer::zeros(g.dst_len());
    let mut argmax = vec![0; g.dst_len()];
    let len = g.src_len() + g.dst_len();
    time(c, "max_pool", cx, &name, len, || max::forward(cx, &g, src, &mut dst, None));
    time(c, "max_pool_argmax", cx, &name, len + g.dst_len() / 4, || {
        max::forward(cx, &g, src, &mut dst, Some(&mut argmax));
    });
    time(c, "max_pool_backward", cx, &name, len + g.dst_len() / 4, || {
        max::backward(cx, &g, &dst, &argmax, diff_src);
    });
    time(c, "avg_pool", cx, &name, len, || avg::forward(cx, &g, src, &mut dst));
    time(c, "avg_pool_backward", cx, &name, len, || avg::backward(cx, &g, &dst, diff_src));
    let mut means = AlignedBuffer::zeros(BATCH * channels);
    time(c, "global_avg_pool", cx, &name, g.src_len(), || {
        global_avg::forward(cx, BATCH, size * size, channels, src, &mut means);
    });
    let conv = Conv2dGeometry {
        n: BATCH,
        ic: channels,
        ih,
        iw,
        oc: channels,
        kh: 3,
        kw: 3,
        stride: 1,
        padding: 1,
        groups: channels,
    };
    let (weights, mut scratch) = (map(9, channels), AlignedBuffer::default());
    let mut diff_weights = vec![0.0; conv.weights_len()];
    time(c, "depthwise", cx, &name, 2 * src.len(), || {
        let scratch = &mut scratch;
        conv2d::forward(cx, &conv, src, &weights, None, Activation::Relu, diff_src, scratch);
    });
    time(c, "depthwise_backward_weights", cx, &name, 2 * src.len(), || {
        conv2d::backward_weights(cx, &conv, src, src, &mut diff_weights, &mut scratch);
    });
}

fn head(c: &mut Criterion) {
    for cx in &contexts().collect::<Vec<_>>() {
        for (inputs, outputs) in [(512, 10), (512, 512), (4096, 4096)] {
            let name = format!("{inputs}->{outputs}");
            let (src, diff_dst) = (map(BATCH, inputs), map(BATCH, outputs));
            let (weights, len) = (map(outputs, inputs), inputs * outputs);
            let mut dst = AlignedBuffer::zeros(diff_dst.len());
            time(c, "linear", cx, &name, len, || {
                linear::forward(cx, BATCH, inputs, outputs, &src, &weights, None, &mut dst);
            });
            let mut diff_src = AlignedBuffer::zeros(src.len());
            time(c, "linear_backward_data", cx, &name, len, || {
                linear::backward_data(
                    cx,
                    BATCH,
                    inputs,
                    outputs,
                    &diff_dst,
                    &weights,
                    &mut diff_src,
                );
            });
            let mut diff = AlignedBuffer::zeros(len);
            time(c, "linear_backward_weights", cx, &name, len, || {
                linear::backward_weights(cx, BATCH, inputs, outputs, &src, &diff_dst, &mut diff);
            });
        }
        let (logits, labels) = (map(BATCH, 10), vec![3; BATCH]);
        let (mut losses, mut diff) = (vec![0.0; BATCH], AlignedBuffer::zeros(logits.len()));
        time(c, "cross_entropy", cx, "10", 2 * logits.len(), || {
            let diff = Some(&mut diff[..]);
            softmax::cross_entropy(cx, BATCH, 10, &logits, &labels, 0.1, &mut losses, diff);
        });
    }
}

fn steps(c: &mut Criterion) {
    for cx in &contexts().collect::<Vec<_>>() {
        let grad = map(1, PARAMS);
        let [mut value, mut m, mut v] = std::array::from_fn(|_| AlignedBuffer::zeros(grad.len()));
        time(c, "sgd", cx, "vgg16", 5 * grad.len(), || {
            optimizer::sgd(cx, 0.1, 0.9, true, 5e-4, &grad, &mut value, &mut m);
        });
        m.fill(0.0);
        let (lr, beta1, beta2, eps) = (1e-3, 0.9, 0.999, 1e-8);
        let step = AdamStep { lr, beta1, beta2, eps, weight_decay: 5e-4, step: 1 };
        time(c, "adam", cx, "vgg16", 7 * grad.len(), || {
            optimizer::adam(cx, step, &grad, &mut value, &mut m, &mut v);
        });
    }
}

fn main() {
    let mut c = Criterion::default().configure_from_args();
    maps(&mut c);
    head(&mut c);
    steps(&mut c);
    c.final_summary();
}
