//! One row per instruction set: everything the rest of the crate knows about it.

use crate::conv2d::depthwise;
use crate::simd::{self, Simd, SimdOp};
use crate::{add, batch_norm, conv2d, gemm, linear, optimizer, peak, pool, reduce, relu};
use std::error::Error;
use std::{env, fmt};

/// An instruction set and the kernels compiled for it. Obtained from [`ISAS`] only, by name or by
/// what this CPU can run.
#[derive(Debug)]
pub struct Isa {
    /// The name users write: `avx512`, `avx2`, `neon`, `portable`.
    pub name: &'static str,
    /// Floats in a vector.
    pub lanes: usize,
    /// Rows of a tile of the matrix product.
    pub(crate) rows: usize,
    /// [`Simd::FETCH_PER_ROW`].
    pub(crate) fetch_per_row: f64,
    detect: fn() -> bool,
    pub(crate) add: add::Table,
    pub(crate) batch_norm: batch_norm::Table,
    pub(crate) depthwise: depthwise::Table,
    pub(crate) linear: linear::Table,
    pub(crate) pool: pool::Table,
    pub(crate) optimizer: optimizer::Table,
    pub(crate) peak: peak::Table,
    pub(crate) reduce: reduce::Table,
    pub(crate) relu: relu::Table,
    pub(crate) conv2d: conv2d::Table,
    pub(crate) gemm: gemm::Table,
}

impl Isa {
    const fn of<S: Simd>() -> Self {
        Self {
            name: S::NAME,
            lanes: S::LANES,
            rows: S::MR,
            fetch_per_row: S::FETCH_PER_ROW,
            detect: || S::detect().is_some(),
            add: add::Table::of::<S>(),
            batch_norm: batch_norm::Table::of::<S>(),
            depthwise: depthwise::Table::of::<S>(),
            linear: linear::Table::of::<S>(),
            pool: pool::Table::of::<S>(),
            optimizer: optimizer::Table::of::<S>(),
            peak: peak::Table::of::<S>(),
            reduce: reduce::Table::of::<S>(),
            relu: relu::Table::of::<S>(),
            conv2d: conv2d::Table::of::<S>(),
            gemm: gemm::Table::of::<S>(),
        }
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

    /// The instruction set called `name`.
    ///
    /// # Errors
    /// If this build does not have it, or this CPU cannot run it.
    pub fn find(name: &str) -> Result<&'static Self, IsaError> {
        match Self::named(name) {
            Some(isa) if isa.is_available() => Ok(isa),
            Some(isa) => Err(IsaError::Unavailable(isa)),
            None => Err(IsaError::Unknown(name.to_owned())),
        }
    }

    /// The instruction set that the environment variable `PLEACH_ISA` names, or the best.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn from_env() -> Result<&'static Self, IsaError> {
        env::var("PLEACH_ISA").map_or_else(|_| Ok(Self::best()), |name| Self::find(&name))
    }
}

/// Why an instruction set cannot be had.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IsaError {
    /// This build has none of that name.
    Unknown(String),
    /// This CPU lacks it.
    Unavailable(&'static Isa),
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |isas: &mut dyn Iterator<Item = &'static Isa>| {
            isas.map(|isa| isa.name).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Unknown(name) => {
                let all = list(&mut ISAS.iter());
                write!(f, "there is no instruction set {name:?}; this build has {all}")
            }
            Self::Unavailable(isa) => {
                let available = list(&mut Isa::available());
                let name = isa.name;
                write!(f, "this CPU cannot run the instruction set {name}; it can run {available}")
            }
        }
    }
}

impl Error for IsaError {}

/// Runs `op` on the instruction set `S`: what every entry of a kernel table does.
///
/// # Panics
/// If this CPU lacks `S`.
pub(crate) fn enter<S: Simd, O: SimdOp>(op: O) -> O::Output {
    S::detect().expect("the CPU has the context's instruction set").vectorize(op)
}

/// Every instruction set of this build, best first.
pub static ISAS: &[Isa] = &[
    #[cfg(target_arch = "x86_64")]
    Isa::of::<simd::avx512::Avx512>(),
    #[cfg(target_arch = "x86_64")]
    Isa::of::<simd::avx2::Avx2>(),
    #[cfg(target_arch = "aarch64")]
    Isa::of::<simd::neon::Neon>(),
    Isa::of::<simd::portable::Portable>(),
];

/// The tile of AVX-512 on any CPU, for tests.
#[cfg(test)]
pub(crate) static WIDE: Isa = Isa::of::<simd::portable::Portable<16>>();
