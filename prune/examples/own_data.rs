//! Trains, prunes and saves a network on images of one's own, here drawn stripes in four directions:
//! `cargo run --release -p pleach-prune --example own_data -- [FILE]`.
//!
//! The file, by default `pleach-own-data.safetensors` in the folder for temporary files, is a network that the program
//! takes too: `pleach inspect FILE`, `pleach bench FILE`, `pleach export FILE --format onnx -o own_data.onnx`.

#![expect(clippy::print_stdout, reason = "the accuracies are the result")]

use pleach_core::checkpoint::{self, Dtype};
use pleach_core::tensor::rng::{Purpose, Rng};
use pleach_core::{Network, Shape, models};
use pleach_datasets::{Dataset, Spec, Split};
use pleach_kernels::{Context, Isa};
use pleach_prune::eval::evaluate;
use pleach_prune::net;
use pleach_prune::phases::{self, PruneConfig};
use pleach_prune::target::{Target, Unit};
use pleach_prune::trainer::{Silent, TrainConfig, Trainer};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// A built-in model, which takes images of any number of channels; `GraphBuilder` makes other networks.
const MODEL: &str = "vgg-small";

/// Rows and columns of an image.
const SIDE: usize = 16;

/// Grey images of stripes, the class being their direction.
struct Stripes {
    spec: Spec,
    /// Pixels of the images of each split, in the order of [`Split::ALL`]; their classes take turns.
    images: [Vec<Vec<u8>>; 3],
}

/// Each class with the direction, across and down, in which its stripes follow each other.
const CLASSES: [(&str, [f64; 2]); 4] = [
    ("level", [0.0, 1.0]),
    ("upright", [1.0, 0.0]),
    ("rising", [1.0, 1.0]),
    ("falling", [1.0, -1.0]),
];

impl Stripes {
    fn new() -> Self {
        let spec = Spec {
            name: "stripes".into(),
            classes: CLASSES.len(),
            channels: 1,
            height: SIDE,
            width: SIDE,
            // Of the training images' pixels, as fractions of 255.
            mean: vec![0.5],
            std: vec![0.27],
            class_names: CLASSES.map(|(name, _)| name.to_owned()).into(),
        };
        let drawn = |(split, count): (Split, usize)| -> Vec<Vec<u8>> {
            (0..count).map(|index| draw(split, index)).collect()
        };
        let images = [(Split::Train, 600), (Split::Validation, 200), (Split::Test, 200)];
        Self { spec, images: images.map(drawn) }
    }
}

/// An image is a function of its split and number, so that every run sees the same.
fn draw(split: Split, index: usize) -> Vec<u8> {
    let mut rng = Rng::new(0, Purpose::Test, split as u64, index as u64);
    let (_, [across, down]) = CLASSES[index % CLASSES.len()];
    let (period, start) = (3.0 + 4.0 * rng.uniform(), rng.uniform());
    let pixels = (0..SIDE * SIDE).map(|i| {
        let way = (i % SIDE) as f64 * across + (i / SIDE) as f64 * down;
        let wave = (std::f64::consts::TAU * (way / period + start)).sin();
        // A cast keeps what is beyond a byte at its ends.
        (128.0 + 80.0 * wave + 40.0 * rng.normal()) as u8
    });
    pixels.collect()
}

impl Dataset for Stripes {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn len(&self, split: Split) -> usize {
        self.images[split as usize].len()
    }

    fn label(&self, _: Split, index: usize) -> u32 {
        (index % CLASSES.len()) as u32
    }

    fn pixels(&self, split: Split, index: usize) -> &[u8] {
        &self.images[split as usize][index]
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = || std::env::temp_dir().join("pleach-own-data.safetensors");
    let path = std::env::args_os().nth(1).map_or_else(temporary, PathBuf::from);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cx = Context::new(Isa::best(), threads);
    let dataset: Arc<dyn Dataset> = Arc::new(Stripes::new());

    let base = train(&cx, &dataset)?;
    let outcome = phases::run(&cx, &dataset, &base, MODEL, &pruning()?, &mut Silent)?;
    for (name, facts) in [("base", &outcome.base), ("pruned", &outcome.pruned)] {
        let accuracy = 100.0 * facts.accuracy;
        println!(
            "{name}: {accuracy:.1} % of the test images are right, {} multiply-adds, {} parameters",
            facts.macs, facts.params
        );
    }
    if !outcome.target_met {
        println!(
            "the target was not met within the limit: this is the best network that was found"
        );
    }

    let meta = net::meta(MODEL, dataset.spec());
    checkpoint::save(&path, &outcome.network, &meta, Dtype::F32, false)?;
    let again = checkpoint::load(&path)?.network;
    let found = evaluate(&cx, &again, &dataset, Split::Test, None);
    assert_eq!(found.accuracy, outcome.pruned.accuracy, "the file has the network");
    println!("{}", path.display());
    Ok(())
}

/// Trains a network from scratch.
fn train(cx: &Context, dataset: &Arc<dyn Dataset>) -> Result<Network, Box<dyn Error>> {
    let spec = dataset.spec();
    let image = Shape::new(spec.channels, spec.height, spec.width);
    let graph = models::build(MODEL, image, spec.classes)?;
    // Mirrored, a rising stripe falls: these images must stay as they are.
    let config =
        TrainConfig { epochs: 8.0, batch: 50, augment: false, ..TrainConfig::for_graph(&graph) };
    let network = config.network(graph);
    let mut trainer = Trainer::new(cx, Arc::clone(dataset), config, network);
    while !trainer.is_finished() {
        let epoch = trainer.epoch(&mut Silent)?;
        println!("epoch {}: loss {:.3}", epoch.epoch, epoch.loss);
    }
    Ok(trainer.into_network())
}

/// A fourth of the multiply-adds, for five points of accuracy at most.
fn pruning() -> Result<PruneConfig, Box<dyn Error>> {
    let mut config = PruneConfig {
        target: Some(Target { unit: Unit::Macs, amount: "4x".parse()? }),
        max_drop: 5.0,
        epochs_budget: Some(12.0),
        calibration: 400,
        ..PruneConfig::default()
    };
    for tuning in [&mut config.tune, &mut config.final_tune] {
        (tuning.batch, tuning.augment) = (50, false);
    }
    Ok(config)
}
