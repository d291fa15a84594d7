//! The machine that a run ran on.

use pleach_kernels::{Isa, conv2d};
use serde::Serialize;
use std::fs;

/// What a measurement depends on beside the code.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Environment {
    /// `pleach.env/1`.
    pub schema: &'static str,
    /// This program's version.
    pub version: &'static str,
    /// The operating system.
    pub os: &'static str,
    /// The processor's architecture.
    pub arch: &'static str,
    /// The processor's name, where the operating system tells.
    pub cpu: Option<String>,
    /// Cores that the process may use.
    pub cores: usize,
    /// Memory in bytes, where the operating system tells.
    pub memory_bytes: Option<u64>,
    /// The instruction set in use.
    pub isa: &'static str,
    /// All instruction sets that this processor can run, best first.
    pub isas: Vec<&'static str>,
    /// Threads in use.
    pub threads: usize,
    /// Whether the program was built with optimisation.
    pub optimised: bool,
    /// The convolution algorithms, in order of priority.
    pub algorithms: Vec<&'static str>,
}

impl Environment {
    /// This machine, with what is in use.
    #[must_use]
    pub fn current(isa: &'static Isa, threads: usize) -> Self {
        Self {
            schema: "pleach.env/1",
            version: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory(),
            isa: isa.name,
            isas: Isa::available().map(|isa| isa.name).collect(),
            threads,
            optimised: !cfg!(debug_assertions),
            algorithms: conv2d::FORWARD.iter().map(|algorithm| algorithm.name).collect(),
        }
    }
}

fn memory() -> Option<u64> {
    let text = field("/proc/meminfo", "MemTotal")?;
    let kibibytes: u64 = text.strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

/// The value of the first line `KEY : VALUE`.
fn field(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value)
    });
    Some(line?.trim().to_owned())
}
