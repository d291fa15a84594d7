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
mod torchvision;

use pleach_core::{Network, Plan, Tensor};
use pleach_kernels::{Context, Isa};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that `make.py` made.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exchange").join(name)
}

fn logits(network: &Network, images: &Tensor) -> Vec<f32> {
    let cx = Context::new(Isa::from_env().unwrap(), 1);
    Plan::new(&cx, network, images.n()).run(&cx, images).to_nchw()
}

/// What `script` prints about `folder`, if there is a Python that has what it needs; `left_out` is what is not
/// checked without one.
fn python(script: &str, folder: &Path, left_out: &str) -> Option<String> {
    let Some(python) = env::var_os("PLEACH_PYTHON") else {
        eprintln!("PLEACH_PYTHON names no Python with torch; left out: {left_out}");
        return None;
    };
    let output = Command::new(python).arg(fixture(script)).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        eprintln!("PLEACH_PYTHON has not all of what {script} needs; left out: {left_out}");
        return None;
    }
    assert!(output.status.success(), "{script}: {said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
