//! Running a plan asks the system for no memory.
//!
//! Alone in its file, since the size of the address space is the process's: what another test took
//! meanwhile would be counted.

use pleach_core::{Network, Plan, Shape, Tensor, models};
use pleach_kernels::{Context, Isa};

/// Pages of this process's address space: large buffers come from the system, not from the allocator.
fn mapped_pages() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').next()?.parse().ok()
}

/// What `work` maps for good, in pages of address space: the least of some tries, since reading the
/// number may itself take a page.
fn maps(mut work: impl FnMut()) -> u64 {
    let tries = (0..5).map(|_| {
        let before = mapped_pages();
        work();
        mapped_pages().zip(before).map_or(0, |(after, before)| after.saturating_sub(before))
    });
    tries.min().unwrap_or(0)
}

#[test]
fn a_plan_maps_nothing_when_it_runs() {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let image = Shape::new(3, 32, 32);
    let net = Network::init(models::build("vgg16", image, 10).unwrap(), 1);
    let mut plan = Plan::new(&cx, &net, 16);
    let input = Tensor::zeros(16, image);
    assert_eq!(maps(|| _ = plan.run(&cx, &input)), 0);
    if cfg!(target_os = "linux") {
        let mut kept = Vec::new();
        assert!(maps(|| kept.push(Tensor::zeros(256, image))) > 0, "large tensors are mapped");
    }
}
