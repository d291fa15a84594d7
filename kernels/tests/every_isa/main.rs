//! Every algorithm on every instruction set of this CPU, against naive loops in `f64`.

mod agreement;
mod batch_norm;
mod batch_norm_then;
mod conv2d;
mod conv2d_limits;
mod conv2d_many_tiles;
mod elementwise;
mod gemm;
mod linear;
mod loss;
mod not_finite;
mod optimizer;
mod pools;
mod reduce;

use pleach_kernels::{Context, Isa};

/// Contexts of one thread, one for each instruction set that this CPU has.
fn contexts() -> Vec<Context> {
    Isa::available().map(|isa| Context::new(isa, 1)).collect()
}

/// What `run` returns on each instruction set, for 1, 2 and 3 threads, which must be the same bits.
fn on_every_isa(run: impl Fn(&Context) -> Vec<f32>) -> Vec<(&'static str, Vec<f32>)> {
    Isa::available()
        .map(|isa| {
            let found = run(&Context::new(isa, 1));
            for threads in [2, 3] {
                let again = run(&Context::new(isa, threads));
                assert!(same_bits(&found, &again), "{} with {threads} threads", isa.name);
            }
            (isa.name, found)
        })
        .collect()
}

/// `[pixels, channels]` with the channel stride; pad lanes are zero.
fn map(pixels: usize, channels: usize, mut number: impl FnMut() -> f32) -> Vec<f32> {
    let stride = pleach_kernels::channel_stride(channels);
    let mut map = vec![0.0; pixels * stride];
    map.chunks_mut(stride).for_each(|pixel| pixel[..channels].fill_with(&mut number));
    map
}

/// The values of a map without its pad lanes, which must be zero, in f64.
fn dense(map: &[f32], channels: usize) -> Vec<f64> {
    let rows = map.chunks(pleach_kernels::channel_stride(channels));
    rows.flat_map(|row| {
        assert!(row[channels..].iter().all(|x| x.to_bits() == 0), "pad lanes are zero: {row:?}");
        row[..channels].iter().map(|&x| f64::from(x))
    })
    .collect()
}

/// Asserts `|found - expected| <= tolerance * (1 + |expected|)` everywhere.
#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (x, y)) in found.iter().zip(expected).enumerate() {
        let close = (x - y).abs() <= tolerance * (1.0 + y.abs());
        assert!(close, "{what}: {x} instead of {y} at {i}");
    }
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// The gradient of `f` at `x` by central differences.
fn numeric_gradient(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-5;
    (0..x.len())
        .map(|i| {
            let mut moved = x.to_vec();
            moved[i] = x[i] + step;
            let above = f(&moved);
            moved[i] = x[i] - step;
            (above - f(&moved)) / (2.0 * step)
        })
        .collect()
}

/// Seeded numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1).
    fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Integers from -3 to 3: sums of their products are exact.
    fn integer(&mut self) -> f32 {
        (self.next() % 7) as f32 - 3.0
    }
}

/// The error allowed in a sum of `k` products of factors of magnitude at most 1.
fn tolerance(k: usize) -> f32 {
    (k + 2) as f32 * f32::EPSILON
}

/// Whether all floats are the same bits.
fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
