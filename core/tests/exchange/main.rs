//! Networks and arrays that come from PyTorch and NumPy and go there.

mod archive;
mod hostile_npy;
mod hostile_pth;
mod modeling;
mod npy;
mod pth;
#[path = "../random/mod.rs"]
mod random;
mod state_dict;

use pleach_core::{Network, Plan, Tensor};
use pleach_kernels::{Context, Isa};
use std::path::{Path, PathBuf};

/// A file that `make.py` made.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exchange").join(name)
}

fn logits(network: &Network, images: &Tensor) -> Vec<f32> {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    Plan::new(&cx, network, images.n()).run(&cx, images).to_nchw()
}
