//! A convolution whose weights stay.

use super::{Activation, Algorithm, Conv2dGeometry, FORWARD, Operands, Pooling, choose};
use crate::gemm::Storage;
use crate::pool::{Pool2dGeometry, max};
use crate::{AlignedBuffer, CHANNEL_ALIGN as LINE, Context, Isa, add};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A forward convolution with its weights packed once. Clones share them.
#[derive(Clone, Debug)]
pub struct PreparedConv2d {
    /// What the weights were packed for.
    isa: &'static Isa,
    geometry: Conv2dGeometry,
    algorithm: &'static Algorithm,
    packed: Weights,
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
        let algorithm = algorithm.unwrap_or_else(|| choose(FORWARD, cx, g, |cost| cost.run));
        algorithm.check(g);
        let mut packed = AlignedBuffer::zeros((algorithm.packed_len)(cx, g));
        (algorithm.pack)(cx, g, &weights[..g.weights_len()], &mut packed);
        let bias = bias.map(|bias| bias[..g.oc].to_vec());
        let (packed, pooling, storage) = (Weights::new(packed), Pooling::None, Storage::F32);
        let (isa, geometry) = (cx.isa(), *g);
        Self { isa, geometry, algorithm, packed, bias, activation, pooling, storage }
    }

    /// The same with packed weights that are stored as `storage`. Algorithms that do not read weights that
    /// are stored so use what they round to.
    ///
    /// # Panics
    /// If they are stored otherwise than as `f32` already.
    #[must_use]
    pub fn stored_as(mut self, storage: Storage) -> Self {
        assert_eq!(self.storage, Storage::F32, "weights that have not been rounded");
        let widens = self.algorithm.widens;
        let bytes = self.packed.len() * if widens { storage.bytes() } else { size_of::<f32>() };
        let mut packed = AlignedBuffer::zeros(bytes.div_ceil(size_of::<f32>()));
        if widens {
            storage.store(&self.packed, &mut packed);
            self.storage = storage;
        } else {
            let rounded = self.packed.iter().map(|&weight| storage.round(weight));
            packed.iter_mut().zip(rounded).for_each(|(packed, rounded)| *packed = rounded);
        }
        Self { packed: Weights::new(packed), ..self }
    }

    /// Moves the packed weights of `convs`, in their order, to one buffer: together they are enough for huge pages,
    /// and each convolution's lie where fetching goes on from those of the one before.
    pub fn join_weights<'a>(convs: impl IntoIterator<Item = &'a mut Self>) {
        let mut convs: Vec<&mut Self> = convs.into_iter().collect();
        let mut end = 0;
        let places: Vec<Range<usize>> = convs
            .iter()
            .map(|conv| {
                let start = end;
                end = (start + conv.packed.len()).next_multiple_of(LINE);
                start..start + conv.packed.len()
            })
            .collect();
        let mut all = AlignedBuffer::zeros(end);
        for (conv, place) in convs.iter_mut().zip(&places) {
            all[place.clone()].copy_from_slice(&conv.packed);
            // Frees its own before the next is copied.
            conv.packed = Weights::default();
        }
        let all = Arc::new(all);
        for (conv, place) in convs.into_iter().zip(places) {
            conv.packed = Weights { buffer: Arc::clone(&all), place };
        }
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
        if n == 0 {
            return 0;
        }
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
        let (packed_for, isa) = (self.isa.name, cx.isa().name);
        assert_eq!(isa, packed_for, "the instruction set that the weights were packed for");
        if n == 0 {
            return;
        }
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

/// Packed weights: a part of a buffer.
#[derive(Clone, Debug, Default)]
struct Weights {
    buffer: Arc<AlignedBuffer>,
    place: Range<usize>,
}

impl Weights {
    /// All of a buffer.
    fn new(buffer: AlignedBuffer) -> Self {
        let place = 0..buffer.len();
        Self { buffer: Arc::new(buffer), place }
    }
}

impl Deref for Weights {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.buffer[self.place.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn convolutions_whose_weights_were_joined_give_the_same_bits() {
        let cx = Context::new(Isa::from_env().unwrap(), 1);
        let numbers = |len: usize| (0..len).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0);
        let conv = |ic: usize, oc: usize, storage: Storage| {
            let g = Conv2dGeometry {
                n: 1,
                ic,
                ih: 4,
                iw: 6,
                oc,
                kh: 3,
                kw: 3,
                stride: 1,
                padding: 1,
                groups: 1,
            };
            let weights: Vec<f32> = numbers(g.weights_len()).collect();
            PreparedConv2d::new(&cx, &g, &weights, None, Activation::None, None).stored_as(storage)
        };
        let run = |conv: &PreparedConv2d| {
            let g = conv.geometry();
            let mut src = vec![0.0; g.src_len()];
            for pixel in src.chunks_exact_mut(g.src_stride()) {
                pixel[..g.ic].iter_mut().zip(numbers(g.ic)).for_each(|(x, y)| *x = y);
            }
            let mut dst = vec![f32::NAN; g.dst_len()];
            conv.forward(&cx, 1, &src, None, &mut dst, &mut vec![f32::NAN; conv.scratch_len(1)]);
            dst
        };
        let mut convs = [
            conv(3, 17, Storage::F32),
            conv(5, 1, Storage::Bf16),
            conv(40, 33, Storage::F16),
            conv(17, 64, Storage::F32),
        ];
        let expected = convs.each_ref().map(run);
        assert!(expected.iter().flatten().all(|x| x.is_finite()));
        let (before, bytes) = (convs.clone(), convs.each_ref().map(PreparedConv2d::packed_bytes));
        PreparedConv2d::join_weights(&mut convs);
        assert_eq!(convs.each_ref().map(run), expected);
        assert_eq!(convs.each_ref().map(PreparedConv2d::packed_bytes), bytes);
        // Clones of before keep theirs; joined weights follow each other, each from a cache line on.
        assert_eq!(before.each_ref().map(run), expected);
        let starts = convs.each_ref().map(|conv| conv.packed.as_ptr() as usize);
        for i in 1..convs.len() {
            assert_eq!(starts[i], (starts[i - 1] + bytes[i - 1]).next_multiple_of(64));
        }
        assert_ne!(before[0].packed.as_ptr() as usize, starts[0]);
    }
}
