//! The training loop, the same for training from scratch and for fine-tuning.

mod answers;
mod config;
mod report;
mod resizing;
mod teacher;

pub(crate) use answers::Answers;
pub(crate) use teacher::{Teacher, fingerprint};

pub use config::{Border, Start, TrainConfig};
pub use report::{EpochReport, Observer, Silent, StepReport, TrainError};
pub use resizing::Resizing;

use crate::net;
use pleach_core::autograd::Tape;
use pleach_core::layers::{Mode, StepKey};
use pleach_core::loss::{Distillation, cross_entropy, distill, mix_labels};
use pleach_core::network::Network;
use pleach_core::tensor::{Shape, Tensor};
use pleach_datasets::batches::{BatchSpec, Loader};
use pleach_datasets::{Dataset, Split};
use pleach_kernels::{Context, channel_stride};
use resizing::Small;
use std::sync::Arc;
use std::time::Instant;

/// Training in progress. What happens in an epoch is a pure function of the network and its
/// optimiser's state at the epoch's start, the configuration, the data and the instruction set: that
/// is why a run continues exactly from what a checkpoint holds after any epoch.
pub struct Trainer {
    cx: Context,
    dataset: Arc<dyn Dataset>,
    config: TrainConfig,
    network: Network,
    tape: Tape,
    teacher: Option<Teacher>,
    epochs_done: u64,
}

impl Trainer {
    /// Training of `network` from the start.
    ///
    /// # Panics
    /// As [`Trainer::resume`].
    #[must_use]
    pub fn new(
        cx: &Context,
        dataset: Arc<dyn Dataset>,
        config: TrainConfig,
        network: Network,
    ) -> Self {
        Self::resume(cx, dataset, config, network, 0)
    }

    /// Training that goes on after `epochs_done` epochs, given the network and its optimiser's state
    /// as they were then.
    ///
    /// # Panics
    /// If network and data set do not fit ([`net::fits`]), there are no images to train on, or a batch has none.
    #[must_use]
    pub fn resume(
        cx: &Context,
        dataset: Arc<dyn Dataset>,
        config: TrainConfig,
        network: Network,
        epochs_done: u64,
    ) -> Self {
        let spec = dataset.spec();
        assert!(net::fits(network.graph(), spec), "the network fits {}", spec.name);
        let images = config.batch.min(dataset.len(Split::Train));
        assert!(images > 0, "a batch has images");
        let cx = match config.direct {
            true => cx.clone().without_filtering(),
            false => cx.clone(),
        };
        Self { cx, dataset, config, network, tape: Tape::new(), teacher: None, epochs_done }
    }

    /// The same training, in which the network listens to a teacher too: to the logits of `teacher`, as
    /// inference has them, on the same augmented images.
    ///
    /// # Panics
    /// In the first step, if their classes or images differ.
    #[must_use]
    pub fn with_teacher(mut self, teacher: &Network, distillation: Distillation) -> Self {
        let images = (&*self.dataset, &self.spec(0), self.epochs());
        self.teacher = Some(Teacher::new(&self.cx, teacher, images, distillation));
        self
    }

    /// The same, with the teacher of another part of the same training, which remembers what it said.
    pub(crate) fn taught_by(self, teacher: Teacher) -> Self {
        Self { teacher: Some(teacher), ..self }
    }

    /// The network's teacher.
    pub(crate) fn teacher_mut(&mut self) -> Option<&mut Teacher> {
        self.teacher.as_mut()
    }

    /// The network as it is now.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network as it is now; the trainer ends.
    #[must_use]
    pub fn into_network(self) -> Network {
        self.network
    }

    /// The network as it is now, and its teacher; the trainer ends.
    pub(crate) fn into_parts(self) -> (Network, Option<Teacher>) {
        (self.network, self.teacher)
    }

    /// Epochs done.
    #[must_use]
    pub fn epochs_done(&self) -> u64 {
        self.epochs_done
    }

    /// Epochs of the run, a last partial one included.
    #[must_use]
    pub fn epochs(&self) -> u64 {
        self.steps().div_ceil(self.steps_per_epoch())
    }

    /// Whether all steps are done.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.epochs_done >= self.epochs()
    }

    /// Steps of the whole run.
    #[must_use]
    pub fn steps(&self) -> u64 {
        (self.config.epochs * self.steps_per_epoch() as f64).round() as u64
    }

    /// Steps done.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.steps().min(self.epochs_done * self.steps_per_epoch())
    }

    /// What is left of the run, in epochs like the one that was last, by the pixels of their images.
    ///
    /// # Panics
    /// Before the first.
    #[must_use]
    pub fn left(&self) -> f64 {
        let pixels = |epoch| self.image(epoch).area() as f64;
        let last = self.epochs_done.checked_sub(1).expect("an epoch that was last");
        let partial = self.steps() as f64 / self.steps_per_epoch() as f64;
        let share = |epoch: u64| (partial - epoch as f64).min(1.0);
        let left = (self.epochs_done..self.epochs()).map(|epoch| share(epoch) * pixels(epoch));
        left.sum::<f64>() / pixels(last)
    }

    /// The images of an epoch.
    fn image(&self, epoch: u64) -> Shape {
        let full = self.network.graph().input_shape();
        let progress = epoch as f64 / self.epochs() as f64;
        // A single epoch has no later one in which images could grow.
        let resizing = self.config.resizing.filter(|_| self.epochs() > 1);
        resizing.map_or(full, |resizing| resizing.image(full, progress))
    }

    /// Steps of a full epoch: full batches only, but at least one.
    fn steps_per_epoch(&self) -> u64 {
        self.spec(0).batches(&*self.dataset) as u64
    }

    fn spec(&self, epoch: u64) -> BatchSpec {
        let images = self.dataset.len(Split::Train);
        let batch = self.config.batch.min(images);
        let stride = channel_stride(self.network.graph().input_shape().channels);
        let spec = BatchSpec::training(batch, stride, self.config.seed, epoch);
        let TrainConfig { augment, crop_padding: padding, border, .. } = self.config;
        let TrainConfig { cutout, cutmix, views, .. } = self.config;
        BatchSpec { augment, padding, border: border.into(), cutout, cutmix, views, ..spec }
    }

    /// Trains for the next epoch, or for what is left of the run.
    ///
    /// # Errors
    /// If the loss is not finite or the observer stops it. The network is then in the middle of an
    /// epoch and not to be kept.
    ///
    /// # Panics
    /// If the run is finished, or images are resized and the network does not take small ones
    /// ([`Resizing::check_graph`]).
    pub fn epoch(&mut self, observer: &mut dyn Observer) -> Result<EpochReport, TrainError> {
        assert!(!self.is_finished(), "a finished run has no next epoch");
        let (full, image) = (self.network.graph().input_shape(), self.image(self.epochs_done));
        if image == full {
            return self.epoch_of(full, observer);
        }
        let small = self.network.graph().for_images(image).expect("a network for small images");
        let graph = self.network.replace_graph(small);
        let report = self.epoch_of(full, observer);
        self.network.replace_graph(graph);
        report
    }

    /// An epoch of `full` images, shrunk where the network takes smaller ones.
    fn epoch_of(
        &mut self,
        full: Shape,
        observer: &mut dyn Observer,
    ) -> Result<EpochReport, TrainError> {
        let (epoch, steps) = (self.epochs_done, self.steps());
        let first = epoch * self.steps_per_epoch();
        let shape = self.network.graph().input_shape();
        let spec = self.spec(epoch);
        let mut loader = Loader::new(Arc::clone(&self.dataset), spec.clone());
        let mut images = Tensor::zeros(spec.batch, full);
        let mut small = (shape != full).then(|| Small::new(full, shape, spec.batch));
        let mut diff = Tensor::zeros(images.n(), self.network.graph().output_shape());
        let (mut seen, mut correct, mut loss_sum, mut lr) = (0, 0, 0.0, 0.0);
        let started = Instant::now();
        let end = steps.min(first + self.steps_per_epoch());
        for step in first..end {
            let batch = loader.next().expect("an epoch has the batches that its length says");
            images.data_mut().copy_from_slice(&batch.images);
            let key = StepKey { seed: self.config.seed, step };
            let (cx, tape, network) = (&self.cx, &mut self.tape, &mut self.network);
            let (config, teacher) = (&self.config, &mut self.teacher);
            let loss = cx.threads().region(|| {
                let seen = small.as_mut().map_or(&images, |small| small.of(&images));
                let logits = tape.forward(cx, network, seen, Mode::Train, key);
                let smoothing = config.label_smoothing;
                let mut loss = cross_entropy(cx, logits, &batch.labels, smoothing, Some(&mut diff));
                if !batch.pasted.is_empty() {
                    let labels = (&batch.labels[..], smoothing);
                    mix_labels(logits, labels, &batch.pasted, &mut loss, &mut diff);
                }
                if let Some(teacher) = teacher {
                    let distillation = teacher.distillation;
                    let taught = teacher.logits(cx, &images, (&batch, &spec));
                    distill(cx, logits, taught, distillation, &mut loss, &mut diff);
                }
                if loss.mean.is_finite() {
                    tape.backward(cx, network, &diff, false);
                    lr = config.schedule.lr(config.lr, step as f64 / steps as f64);
                    config.optimizer.step(cx, network, lr, step);
                    if let Some(lookahead) = config.lookahead {
                        lookahead.step(network, step, steps);
                    }
                }
                loss
            });
            if !loss.mean.is_finite() {
                let (epoch, step) = (epoch + 1, step + 1);
                return Err(TrainError::Diverged { epoch, step, loss: loss.mean });
            }
            seen += batch.n as u64;
            correct += loss.correct;
            loss_sum += loss.mean * batch.n as f64;
            loader.give_back(batch);
            let images_per_s = seen as f64 / started.elapsed().as_secs_f64();
            let report = StepReport { step: step + 1, steps, loss: loss.mean, lr, images_per_s };
            // After the last step nothing is left to stop.
            if !observer.step(&report) && step + 1 < end {
                return Err(TrainError::Interrupted { step: step + 1 });
            }
        }
        self.epochs_done += 1;
        let seconds = started.elapsed().as_secs_f64();
        Ok(EpochReport {
            epoch: self.epochs_done,
            images: seen,
            loss: loss_sum / seen as f64,
            accuracy: correct as f64 / seen as f64,
            lr,
            seconds,
            images_per_s: seen as f64 / seconds,
        })
    }
}
