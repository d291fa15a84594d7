//! Running a plan allocates nothing.

#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use pleach_core::{Network, Plan, Shape, Tensor, models};
use pleach_kernels::{Context, Isa};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

// SAFETY: every call goes to `System` with the arguments it came with, so `System`'s guarantees are
// this allocator's. The counter is a constant-initialised `Cell` without a destructor: reaching it
// neither allocates nor fails at any time in a thread's life.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
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
