//! Every algorithm of every pass of the convolution agrees with the reference, on every instruction
//! set of this CPU: exactly, but for Winograd's with irrational points.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pleach_kernels::conv2d::{self, Activation, Conv2dGeometry};
use pleach_kernels::{AlignedBuffer, Context, Isa, channel_stride};

/// Small integers: sums of their products are exact in f32, so all algorithms agree to the bit.
fn fill(len: usize, channels: usize, state: &mut u32) -> Vec<f32> {
    let stride = channel_stride(channels);
    let mut value = |i: usize| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if i % stride < channels { (*state >> 29) as f32 - 3.0 } else { 0.0 }
    };
    (0..len).map(&mut value).collect()
}

fuzz_target!(|data: [u8; 12]| {
    let [n, ic, oc, ih, iw, kh, kw, stride, padding, isa, threads, seed] = data.map(usize::from);
    let (kh, kw) = (kh % 5 + 1, kw % 5 + 1);
    let (ic, padding) = (ic % 40 + 1, padding % kh.min(kw));
    let (oc, groups) = if oc >= 200 { (ic, ic) } else { (oc % 40 + 1, 1) };
    let (ih, iw) = (kh.max(ih % 12 + 1), kw.max(iw % 12 + 1));
    let stride = stride % 3 + 1;
    let g = Conv2dGeometry { n: n % 3 + 1, ic, ih, iw, oc, kh, kw, stride, padding, groups };
    let isas: Vec<&Isa> = Isa::available().collect();
    let cx = Context::new(isas[isa % isas.len()], threads % 2 + 1);
    let mut state = seed as u32;
    let src = fill(g.src_len(), ic, &mut state);
    let weights = fill(g.weights_len(), 1 << 20, &mut state);
    let diff = fill(g.dst_len(), oc, &mut state);
    let bias = fill(oc, 1 << 20, &mut state);
    let mut scratch = AlignedBuffer::default();

    let results = |list: &'static [conv2d::Algorithm],
                   len: usize,
                   run: &mut dyn FnMut(&'static conv2d::Algorithm, &mut [f32])| {
        let applicable = list.iter().filter(|algorithm| (algorithm.applies)(&g));
        let outputs: Vec<(&str, Vec<f32>)> = applicable
            .map(|algorithm| {
                let mut out = vec![f32::NAN; len];
                run(algorithm, &mut out);
                (algorithm.name, out)
            })
            .collect();
        let (_, expected) = outputs.last().expect("the reference applies");
        for (name, out) in &outputs {
            let summands = (9 * ic.max(oc)).max(g.dst_len() / oc);
            let close = |(x, y): (&f32, &f32)| (x - y).abs() <= 1e-5 * 16.0 * summands as f32;
            if name.starts_with("winograd_4x4") || name.starts_with("winograd_8x8") {
                assert!(out.iter().zip(expected).all(close), "{name} of {g:?}");
            } else {
                assert_eq!(out, expected, "{name} of {g:?}");
            }
        }
    };
    results(conv2d::FORWARD, g.dst_len(), &mut |algorithm, dst| {
        let relu = Activation::Relu;
        conv2d::forward_with(
            algorithm,
            &cx,
            &g,
            &src,
            &weights,
            Some(&bias),
            relu,
            dst,
            &mut scratch,
        );
    });
    let mut scratch = AlignedBuffer::default();
    results(conv2d::BACKWARD_DATA, g.src_len(), &mut |algorithm, dst| {
        conv2d::backward_data_with(algorithm, &cx, &g, &diff, &weights, dst, &mut scratch);
    });
    let mut scratch = AlignedBuffer::default();
    results(conv2d::BACKWARD_WEIGHTS, g.weights_len(), &mut |algorithm, dst| {
        conv2d::backward_weights_with(algorithm, &cx, &g, &src, &diff, dst, &mut scratch);
    });
});
