//! The stages of a convolution by minimal filtering, each for some tiles: inputs to factors, factors
//! to products, products to outputs. What they have in common.

use super::collect::Collect;
use super::factors::Factors;
use super::outputs::Outputs;
use super::spread::Spread;
use super::transform::Transform;
use super::weights::Weights;
use crate::dispatch::enter;
use crate::simd::Simd;
use std::marker::PhantomData;

/// The kernels of one instruction set and one transform.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub(super) weights: fn(Weights<'_>),
    pub(super) factors: fn(Factors<'_>),
    pub(super) outputs: fn(Outputs<'_>),
    pub(super) spread: fn(Spread<'_>),
    pub(super) collect: fn(Collect<'_>),
}

impl Kernels {
    pub(crate) const fn of<S: Simd, T: Transform<SIDE>, const SIDE: usize>() -> Self {
        Self {
            weights: |op| enter::<S, _>(By::<_, T, SIDE>(op, PhantomData)),
            factors: |op| enter::<S, _>(By::<_, T, SIDE>(op, PhantomData)),
            outputs: |op| enter::<S, _>(By::<_, T, SIDE>(op, PhantomData)),
            spread: |op| enter::<S, _>(By::<_, T, SIDE>(op, PhantomData)),
            collect: |op| enter::<S, _>(By::<_, T, SIDE>(op, PhantomData)),
        }
    }
}

/// A stage with the transform it is for.
pub(super) struct By<O, T, const SIDE: usize>(pub(super) O, PhantomData<T>);

/// `f` of each index: written out, so that nothing of the array need exist before.
#[inline(always)]
pub(super) fn side<V: Copy, const SIDE: usize>(f: impl Fn(usize) -> V) -> [V; SIDE] {
    let mut all = [f(0); SIDE];
    for (i, v) in all.iter_mut().enumerate().skip(1) {
        *v = f(i);
    }
    all
}
