//! Running a plan asks the system for no memory.
//!
//! Alone in its file, since the size of the address space is the process's: what another test took
//! meanwhile would be counted.

use memmap2::MmapMut;
use pleach_core::{Network, Plan, Shape, Tensor, models};
use pleach_kernels::{Context, Isa};
use std::fs;

/// More bytes than reading the numbers may itself take.
const SMALL: usize = 1 << 20;

/// Bytes of this process's address space, the most so far and now: large buffers come from the system, not from
/// the allocator.
fn address_space() -> Option<[usize; 2]> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<usize>().ok()).map(|kib| 1024 * kib)
    };
    Some([bytes("VmPeak:")?, bytes("VmSize:")?])
}

/// By how many bytes the largest size of the address space grows while `work` runs, even if they are given back
/// before it ends: until then as much is mapped as was at most so far.
fn grows(work: impl FnOnce()) -> usize {
    let known = || address_space().expect("it was known before");
    let [peak, size] = known();
    let _ballast = MmapMut::map_anon((peak - size).max(1)).expect("what was mapped before");
    let before = known()[0];
    work();
    known()[0] - before
}

#[test]
fn a_plan_maps_nothing_when_it_runs() {
    if address_space().is_none() {
        eprintln!("left out: this system does not say how large the address space was at most");
        return;
    }
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    let image = Shape::new(3, 32, 32);
    let net = Network::init(models::build("vgg16", image, 10).unwrap(), 1);
    let mut plan = Plan::new(&cx, &net, 16);
    let input = Tensor::zeros(16, image);
    let grown = grows(|| _ = plan.run(&cx, &input));
    assert!(grown < SMALL, "{grown} bytes mapped");
    let grown = grows(|| drop(Tensor::zeros(1024, image)));
    assert!(grown > SMALL, "a tensor of 64 MiB mapped {grown} bytes and was not seen");
}
