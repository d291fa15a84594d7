//! Every convolution and matrix product algorithm on every instruction set of this CPU, over layer
//! shapes of VGG-16, ResNet-18 and a pruned VGG-16, batch 16, one thread. Rows are named
//! `op-algorithm-isa`; throughput counts multiply-adds, those with padding included.

mod shapes;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use pleach_kernels::conv2d::{
    self, Activation, Algorithm, BACKWARD_DATA, BACKWARD_WEIGHTS, Conv2dGeometry, FORWARD,
    PreparedConv2d,
};
use pleach_kernels::gemm::{Gemm, gemm, gemm_matrixmultiply};
use pleach_kernels::{AlignedBuffer, Context, Isa};
use shapes::numbers;
use std::time::Duration;

const BATCH: usize = 16;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn conv(group: &mut Group<'_>, cx: &Context, g: &Conv2dGeometry) {
    let isa = cx.isa().name;
    let applies = |by: &&Algorithm| (by.applies)(g) && by.name != "reference";
    let (src, weights) = (numbers(g.src_len()), numbers(g.weights_len()));
    let mut dst = numbers(g.dst_len());
    let mut scratch = AlignedBuffer::default();
    for by in FORWARD.iter().filter(applies) {
        let (bias, relu) = (Some(&weights[..g.oc]), Activation::Relu);
        let conv = PreparedConv2d::new(cx, g, &weights, bias, relu, Some(by));
        let scratch = scratch.take(conv.scratch_len(g.n));
        group.bench_function(format!("forward-{}-{isa}", by.name), |bencher| {
            bencher.iter(|| conv.forward(cx, g.n, &src, None, &mut dst, scratch));
        });
    }
    let mut diff_src = AlignedBuffer::zeros(g.src_len());
    for by in BACKWARD_DATA.iter().filter(applies) {
        group.bench_function(format!("backward_data-{}-{isa}", by.name), |bencher| {
            bencher.iter(|| {
                let (diff, scratch) = (&mut diff_src, &mut scratch);
                conv2d::backward_data_with(by, cx, g, &dst, &weights, diff, scratch);
            });
        });
    }
    let mut diff_weights = AlignedBuffer::zeros(g.weights_len());
    for by in BACKWARD_WEIGHTS.iter().filter(applies) {
        group.bench_function(format!("backward_weights-{}-{isa}", by.name), |bencher| {
            bencher.iter(|| {
                let (diff, scratch) = (&mut diff_weights, &mut scratch);
                conv2d::backward_weights_with(by, cx, g, &src, &dst, diff, scratch);
            });
        });
    }
}

fn product(group: &mut Group<'_>, cx: &Context, [m, n, k]: [usize; 3]) {
    let (a, b, mut c) = (numbers(m * k), numbers(k * n), AlignedBuffer::zeros(m * n));
    let all: [(&str, Gemm); 2] = [("own", gemm), ("matrixmultiply", gemm_matrixmultiply)];
    for (name, gemm) in all {
        group.bench_function(format!("gemm-{name}-{}", cx.isa().name), |bencher| {
            bencher.iter(|| gemm(cx, m, n, k, &a, k, &b, n, &mut c, n, true));
        });
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(250))
        .configure_from_args();
    let contexts: Vec<_> = Isa::available().map(|isa| Context::new(isa, 1)).collect();
    for size in shapes::PRODUCTS {
        let [m, n, k] = size;
        let mut group = criterion.benchmark_group(format!("{m}x{n}x{k}"));
        group.throughput(Throughput::Elements((m * n * k) as u64));
        contexts.iter().for_each(|cx| product(&mut group, cx, size));
        group.finish();
    }
    for g in shapes::all(BATCH) {
        let mut group = criterion.benchmark_group(shapes::name(&g));
        group.throughput(Throughput::Elements(g.macs()));
        contexts.iter().for_each(|cx| conv(&mut group, cx, &g));
        group.finish();
    }
    criterion.final_summary();
}
