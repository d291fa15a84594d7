//! Networks in use: simplified, planned and packed once, then run without allocation.

mod memory;
mod simplify;

use crate::layers::{join, spread};
use crate::network::Network;
use crate::tensor::{Shape, Tensor};
use memory::Lifetime;
use pleach_kernels::conv2d::{Activation, Algorithm, PreparedConv2d};
use pleach_kernels::pool::{Pool2dGeometry, avg, global_avg, max};
use pleach_kernels::{AlignedBuffer, Context, Isa, add, channel_stride, relu};
use simplify::{Op, Value, simplify};
use std::ops::Range;

/// A network prepared for batches of up to a given number of images.
///
/// Batch norms are folded into the convolutions before them, in `f64`; ReLUs are part of the step
/// before them; weights are packed for the instruction set; activations share one arena, and
/// [`Plan::run`] allocates nothing on one thread (on several, the thread pool may, for its queues).
/// Each image's logits are the same bits in whichever batch and on however many threads it runs.
#[derive(Clone, Debug)]
pub struct Plan {
    isa: &'static Isa,
    image: Shape,
    batch: usize,
    macs: u64,
    steps: Vec<Step>,
    logits: Place,
    arena: AlignedBuffer,
    scratch: AlignedBuffer,
    output: Tensor,
}

#[derive(Clone, Debug)]
struct Step {
    name: String,
    kernel: Kernel,
    inputs: Vec<Place>,
    dst: Place,
}

#[derive(Clone, Debug)]
enum Kernel {
    Conv(PreparedConv2d),
    Add { relu: bool },
    Relu,
    MaxPool(Pool2dGeometry),
    AvgPool(Pool2dGeometry),
    GlobalAvgPool,
    Concat,
    Flatten,
}

/// Where a value lies, and its shape per image.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Its start in the arena; `None`: it is the image.
    start: Option<usize>,
    shape: Shape,
}

impl Plan {
    /// Prepares `net` for the instruction set of `cx` and batches of up to `batch` images.
    ///
    /// # Panics
    /// If `batch` is 0.
    #[must_use]
    pub fn new(cx: &Context, net: &Network, batch: usize) -> Self {
        Self::with_algorithm(cx, net, batch, None)
    }

    /// [`Plan::new`] with a convolution algorithm of your choice wherever it applies.
    ///
    /// # Panics
    /// If `batch` is 0.
    #[must_use]
    pub fn with_algorithm(
        cx: &Context,
        net: &Network,
        batch: usize,
        algorithm: Option<&'static Algorithm>,
    ) -> Self {
        assert!(batch > 0, "a batch has images");
        let (steps, output) = simplify(net);
        let image = net.graph().input_shape();
        let shape = |value: Value| match value {
            Value::Image => image,
            Value::Step(step) => steps[step].shape,
        };
        let end = steps.len();
        let lifetimes: Vec<Lifetime> = (0..end)
            .map(|step| {
                let this = Value::Step(step);
                let read = steps.iter().rposition(|reader| reader.inputs.contains(&this));
                let last = if output == this { end } else { read.unwrap_or(step) };
                Lifetime { len: batch * steps[step].shape.padded_len(), steps: step..=last }
            })
            .collect();
        let (starts, arena) = memory::place(&lifetimes);
        let place = |value: Value| Place {
            start: match value {
                Value::Image => None,
                Value::Step(step) => Some(starts[step]),
            },
            shape: shape(value),
        };
        let logits = place(output);
        let steps: Vec<Step> = steps
            .iter()
            .enumerate()
            .map(|(i, step)| Step {
                name: step.name.clone(),
                kernel: Kernel::new(cx, &step.op, batch, algorithm),
                inputs: step.inputs.iter().map(|&value| place(value)).collect(),
                dst: place(Value::Step(i)),
            })
            .collect();
        let scratch = steps.iter().map(|step| step.kernel.scratch_len(batch)).max();
        Self {
            isa: cx.isa(),
            image,
            batch,
            macs: net.graph().macs(),
            steps,
            logits,
            arena: AlignedBuffer::zeros(arena),
            scratch: AlignedBuffer::zeros(scratch.unwrap_or(0)),
            output: Tensor::zeros(batch, net.graph().output_shape()),
        }
    }

    /// The logits of `input`, `[N, classes]`, where `N` is at most the batch planned for.
    ///
    /// # Panics
    /// If `input` is larger than planned for or of another shape, or `cx` has another instruction set.
    pub fn run(&mut self, cx: &Context, input: &Tensor) -> &Tensor {
        self.run_with(cx, input, |_| ())
    }

    /// [`Plan::run`] that calls `after` with each step's name once it is done: a stopwatch in the
    /// caller's hand gives the time of each layer.
    ///
    /// # Panics
    /// As [`Plan::run`].
    pub fn run_with(
        &mut self,
        cx: &Context,
        input: &Tensor,
        mut after: impl FnMut(&str),
    ) -> &Tensor {
        let n = input.n();
        assert_eq!(input.shape(), self.image, "the shape of the images");
        assert!(n <= self.batch, "{n} images, planned for {}", self.batch);
        assert_eq!(cx.isa().name, self.isa.name, "the instruction set planned for");
        if n > 0 {
            for step in &self.steps {
                step.run(cx, n, input.data(), &mut self.arena, &mut self.scratch);
                after(&step.name);
            }
        }
        self.output.reshape(n, self.output.shape());
        let logits = match self.logits.arena(n) {
            Some(range) => &self.arena[range],
            None => input.data(),
        };
        self.output.data_mut().copy_from_slice(logits);
        &self.output
    }

    /// Images that a batch may have.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Multiply-adds of convolutions and linear layers, per image.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.macs
    }

    /// The names of the steps, in the order in which they run: each the layer it began as.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.name.as_str())
    }

    /// The layer and the algorithm of each convolution, linear layers included.
    pub fn algorithms(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.steps.iter().filter_map(|step| match &step.kernel {
            Kernel::Conv(conv) => Some((step.name.as_str(), conv.algorithm_name())),
            _ => None,
        })
    }

    /// Bytes of all activations at the batch planned for.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.arena.len() * size_of::<f32>()
    }
}

impl Place {
    /// The part of the arena that `n` images take.
    fn arena(self, n: usize) -> Option<Range<usize>> {
        self.start.map(|start| start..start + n * self.shape.padded_len())
    }
}

impl Kernel {
    fn new(cx: &Context, op: &Op, batch: usize, wanted: Option<&'static Algorithm>) -> Self {
        match op {
            Op::Conv { geometry, weights, bias, relu } => {
                let geometry = geometry.with_batch(batch);
                let activation = if *relu { Activation::Relu } else { Activation::None };
                let algorithm = wanted.filter(|algorithm| (algorithm.applies)(&geometry));
                let bias = bias.as_deref();
                Self::Conv(PreparedConv2d::new(cx, &geometry, weights, bias, activation, algorithm))
            }
            Op::Add { relu } => Self::Add { relu: *relu },
            Op::Relu => Self::Relu,
            Op::MaxPool(geometry) => Self::MaxPool(*geometry),
            Op::AvgPool(geometry) => Self::AvgPool(*geometry),
            Op::GlobalAvgPool => Self::GlobalAvgPool,
            Op::Concat => Self::Concat,
            Op::Flatten => Self::Flatten,
        }
    }

    /// Floats of scratch for any number of images up to `batch`.
    fn scratch_len(&self, batch: usize) -> usize {
        match self {
            Self::Conv(conv) => (1..=batch).map(|n| conv.scratch_len(n)).max().unwrap_or(0),
            _ => 0,
        }
    }
}

impl Step {
    fn run(&self, cx: &Context, n: usize, image: &[f32], arena: &mut [f32], scratch: &mut [f32]) {
        let range = self.dst.arena(n).expect("no step writes to the image");
        let (before, rest) = arena.split_at_mut(range.start);
        let (dst, after) = rest.split_at_mut(range.len());
        // An input lives while the step runs, so it lies on one side of the output.
        let src = |place: Place| match place.arena(n) {
            None => &image[..n * place.shape.padded_len()],
            Some(src) if src.end <= range.start => &before[src],
            Some(src) => &after[src.start - range.end..src.end - range.end],
        };
        let first = self.inputs[0];
        match &self.kernel {
            Kernel::Conv(conv) => conv.forward(cx, n, src(first), dst, scratch),
            Kernel::Add { relu: false } => add::forward(cx, src(first), src(self.inputs[1]), dst),
            Kernel::Add { relu: true } => {
                add::forward_relu(cx, src(first), src(self.inputs[1]), dst);
            }
            Kernel::Relu => relu::forward(cx, src(first), dst),
            Kernel::MaxPool(g) => max::forward(cx, &batched(g, n), src(first), dst, None),
            Kernel::AvgPool(g) => avg::forward(cx, &batched(g, n), src(first), dst),
            Kernel::GlobalAvgPool => {
                let Shape { channels, .. } = first.shape;
                global_avg::forward(cx, n, first.shape.area(), channels, src(first), dst);
            }
            Kernel::Concat => {
                let inputs = self.inputs.iter().map(|&place| (src(place), place.shape.channels));
                join(cx, self.dst.shape.channels, inputs, dst);
            }
            Kernel::Flatten => spread(cx, first.shape, src(first), dst),
        }
        debug_assert!(pads_are_zero(dst, self.dst.shape), "pad lanes after {}", self.name);
    }
}

fn batched(g: &Pool2dGeometry, n: usize) -> Pool2dGeometry {
    Pool2dGeometry { n, ..*g }
}

/// Whether pad lanes are zero, or NaN where values have overflown (an infinity times a weight of 0).
fn pads_are_zero(values: &[f32], shape: Shape) -> bool {
    let pixels = values.chunks_exact(channel_stride(shape.channels));
    let mut pads = pixels.flat_map(|pixel| &pixel[shape.channels..]);
    pads.all(|&pad| pad == 0.0 || pad.is_nan())
}
