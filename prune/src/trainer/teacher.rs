//! What a network is taught by another.

use pleach_core::infer::Plan;
use pleach_core::loss::Distillation;
use pleach_core::network::Network;
use pleach_core::tensor::Tensor;
use pleach_datasets::batches::{Batch, BatchSpec};
use pleach_kernels::Context;

/// A network that says of each image what another should. Where images are seen in so many ways only, what it
/// said of one is remembered: it is the same, whatever the batch.
pub(crate) struct Teacher {
    pub(super) distillation: Distillation,
    plan: Plan,
    /// Images that it is asked about.
    asked: Tensor,
    /// The logits of a batch.
    logits: Tensor,
    /// Of each view, what was said.
    said: Vec<Said>,
}

/// The logits of a view of each sample, and whether they are known.
#[derive(Clone, Default)]
struct Said {
    logits: Vec<f32>,
    known: Vec<bool>,
}

impl Teacher {
    pub(super) fn new(
        cx: &Context,
        network: &Network,
        batch: usize,
        distillation: Distillation,
    ) -> Self {
        let logits = Tensor::zeros(batch, network.graph().output_shape());
        let plan = Plan::new(cx, network, batch);
        let asked = Tensor::zeros(0, network.graph().input_shape());
        Self { distillation, plan, asked, logits, said: Vec::new() }
    }

    /// The logits of `images`, which are `batch`'s in an epoch of `spec` over `samples` samples.
    pub(super) fn logits(
        &mut self,
        cx: &Context,
        images: &Tensor,
        (batch, spec, samples): (&Batch, &BatchSpec, usize),
    ) -> &Tensor {
        if spec.views == 0 {
            return self.plan.run(cx, images);
        }
        let stride = self.logits.data().len() / batch.n;
        self.said.resize(spec.views as usize, Said::default());
        let Said { logits, known } = &mut self.said[spec.view() as usize];
        if known.is_empty() {
            logits.resize(samples * stride, 0.0);
            known.resize(samples, false);
        }
        let place = |sample: usize| sample * stride..(sample + 1) * stride;
        let image_len = images.data().len() / batch.n;
        let image = |i: usize| &images.data()[i * image_len..][..image_len];
        let unknown: Vec<usize> = (0..batch.n).filter(|&i| !known[batch.samples[i]]).collect();
        if !unknown.is_empty() {
            self.asked.reshape(unknown.len(), images.shape());
            let places = self.asked.data_mut().chunks_exact_mut(image_len);
            unknown.iter().zip(places).for_each(|(&i, place)| place.copy_from_slice(image(i)));
            let found = self.plan.run(cx, &self.asked).data().chunks_exact(stride);
            for (&i, found) in unknown.iter().zip(found) {
                let sample = batch.samples[i];
                logits[place(sample)].copy_from_slice(found);
                known[sample] = true;
            }
        }
        for (&sample, said) in
            batch.samples.iter().zip(self.logits.data_mut().chunks_exact_mut(stride))
        {
            said.copy_from_slice(&logits[place(sample)]);
        }
        &self.logits
    }
}
