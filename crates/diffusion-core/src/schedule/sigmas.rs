//! The noise levels of one sampling run.

use super::sequence::{karras, poly_exponential};
use crate::invalid::{Invalid, Number, expect_valid};
use crate::path::{AnyPath, Path, VarianceExploding};
use crate::precision::{MAX_SIGMA, MIN_SIGMA, is_level};
use std::ops::Deref;

/// The noise levels of one sampling run, never increasing, tied to their path.
#[derive(Clone, Debug, PartialEq)]
pub struct Sigmas<P> {
    levels: Vec<f64>,
    path: P,
}

impl<P: Path + Default> Sigmas<P> {
    /// A grid of the caller's own.
    ///
    /// # Panics
    /// As [`on`](Self::on).
    pub fn new(levels: Vec<f64>) -> Self {
        Self::on(P::default(), levels)
    }
}

impl<P: Path> Sigmas<P> {
    /// A grid of the caller's own, on `path`.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the levels.
    pub fn on(path: P, levels: Vec<f64>) -> Self {
        expect_valid(Self::validate(&path, &levels));
        Self { levels, path }
    }

    /// Whether `levels` make a grid on `path`.
    ///
    /// # Errors
    /// If there are fewer than two levels, or one is larger than the one before or than the path allows, or is one
    /// whose square f32 does not hold: one below 1e-15 or above 1e15. The last may be 0.
    pub fn validate(path: &P, levels: &[f64]) -> Result<(), Invalid> {
        Invalid::unless(levels.len() >= 2, "sigmas", || {
            format!("are {} noise levels, sampling needs at least 2", levels.len())
        })?;
        let mut before = path.max_sigma().min(MAX_SIGMA);
        for (i, &level) in levels.iter().enumerate() {
            Invalid::unless(level <= before, "sigmas", || {
                format!("noise level {i} is {}, expected at most {}", Number(level), Number(before))
            })?;
            let is_last = i + 1 == levels.len();
            Invalid::unless(is_level(level) || is_last && level == 0.0, "sigmas", || {
                format!(
                    "noise level {i} is {}, expected at least {}, whose square f32 holds",
                    Number(level),
                    Number(MIN_SIGMA)
                )
            })?;
            before = level;
        }
        Ok(())
    }

    /// The same grid with a last step to σ = 0, where no noise is left.
    pub fn to_zero(mut self) -> Self {
        if self.levels.last() != Some(&0.0) {
            self.levels.push(0.0);
        }
        self
    }

    /// The path that the noise levels belong to.
    pub fn path(&self) -> P {
        self.path.clone()
    }

    /// The same grid for models whose path is chosen while the program runs.
    pub fn into_any(self) -> Sigmas<AnyPath>
    where
        AnyPath: From<P>,
    {
        Sigmas { levels: self.levels, path: self.path.into() }
    }

    /// The number of steps, one less than the number of levels.
    pub fn steps(&self) -> usize {
        self.levels.len() - 1
    }
}

impl Sigmas<VarianceExploding> {
    /// `steps` levels from `max` down to `min`, evenly spaced in σ^(1/`rho`), and then 0 (Karras et al. 2022,
    /// arXiv:2206.00364, eq. 5; the paper uses 0.002, 80 and ρ = 7).
    ///
    /// # Panics
    /// If `steps` is 0, not 0 < `min` ≤ `max`, or f32 does not hold the squares of `min` and `max`.
    pub fn karras(steps: usize, min: f64, max: f64, rho: f64) -> Self {
        Self::spaced(steps, [min, max], |ends| karras(steps, ends, rho))
    }

    /// `steps` levels from `max` down to `min`, evenly spaced in ln σ, and then 0.
    ///
    /// # Panics
    /// As [`karras`](Self::karras).
    pub fn exponential(steps: usize, min: f64, max: f64) -> Self {
        Self::spaced(steps, [min, max], |ends| poly_exponential(steps, ends, 1.0))
    }

    /// These levels, of `steps` between two ends, and then 0.
    fn spaced(steps: usize, [min, max]: [f64; 2], levels: impl Fn([f64; 2]) -> Vec<f64>) -> Self {
        assert!(steps > 0, "a grid of 0 steps was asked for, expected at least 1");
        assert!(
            0.0 < min && min <= max,
            "noise levels from {max} down to {min} were asked for, expected 0 < min ≤ max"
        );
        let mut levels = levels([min, max]);
        levels.push(0.0);
        Self::new(levels)
    }
}

impl<P> Deref for Sigmas<P> {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.levels
    }
}
