//! A convolution whose weights stay.

use super::{Activation, Algorithm, Conv2dGeometry, FORWARD, Operands, choose};
use crate::{AlignedBuffer, Context};

/// A forward convolution with its weights packed once.
#[derive(Clone, Debug)]
pub struct PreparedConv2d {
    geometry: Conv2dGeometry,
    algorithm: &'static Algorithm,
    packed: AlignedBuffer,
    bias: Option<Vec<f32>>,
    activation: Activation,
}

impl PreparedConv2d {
    /// Packs `weights` (`[OC, IC / groups, KH, KW]`) for the instruction set of `cx`, to run by
    /// `algorithm`, or by the best that applies to `g`.
    ///
    /// # Panics
    /// If a slice is shorter than `g` says, or `algorithm` does not apply to `g`.
    #[must_use]
    pub fn new(
        cx: &Context,
        g: &Conv2dGeometry,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        algorithm: Option<&'static Algorithm>,
    ) -> Self {
        g.check();
        let algorithm = algorithm.unwrap_or_else(|| choose(FORWARD, cx.isa(), g, |cost| cost.run));
        assert!((algorithm.applies)(g), "{} does not compute {g:?}", algorithm.name);
        let mut packed = AlignedBuffer::zeros((algorithm.packed_len)(cx, g));
        (algorithm.pack)(cx, g, &weights[..g.weights_len()], &mut packed);
        let bias = bias.map(|bias| bias[..g.oc].to_vec());
        Self { geometry: *g, algorithm, packed, bias, activation }
    }

    /// The name of the algorithm.
    #[must_use]
    pub fn algorithm_name(&self) -> &'static str {
        self.algorithm.name
    }

    /// Floats of the packed weights.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        self.packed.len()
    }

    /// The geometry it was made for.
    #[must_use]
    pub fn geometry(&self) -> &Conv2dGeometry {
        &self.geometry
    }

    /// Floats of scratch for a batch of `n` images.
    #[must_use]
    pub fn scratch_len(&self, n: usize) -> usize {
        (self.algorithm.scratch_len)(&self.geometry.with_batch(n))
    }

    /// `dst = activation(conv2d(src, weights) + bias)` for `n` images. Allocates nothing; the
    /// contents of `scratch` do not matter.
    ///
    /// # Panics
    /// If a slice is too short, or `cx` has another instruction set than the weights were packed for.
    pub fn forward(
        &self,
        cx: &Context,
        n: usize,
        src: &[f32],
        dst: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry.with_batch(n);
        let packed_len = (self.algorithm.packed_len)(cx, &g);
        assert_eq!(packed_len, self.packed.len(), "weights packed for another instruction set");
        let operands = Operands {
            a: &src[..g.src_len()],
            b: &self.packed,
            bias: self.bias.as_deref(),
            activation: self.activation,
            dst: &mut dst[..g.dst_len()],
        };
        let scratch = &mut scratch[..(self.algorithm.scratch_len)(&g)];
        (self.algorithm.run)(cx, &g, operands, scratch);
    }
}
