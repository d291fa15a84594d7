//! One row per instruction set: everything the rest of the crate knows about it.

use crate::simd::{self, Simd};

/// An instruction set and the kernels compiled for it. Obtained from [`ISAS`] only, by name or by
/// what this CPU can run.
#[derive(Debug)]
pub struct Isa {
    /// The name users write: `avx512`, `avx2`, `neon`, `portable`.
    pub name: &'static str,
    /// Floats in a vector.
    pub lanes: usize,
    detect: fn() -> bool,
}

impl Isa {
    const fn of<S: Simd>() -> Self {
        Self { name: S::NAME, lanes: S::LANES, detect: || S::detect().is_some() }
    }

    /// Whether this CPU can run it.
    #[must_use]
    pub fn is_available(&self) -> bool {
        (self.detect)()
    }

    /// The best instruction set of this CPU.
    #[must_use]
    pub fn best() -> &'static Self {
        Self::available().next().expect("the portable instruction set is always available")
    }

    /// The instruction sets that this CPU can run, best first.
    pub fn available() -> impl Iterator<Item = &'static Self> {
        ISAS.iter().filter(|isa| isa.is_available())
    }

    /// The instruction set called `name`, if this build has it (available or not).
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ISAS.iter().find(|isa| isa.name == name)
    }
}

/// Every instruction set of this build, best first.
pub static ISAS: &[Isa] = &[
    #[cfg(target_arch = "x86_64")]
    Isa::of::<simd::avx2::Avx2>(),
    Isa::of::<simd::portable::Portable>(),
];
