use super::pass::copy;
use super::{BackwardCx, Coupling, ForwardCx, LayerKind, Mode, single};
use crate::tensor::rng::{Purpose, Rng};
use crate::tensor::{Shape, ShapeError};
use serde::{Deserialize, Serialize};

/// In training, zeroes each value with probability `p` and scales the rest by `1 / (1 - p)`
/// (Srivastava et al. 2014); the identity otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability of zeroing a value, in `[0, 1)`.
    pub p: f32,
}

impl LayerKind for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        if !(0.0..1.0).contains(&self.p) {
            return Err(ShapeError(format!("has a probability of {}, outside [0, 1)", self.p)));
        }
        single(inputs)
    }

    fn coupling(&self) -> Coupling {
        Coupling::Keeps
    }

    fn forward(&self, cx: ForwardCx<'_>) {
        let (src, dst) = (cx.inputs[0].data(), cx.dst.data_mut());
        if cx.mode == Mode::Eval {
            return copy(cx.kernels, src, dst);
        }
        let mut rng = Rng::new(cx.key.seed, Purpose::Dropout, cx.key.step, cx.node.0 as u64);
        let (p, kept) = (f64::from(self.p), 1.0 / (1.0 - self.p));
        let factors = cx.workspace.floats.take(src.len());
        factors.fill_with(|| if rng.uniform() < p { 0.0 } else { kept });
        multiply(src, factors, dst);
    }

    fn backward(&self, cx: BackwardCx<'_>) {
        let Some(diff_src) = &mut cx.diff_inputs[0] else { return };
        let (diff_dst, diff_src) = (cx.diff_dst.data(), diff_src.data_mut());
        match cx.mode {
            Mode::Eval => copy(cx.kernels, diff_dst, diff_src),
            Mode::Train => multiply(diff_dst, &cx.workspace.floats[..diff_dst.len()], diff_src),
        }
    }
}

fn multiply(src: &[f32], factors: &[f32], dst: &mut [f32]) {
    for ((dst, &x), &factor) in dst.iter_mut().zip(src).zip(factors) {
        *dst = x * factor;
    }
}
