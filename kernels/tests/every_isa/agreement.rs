//! Where instruction sets agree to the bit, and how far they lie apart elsewhere.
//!
//! Those with fused multiply-adds (AVX-512, AVX2, NEON) agree wherever an output is one chain of them,
//! however many lanes a vector has. The portable one rounds products before it adds them. Algorithms are
//! compared one by one: which of them runs is chosen for an instruction set.

use crate::conv2d::{Case, geometry};
use crate::{Numbers, map};
use pleach_kernels::batch_norm::{self, Gradient, Then};
use pleach_kernels::conv2d::Conv2dGeometry;
use pleach_kernels::gemm::gemm;
use pleach_kernels::optimizer::{self, AdamStep};
use pleach_kernels::pool::{Pool2dGeometry, avg, global_avg, max};
use pleach_kernels::{Context, Isa, add, channel_stride, linear, reduce, relu, softmax};
use std::collections::BTreeMap;

/// How instruction sets with fused multiply-adds agree.
enum Fused {
    /// To the bit; the outputs' [`hash`], so that those of different CPUs are compared too.
    Bits(u64),
    /// Within this part of the largest magnitude of an output. (What other crates compute, as exponentials
    /// and `matrixmultiply` do, differs from CPU to CPU, but not between instruction sets of one.)
    Within(f32),
}

use Fused::{Bits, Within};

/// What is rounded once more for each term.
const FEW: f32 = 8.0 * f32::EPSILON;

/// The same in between, where terms are larger than their sums.
const MANY: f32 = 20.0 * f32::EPSILON;

/// Each operation, how those with fused multiply-adds agree among each other, and within what part of the
/// largest magnitude of an output the portable one agrees with them.
#[rustfmt::skip]
const TABLE: &[(&str, Fused, f32)] = &[
    ("Adam", Bits(0x7f93_d595_6c82_7323), FEW),
    ("ReLU and sum", Bits(0xa0df_30ba_ff28_5130), 0.0),
    ("SGD", Bits(0xbfd6_da57_6695_dd21), FEW),
    ("average pooling", Bits(0xd8f5_186b_3202_58ef), 0.0),
    ("backward_data depthwise", Bits(0xd3d1_70aa_7146_63a1), FEW),
    ("backward_data im2col", Bits(0x8391_0467_d2e2_b41f), FEW),
    ("backward_data im2col_matrixmultiply", Within(0.0), 0.0),
    ("backward_data implicit_gemm", Bits(0x09a7_c2e2_44a4_3493), FEW),
    ("backward_data reference", Bits(0xf780_51f9_ae5a_70ed), 0.0),
    ("backward_data toeplitz_2x2", Bits(0xbe65_ea6f_6bad_4165), FEW),
    ("backward_data winograd_2x2", Bits(0xc678_b3fc_52bd_6d4c), FEW),
    ("backward_data winograd_4x4", Bits(0x8e39_d8ad_b2da_a1ce), MANY),
    ("backward_data winograd_8x8_stride_2", Bits(0x8b81_0ad6_43a9_3312), MANY),
    ("backward_weights depthwise", Bits(0x343f_9215_b20a_0fdb), FEW),
    ("backward_weights im2col", Bits(0x5f83_1e9e_191b_37b9), FEW),
    ("backward_weights im2col_matrixmultiply", Within(0.0), 0.0),
    ("backward_weights implicit_gemm", Bits(0x5f83_1e9e_191b_37b9), FEW),
    ("backward_weights reference", Bits(0x3d4d_7b73_63d7_eba4), 0.0),
    ("backward_weights toeplitz_2x2", Bits(0x532b_778c_c2fc_146e), FEW),
    ("backward_weights winograd_2x2", Bits(0x2ec0_a52f_4430_62ca), FEW),
    ("backward_weights winograd_2x2_stride_2", Bits(0x9875_1de9_9742_5091), FEW),
    ("backward_weights winograd_4x4", Bits(0x6fef_c915_0197_f342), MANY),
    ("backward_weights winograd_4x4_stride_2", Bits(0xc44e_d3f6_242e_b55a), MANY),
    ("batch norm, backward", Bits(0x59bc_4dc2_549d_44d3), FEW),
    ("batch norm, forward", Bits(0xe5f1_0d90_40a7_93fd), FEW),
    ("batch norm, inference", Bits(0x1707_e07d_3d53_d14c), FEW),
    ("batch norm, statistics", Bits(0x6f1b_c240_e3e0_8d85), FEW),
    ("channel sums", Bits(0xe921_5ef8_4f5b_4410), 0.0),
    ("cross-entropy", Within(0.0), 0.0),
    ("forward depthwise", Bits(0x3327_2b83_f636_77aa), FEW),
    ("forward direct", Bits(0xed74_da8b_6015_89b9), FEW),
    ("forward im2col", Bits(0x5aa5_99ad_e8d6_9a52), FEW),
    ("forward im2col_matrixmultiply", Within(0.0), 0.0),
    ("forward implicit_gemm", Bits(0x5aa5_99ad_e8d6_9a52), FEW),
    ("forward reference", Bits(0x3807_7bbc_0bc6_2fbb), 0.0),
    ("forward toeplitz_2x2", Bits(0x0523_3b95_e50b_eb91), FEW),
    ("forward winograd_2x2", Bits(0x5c56_63f1_7adc_9b13), FEW),
    ("forward winograd_2x2_stride_2", Bits(0x68b3_5f00_8578_de48), FEW),
    ("forward winograd_4x4", Bits(0x3185_cfa1_0848_a8d1), MANY),
    ("forward winograd_4x4_stride_2", Bits(0xf12c_8748_3c57_4438), MANY),
    ("forward+bias+relu depthwise", Bits(0x134d_62dc_a8f8_db98), FEW),
    ("forward+bias+relu direct", Bits(0xb9a3_10a0_ffe0_f29c), FEW),
    ("forward+bias+relu im2col", Bits(0xdee1_8112_73ea_c1a7), FEW),
    ("forward+bias+relu im2col_matrixmultiply", Within(0.0), 0.0),
    ("forward+bias+relu implicit_gemm", Bits(0xef23_2263_00eb_a767), FEW),
    ("forward+bias+relu reference", Bits(0x73fe_dbe5_756b_f74f), 0.0),
    ("forward+bias+relu toeplitz_2x2", Bits(0x92d6_df66_faf7_00b9), FEW),
    ("forward+bias+relu winograd_2x2", Bits(0x3d11_6b6b_cf76_26c4), FEW),
    ("forward+bias+relu winograd_2x2_stride_2", Bits(0xbb49_0cf5_531b_6a5c), FEW),
    ("forward+bias+relu winograd_4x4", Bits(0x9be5_75db_8b75_71c3), MANY),
    ("forward+bias+relu winograd_4x4_stride_2", Bits(0x7503_3c45_989e_f0d4), MANY),
    ("gemm", Bits(0x5418_a442_b228_02ab), FEW),
    ("global average pooling", Bits(0x0f4c_d0b6_9159_605d), 0.0),
    ("linear, backward_data", Bits(0x1bd2_9396_f683_4e49), FEW),
    ("linear, backward_weights", Bits(0x914a_e952_2335_0909), FEW),
    ("linear, forward", Within(FEW), FEW),
    ("max pooling", Bits(0x4342_8301_7b96_0c15), 0.0),
];

/// Every operation's outputs, by name.
type Outputs = BTreeMap<String, Vec<Vec<f32>>>;

fn outputs(cx: &Context) -> Outputs {
    let mut found = Outputs::new();
    let mut push = |name: &str, values: Vec<f32>| {
        found.entry(name.to_owned()).or_default().push(values);
    };
    for g in geometries() {
        for (name, _, values) in Case::reals(g).every_pass(cx) {
            push(&name, values);
        }
    }
    for channels in [1, 3, 16, 37, 130, 300] {
        for (name, values) in operations(cx, channels) {
            push(name, values);
        }
    }
    for [m, n, k] in [[1, 1, 1], [7, 33, 5], [9, 31, 257], [50, 130, 70], [13, 48, 600]] {
        let mut numbers = Numbers(m as u64);
        let [a, b, mut c] =
            [m * k, k * n, m * n].map(|len| (0..len).map(|_| numbers.real()).collect::<Vec<_>>());
        gemm(cx, m, n, k, &a, k, &b, n, &mut c, n, false);
        push("gemm", c);
    }
    found
}

fn geometries() -> Vec<Conv2dGeometry> {
    let plain = [
        [2, 3, 7, 5, 17, 3, 1, 1],
        [1, 3, 35, 33, 37, 3, 1, 1],
        [2, 37, 6, 6, 53, 3, 1, 1],
        [3, 130, 2, 2, 101, 3, 1, 1],
        [2, 64, 9, 9, 32, 3, 2, 1],
        [2, 300, 5, 4, 20, 3, 1, 1],
        [2, 37, 9, 8, 101, 1, 2, 0],
        [1, 48, 11, 12, 33, 5, 2, 2],
    ];
    let depthwise = [[2, 37, 9, 8, 37, 3, 1, 1], [1, 130, 8, 9, 130, 5, 2, 2]];
    let depthwise = depthwise.map(|shape| Conv2dGeometry { groups: shape[1], ..geometry(shape) });
    plain.map(geometry).into_iter().chain(depthwise).collect()
}

/// The outputs of the operations on maps of `channels` channels, with the channel stride.
fn operations(cx: &Context, channels: usize) -> Vec<(&'static str, Vec<f32>)> {
    let (n, size, c) = (3, 7, channels);
    let pixels = n * size * size;
    let mut numbers = Numbers(c as u64);
    let mut vector = |len: usize| (0..len).map(|_| numbers.real()).collect::<Vec<_>>();
    let (weight, bias, weights) = (vector(c), vector(c), vector(19 * c));
    let mut maps = |pixels| map(pixels, c, || numbers.real());
    let (src, other) = (maps(pixels), maps(pixels));
    let empty = || vec![f32::NAN; src.len()];
    let nan = |len: usize| vec![f32::NAN; len];
    let mut found = Vec::new();

    let [mut mean, mut inv_std, mut var] = std::array::from_fn(|_| nan(c));
    let (mut dst, eps) = (empty(), 1e-5);
    let (m, i, v, then) = (&mut mean, &mut inv_std, &mut var, Then::Nothing);
    batch_norm::forward_train(cx, pixels, c, &src, &weight, &bias, eps, m, i, v, then, &mut dst);
    found.push(("batch norm, statistics", [&mean[..], &inv_std, &var].concat()));
    found.push(("batch norm, forward", dst));
    // From here on every instruction set gets the same statistics.
    let (mean, var) = (bias.clone(), weight.iter().map(|w| w * w + 0.5).collect::<Vec<_>>());
    let inv_std: Vec<f32> = var.iter().map(|var| 1.0 / (var + eps).sqrt()).collect();
    let mut dst = empty();
    batch_norm::forward_eval(cx, pixels, c, &src, &weight, &bias, &mean, &var, eps, &mut dst);
    found.push(("batch norm, inference", dst));
    let (mut diff, mut dw, mut db) = (src.clone(), nan(c), nan(c));
    let (g, d, w, b) = (Gradient::Nothing { diff_dst: &other }, &mut diff, &mut dw, &mut db);
    batch_norm::backward_train(cx, pixels, c, d, g, &weight, &mean, &inv_std, w, b);
    found.push(("batch norm, backward", [diff, dw, db].concat()));

    let [mut rectified, mut diff, mut sum] = std::array::from_fn(|_| empty());
    relu::forward(cx, &src, &mut rectified);
    relu::backward(cx, &rectified, &other, &mut diff);
    add::forward(cx, &rectified, &diff, &mut sum);
    found.push(("ReLU and sum", [rectified, diff, sum].concat()));

    let g = Pool2dGeometry { n, c, ih: size, iw: size, kernel: 3, stride: 2, padding: 1 };
    let [mut largest, mut means] = std::array::from_fn(|_| nan(g.dst_len()));
    let mut argmax = vec![0; g.dst_len()];
    let [mut to_largest, mut to_means, mut spread] = std::array::from_fn(|_| empty());
    max::forward(cx, &g, &src, &mut largest, Some(&mut argmax));
    max::backward(cx, &g, &largest, &argmax, &mut to_largest);
    found.push(("max pooling", [largest, to_largest].concat()));
    avg::forward(cx, &g, &src, &mut means);
    avg::backward(cx, &g, &means, &mut to_means);
    found.push(("average pooling", [means, to_means].concat()));
    let mut global = nan(n * channel_stride(c));
    global_avg::forward(cx, n, size * size, c, &src, &mut global);
    global_avg::backward(cx, n, size * size, c, &global, &mut spread);
    found.push(("global average pooling", [global, spread].concat()));
    let mut sums = nan(c);
    reduce::channel_sums_f32(cx, pixels, c, &src, &mut sums);
    found.push(("channel sums", sums));

    let mut dst = nan(pixels * channel_stride(19));
    linear::forward(cx, pixels, c, 19, &src, &weights, None, &mut dst);
    found.push(("linear, forward", dst));
    let diff_dst = map(pixels, 19, || numbers.real());
    let (mut diff, mut diff_weights) = (empty(), nan(weights.len()));
    linear::backward_data(cx, pixels, c, 19, &diff_dst, &weights, &mut diff);
    found.push(("linear, backward_data", diff));
    linear::backward_weights(cx, pixels, c, 19, &src, &diff_dst, &mut diff_weights);
    found.push(("linear, backward_weights", diff_weights));

    let (labels, mut losses, mut diff) = (vec![0; pixels], vec![f64::NAN; pixels], empty());
    softmax::cross_entropy(cx, pixels, c, &src, &labels, 0.1, &mut losses, Some(&mut diff));
    found.push(("cross-entropy", diff));

    let (mut value, mut velocity, mut m, mut v) = (src.clone(), empty(), empty(), empty());
    for state in [&mut velocity, &mut m, &mut v] {
        state.fill(0.0);
    }
    optimizer::sgd(cx, 0.1, 0.9, true, 0.01, &other, &mut value, &mut velocity);
    found.push(("SGD", [&value[..], &velocity].concat()));
    let (lr, beta1, beta2, eps) = (0.1, 0.9, 0.999, 1e-8);
    let step = AdamStep { lr, beta1, beta2, eps, weight_decay: 0.01, step: 1 };
    optimizer::adam(cx, step, &other, &mut value, &mut m, &mut v);
    found.push(("Adam", [value, m, v].concat()));
    found
}

/// The largest difference relative to the largest magnitude of the same output; infinite where a value is NaN, as
/// outputs are before they are written.
fn distance(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let far = |x: f32, y: f32| if (x - y).is_nan() { f32::INFINITY } else { (x - y).abs() };
    let outputs = a.iter().zip(b).map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        let scale = b.iter().fold(f32::MIN_POSITIVE, |max, x| max.max(x.abs()));
        a.iter().zip(b).fold(0.0f32, |max, (x, y)| max.max(far(*x, *y))) / scale
    });
    outputs.fold(0.0, f32::max)
}

/// FNV-1a, 64 bits, of the floats' bits; zeros of both signs are alike.
fn hash(outputs: &[Vec<f32>]) -> u64 {
    let bytes = outputs.iter().flatten().flat_map(|x| (x + 0.0).to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[test]
fn instruction_sets_agree_to_the_bit_or_within_what_the_table_says() {
    let all: Vec<(&str, Outputs)> =
        Isa::available().map(|isa| (isa.name, outputs(&Context::new(isa, 2)))).collect();
    let (_, portable) = all.last().expect("every CPU has the portable one");
    let names: Vec<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
    assert_eq!(portable.keys().collect::<Vec<_>>(), names, "the table has all operations");

    let mut wrong = Vec::new();
    for (name, fused, bound) in TABLE {
        let (_, first) = &all[0];
        for (isa, found) in &all[..all.len() - 1] {
            let found = &found[*name];
            match *fused {
                Bits(expected) if hash(found) != expected => {
                    wrong.push(format!("{name}: 0x{:016x} on {isa}", hash(found)));
                }
                Within(bound) if distance(found, &first[*name]) > bound => {
                    let by = distance(found, &first[*name]);
                    wrong.push(format!("{name}: {isa} and {} differ by {by:e}", all[0].0));
                }
                _ => {}
            }
            let by = distance(&portable[*name], found);
            if by > *bound {
                wrong.push(format!("{name}: portable and {isa} differ by {by:e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
