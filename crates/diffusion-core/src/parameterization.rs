//! A parameterization says what the network's output means: a fixed mixture `a·x₀ + b·ε`.
//!
//! On a path the noisy input and the network's output are two mixtures of the same two unknowns,
//!
//! ```text
//! x = α·x₀ + σ·ε
//! F = a·x₀ + b·ε
//! ```
//!
//! and everything that a sampler asks for is the solution of this pair of equations. It is solved once, in the
//! provided methods of [`Parameterization`]; a new mode states its pair (a, b) and nothing else.
//!
//! # A mode of your own
//! A network that predicts the mean of data and noise, `½·x₀ + ½·ε`:
//! ```
//! use diffusion_core::{Mix, Parameterization, VarianceExploding};
//!
//! #[derive(Clone, Debug)]
//! struct MeanPrediction;
//!
//! impl Parameterization for MeanPrediction {
//!     type Path = VarianceExploding;
//!
//!     fn prediction(&self, _sigma: f64) -> Mix {
//!         Mix { x0: 0.5, eps: 0.5 }
//!     }
//! }
//!
//! // From x = x₀ + 3ε and F = ½x₀ + ½ε follows x₀ = 3F − ½x.
//! let denoised = MeanPrediction.denoised(3.0);
//! assert_eq!((denoised.x, denoised.output), (-0.5, 3.0));
//! ```
//! It must live on a path that it has: scaling by the variance-exploding norm makes no sense on the straight path.
//! ```
//! # use diffusion_core::{Parameterization, Scaled, VPrediction};
//! Scaled(VPrediction).prediction(0.5);
//! ```
//! ```compile_fail,E0271
//! # use diffusion_core::{FlowPrediction, Parameterization, Scaled};
//! Scaled(FlowPrediction).prediction(0.5);
//! ```

use crate::path::{Path, Straight, VarianceExploding};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Debug};

/// A mixture `x0·x₀ + eps·ε` of data and unit noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// The data's weight, `a` in the formulas.
    pub x0: f64,
    /// The noise's weight, `b` in the formulas.
    pub eps: f64,
}

/// A combination `x·(noisy input) + output·(network's output)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Combination {
    /// Weight of the noisy input.
    pub x: f64,
    /// Weight of the network's output.
    pub output: f64,
}

/// What the network predicts, and how its input is scaled, at each noise level σ > 0.
///
/// The one required method is [`prediction`](Self::prediction). Leave the derived ones as they are.
pub trait Parameterization: Clone + Debug + Send + Sync + 'static {
    /// The path whose noise levels this mode understands.
    type Path: Path;

    /// The mixture `a·x₀ + b·ε` that the network is trained to output at noise level `sigma`.
    fn prediction(&self, sigma: f64) -> Mix;

    /// The factor c_in on the network's input at noise level `sigma`.
    fn input_scale(&self, _sigma: f64) -> f64 {
        1.0
    }

    /// The estimate D of x₀: `(b·x − σ·F)/(α·b − σ·a)`.
    fn denoised(&self, sigma: f64) -> Combination {
        let (Mix { x0: _, eps: b }, n) = (self.prediction(sigma), determinant(self, sigma));
        Combination { x: b / n, output: -sigma / n }
    }

    /// The estimate of ε: `(α·F − a·x)/(α·b − σ·a)`.
    fn noise(&self, sigma: f64) -> Combination {
        let (Mix { x0: a, eps: _ }, n) = (self.prediction(sigma), determinant(self, sigma));
        Combination { x: -a / n, output: Self::Path::alpha(sigma) / n }
    }

    /// The estimate of dx/dσ = α′·x₀ + ε: `((α′·b − a)·x + (α − σ·α′)·F)/(α·b − σ·a)`.
    ///
    /// Nothing is divided by σ, so that ε-prediction and flow prediction give `F` itself, exactly.
    fn velocity(&self, sigma: f64) -> Combination {
        let (Mix { x0: a, eps: b }, n) = (self.prediction(sigma), determinant(self, sigma));
        let (alpha, slope) = (Self::Path::alpha(sigma), Self::Path::alpha_derivative(sigma));
        Combination { x: (slope * b - a) / n, output: (alpha - sigma * slope) / n }
    }
}

/// The determinant α·b − σ·a of the two equations for x₀ and ε.
fn determinant<P: Parameterization>(parameterization: &P, sigma: f64) -> f64 {
    let Mix { x0: a, eps: b } = parameterization.prediction(sigma);
    P::Path::alpha(sigma) * b - sigma * a
}

/// The network predicts the noise ε (Ho et al. 2020, arXiv:2006.11239), the reference's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpsPrediction;

impl Parameterization for EpsPrediction {
    type Path = VarianceExploding;

    fn prediction(&self, _sigma: f64) -> Mix {
        Mix { x0: 0.0, eps: 1.0 }
    }
}

/// The network predicts the data x₀.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct X0Prediction;

impl Parameterization for X0Prediction {
    type Path = VarianceExploding;

    fn prediction(&self, _sigma: f64) -> Mix {
        Mix { x0: 1.0, eps: 0.0 }
    }
}

/// The network predicts v = √ᾱ·ε − √(1−ᾱ)·x₀ with ᾱ = 1/(1+σ²) (Salimans & Ho 2022, arXiv:2202.00512, App. D).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VPrediction;

impl Parameterization for VPrediction {
    type Path = VarianceExploding;

    fn prediction(&self, sigma: f64) -> Mix {
        let n = sigma.hypot(1.0);
        Mix { x0: -sigma / n, eps: 1.0 / n }
    }
}

/// The network predicts the velocity ε − x₀ of the straight path (Lipman et al. 2023, arXiv:2210.02747).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowPrediction;

impl Parameterization for FlowPrediction {
    type Path = Straight;

    fn prediction(&self, _sigma: f64) -> Mix {
        Mix { x0: -1.0, eps: 1.0 }
    }
}

/// EDM's preconditioning (Karras et al. 2022, arXiv:2206.00364, Table 1): input and target have unit variance.
///
/// The paper's network is told ln(σ)/4; here that is the network's own affair, as its σ embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edm {
    /// Standard deviation of the data, 0.5 in the paper.
    pub sigma_data: f64,
}

impl Default for Edm {
    fn default() -> Self {
        Self { sigma_data: 0.5 }
    }
}

impl Parameterization for Edm {
    type Path = VarianceExploding;

    fn prediction(&self, sigma: f64) -> Mix {
        let n = sigma.hypot(self.sigma_data);
        Mix { x0: sigma / (self.sigma_data * n), eps: -self.sigma_data / n }
    }

    fn input_scale(&self, sigma: f64) -> f64 {
        1.0 / sigma.hypot(self.sigma_data)
    }
}

/// Any variance-exploding mode, with the network's input multiplied by √ᾱ = 1/√(1+σ²).
///
/// For data of unit variance the network then sees unit variance at every σ. It replaces an input scale that the
/// inner mode may have, as EDM does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scaled<P>(pub P);

impl<P: Parameterization<Path = VarianceExploding>> Parameterization for Scaled<P> {
    type Path = VarianceExploding;

    fn prediction(&self, sigma: f64) -> Mix {
        self.0.prediction(sigma)
    }

    fn input_scale(&self, sigma: f64) -> f64 {
        1.0 / sigma.hypot(1.0)
    }
}

/// A mode of the variance-exploding path that is chosen while the program runs, from a configuration file say.
///
/// One compiled instantiation per network serves all modes. Its `Debug` form is that of the type it stands for.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum AnyPrediction {
    /// [`EpsPrediction`]
    Eps,
    /// [`X0Prediction`]
    X0,
    /// [`VPrediction`]
    V,
    /// [`Edm`]
    Edm {
        /// Standard deviation of the data.
        sigma_data: f64,
    },
    /// [`Scaled`]`(`[`EpsPrediction`]`)`
    #[serde(rename = "scaled-eps")]
    ScaledEps,
    /// [`Scaled`]`(`[`X0Prediction`]`)`
    #[serde(rename = "scaled-x0")]
    ScaledX0,
    /// [`Scaled`]`(`[`VPrediction`]`)`
    #[serde(rename = "scaled-v")]
    ScaledV,
}

/// Runs `$body` with `$mode` bound to the unit struct that the value stands for.
macro_rules! with_mode {
    ($value:expr, $mode:ident => $body:expr) => {
        match *$value {
            AnyPrediction::Eps => {
                let $mode = EpsPrediction;
                $body
            }
            AnyPrediction::X0 => {
                let $mode = X0Prediction;
                $body
            }
            AnyPrediction::V => {
                let $mode = VPrediction;
                $body
            }
            AnyPrediction::Edm { sigma_data } => {
                let $mode = Edm { sigma_data };
                $body
            }
            AnyPrediction::ScaledEps => {
                let $mode = Scaled(EpsPrediction);
                $body
            }
            AnyPrediction::ScaledX0 => {
                let $mode = Scaled(X0Prediction);
                $body
            }
            AnyPrediction::ScaledV => {
                let $mode = Scaled(VPrediction);
                $body
            }
        }
    };
}

impl Parameterization for AnyPrediction {
    type Path = VarianceExploding;

    fn prediction(&self, sigma: f64) -> Mix {
        with_mode!(self, mode => mode.prediction(sigma))
    }

    fn input_scale(&self, sigma: f64) -> f64 {
        with_mode!(self, mode => mode.input_scale(sigma))
    }
}

impl Debug for AnyPrediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_mode!(self, mode => mode.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGMAS: [f64; 5] = [1e-3, 0.1, 0.7, 0.999, 80.0];

    /// x₀, ε and dx/dσ come back from x and the exact output, at every σ of the mode's path.
    fn round_trip<P: Parameterization>(mode: P, sigmas: &[f64]) {
        let (x0, eps) = (0.3, -1.7);
        for &sigma in sigmas {
            let (alpha, slope) = (P::Path::alpha(sigma), P::Path::alpha_derivative(sigma));
            let Mix { x0: a, eps: b } = mode.prediction(sigma);
            let (x, f) = (alpha * x0 + sigma * eps, a * x0 + b * eps);
            let apply = |c: Combination| c.x * x + c.output * f;
            for (name, found, expected) in [
                ("denoised", apply(mode.denoised(sigma)), x0),
                ("noise", apply(mode.noise(sigma)), eps),
                ("velocity", apply(mode.velocity(sigma)), slope * x0 + eps),
            ] {
                // x carries x₀ beside σ·ε: rounding grows with the ratio of the two.
                let tolerance = 1e-13 * (1.0 + sigma + 1.0 / sigma);
                assert!(
                    (found - expected).abs() < tolerance,
                    "{mode:?} {name} at {sigma}: {found}, {expected}"
                );
            }
        }
    }

    #[test]
    fn every_mode_inverts_its_own_prediction() {
        round_trip(EpsPrediction, &SIGMAS);
        round_trip(X0Prediction, &SIGMAS);
        round_trip(VPrediction, &SIGMAS);
        round_trip(Edm::default(), &SIGMAS);
        round_trip(Scaled(VPrediction), &SIGMAS);
        round_trip(FlowPrediction, &SIGMAS[..4]);
    }

    /// EDM's Table 1 states the same relation as D = c_skip·x + c_out·F, written down there per method.
    #[test]
    fn denoised_agrees_with_the_published_preconditioning() {
        for s in SIGMAS {
            let (q, d) = (1.0 + s * s, 0.5f64);
            let e = s * s + d * d;
            for (found, c_skip, c_out) in [
                (EpsPrediction.denoised(s), 1.0, -s),
                (X0Prediction.denoised(s), 0.0, 1.0),
                (VPrediction.denoised(s), 1.0 / q, -s / q.sqrt()),
                (Edm { sigma_data: d }.denoised(s), d * d / e, s * d / e.sqrt()),
                (FlowPrediction.denoised(s), 1.0, -s),
            ] {
                assert!((found.x - c_skip).abs() < 1e-14, "{found:?} at {s}");
                assert!((found.output - c_out).abs() < 1e-14 * (1.0 + s), "{found:?} at {s}");
            }
        }
    }

    #[test]
    fn velocity_of_eps_and_flow_is_the_output_itself() {
        for s in SIGMAS {
            assert_eq!(EpsPrediction.velocity(s), Combination { x: 0.0, output: 1.0 });
            let flow = FlowPrediction.velocity(s);
            assert_eq!(flow.x, 0.0);
            assert_eq!(flow.output, 1.0);
        }
    }

    #[test]
    fn a_mode_chosen_at_run_time_is_the_mode_it_names() {
        for s in SIGMAS {
            let any = AnyPrediction::ScaledV;
            assert_eq!(any.prediction(s), VPrediction.prediction(s));
            assert_eq!(any.input_scale(s), Scaled(VPrediction).input_scale(s));
        }
        assert_eq!(format!("{:?}", AnyPrediction::ScaledV), "Scaled(VPrediction)");
        assert_eq!(format!("{:?}", AnyPrediction::Edm { sigma_data: 0.5 }), "Edm { sigma_data: 0.5 }");
    }
}
