//! Running a plan allocates nothing, and a training step nothing large.

#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use pleach_core::autograd::Tape;
use pleach_core::layers::{Mode, StepKey};
use pleach_core::loss::cross_entropy;
use pleach_core::optim::Optimizer;
use pleach_core::{Network, Plan, Shape, Tensor, models};
use pleach_kernels::{Context, Isa};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static LARGE: Cell<usize> = const { Cell::new(0) };
}

/// Bytes of a large allocation: a page. What is smaller are lists of a few entries a layer.
const PAGE: usize = 4096;

/// The system's allocator, counting the calls of each thread, and those for large blocks.
struct Counting;

// SAFETY: every call goes to `System` with the arguments it came with, so `System`'s guarantees are
// this allocator's. The counters are constant-initialised `Cell`s without destructors: reaching them
// neither allocates nor fails at any time in a thread's life.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        LARGE.set(LARGE.get() + usize::from(layout.size() >= PAGE));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `System` with this `layout`, as all of this allocator's do.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_plan_allocates_nothing_when_it_runs() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let image = Shape::new(3, 32, 32);
    for spec in ["vgg-small", "resnet20", "concat-small", "mobile-small"] {
        let net = Network::init(models::build(spec, image, 10).unwrap(), 1);
        let mut plan = Plan::new(&cx, &net, 4);
        let inputs = [4, 1, 3].map(|n| Tensor::zeros(n, image));
        let before = COUNT.get();
        for input in &inputs {
            plan.run(&cx, input);
        }
        assert_eq!(COUNT.get() - before, 0, "{spec}");
        drop(std::hint::black_box(Box::new(1u8)));
        assert_eq!(COUNT.get() - before, 1, "the counter counts");
    }
}

#[test]
fn a_training_step_allocates_nothing_large_from_the_second_on() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let (image, n) = (Shape::new(3, 32, 32), 8);
    for spec in ["vgg-small", "resnet20", "concat-small", "mobile-small"] {
        for optimizer in [
            Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 },
            Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 },
            Optimizer::Muon {
                momentum: 0.6,
                iterations: 3,
                others_lr: 2.0,
                others_momentum: 0.9,
                weight_decay: 5e-4,
            },
        ] {
            let mut net = Network::init(models::build(spec, image, 10).unwrap(), 1);
            let (images, labels) = (Tensor::zeros(n, image), [0, 1, 2, 3, 4, 5, 6, 7]);
            let mut diff = Tensor::zeros(n, net.graph().output_shape());
            let mut tape = Tape::new();
            for step in 0..4 {
                let before = LARGE.get();
                let key = StepKey { seed: 1, step };
                let logits = tape.forward(&cx, &mut net, &images, Mode::Train, key);
                cross_entropy(&cx, logits, &labels, 0.1, Some(&mut diff));
                tape.backward(&cx, &mut net, &diff, false);
                optimizer.step(&cx, &mut net, 0.01, step);
                let large = LARGE.get() - before;
                assert_eq!(large == 0, step > 0, "{spec}, step {step}: {large} large allocations");
            }
        }
    }
}
