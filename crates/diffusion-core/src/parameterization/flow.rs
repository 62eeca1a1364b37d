//! Flow matching: prediction of the velocity on the straight path.

use super::{Mix, Parameterization};
use crate::path::Straight;

/// The network predicts the velocity ε − x₀ of the straight path (Lipman et al. 2023, arXiv:2210.02747).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowPrediction;

impl Parameterization for FlowPrediction {
    type Path = Straight;

    fn path(&self) -> Straight {
        Straight
    }

    fn target(&self, _sigma: f64) -> Mix {
        Mix { x0: -1.0, eps: 1.0 }
    }
}
