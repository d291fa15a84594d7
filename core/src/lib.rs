//! Tensors, graphs, autograd, inference and checkpoints for convolutional networks on CPUs.
//!
//! A network is a [`Graph`], which [`GraphBuilder`] checks, and the values of its parameters. A [`Tape`] trains
//! it, and a [`Plan`] runs it, with batch norms folded and what follows a convolution in the same pass:
//!
//! ```
//! use pleach_core::layers::{BatchNorm2d, Conv2d, GlobalAvgPool, Layer, Linear, Relu};
//! use pleach_core::loss::cross_entropy;
//! use pleach_core::{GraphBuilder, Mode, Network, Optimizer, Plan, Shape, StepKey, Tape, Tensor};
//! use pleach_kernels::{Context, Isa};
//!
//! // A convolution, its batch norm and ReLU, and a classifier for two classes.
//! let image = Shape::new(3, 8, 8);
//! let (mut builder, x) = GraphBuilder::new(image)?;
//! let x = builder.add("conv", Layer::Conv2d(Conv2d::same3x3(8)), &[x])?;
//! let x = builder.add("bn", Layer::BatchNorm2d(BatchNorm2d::default()), &[x])?;
//! let x = builder.add("relu", Layer::Relu(Relu {}), &[x])?;
//! let x = builder.add("pool", Layer::GlobalAvgPool(GlobalAvgPool {}), &[x])?;
//! let x = builder.add("fc", Layer::Linear(Linear { out_features: 2, bias: true }), &[x])?;
//! let mut network = Network::init(builder.finish(x)?, 42);
//!
//! // Sixteen images `[N, C, H, W]`, dark ones of class 0 and bright ones of class 1.
//! let labels: Vec<u32> = (0..16).map(|i| i % 2).collect();
//! let pixels: Vec<f32> = labels
//!     .iter()
//!     .flat_map(|&label| (0..image.len()).map(move |i| label as f32 + (i % 7) as f32 * 0.1))
//!     .collect();
//! let images = Tensor::from_nchw(labels.len(), image, &pixels);
//!
//! // Training steps with the best instruction set of this CPU and one thread.
//! let cx = Context::new(Isa::best(), 1);
//! let sgd = Optimizer::sgd();
//! let (mut tape, mut diff) = (Tape::new(), Tensor::zeros(labels.len(), Shape::flat(2)));
//! for step in 0..30 {
//!     let key = StepKey { seed: 42, step };
//!     let logits = tape.forward(&cx, &mut network, &images, Mode::Train, key);
//!     cross_entropy(&cx, logits, &labels, 0.0, Some(&mut diff));
//!     tape.backward(&cx, &mut network, &diff, false);
//!     sgd.step(&cx, &mut network, 0.1, step);
//! }
//!
//! // Logits, `[N, classes]`.
//! let logits = Plan::new(&cx, &network, labels.len()).run(&cx, &images).to_nchw();
//! for (logits, &label) in logits.chunks_exact(2).zip(&labels) {
//!     assert_eq!(logits[1] > logits[0], label == 1, "{logits:?}");
//! }
//! # Ok::<(), pleach_core::GraphError>(())
//! ```
//!
//! # Values that are not finite
//! Files with parameters that are not finite, or variances below zero, are neither read nor written: the error
//! names the tensor. Images are taken as they are: in inference, one with a NaN in a pixel that reaches the logits has logits of NaN, and the
//! other images of its batch the logits that they have without it. Where values overflow, a network's logits
//! are not finite, unless a ReLU makes zero of minus infinity. An image with such a logit counts as wrong, whatever its label, and its [`loss`] is NaN, but
//! where the logit is minus infinity, which is a probability of 0.

pub mod autograd;
pub mod checkpoint;
pub mod graph;
pub mod infer;
pub mod layers;
pub mod loss;
pub mod models;
pub mod network;
pub mod npy;
pub mod onnx;
pub mod optim;
pub mod pytorch;
pub mod tensor;
mod text;

pub use autograd::Tape;
pub use graph::{Graph, GraphBuilder, GraphError, NodeId};
pub use infer::Plan;
pub use layers::{Mode, StepKey};
pub use network::{Network, Param};
pub use optim::{Optimizer, Schedule};
pub use tensor::{Shape, Tensor};
