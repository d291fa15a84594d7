//! Times a forward pass of inference engines written in Rust, for `benches/peers/peers.py`:
//!
//! ```text
//! engines tract|rten MODEL.onnx BATCH THREADS SECONDS [--input FILE] [--output FILE]
//! ```
//!
//! prints `{"ms_p50": ...}`, the median time in milliseconds over `SECONDS`. Images are of shape
//! `[BATCH, 3, 32, 32]`: raw little-endian f32 values from `--input`, or pseudo-random ones, the
//! same in every run. `--output` receives the logits in the same form. Exit codes: 1 runtime,
//! 2 usage, or a number of threads that the engine is not measured on.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use rten::{ModelOptions, RunOptions, ThreadPool, Value, ValueView};
use tract_onnx::prelude::*;

const USAGE: &str = "usage: engines tract|rten MODEL.onnx BATCH THREADS SECONDS \
                     [--input FILE] [--output FILE]";

/// `[IC, IH, IW]` of an image.
const IMAGE: [usize; 3] = [3, 32, 32];

/// Passes before the clock counts.
const WARM_UP_PASSES: usize = 2;

/// A median needs some times even if one pass takes longer than all the seconds.
const MIN_PASSES: usize = 3;

/// A forward pass: the logits of the images it was made with.
type Pass = Box<dyn FnMut() -> Result<Vec<f32>>>;

#[derive(Clone, Copy, PartialEq)]
enum Engine {
    Tract,
    Rten,
}

struct Args {
    engine: Engine,
    model: String,
    batch: usize,
    threads: usize,
    seconds: f64,
    input: Option<String>,
    output: Option<String>,
}

impl Args {
    fn parse(args: impl Iterator<Item = String>) -> Result<Args> {
        let (mut plain, mut input, mut output) = (Vec::new(), None, None);
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--input" => input = Some(args.next().context("--input needs a file")?),
                "--output" => output = Some(args.next().context("--output needs a file")?),
                _ => plain.push(arg),
            }
        }
        let [engine, model, batch, threads, seconds] = plain.try_into().ok().context(USAGE)?;
        let args = Args {
            engine: match engine.as_str() {
                "tract" => Engine::Tract,
                "rten" => Engine::Rten,
                _ => bail!("no engine `{engine}`: {USAGE}"),
            },
            model,
            batch: batch.parse().with_context(|| format!("batch `{batch}`"))?,
            threads: threads.parse().with_context(|| format!("threads `{threads}`"))?,
            seconds: seconds.parse().with_context(|| format!("seconds `{seconds}`"))?,
            input,
            output,
        };
        ensure!(args.batch > 0 && args.threads > 0, "batch and threads are at least 1");
        ensure!(
            Duration::try_from_secs_f64(args.seconds).is_ok(),
            "seconds are finite and not negative, not {}",
            args.seconds
        );
        // Threads are an option of tract-linalg that tract-onnx leaves out.
        ensure!(
            args.engine != Engine::Tract || args.threads == 1,
            "tract is measured on one thread only, as tract-onnx builds it, not on {}",
            args.threads
        );
        Ok(args)
    }
}

fn main() -> ExitCode {
    let args = match Args::parse(env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("engines: {error:#}");
            return ExitCode::from(2);
        }
    };
    match measure(&args) {
        Ok(ms) => println!("{{\"ms_p50\": {ms}}}"),
        Err(error) => {
            eprintln!("engines: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The median time of a forward pass in milliseconds.
fn measure(args: &Args) -> Result<f64> {
    let images = images(args)?;
    let mut pass = match args.engine {
        Engine::Tract => tract(args, images)?,
        Engine::Rten => rten(args, images)?,
    };
    let mut logits = Vec::new();
    for _ in 0..WARM_UP_PASSES {
        logits = pass()?;
    }
    if let Some(path) = &args.output {
        let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
        fs::write(path, bytes).with_context(|| path.clone())?;
    }
    let (mut times, begin) = (Vec::new(), Instant::now());
    while times.len() < MIN_PASSES || begin.elapsed().as_secs_f64() < args.seconds {
        let start = Instant::now();
        pass()?;
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let (low, high) = (times[(times.len() - 1) / 2], times[times.len() / 2]);
    Ok((low + high) / 2.0)
}

/// Images of shape `[BATCH, 3, 32, 32]`.
fn images(args: &Args) -> Result<Vec<f32>> {
    let len = args.batch * IMAGE.iter().product::<usize>();
    let Some(path) = &args.input else {
        return Ok(pseudo_random(len));
    };
    let bytes = fs::read(path).with_context(|| path.clone())?;
    ensure!(bytes.len() == 4 * len, "{path}: {} bytes, expected {}", bytes.len(), 4 * len);
    Ok(bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect())
}

/// Values in `[-1, 1)` from the top 24 bits of a linear congruential generator with Knuth's
/// multiplier and increment (MMIX).
fn pseudo_random(len: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn tract(args: &Args, images: Vec<f32>) -> Result<Pass> {
    let [ic, ih, iw] = IMAGE;
    let shape = [args.batch, ic, ih, iw];
    let mut state = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .model_for_path(&args.model)?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()?
        .spawn()?;
    let images = TValue::from_const(Tensor::from_shape(&shape, &images)?.into());
    Ok(Box::new(move || {
        let outputs = state.run(tvec![images.clone()])?;
        Ok(outputs[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }))
}

fn rten(args: &Args, images: Vec<f32>) -> Result<Pass> {
    let [ic, ih, iw] = IMAGE;
    let shape = [args.batch, ic, ih, iw];
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(&args.model)?;
    let pool = Arc::new(ThreadPool::with_num_threads(args.threads));
    let options = RunOptions::default().with_thread_pool(Some(pool));
    Ok(Box::new(move || {
        let images = ValueView::from_shape(shape, &images)?;
        let logits: Value = model.run_one(images.into(), Some(options.clone()))?;
        let ([_, _], logits) = logits.into_shape_vec::<f32, 2>()?;
        Ok(logits)
    }))
}
