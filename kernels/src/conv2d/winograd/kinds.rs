//! The transforms, what they are for, and what they are expected to cost.

use super::super::Conv2dGeometry;
use super::super::cost::Stages;
use super::super::taps::Pass;
use super::Table;
use super::stages::Kernels;
use super::stride_2::{F43Stride2, F43Stride2Data};
use super::tiling::Tiling;
use super::transform::{F23, F23Stride2, F43, Toeplitz, Transform};

/// A transform and the geometries that it is for.
pub(super) trait Kind<const SIDE: usize = 6>: Transform<SIDE> {
    const STAGES: Stages;

    fn applies(g: &Conv2dGeometry) -> bool;
    fn kernels(table: &Table) -> &Kernels;

    fn tiling(pass: &Pass) -> Tiling {
        let padding = pass.g.padding;
        let before = if pass.forward { padding } else { 2 - padding };
        Tiling::new(pass, Self::OUTPUT, Self::PRODUCTS, before)
    }
}

impl Kind for F43 {
    const STAGES: Stages =
        Stages { factors: 350.0, outputs: 250.0, weights: 300.0, spread: 70.0, collect: 170.0 };

    fn applies(_: &Conv2dGeometry) -> bool {
        true
    }

    fn kernels(table: &Table) -> &Kernels {
        &table.f43
    }
}

impl Kind for F23 {
    const STAGES: Stages =
        Stages { factors: 120.0, outputs: 80.0, weights: 200.0, spread: 30.0, collect: 90.0 };

    fn applies(_: &Conv2dGeometry) -> bool {
        true
    }

    fn kernels(table: &Table) -> &Kernels {
        &table.f23
    }
}

impl Kind for F23Stride2 {
    const STAGES: Stages =
        Stages { factors: 170.0, outputs: 100.0, weights: 250.0, spread: 40.0, collect: 130.0 };

    fn applies(_: &Conv2dGeometry) -> bool {
        true
    }

    fn kernels(table: &Table) -> &Kernels {
        &table.f23_stride_2
    }
}

impl Kind<9> for F43Stride2 {
    const STAGES: Stages =
        Stages { factors: 600.0, outputs: 400.0, weights: 1500.0, spread: 150.0, collect: 400.0 };

    fn applies(_: &Conv2dGeometry) -> bool {
        true
    }

    fn kernels(table: &Table) -> &Kernels {
        &table.f43_stride_2
    }
}

impl Kind<9> for F43Stride2Data {
    const STAGES: Stages = Stages { factors: 400.0, outputs: 600.0, ..F43Stride2::STAGES };

    fn applies(g: &Conv2dGeometry) -> bool {
        g.padding == 1
    }

    fn kernels(table: &Table) -> &Kernels {
        &table.f43_stride_2_data
    }

    fn tiling(pass: &Pass) -> Tiling {
        Tiling::new(pass, Self::OUTPUT, Self::PRODUCTS, 0)
    }
}

impl Kind for Toeplitz {
    const STAGES: Stages =
        Stages { factors: 60.0, outputs: 60.0, weights: 150.0, spread: 20.0, collect: 60.0 };

    fn applies(g: &Conv2dGeometry) -> bool {
        (g.ih, g.iw, g.padding) == (2, 2, 1)
    }

    fn kernels(table: &Table) -> &Kernels {
        &table.toeplitz
    }

    fn tiling(pass: &Pass) -> Tiling {
        Tiling::new(pass, Self::OUTPUT, Self::PRODUCTS, 0)
    }
}
