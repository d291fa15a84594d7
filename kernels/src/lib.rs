//! SIMD kernels for convolutional networks on CPUs.
//!
//! Kernels know slices and geometries, never tensors or graphs. Activations are channels-last
//! (`[N, H, W, C]` in memory, written `[N, C, H, W]` as the field does) with the channel stride
//! rounded up to [`CHANNEL_ALIGN`] floats: pad lanes hold zeros, and every kernel keeps them so (but for NaN
//! where the same pixel's channels are computed from what is not finite; no kernel makes anything of it).
//! Weights are in PyTorch's order, `[OC, IC / groups, KH, KW]`, dense.
//!
//! # Values that are not finite
//! Nothing is checked and nothing is hidden. A NaN reaches every output that depends on it, through every
//! algorithm, ReLU and max pooling, weights of zero included, and no other image. An infinity leaves no output
//! finite that depends on it, up to the next ReLU, which makes zero of minus infinity. Minimal filtering (see
//! [`conv2d`]) may spread both over the rest of a tile, and makes NaN of infinities where direct convolution
//! has an infinity. Denormal numbers are computed with like any others, with all their bits and at what speed
//! the CPU has for them; only [`optimizer`] makes zeros of them, so that training does not run into them.
//!
//! # What is the same bits
//! For one instruction set, every result for every number of threads. AVX-512, AVX2 and NEON agree to the bit
//! wherever an output is one chain of fused multiply-adds, which is everywhere but in [`linear::forward`], where
//! they lie within `8 * f32::EPSILON` of the output's largest magnitude. The portable instruction set rounds
//! products before it adds them, and lies as close to them, or within `20 * f32::EPSILON` by minimal filtering of
//! 4x4 outputs; ReLU, sums and pooling are the same bits on it too. What other crates compute (exponentials, the
//! products of `matrixmultiply`) depends on the CPU, not on the instruction set asked for.
//! `tests/every_isa/agreement.rs` has the table. Which algorithm a convolution takes depends on the instruction set, so that whole networks agree
//! within the algorithms' rounding only.

pub mod add;
pub mod batch_norm;
pub mod conv2d;
pub mod dispatch;
pub mod gemm;
pub mod linear;
pub mod optimizer;
pub mod par;
pub mod peak;
pub mod pool;
pub mod reduce;
pub mod relu;
pub mod scratch;
pub mod simd;
pub mod softmax;
mod windows;

pub use dispatch::{ISAS, Isa, IsaError};
pub use par::Threads;
pub use scratch::AlignedBuffer;

/// Channel strides are multiples of this many floats: 16 floats are one 64-byte cache line, and a
/// whole number of vectors on every instruction set.
pub const CHANNEL_ALIGN: usize = 16;

/// The channel stride, in floats, of a map with `channels` channels.
#[must_use]
pub const fn channel_stride(channels: usize) -> usize {
    channels.next_multiple_of(CHANNEL_ALIGN)
}

/// What every kernel runs with: an instruction set and a pool of threads.
#[derive(Clone, Debug)]
pub struct Context {
    isa: &'static Isa,
    threads: Threads,
    filtering: bool,
}

impl Context {
    /// A context for `isa` with `threads` threads (at least one).
    #[must_use]
    pub fn new(isa: &'static Isa, threads: usize) -> Self {
        Self { isa, threads: Threads::new(threads), filtering: true }
    }

    /// The same, with the calling thread as one of its threads, which saves handing small networks over to
    /// another: see [`Threads::with_this_thread`].
    #[must_use]
    pub fn with_this_thread(isa: &'static Isa, threads: usize) -> Self {
        Self { isa, threads: Threads::with_this_thread(threads), filtering: true }
    }

    /// The same, except that the passes of [`conv2d`] choose no [filtering](conv2d::Algorithm::filtering)
    /// algorithm: for comparing what training with them comes to.
    #[must_use]
    pub fn without_filtering(self) -> Self {
        Self { filtering: false, ..self }
    }

    /// Whether filtering algorithms may be chosen.
    #[must_use]
    pub fn filtering(&self) -> bool {
        self.filtering
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(&self) -> &'static Isa {
        self.isa
    }

    /// The thread pool.
    #[must_use]
    pub fn threads(&self) -> &Threads {
        &self.threads
    }
}

#[cfg(test)]
mod wide_tests;
