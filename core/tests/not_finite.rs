//! Images whose values are not finite, and networks whose values overflow.

mod random;

use pleach_core::loss::cross_entropy;
use pleach_core::{Mode, Network, Plan, Shape, StepKey, Tape, Tensor, models};
use pleach_kernels::{Context, Isa};

const IMAGE: Shape = Shape::new(3, 32, 32);

const SPECS: [&str; 6] = [
    "vgg-small:32,37,48,53,64,64",
    "vgg16-nobn:21,43,67,73,101,93,71,53,37,29,23,19,31",
    "resnet20:16,24,40",
    "resnet18:12,24,48,96",
    "concat-small",
    "mobile-small",
];

/// The logits of `images` by a plan, and by a tape in evaluation mode.
fn both(network: &Network, images: &Tensor) -> [Vec<f32>; 2] {
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let planned = Plan::new(&cx, network, images.n()).run(&cx, images).to_nchw();
    let (mut tape, mut network) = (Tape::new(), network.clone());
    let taped = tape.forward(&cx, &mut network, images, Mode::Eval, StepKey::default());
    [planned, taped.to_nchw()]
}

#[test]
fn an_image_with_a_nan_has_no_logit_but_nan_and_leaves_the_others_as_they_are() {
    for (seed, spec) in (0..).zip(SPECS) {
        let network = random::network(models::build(spec, IMAGE, 10).unwrap(), seed);
        let images = random::images(5, IMAGE, seed);
        let expected = both(&network, &images);
        for bad in [0, 3, 4] {
            let mut values = images.to_nchw();
            values[bad * IMAGE.len() + 1024 + 16 * 32 + 17] = f32::NAN;
            let found = both(&network, &Tensor::from_nchw(5, IMAGE, &values));
            for (found, expected) in found.iter().zip(&expected) {
                for (image, (found, expected)) in
                    found.chunks(10).zip(expected.chunks(10)).enumerate()
                {
                    match image == bad {
                        true => assert!(found.iter().all(|x| x.is_nan()), "{spec}: {found:?}"),
                        false => assert_eq!(found, expected, "{spec}: image {image}"),
                    }
                }
            }
        }
    }
}

#[test]
fn no_layer_lets_an_image_of_nan_touch_another() {
    for seed in 0..60 {
        let network = random::network(random::graph(seed).unwrap(), seed);
        let image = network.graph().input_shape();
        let mut values = random::images(3, image, seed).to_nchw();
        let expected = both(&network, &Tensor::from_nchw(3, image, &values));
        values[image.len()..2 * image.len()].fill(f32::NAN);
        let found = both(&network, &Tensor::from_nchw(3, image, &values));
        for (found, expected) in found.iter().zip(&expected) {
            let found: Vec<&[f32]> = found.chunks(found.len() / 3).collect();
            let expected: Vec<&[f32]> = expected.chunks(expected.len() / 3).collect();
            assert_eq!((found[0], found[2]), (expected[0], expected[2]), "seed {seed}");
            assert!(found[1].iter().any(|x| x.is_nan()), "seed {seed}: {:?}", found[1]);
        }
    }
}

#[test]
fn an_infinite_image_leaves_the_others_as_they_are() {
    for (seed, spec) in (0..).zip(SPECS) {
        let network = random::network(models::build(spec, IMAGE, 10).unwrap(), seed);
        let images = random::images(3, IMAGE, seed);
        let expected = both(&network, &images);
        let mut values = images.to_nchw();
        values[IMAGE.len()..2 * IMAGE.len()].fill(f32::INFINITY);
        let found = both(&network, &Tensor::from_nchw(3, IMAGE, &values));
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((&found[..10], &found[20..]), (&expected[..10], &expected[20..]), "{spec}");
            assert!(found[10..20].iter().all(|x| !x.is_finite()), "{spec}: {found:?}");
        }
    }
}

#[test]
fn values_that_overflow_within_a_network_make_no_loss_and_no_right_answer() {
    let mut network = random::network(models::build("vgg-small", IMAGE, 10).unwrap(), 1);
    let last = network.params().len() - 2;
    network.params_mut()[last].value.iter_mut().for_each(|x| *x = x.signum() * f32::MAX);
    let cx = Context::new(Isa::from_env().unwrap(), 2);
    let images = random::images(4, IMAGE, 1);
    let mut plan = Plan::new(&cx, &network, 4);
    let logits = plan.run(&cx, &images);
    assert!(logits.to_nchw().iter().any(|x| !x.is_finite()));
    let loss = cross_entropy(&cx, logits, &[0, 1, 2, 3], 0.0, None);
    assert!(loss.mean.is_nan(), "{loss:?}");
}

#[test]
fn denormal_weights_and_images_are_computed_with() {
    // Without biases and batch norms a network's logits are as small as its images.
    let graph = {
        use pleach_core::layers::{Conv2d, GlobalAvgPool, Layer, Linear, Relu};
        let (mut builder, image) = pleach_core::GraphBuilder::new(IMAGE).unwrap();
        let conv = Conv2d { bias: false, ..Conv2d::same3x3(16) };
        let x = builder.add("conv", Layer::Conv2d(conv), &[image]).unwrap();
        let x = builder.add("relu", Layer::Relu(Relu {}), &[x]).unwrap();
        let x = builder.add("mean", Layer::GlobalAvgPool(GlobalAvgPool {}), &[x]).unwrap();
        let linear = Layer::Linear(Linear { out_features: 10, bias: false });
        let x = builder.add("fc", linear, &[x]).unwrap();
        builder.finish(x).unwrap()
    };
    let network = Network::init(graph, 1);
    let images = random::images(2, IMAGE, 1);
    let scale = 2f32.powi(-130);
    let tiny: Vec<f32> = images.to_nchw().iter().map(|x| x * scale).collect();
    let expected = both(&network, &images);
    let found = both(&network, &Tensor::from_nchw(2, IMAGE, &tiny));
    for (found, expected) in found.iter().zip(&expected) {
        for (x, y) in found.iter().zip(expected) {
            // The smallest number is 2^-149: there are 19 bits left of a logit of one.
            assert!(x.is_subnormal(), "{x}");
            assert!((x / scale - y).abs() < 1e-3, "{x} for {y}");
        }
    }
}
