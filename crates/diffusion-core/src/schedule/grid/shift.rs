//! More steps at high noise levels for larger pictures.

use crate::invalid::Invalid;
use crate::precision::holds;
use serde::{Deserialize, Serialize};

/// Moves times of flow matching towards noise: `t' = k·t/(1 + (k − 1)·t)`, which multiplies the ratio of noise to data by k
/// (Esser et al. 2024, arXiv:2403.03206, eq. 23).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shift {
    /// k itself; 3 in Stable Diffusion 3.
    Factor(f64),
    /// k by the number of pixels, `√(pixels/base)`: the same noise hides less of a larger picture.
    Resolution {
        /// Height times width of what is sampled.
        pixels: usize,
        /// Height times width of the pictures that need no shift.
        base: usize,
    },
    /// k by the number of a transformer's tokens: ln k is linear, from ½ at 256 tokens to 1.15 at 4096, as in FLUX.
    Tokens {
        /// The tokens of what is sampled.
        tokens: usize,
    },
}

impl Shift {
    /// Whether there is such a shift.
    ///
    /// # Errors
    /// If its factor is not positive and finite in f32, or a number is 0.
    pub fn validate(&self) -> Result<(), Invalid> {
        let positive =
            |setting: &str, n: usize| Invalid::unless(n > 0, setting, || "is 0, expected at least 1".into());
        match *self {
            Self::Factor(factor) => Invalid::unless(factor > 0.0 && holds(factor), "factor", || {
                format!("is {factor}, expected a positive number, e.g. 3")
            }),
            Self::Resolution { pixels, base } => {
                positive("resolution.pixels", pixels)?;
                positive("resolution.base", base)
            }
            Self::Tokens { tokens } => positive("tokens.tokens", tokens),
        }
    }

    /// The factor k.
    pub fn factor(&self) -> f64 {
        match *self {
            Self::Factor(factor) => factor,
            Self::Resolution { pixels, base } => (pixels as f64 / base as f64).sqrt(),
            Self::Tokens { tokens } => {
                (0.5 + (tokens as f64 - 256.0) * (1.15 - 0.5) / (4096.0 - 256.0)).exp()
            }
        }
    }

    /// The time `t` in [0, 1], moved.
    pub fn apply(&self, t: f64) -> f64 {
        let k = self.factor();
        // So that 1 stays 1.
        k * t / (k * t + (1.0 - t))
    }
}
