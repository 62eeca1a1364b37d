//! A path says how data turns into noise: `x = α(σ)·x₀ + σ·ε`.

use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// The weight α(σ) of the data on the way from data (σ = 0) to noise.
///
/// The noise's weight is σ itself, so that one function describes a path.
///
/// A path of your own: the circle of variance-preserving diffusion.
/// ```
/// use diffusion_core::schedule::{Levels, Schedule};
/// use diffusion_core::{Mix, Parameterization, Path};
///
/// #[derive(Clone, Copy, Debug, Default, PartialEq)]
/// struct Circle;
///
/// impl Path for Circle {
///     fn max_sigma(&self) -> f64 {
///         1.0
///     }
///
///     fn alpha(&self, sigma: f64) -> f64 {
///         (1.0 - sigma * sigma).sqrt()
///     }
///
///     fn alpha_derivative(&self, sigma: f64) -> f64 {
///         -sigma / self.alpha(sigma)
///     }
/// }
///
/// /// v-prediction, whose target is the circle's tangent.
/// #[derive(Clone, Debug)]
/// struct Tangent;
///
/// impl Parameterization for Tangent {
///     type Path = Circle;
///
///     fn path(&self) -> Circle {
///         Circle
///     }
///
///     fn target(&self, sigma: f64) -> Mix {
///         Mix { x0: -sigma, eps: Circle.alpha(sigma) }
///     }
/// }
///
/// // From x = 0.8·x₀ + 0.6·ε and F = 0.8·ε − 0.6·x₀ follows x₀ = 0.8·x − 0.6·F.
/// let denoised = Tangent.denoised(0.6);
/// assert!((denoised.skip - 0.8).abs() < 1e-15 && (denoised.out + 0.6).abs() < 1e-15);
/// let schedule = Levels::<Circle>::new(vec![0.1, 0.5, 0.9]);
/// assert_eq!(Tangent.check_levels(schedule.levels()), Ok(()));
/// ```
pub trait Path: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The largest noise level of the path; it may be infinite.
    fn max_sigma(&self) -> f64;

    /// The data's weight α at the noise level `sigma` ≥ 0; α(0) = 1.
    fn alpha(&self, sigma: f64) -> f64;

    /// The derivative dα/dσ at `sigma`.
    fn alpha_derivative(&self, sigma: f64) -> f64;

    /// The noise level σ at which σ/α is `ratio`, or the largest one if that has less noise: where on the path the noise
    /// is so many times as strong as the data. On the exploding path that is `ratio` itself, on the straight one
    /// `ratio/(1 + ratio)`.
    ///
    /// Solves σ − ratio·α(σ) = 0, which rises with σ, by Newton's method between bounds.
    fn sigma_of_ratio(&self, ratio: f64) -> f64 {
        if ratio.is_infinite() {
            return self.max_sigma();
        }
        let excess = |sigma: f64| sigma - ratio * self.alpha(sigma);
        // α is at most 1.
        let (mut low, mut high) = (0.0, ratio.min(self.max_sigma()));
        if excess(high) <= 0.0 || high == 0.0 {
            return high;
        }
        let mut sigma = low;
        for _ in 0..200 {
            let value = excess(sigma);
            if value == 0.0 {
                break;
            }
            if value > 0.0 {
                high = sigma
            } else {
                low = sigma
            }
            let newton = sigma - value / (1.0 - ratio * self.alpha_derivative(sigma));
            let next = if newton > low && newton < high { newton } else { low + 0.5 * (high - low) };
            if (next - sigma).abs() <= f64::EPSILON * sigma {
                break;
            }
            sigma = next;
        }
        sigma
    }
}

/// α = 1: noise is added and the data stays as it is (Song et al. 2021, arXiv:2011.13456, §3.4).
///
/// Every diffusion schedule of this crate lives here, the variance-preserving ones too: dividing their `x_t` by
/// √ᾱ puts them on this path with σ = √(1/ᾱ − 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VarianceExploding;

impl Path for VarianceExploding {
    fn max_sigma(&self) -> f64 {
        f64::INFINITY
    }

    fn alpha(&self, _sigma: f64) -> f64 {
        1.0
    }

    fn alpha_derivative(&self, _sigma: f64) -> f64 {
        0.0
    }
}

/// α = 1 − σ on σ ∈ [0, 1]: the straight line of flow matching (Lipman et al. 2023, arXiv:2210.02747; Liu et al.
/// 2023, arXiv:2209.03003).
///
/// σ = 1 is noise and σ = 0 is data; SiT and flow_matching count time the other way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Straight;

impl Path for Straight {
    fn max_sigma(&self) -> f64 {
        1.0
    }

    fn alpha(&self, sigma: f64) -> f64 {
        1.0 - sigma
    }

    fn alpha_derivative(&self, _sigma: f64) -> f64 {
        -1.0
    }
}

/// A path that is chosen while the program runs.
///
/// Models and schedules on it can be combined in any way that compiles; that both are on the same path is checked
/// where they meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnyPath {
    /// [`VarianceExploding`]
    VarianceExploding,
    /// [`Straight`]
    Straight,
}

impl Path for AnyPath {
    fn max_sigma(&self) -> f64 {
        match self {
            Self::VarianceExploding => VarianceExploding.max_sigma(),
            Self::Straight => Straight.max_sigma(),
        }
    }

    fn alpha(&self, sigma: f64) -> f64 {
        match self {
            Self::VarianceExploding => VarianceExploding.alpha(sigma),
            Self::Straight => Straight.alpha(sigma),
        }
    }

    fn alpha_derivative(&self, sigma: f64) -> f64 {
        match self {
            Self::VarianceExploding => VarianceExploding.alpha_derivative(sigma),
            Self::Straight => Straight.alpha_derivative(sigma),
        }
    }
}

impl From<VarianceExploding> for AnyPath {
    fn from(_: VarianceExploding) -> Self {
        Self::VarianceExploding
    }
}

impl From<Straight> for AnyPath {
    fn from(_: Straight) -> Self {
        Self::Straight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quarter of a circle, whose derivative is infinite at its end.
    #[derive(Clone, Debug, PartialEq)]
    struct Circle;

    impl Path for Circle {
        fn max_sigma(&self) -> f64 {
            1.0
        }

        fn alpha(&self, sigma: f64) -> f64 {
            (1.0 - sigma * sigma).sqrt()
        }

        fn alpha_derivative(&self, sigma: f64) -> f64 {
            -sigma / self.alpha(sigma)
        }
    }

    #[test]
    fn ratios_of_noise_to_data_have_their_levels() {
        for ratio in [1e-15, 0.003, 0.5, 1.0, 7.0, 80.0, 1e12] {
            let near = |found: f64, expected: f64| {
                assert!((found / expected - 1.0).abs() < 1e-14, "{found}, expected {expected} at {ratio}")
            };
            assert_eq!(VarianceExploding.sigma_of_ratio(ratio), ratio);
            near(Straight.sigma_of_ratio(ratio), ratio / (1.0 + ratio));
            near(AnyPath::Straight.sigma_of_ratio(ratio), ratio / (1.0 + ratio));
            near(Circle.sigma_of_ratio(ratio), ratio / 1f64.hypot(ratio));
        }
        assert_eq!(Straight.sigma_of_ratio(f64::INFINITY), 1.0);
        assert_eq!(VarianceExploding.sigma_of_ratio(f64::INFINITY), f64::INFINITY);
        assert_eq!(Straight.sigma_of_ratio(0.0), 0.0);
    }
}
