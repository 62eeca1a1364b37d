//! The preconditioning of consistency models.

use super::{Mix, Parameterization, is_data};
use crate::path::VarianceExploding;

/// The preconditioning of consistency models (Song et al. 2023, arXiv:2303.01469, App. C): `D = c_skip·x + c_out·F` with
///
/// ```text
/// c_skip = s²/((σ − m)² + s²)    c_out = s·(σ − m)/√(σ² + s²)    c_in = 1/√(σ² + s²)
/// ```
///
/// for the data's standard deviation s and the smallest noise level m, at which D is the noisy input itself: the boundary
/// condition of a consistency function. The network is not asked there.
///
/// As m becomes 0 this is [`Edm`](super::Edm).
/// ```
/// use diffusion_core::{ConsistencyPrediction, Parameterization, Scalings};
///
/// let mode = ConsistencyPrediction::default();
/// assert_eq!(mode.denoised(0.002), Scalings { skip: 1.0, out: 0.0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConsistencyPrediction {
    /// Standard deviation of the data, 0.5 in the paper.
    pub sigma_data: f64,
    /// The smallest noise level, 0.002 in the paper.
    pub sigma_min: f64,
}

impl Default for ConsistencyPrediction {
    fn default() -> Self {
        Self { sigma_data: 0.5, sigma_min: 0.002 }
    }
}

impl Parameterization for ConsistencyPrediction {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    /// With `D = (b·x − σ·F)/(b − σ·a)`, c_skip and c_out are those above for `a = (1 − c_skip)/c_out` and
    /// `b = −σ·c_skip/c_out`. At the boundary there is nothing to predict.
    fn target(&self, sigma: f64) -> Mix {
        if is_data(self, sigma) {
            return Mix { x0: 0.0, eps: 0.0 };
        }
        let (s, beyond) = (self.sigma_data, sigma - self.sigma_min);
        let scale = sigma.hypot(s) / (s * (beyond * beyond + s * s));
        Mix { x0: beyond * scale, eps: -sigma * s * s * scale / beyond }
    }

    fn c_in(&self, sigma: f64) -> f64 {
        1.0 / sigma.hypot(self.sigma_data)
    }

    fn boundary(&self) -> f64 {
        self.sigma_min
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameterization::{Edm, Scalings};

    #[test]
    fn the_pair_is_that_of_the_published_scalings() {
        let mode = ConsistencyPrediction { sigma_data: 0.7, sigma_min: 0.01 };
        for sigma in [0.0101, 0.1, 0.7, 3.0, 80.0f64] {
            let (s, beyond) = (0.7f64, sigma - 0.01);
            let skip = s * s / (beyond * beyond + s * s);
            let out = s * beyond / (sigma * sigma + s * s).sqrt();
            let found = mode.denoised(sigma);
            assert!((found.skip / skip - 1.0).abs() < 1e-12, "{found:?} at {sigma}, expected {skip}");
            assert!((found.out / out - 1.0).abs() < 1e-12, "{found:?} at {sigma}, expected {out}");
        }
    }

    #[test]
    fn at_the_boundary_the_input_is_the_estimate() {
        let mode = ConsistencyPrediction::default();
        for sigma in [0.002, 0.002_000_000_000_000_1, 0.001, 1e-9] {
            assert_eq!(mode.denoised(sigma), Scalings { skip: 1.0, out: 0.0 });
            for none in [mode.noise(sigma), mode.velocity(sigma)] {
                assert_eq!(none, Scalings { skip: 0.0, out: 0.0 });
            }
        }
        // Continuous: a thousandth above it D is nearly the input.
        let near = mode.denoised(0.002_002);
        assert!((near.skip - 1.0).abs() < 1e-10 && near.out.abs() < 3e-6 && near.out > 0.0, "{near:?}");
        assert_eq!(mode.check_levels(&[0.002, 0.0021, 0.1, 80.0]), Ok(()));
        assert_eq!(mode.check_levels(&[80.0, 0.1, 0.002, 0.0]), Ok(()));
    }

    #[test]
    fn without_a_smallest_level_it_is_edm() {
        let (mode, edm) = (ConsistencyPrediction { sigma_data: 0.5, sigma_min: 1e-15 }, Edm::default());
        for sigma in [0.002, 0.3, 80.0] {
            let (found, expected) = (mode.denoised(sigma), edm.denoised(sigma));
            assert!((found.skip / expected.skip - 1.0).abs() < 1e-10);
            assert!((found.out / expected.out - 1.0).abs() < 1e-10);
            assert_eq!(mode.c_in(sigma), edm.c_in(sigma));
        }
    }
}
