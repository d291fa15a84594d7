//! The machine that a run ran on.

use pleach_kernels::{Isa, conv2d};
use serde::Serialize;
use std::fs;
use std::path::Path;

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
    /// The caches of the first core, where the operating system tells, the nearest first.
    pub caches: Vec<Cache>,
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

/// A cache that data passes through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// 1 for the nearest.
    pub level: u8,
    /// Its size in bytes.
    pub bytes: u64,
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
            caches: caches(Path::new("/sys/devices/system/cpu/cpu0/cache")),
            isa: isa.name,
            isas: Isa::available().map(|isa| isa.name).collect(),
            threads,
            optimised: !cfg!(debug_assertions),
            algorithms: conv2d::FORWARD.iter().map(|algorithm| algorithm.name).collect(),
        }
    }
}

/// The machine's memory in bytes, where the operating system tells.
#[must_use]
pub fn memory() -> Option<u64> {
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

/// Those below a folder like Linux's `cpu0/cache`: `index*/{level,type,size}`.
fn caches(folder: &Path) -> Vec<Cache> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let cache = |path: &Path| {
        let read = |name: &str| fs::read_to_string(path.join(name)).ok();
        let size = read("size")?;
        let kibibytes: u64 = size.trim().strip_suffix('K')?.parse().ok()?;
        let level = read("level")?.trim().parse().ok()?;
        let of_data = read("type")?.trim() != "Instruction";
        of_data.then_some(Cache { level, bytes: 1024 * kibibytes })
    };
    let mut caches: Vec<Cache> = entries.filter_map(|entry| cache(&entry.path())).collect();
    caches.sort_by_key(|cache| cache.level);
    caches
}

/// Warns where a run goes on with another instruction set than it was begun with.
pub(crate) fn warn_of_other_isa(then: &str, now: &str) {
    if then != now {
        log::warn!(
            "the run was begun with {then} and goes on with {now}: an uninterrupted one has other bits"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_of_data_are_listed_the_nearest_first() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("index3", "3\n", "Unified\n", "32768K\n"),
            ("index0", "1\n", "Data\n", "32K\n"),
            ("index1", "1\n", "Instruction\n", "32K\n"),
            ("index2", "2\n", "Unified\n", "?\n"),
        ];
        for (name, level, kind, size) in files {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            for (file, text) in [("level", level), ("type", kind), ("size", size)] {
                fs::write(path.join(file), text).unwrap();
            }
        }
        fs::write(folder.path().join("uevent"), "").unwrap();
        let [nearest, last] =
            [(1, 32 << 10), (3, 32 << 20)].map(|(level, bytes)| Cache { level, bytes });
        assert_eq!(caches(folder.path()), [nearest, last]);
        assert_eq!(caches(&folder.path().join("none")), []);
    }
}
