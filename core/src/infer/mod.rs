//! Networks in use: simplified, planned and packed once, then run without allocation.

mod fold;
mod fuse;
mod memory;
mod segments;
mod simplify;
mod step;

pub(crate) use fold::fold_batch_norms;
pub use step::PlannedStep;

use crate::network::Network;
use crate::tensor::{Shape, Tensor};
use memory::Lifetime;
use pleach_kernels::conv2d::{Algorithm, Conv2dGeometry, PreparedConv2d, Storage};
use pleach_kernels::{AlignedBuffer, Context, Isa};
use segments::{Segment, Traffic, segments};
use simplify::{Value, simplify};
use std::fmt;
use step::{Kernel, Place, Step};

/// Names an algorithm for a convolution.
pub type Choose<'a> = dyn Fn(&Conv2dGeometry) -> Option<&'static Algorithm> + 'a;

/// What a [`Plan`] leaves to its caller; by default, nothing.
#[derive(Clone, Copy, Default)]
pub struct PlanOptions<'a> {
    /// What computes a convolution of a geometry, whose batch is that of the part that goes through it at
    /// once. Where it says `None`, or an algorithm that does not apply, the one with the lowest estimated
    /// [`Cost`](pleach_kernels::conv2d::Cost) does.
    pub choose: Option<&'a Choose<'a>>,
    /// How packed weights of convolutions, linear layers included, are stored: as `f32`, or in half the bytes
    /// and rounded (transformed weights after their transformation).
    pub weights: Storage,
}

impl fmt::Debug for PlanOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choose = self.choose.map(|_| "Fn");
        f.debug_struct("PlanOptions")
            .field("choose", &choose)
            .field("weights", &self.weights)
            .finish()
    }
}

/// A network prepared for batches of up to a given number of images.
///
/// Batch norms are folded into the convolutions before them, in `f64`; residual sums, ReLUs and 2x2 max
/// pooling are part of the step before them; weights are packed for the instruction set, all in one buffer, which
/// clones share; activations share one arena, large batches go through the early layers in parts that stay in the cache, and
/// [`Plan::run`] allocates nothing on one thread (on several, the thread pool may, for its queues).
/// The algorithm of each convolution is chosen for the largest batch, by its estimated cost or by
/// [`PlanOptions::choose`]; each image's logits are the same
/// bits in whichever batch of a plan and on however many threads it runs.
#[derive(Clone, Debug)]
pub struct Plan {
    isa: &'static Isa,
    image: Shape,
    batch: usize,
    macs: u64,
    steps: Vec<Step>,
    segments: Vec<Segment>,
    logits: Place,
    arena: AlignedBuffer,
    scratch: AlignedBuffer,
    output: Tensor,
}

impl Plan {
    /// Prepares `net` for the instruction set of `cx` and batches of up to `batch` images.
    ///
    /// # Panics
    /// If `batch` is 0.
    #[must_use]
    pub fn new(cx: &Context, net: &Network, batch: usize) -> Self {
        Self::with_options(cx, net, batch, &PlanOptions::default())
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
        Self::with_options(
            cx,
            net,
            batch,
            &PlanOptions { choose: Some(&|_| algorithm), ..PlanOptions::default() },
        )
    }

    /// [`Plan::new`] with `options`.
    ///
    /// # Panics
    /// If `batch` is 0.
    #[must_use]
    pub fn with_options(
        cx: &Context,
        net: &Network,
        batch: usize,
        options: &PlanOptions<'_>,
    ) -> Self {
        assert!(batch > 0, "a batch has images");
        let (steps, output) = simplify(net);
        let image = net.graph().input_shape();
        let shape = |value: Value| match value {
            Value::Image => image,
            Value::Step(step) => steps[step].shape,
        };
        let end = steps.len();
        // The last step that reads a step's value; `end`: the outside world does.
        let mut last: Vec<usize> = (0..end).collect();
        let readers = steps.iter().enumerate().map(|(i, step)| (i, &step.inputs[..]));
        for (reader, values) in readers.chain([(end, &[output][..])]) {
            for &value in values {
                if let Value::Step(step) = value {
                    last[step] = reader;
                }
            }
        }
        let bytes = |value: Value| shape(value).padded_len() * size_of::<f32>();
        // Bytes that no step after this one reads.
        let mut done = vec![0; end + 1];
        (0..end).for_each(|i| done[last[i]] += bytes(Value::Step(i)));
        let mut kept = 0;
        let traffic = steps.iter().enumerate().map(|(i, step)| {
            let (inputs, own) =
                (step.inputs.iter().map(|&input| bytes(input)), bytes(Value::Step(i)));
            kept = kept + own - done[i];
            Traffic { maps: inputs.sum::<usize>() + own, weights: step.op.weight_bytes(), kept }
        });
        let segments = segments(&traffic.collect::<Vec<_>>(), batch);
        let segment_of = |step: usize| {
            let of = segments.iter().find(|segment| segment.steps.contains(&step));
            of.expect("every step is in a segment")
        };
        // Values that leave their segment exist for the whole batch, from the first part of the segment
        // that writes them to the last part of one that reads them.
        let leaves = |step: usize| !segment_of(step).steps.contains(&last[step]);
        let lifetimes: Vec<Lifetime> = (0..end)
            .map(|step| {
                let (len, last) = (steps[step].shape.padded_len(), last[step]);
                let segment = segment_of(step);
                if !leaves(step) {
                    return Lifetime { len: segment.images * len, steps: step..=last };
                }
                let first = if segment.images < batch { segment.steps.start } else { step };
                let last = match segments.iter().find(|segment| segment.steps.contains(&last)) {
                    Some(reader) if reader.images < batch => reader.steps.end - 1,
                    _ => last,
                };
                Lifetime { len: batch * len, steps: first..=last }
            })
            .collect();
        let (starts, arena) = memory::place(&lifetimes);
        let place = |value: Value| Place {
            start: match value {
                Value::Image => None,
                Value::Step(step) => Some(starts[step]),
            },
            whole: match value {
                Value::Image => true,
                Value::Step(step) => leaves(step),
            },
            shape: shape(value),
        };
        let logits = place(output);
        let mut steps: Vec<Step> = steps
            .iter()
            .enumerate()
            .map(|(i, step)| Step {
                name: step.name.clone(),
                kernel: Kernel::new(cx, &step.op, segment_of(i).images, options),
                inputs: step.inputs.iter().map(|&value| place(value)).collect(),
                dst: place(Value::Step(i)),
            })
            .collect();
        PreparedConv2d::join_weights(steps.iter_mut().filter_map(|step| step.kernel.conv_mut()));
        let scratch = steps.iter().enumerate();
        let scratch = scratch.map(|(i, step)| step.kernel.scratch_len(segment_of(i).images)).max();
        Self {
            isa: cx.isa(),
            image,
            batch,
            macs: net.graph().macs(),
            steps,
            segments,
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

    /// [`Plan::run`] that calls `after` with each step's number, in the order of [`Plan::steps`], whenever
    /// it is done for a part of the batch: a stopwatch in the caller's hand gives the time of each layer.
    ///
    /// # Panics
    /// As [`Plan::run`].
    pub fn run_with(
        &mut self,
        cx: &Context,
        input: &Tensor,
        mut after: impl FnMut(usize) + Send,
    ) -> &Tensor {
        let n = input.n();
        assert_eq!(input.shape(), self.image, "the shape of the images");
        assert!(n <= self.batch, "{n} images, planned for {}", self.batch);
        assert_eq!(cx.isa().name, self.isa.name, "the instruction set planned for");
        let Self { segments, steps, arena, scratch, .. } = self;
        cx.threads().region(|| {
            for segment in &*segments {
                for first in (0..n).step_by(segment.images) {
                    let part = first..n.min(first + segment.images);
                    for i in segment.steps.clone() {
                        steps[i].run(cx, part.clone(), input.data(), arena, scratch);
                        after(i);
                    }
                }
            }
        });
        self.output.reshape(n, self.output.shape());
        let logits = match self.logits.arena(&(0..n)) {
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

    /// The steps, in the order in which they run.
    pub fn steps(&self) -> impl Iterator<Item = PlannedStep<'_>> {
        self.steps.iter().map(Step::planned)
    }

    /// Bytes of all activations at the batch planned for.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.arena.len() * size_of::<f32>()
    }
}
