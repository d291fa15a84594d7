//! How weights are stored: in inference (`--weights`), and in files (`--dtype`).

use clap::{Args, ValueEnum};
use pleach_core::checkpoint::Dtype;
use pleach_kernels::conv2d::Storage;
use serde::{Deserialize, Serialize};

/// The flag.
#[derive(Args)]
pub(super) struct WeightsArg {
    /// How weights are stored in inference; arithmetic is in f32
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    weights: Weights,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Weights {
    /// As they are
    #[default]
    F32,
    /// Rounded to half the bytes, with the range of f32
    Bf16,
    /// Rounded to half the bytes, eight times finer than bf16
    F16,
}

impl WeightsArg {
    /// What the kernels call it.
    pub(super) fn storage(&self) -> Storage {
        match self.weights {
            Weights::F32 => Storage::F32,
            Weights::Bf16 => Storage::Bf16,
            Weights::F16 => Storage::F16,
        }
    }

    /// What users write.
    pub(super) fn name(&self) -> &'static str {
        match self.weights {
            Weights::F32 => "f32",
            Weights::Bf16 => "bf16",
            Weights::F16 => "f16",
        }
    }
}

/// The type of weights in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DtypeName {
    #[default]
    F32,
    F16,
    Bf16,
}

impl DtypeName {
    /// What checkpoints call it.
    pub(super) fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::Bf16,
        }
    }
}
