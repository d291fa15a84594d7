//! A row of the lists of algorithms.

use super::cost::Cost;
use super::{Activation, Conv2dGeometry, Pooling};
use crate::gemm::Storage;
use crate::{AlignedBuffer, Context, Isa};
use std::fmt;

/// What a pass reads and writes.
pub struct Operands<'a> {
    /// `src`, or `diff_dst` for backward_data.
    pub a: &'a [f32],
    /// The packed weights, or `diff_dst` for backward_weights.
    pub b: &'a [f32],
    /// How the packed weights are stored; not as `f32` only for algorithms that [widen](Algorithm::widens).
    pub storage: Storage,
    /// Added to the output; `None` in the backward passes.
    pub bias: Option<&'a [f32]>,
    /// Added to the output too, of its length; only for algorithms that [fuse](Algorithm::fuses).
    pub residual: Option<&'a [f32]>,
    /// Applied to the output; `None` in the backward passes.
    pub activation: Activation,
    /// What is written of the output; only for algorithms that [fuse](Algorithm::fuses).
    pub pooling: Pooling,
    /// `dst`, `diff_src` or `diff_weights`: overwritten.
    pub dst: &'a mut [f32],
}

impl<'a> Operands<'a> {
    /// With nothing that follows.
    pub(super) fn new(a: &'a [f32], b: &'a [f32], dst: &'a mut [f32]) -> Self {
        let (activation, pooling) = (Activation::None, Pooling::None);
        let storage = Storage::F32;
        Self { a, b, storage, bias: None, residual: None, activation, pooling, dst }
    }
}

/// One way to compute one pass. Every slice a function gets has exactly the length it asked for, or
/// that the geometry states.
pub struct Algorithm {
    /// The name users and benchmarks write.
    pub name: &'static str,
    /// Whether it computes this geometry.
    pub applies: fn(&Conv2dGeometry) -> bool,
    /// Whether it adds a residual and pools in the pass over its output.
    pub fuses: bool,
    /// Whether it reads packed weights that are stored otherwise than as `f32`.
    pub widens: bool,
    /// Whether it is minimal filtering (Winograd, Toeplitz): fewer products than multiply-adds, and sums that
    /// are rounded otherwise than term by term.
    pub filtering: bool,
    /// What it is expected to take, where it applies.
    pub cost: fn(&Isa, &Conv2dGeometry) -> Cost,
    /// Floats that `pack` writes.
    pub packed_len: fn(&Context, &Conv2dGeometry) -> usize,
    /// Rearranges weights (`[OC, IC / groups, KH, KW]`) for `run`; independent of the batch. Not
    /// called for backward_weights.
    pub pack: fn(&Context, &Conv2dGeometry, weights: &[f32], packed: &mut [f32]),
    /// Floats of scratch that `run` needs; its contents are unspecified.
    pub scratch_len: fn(&Conv2dGeometry) -> usize,
    /// The pass.
    pub run: fn(&Context, &Conv2dGeometry, Operands<'_>, scratch: &mut [f32]),
}

impl Algorithm {
    /// Whether it is there only to be compared with: no estimate ever chooses it.
    #[must_use]
    pub fn is_baseline(&self, isa: &Isa, g: &Conv2dGeometry) -> bool {
        (self.cost)(isa, g).run == Cost::BASELINE.run
    }

    /// # Panics
    /// If no convolution has the sizes of `g`, or this does not compute it.
    pub(super) fn check(&self, g: &Conv2dGeometry) {
        g.check();
        assert!((self.applies)(g), "{} does not compute {g:?}", self.name);
    }

    /// Packs `weights` into the front of `buffer` and hands `run` the packed weights and the scratch.
    pub(super) fn pack_and_run(
        &self,
        cx: &Context,
        g: &Conv2dGeometry,
        weights: &[f32],
        buffer: &mut AlignedBuffer,
        run: impl FnOnce(&[f32], &mut [f32]),
    ) {
        let (packed_len, scratch_len) = ((self.packed_len)(cx, g), (self.scratch_len)(g));
        // The scratch starts on a cache line too.
        let start = packed_len.next_multiple_of(16);
        let (packed, scratch) = buffer.take(start + scratch_len).split_at_mut(start);
        (self.pack)(cx, g, weights, &mut packed[..packed_len]);
        run(&packed[..packed_len], scratch);
    }
}

/// [`Algorithm::packed_len`] of algorithms that read the weights as they are.
pub(crate) fn weights_as_they_are(_: &Context, g: &Conv2dGeometry) -> usize {
    g.weights_len()
}

/// [`Algorithm::pack`] of algorithms that read the weights as they are.
pub(crate) fn copy(_: &Context, _: &Conv2dGeometry, weights: &[f32], packed: &mut [f32]) {
    packed.copy_from_slice(weights);
}

/// [`Algorithm::packed_len`] of algorithms that have no packed weights.
pub(crate) fn nothing_packed(_: &Context, _: &Conv2dGeometry) -> usize {
    0
}

/// [`Algorithm::scratch_len`] of algorithms that need none.
pub(crate) fn no_scratch(_: &Conv2dGeometry) -> usize {
    0
}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Algorithm").field("name", &self.name).finish_non_exhaustive()
    }
}
