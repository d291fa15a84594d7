//! What a network is taught by another.

use super::answers::Answers;
use pleach_core::infer::Plan;
use pleach_core::loss::Distillation;
use pleach_core::network::Network;
use pleach_core::tensor::Tensor;
use pleach_datasets::batches::{Batch, BatchSpec};
use pleach_datasets::{Dataset, Split};
use pleach_kernels::Context;
use sha2::{Digest, Sha256};

/// A network that says of each image what another should. Where images are seen in so many ways only, what it
/// said of one is remembered: it is the same, whatever the batch.
pub(crate) struct Teacher {
    pub(super) distillation: Distillation,
    plan: Plan,
    /// Images that it is asked about.
    asked: Tensor,
    /// The logits of a batch.
    logits: Tensor,
    /// Nothing where no view comes again.
    answers: Option<Answers>,
}

impl Teacher {
    /// One of training over `epochs` epochs like that of `spec`.
    pub(super) fn new(
        cx: &Context,
        network: &Network,
        (dataset, spec, epochs): (&dyn Dataset, &BatchSpec, u64),
        distillation: Distillation,
    ) -> Self {
        let logits = Tensor::zeros(spec.batch, network.graph().output_shape());
        let plan = Plan::new(cx, network, spec.batch);
        let asked = Tensor::zeros(0, network.graph().input_shape());
        let answers = (1..epochs).contains(&spec.views).then(|| {
            let (samples, classes) = (dataset.len(Split::Train), logits.shape().channels);
            Answers::new(key(cx, network, dataset, spec), spec.views, samples, classes)
        });
        Self { distillation, plan, asked, logits, answers }
    }

    /// What it said, where some of it comes again.
    pub(crate) fn answers_mut(&mut self) -> Option<&mut Answers> {
        self.answers.as_mut()
    }

    /// The logits of `images`, which are `batch`'s in an epoch of `spec`.
    pub(super) fn logits(
        &mut self,
        cx: &Context,
        images: &Tensor,
        (batch, spec): (&Batch, &BatchSpec),
    ) -> &Tensor {
        let Some(answers) = &mut self.answers else { return self.plan.run(cx, images) };
        let (view, classes) = (spec.view(), answers.shape()[1]);
        let image_len = images.data().len() / batch.n;
        let image = |i: usize| &images.data()[i * image_len..][..image_len];
        let unknown = (0..batch.n).filter(|&i| answers.of(view, batch.samples[i]).is_none());
        let unknown: Vec<usize> = unknown.collect();
        let stride = self.logits.data().len() / batch.n;
        let mut found = &[][..];
        if !unknown.is_empty() {
            self.asked.reshape(unknown.len(), images.shape());
            let places = self.asked.data_mut().chunks_exact_mut(image_len);
            unknown.iter().zip(places).for_each(|(&i, place)| place.copy_from_slice(image(i)));
            found = self.plan.run(cx, &self.asked).data();
        }
        for (&i, found) in unknown.iter().zip(found.chunks_exact(stride)) {
            answers.put(view, batch.samples[i], &found[..classes]);
        }
        let places = self.logits.data_mut().chunks_exact_mut(stride);
        for (&sample, place) in batch.samples.iter().zip(places) {
            // Logits that are not numbers are not remembered, and the loss is none either.
            match answers.of(view, sample) {
                Some(said) => place[..classes].copy_from_slice(said),
                None => place[..classes].fill(f32::NAN),
            }
        }
        &self.logits
    }
}

/// A digest of all that answers depend on, to the bit: the teacher, the images, for whose pixels what their data set
/// says of itself stands, and how both are computed.
fn key(cx: &Context, network: &Network, dataset: &dyn Dataset, spec: &BatchSpec) -> String {
    let BatchSpec { batch, seed, augment, padding, border, cutout, cutmix, views, .. } = spec;
    let (spec, samples) = (dataset.spec(), dataset.len(Split::Train));
    let mut digest = digest(network);
    digest.update(format!("{} {}", cx.isa().name, cx.filtering()));
    digest.update(format!("{spec:?} {samples} {batch} {seed} {augment} {padding} {border:?}"));
    digest.update(format!("{cutout} {cutmix} {views}"));
    let digest = format!("{:x}", digest.finalize());
    digest[..16].to_owned()
}

/// What tells a network from others of other structure or values, in hexadecimal.
pub(crate) fn fingerprint(network: &Network) -> String {
    format!("{:x}", digest(network).finalize())
}

/// The digest of a network's structure and values.
fn digest(network: &Network) -> Sha256 {
    let mut digest = Sha256::new();
    digest.update(format!("{:?}", network.graph()));
    for param in network.params() {
        param.value.iter().for_each(|value| digest.update(value.to_le_bytes()));
    }
    digest
}
