//! The stages of a convolution by minimal filtering, each for some tiles: inputs to factors, factors
//! to products, products to outputs. What they have in common.

use super::collect::Collect;
use super::factors::Factors;
use super::outputs::Outputs;
use super::spread::Spread;
use super::transform::{SIDE, Transform};
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
    pub(crate) const fn of<S: Simd, T: Transform>() -> Self {
        Self {
            weights: |op| enter::<S, _>(By::<_, T>(op, PhantomData)),
            factors: |op| enter::<S, _>(By::<_, T>(op, PhantomData)),
            outputs: |op| enter::<S, _>(By::<_, T>(op, PhantomData)),
            spread: |op| enter::<S, _>(By::<_, T>(op, PhantomData)),
            collect: |op| enter::<S, _>(By::<_, T>(op, PhantomData)),
        }
    }
}

/// A stage with the transform it is for.
pub(super) struct By<O, T>(pub(super) O, PhantomData<T>);

/// `f` of each index: written out, so that nothing of the array need exist before.
#[inline(always)]
pub(super) fn side<V>(f: impl Fn(usize) -> V) -> [V; SIDE] {
    [f(0), f(1), f(2), f(3), f(4), f(5)]
}
