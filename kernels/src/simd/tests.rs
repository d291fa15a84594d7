//! What every vector type must do alike.

use super::*;
use std::panic::catch_unwind;

/// Moves three vectors from every seventeenth float to every nineteenth.
struct Move<'a> {
    src: &'a [f32],
    dst: &'a mut [f32],
}

impl SimdOp for Move<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let vectors: [S::F32; 4] = simd.load_strided(self.src, 17, 3);
        simd.store_strided(vectors, self.dst, 19, 4);
    }
}

fn check<S: Simd>() {
    let Some(simd) = S::detect() else { return };
    let src: Vec<f32> = (1..100).map(|i| i as f32).collect();
    let (reads, writes) = (2 * 17 + S::LANES, 3 * 19 + S::LANES);
    let mut dst = vec![-1.0; writes];
    simd.vectorize(Move { src: &src[..reads], dst: &mut dst });
    for (i, &x) in dst.iter().enumerate() {
        let (vector, lane) = (i / 19, i % 19);
        let expected = match (vector, lane < S::LANES) {
            (_, false) => -1.0,
            (3, true) => 0.0,
            (vector, true) => src[vector * 17 + lane],
        };
        assert_eq!(x, expected, "{} at {i}", S::NAME);
    }
    for (reads, writes) in [(reads - 1, writes), (reads, writes - 1)] {
        let mut dst = vec![0.0; writes];
        let src = &src[..reads];
        let run = || simd.vectorize(Move { src, dst: &mut dst });
        catch_unwind(std::panic::AssertUnwindSafe(run)).expect_err("beyond the end");
    }
}

/// `a * b + c` by halves, in place of `c`.
struct Low<'a> {
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
}

impl SimdOp for Low<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let (a, b, c) = (simd.load(self.a), simd.load(self.b), simd.load(self.c));
        simd.store(simd.mul_add_low(a, b, c), self.c);
    }
}

fn check_low<S: Simd>() {
    let Some(simd) = S::detect() else { return };
    let exists = |i: usize| i < S::LANES / 2;
    let a: Vec<f32> = (0..S::LANES).map(|i| 3.0 + i as f32).collect();
    let b: Vec<f32> = (0..S::LANES).map(|i| if exists(i) { 5.0 } else { 0.0 }).collect();
    let mut c = vec![7.0; S::LANES];
    simd.vectorize(Low { a: &a, b: &b, c: &mut c });
    for (i, &c) in c.iter().enumerate() {
        let expected = match (exists(i), S::HALVES) {
            (true, _) => a[i] * 5.0 + 7.0,
            (false, true) => 0.0,
            (false, false) => 7.0,
        };
        assert_eq!(c, expected, "{} at {i}", S::NAME);
    }
}

/// Masks floats by bytes, and writes floats as bytes.
struct Bytes<'a> {
    floats: &'a mut [f32],
    bytes: &'a mut [u8],
}

impl SimdOp for Bytes<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let masked = simd.where_byte(self.bytes, 3, simd.load(self.floats));
        simd.store_bytes(simd.load(self.floats), self.bytes);
        simd.store(masked, self.floats);
    }
}

fn check_bytes<S: Simd>() {
    let Some(simd) = S::detect() else { return };
    let mut floats: Vec<f32> = (0..20).map(|i| (i * 6) as f32).collect();
    let mut bytes: Vec<u8> = (0..20).map(|i| i % 5).collect();
    simd.vectorize(Bytes { floats: &mut floats, bytes: &mut bytes });
    for i in 0..20 {
        let vector = i < S::LANES;
        let float = if vector && i % 5 != 3 { 0.0 } else { (i * 6) as f32 };
        assert_eq!(floats[i], float, "{} at {i}", S::NAME);
        assert_eq!(usize::from(bytes[i]), if vector { i * 6 } else { i % 5 }, "{}", S::NAME);
    }
    let (floats, bytes) = (&mut floats, &mut bytes[..S::LANES - 1]);
    let run = || simd.vectorize(Bytes { floats, bytes });
    catch_unwind(std::panic::AssertUnwindSafe(run)).expect_err("too few bytes");
}

#[test]
fn strided_vectors_are_moved_and_checked() {
    #[cfg(target_arch = "x86_64")]
    check::<avx512::Avx512>();
    #[cfg(target_arch = "x86_64")]
    check::<avx2::Avx2>();
    #[cfg(target_arch = "aarch64")]
    check::<neon::Neon>();
    check::<portable::Portable<4>>();
    check::<portable::Portable<16>>();
}

#[test]
fn half_vectors_are_multiplied_and_added() {
    #[cfg(target_arch = "x86_64")]
    check_low::<avx512::Avx512>();
    #[cfg(target_arch = "x86_64")]
    check_low::<avx2::Avx2>();
    #[cfg(target_arch = "aarch64")]
    check_low::<neon::Neon>();
    check_low::<portable::Portable<4>>();
    check_low::<portable::Portable<16>>();
}

#[test]
fn bytes_mask_lanes_and_lanes_become_bytes() {
    #[cfg(target_arch = "x86_64")]
    check_bytes::<avx512::Avx512>();
    #[cfg(target_arch = "x86_64")]
    check_bytes::<avx2::Avx2>();
    #[cfg(target_arch = "aarch64")]
    check_bytes::<neon::Neon>();
    check_bytes::<portable::Portable<4>>();
    check_bytes::<portable::Portable<16>>();
}
