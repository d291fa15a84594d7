//! A convolution whose weights stay.

use super::{Activation, Algorithm, Conv2dGeometry, FORWARD, Operands, Pooling, choose};
use crate::gemm::Storage;
use crate::pool::{Pool2dGeometry, max};
use crate::{AlignedBuffer, Context, add};

/// A forward convolution with its weights packed once.
#[derive(Clone, Debug)]
pub struct PreparedConv2d {
    geometry: Conv2dGeometry,
    algorithm: &'static Algorithm,
    packed: AlignedBuffer,
    bias: Option<Vec<f32>>,
    activation: Activation,
    pooling: Pooling,
    storage: Storage,
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
        let (pooling, storage) = (Pooling::None, Storage::F32);
        Self { geometry: *g, algorithm, packed, bias, activation, pooling, storage }
    }

    /// The same with packed weights that are stored as `storage`. Algorithms that do not read weights that
    /// are stored so use what they round to.
    ///
    /// # Panics
    /// If they are stored otherwise than as `f32` already.
    #[must_use]
    pub fn stored_as(mut self, storage: Storage) -> Self {
        assert_eq!(self.storage, Storage::F32, "weights that have not been rounded");
        if !self.algorithm.widens {
            self.packed.iter_mut().for_each(|weight| *weight = storage.round(*weight));
            return self;
        }
        let bytes = self.packed.len() * storage.bytes();
        let mut packed = AlignedBuffer::zeros(bytes.div_ceil(size_of::<f32>()));
        storage.store(&self.packed, &mut packed);
        Self { packed, storage, ..self }
    }

    /// The same with pooled outputs: `[N, OC, OH / 2, OW / 2]`.
    ///
    /// # Panics
    /// If the height or the width of the output is odd.
    #[must_use]
    pub fn pooled(self, pooling: Pooling) -> Self {
        let (oh, ow) = (self.geometry.oh(), self.geometry.ow());
        let fits = pooling == Pooling::None || oh.is_multiple_of(2) && ow.is_multiple_of(2);
        assert!(fits, "{oh} x {ow} outputs, to be pooled");
        Self { pooling, ..self }
    }

    /// The name of the algorithm.
    #[must_use]
    pub fn algorithm_name(&self) -> &'static str {
        self.algorithm.name
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        size_of_val(&self.packed[..])
    }

    /// The geometry it was made for.
    #[must_use]
    pub fn geometry(&self) -> &Conv2dGeometry {
        &self.geometry
    }

    /// Floats of scratch for a batch of `n` images.
    #[must_use]
    pub fn scratch_len(&self, n: usize) -> usize {
        let g = self.geometry.with_batch(n);
        let unpooled = if self.pools_apart() { g.dst_len() } else { 0 };
        (self.algorithm.scratch_len)(&g) + unpooled
    }

    /// `dst = pooling(activation(conv2d(src, weights) + bias + residual))` for `n` images. The residual has
    /// the shape of the output before it is pooled. Allocates nothing; the contents of `scratch` do not
    /// matter.
    ///
    /// # Panics
    /// If a slice is too short, or `cx` has another instruction set than the weights were packed for.
    pub fn forward(
        &self,
        cx: &Context,
        n: usize,
        src: &[f32],
        residual: Option<&[f32]>,
        dst: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry.with_batch(n);
        let residual = residual.map(|residual| &residual[..g.dst_len()]);
        if !self.pools_apart() {
            let written = if self.pooling == Pooling::None { g.dst_len() } else { g.dst_len() / 4 };
            return self.convolve(cx, &g, src, residual, &mut dst[..written], scratch);
        }
        let (unpooled, scratch) = scratch.split_at_mut(g.dst_len());
        self.convolve(cx, &g, src, residual, unpooled, scratch);
        let (c, ih, iw) = (g.oc, g.oh(), g.ow());
        let pool = Pool2dGeometry { n, c, ih, iw, kernel: 2, stride: 2, padding: 0 };
        max::forward(cx, &pool, unpooled, &mut dst[..pool.dst_len()], None);
    }

    /// Whether its outputs are pooled after they have been written.
    fn pools_apart(&self) -> bool {
        self.pooling == Pooling::Max2x2 && !self.algorithm.fuses
    }

    /// The convolution and what its algorithm does in the same pass; a residual in any case.
    fn convolve(
        &self,
        cx: &Context,
        g: &Conv2dGeometry,
        src: &[f32],
        residual: Option<&[f32]>,
        dst: &mut [f32],
        scratch: &mut [f32],
    ) {
        let packed =
            ((self.algorithm.packed_len)(cx, g) * self.storage.bytes()).next_multiple_of(4);
        assert_eq!(packed, self.packed_bytes(), "weights packed for another instruction set");
        let fuses = self.algorithm.fuses;
        let (within, after) = if fuses { (residual, None) } else { (None, residual) };
        let operands = Operands {
            a: &src[..g.src_len()],
            b: &self.packed,
            storage: self.storage,
            bias: self.bias.as_deref(),
            residual: within,
            activation: if after.is_some() { Activation::None } else { self.activation },
            pooling: if fuses { self.pooling } else { Pooling::None },
            dst: &mut *dst,
        };
        let scratch = &mut scratch[..(self.algorithm.scratch_len)(g)];
        (self.algorithm.run)(cx, g, operands, scratch);
        match (after, self.activation) {
            (None, _) => (),
            (Some(residual), Activation::None) => add::accumulate(cx, residual, dst),
            (Some(residual), Activation::Relu) => add::accumulate_relu(cx, residual, dst),
        }
    }
}
