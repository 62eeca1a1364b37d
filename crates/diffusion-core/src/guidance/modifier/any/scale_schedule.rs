//! A scale that changes with the noise level.

use crate::guidance::modifier::Modifier;
use crate::guidance::point::GuidancePoint;
use crate::invalid::Invalid;
use crate::precision::{check_factor, check_level};
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Multiplies the scale by a factor that depends on the noise level of the evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleSchedule {
    /// The factor as a function of the noise level.
    pub curve: ScaleCurve,
}

/// The factor of a scale, as a function of the [time](GuidancePoint::time) t = σ/(α + σ), 1 of noise and 0 of data, or of σ
/// itself.
///
/// Authors take for t the place of a step in their own grid. Here it depends on σ alone, so that the estimate at a noise
/// level is the same along every grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ScaleCurve {
    /// `2·(1 − t)`, which is 1 on average (Wang et al. 2024, arXiv:2404.13040, "linear").
    Linear {},
    /// `1 + cos(π·t)`, which is 1 on average (Wang et al. 2024, arXiv:2404.13040, "cosine").
    Cosine {},
    /// `(1 − cos(π·(1 − t)^power))/2`, at most 1 (Gao et al. 2023, arXiv:2303.14389, with a power of 4).
    PowerCosine {
        /// The power, positive.
        power: f64,
    },
    /// The density of the beta distribution, which vanishes at both ends (Malarz et al. 2025, arXiv:2502.10574), here
    /// divided by its greatest value: `(t/m)^(a − 1)·((1 − t)/(1 − m))^(b − 1)` with m = (a − 1)/(a + b − 2).
    Beta {
        /// Above 1; the larger, the nearer to noise.
        a: f64,
        /// Above 1; the larger, the nearer to data.
        b: f64,
    },
    /// Straight lines in ln σ between points of your own, and level beyond the first and the last one; it is published
    /// nowhere.
    Piecewise {
        /// Pairs of a noise level and the factor there, from high noise levels to low ones.
        points: Vec<[f64; 2]>,
    },
}

impl ScaleSchedule {
    /// That of this curve.
    pub fn new(curve: ScaleCurve) -> Self {
        Self { curve }
    }

    /// Whether there is such a schedule.
    ///
    /// # Errors
    /// The first parameter that is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.curve.validate().map_err(|error| error.within("curve"))
    }
}

impl ScaleCurve {
    /// The factor at a point.
    ///
    /// ```
    /// use diffusion_core::VarianceExploding;
    /// use diffusion_core::guidance::{GuidancePoint, ScaleCurve};
    ///
    /// let factor = |sigma| ScaleCurve::Linear {}.factor(&GuidancePoint::alone(&VarianceExploding, sigma));
    /// assert_eq!((factor(3.0), factor(1.0)), (0.5, 1.0));
    /// ```
    pub fn factor(&self, at: &GuidancePoint) -> f64 {
        let t = at.time();
        match self {
            Self::Linear {} => 2.0 * (1.0 - t),
            Self::Cosine {} => 1.0 + (PI * t).cos(),
            Self::PowerCosine { power } => 0.5 * (1.0 - (PI * (1.0 - t).powf(*power)).cos()),
            Self::Beta { a, b } => {
                let mode = (a - 1.0) / (a + b - 2.0);
                (t / mode).powf(a - 1.0) * ((1.0 - t) / (1.0 - mode)).powf(b - 1.0)
            }
            Self::Piecewise { points } => between(points, at.sigma),
        }
    }

    fn validate(&self) -> Result<(), Invalid> {
        let above = |setting: &str, found: f64, least: f64| {
            Invalid::unless(found > least && found.is_finite(), setting, || {
                format!("is {found:?}, expected more than {least}")
            })
        };
        match self {
            Self::Linear {} | Self::Cosine {} => Ok(()),
            Self::PowerCosine { power } => above("power", *power, 0.0),
            Self::Beta { a, b } => above("a", *a, 1.0).and_then(|()| above("b", *b, 1.0)),
            Self::Piecewise { points } => {
                Invalid::unless(!points.is_empty(), "points", || "is empty, expected a point".to_string())?;
                let mut last = f64::INFINITY;
                for (i, &[sigma, factor]) in points.iter().enumerate() {
                    let setting = format!("points[{i}]");
                    check_level(&setting, sigma)?;
                    check_factor(&setting, factor)?;
                    Invalid::unless(sigma < last, &setting, || {
                        format!("is at σ = {sigma:?}, expected less than the {last:?} of the point before")
                    })?;
                    last = sigma;
                }
                Ok(())
            }
        }
    }
}

/// The value at `sigma` of the line through `points`, whose noise levels fall.
fn between(points: &[[f64; 2]], sigma: f64) -> f64 {
    let at = points.partition_point(|point| point[0] > sigma);
    match (at.checked_sub(1).and_then(|before| points.get(before)), points.get(at)) {
        (Some([high, above]), Some([low, below])) => {
            let share = (sigma / low).ln() / (high / low).ln();
            below + share * (above - below)
        }
        (Some([_, end]), None) | (None, Some([_, end])) => *end,
        (None, None) => 1.0,
    }
}

impl Modifier for ScaleSchedule {
    type State<B: Backend, const D: usize> = ();

    fn start<B: Backend, const D: usize>(&self) {}

    fn scale(&self, scale: f64, at: &GuidancePoint) -> f64 {
        scale * self.curve.factor(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Straight;

    /// At the time t; it is σ of the straight path.
    fn factor(curve: &ScaleCurve, t: f64) -> f64 {
        curve.factor(&GuidancePoint::alone(&Straight, t))
    }

    #[test]
    fn curves_go_through_their_points() {
        let piecewise = ScaleCurve::Piecewise { points: vec![[0.64, 3.0], [0.16, 1.0], [0.08, 2.0]] };
        for (curve, points) in [
            (ScaleCurve::Linear {}, [(1.0, 0.0), (0.5, 1.0), (0.25, 1.5)]),
            (ScaleCurve::Cosine {}, [(1.0, 0.0), (0.5, 1.0), (1.0 / 3.0, 1.5)]),
            (ScaleCurve::PowerCosine { power: 1.0 }, [(1.0, 0.0), (0.5, 0.5), (1.0 / 3.0, 0.75)]),
            (ScaleCurve::PowerCosine { power: 2.0 }, [(0.5, 0.5 - 0.125f64.sqrt()), (0.0, 1.0), (1.0, 0.0)]),
            (ScaleCurve::Beta { a: 2.0, b: 2.0 }, [(0.5, 1.0), (0.25, 0.75), (0.0, 0.0)]),
            (ScaleCurve::Beta { a: 3.0, b: 2.0 }, [(2.0 / 3.0, 1.0), (1.0, 0.0), (1.0 / 3.0, 0.5)]),
            (piecewise.clone(), [(0.9, 3.0), (0.64, 3.0), (0.32, 2.0)]),
            (piecewise, [(0.16, 1.0), (0.08, 2.0), (0.01, 2.0)]),
        ] {
            for (t, expected) in points {
                let found = factor(&curve, t);
                assert!((found - expected).abs() < 1e-12, "{curve:?} at {t}: {found}, expected {expected}");
            }
        }
    }

    /// By the midpoint rule; as its authors state, such a schedule guides as much as a constant scale.
    #[test]
    fn linear_and_cosine_are_one_on_average() {
        for curve in [ScaleCurve::Linear {}, ScaleCurve::Cosine {}] {
            let mean = (0..1000).map(|i| factor(&curve, (f64::from(i) + 0.5) / 1000.0)).sum::<f64>() / 1000.0;
            assert!((mean - 1.0).abs() < 1e-9, "{curve:?}: {mean}");
        }
    }
}
