//! Flow matching with logit-normal times.

use super::sequence::sigmoid;
use super::{Flow, Schedule, Sigmas};
use crate::normal::normal_quantile;
use crate::path::Straight;
use crate::random::Stream;

/// Flow matching with logit-normal times: training draws σ = sigmoid(N(0, 1)), clamped to [`t_min`, `t_max`]
/// (Esser et al. 2024, arXiv:2403.03206, §3.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogNormalFlow(Flow);

impl LogNormalFlow {
    /// The schedule whose sampling times are those of [`Flow::new`].
    ///
    /// # Panics
    /// If [`Flow::validate`] refuses the parameters.
    pub fn new(n: usize, t_min: f64, t_max: f64) -> Self {
        Self(Flow::new(n, t_min, t_max))
    }
}

impl Schedule for LogNormalFlow {
    type Path = Straight;

    fn path(&self) -> Straight {
        Straight
    }

    fn levels(&self) -> &[f64] {
        self.0.levels()
    }

    fn sigmas(&self, steps: usize) -> Sigmas<Straight> {
        self.0.sigmas(steps)
    }

    fn draw(&self, stream: &mut Stream) -> f64 {
        let (t_min, t_max) = self.0.range();
        sigmoid(stream.normal()).clamp(t_min, t_max)
    }

    fn quantile(&self, u: f64) -> f64 {
        let (t_min, t_max) = self.0.range();
        sigmoid(normal_quantile(u)).clamp(t_min, t_max)
    }
}
