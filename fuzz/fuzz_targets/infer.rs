//! On random graphs, a plan (folded, fused, in an arena) computes what a forward pass computes, the same bits
//! for any number of threads, on every instruction set of this CPU.
#![no_main]

#[path = "../../prune/tests/graphs/mod.rs"]
mod graphs;

use libfuzzer_sys::fuzz_target;
use pleach_core::{Mode, Plan, StepKey, Tape};
use pleach_kernels::{Context, Isa};

fuzz_target!(|data: (u8, u8, u8, &[u8])| {
    let (isa, batch, seed, bytes) = data;
    let mut network = graphs::network(graphs::graph(bytes), u64::from(seed));
    let batch = usize::from(batch) % 9 + 1;
    let images = graphs::images(batch, network.graph().input_shape(), u64::from(seed));
    let isas: Vec<&Isa> = Isa::available().collect();
    let isa = isas[usize::from(isa) % isas.len()];
    let [one, three] = [1, 3].map(|threads| {
        let cx = Context::new(isa, threads);
        Plan::new(&cx, &network, batch).run(&cx, &images).to_nchw()
    });
    assert!(one.iter().zip(&three).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", isa.name);
    let cx = Context::new(isa, 2);
    let mut tape = Tape::new();
    let taped = tape.forward(&cx, &mut network, &images, Mode::Eval, StepKey::default()).to_nchw();
    let scale = taped.iter().fold(1.0f32, |max, x| max.max(x.abs()));
    for (a, b) in one.iter().zip(&taped) {
        assert!((a - b).abs() <= 1e-4 * scale, "{a} for {b} on {}\n{}", isa.name, network.graph());
    }
});
