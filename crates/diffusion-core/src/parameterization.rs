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
//!     fn path(&self) -> VarianceExploding {
//!         VarianceExploding
//!     }
//!
//!     fn target(&self, _sigma: f64) -> Mix {
//!         Mix { x0: 0.5, eps: 0.5 }
//!     }
//! }
//!
//! // From x = x₀ + 3ε and F = ½x₀ + ½ε follows x₀ = 3F − ½x.
//! let denoised = MeanPrediction.denoised(3.0);
//! assert_eq!((denoised.skip, denoised.out), (-0.5, 3.0));
//! ```
//! It must live on a path that it has: scaling by the variance-exploding norm makes no sense on the straight path.
//! ```
//! # use diffusion_core::{Parameterization, Scaled, VPrediction};
//! Scaled(VPrediction).target(0.5);
//! ```
//! ```compile_fail,E0271
//! # use diffusion_core::{FlowPrediction, Parameterization, Scaled};
//! Scaled(FlowPrediction).target(0.5);
//! ```

mod any;
mod edm;
mod eps;
mod flow;
mod scaled;
mod v;
mod x0;

pub use any::AnyPrediction;
pub use edm::Edm;
pub use eps::EpsPrediction;
pub use flow::FlowPrediction;
pub use scaled::Scaled;
pub use v::VPrediction;
pub use x0::X0Prediction;

use crate::path::Path;
use std::fmt::Debug;

/// A mixture `x0·x₀ + eps·ε` of data and unit noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// The data's weight, `a` in the formulas.
    pub x0: f64,
    /// The noise's weight, `b` in the formulas.
    pub eps: f64,
}

/// A combination `skip·(noisy input) + out·(network's output)`: c_skip and c_out of EDM's Table 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scalings {
    /// Weight of the noisy input.
    pub skip: f64,
    /// Weight of the network's output.
    pub out: f64,
}

/// What the network predicts, and how its input is scaled, at each noise level σ > 0.
///
/// Required are the path and the [`target`](Self::target). Leave the derived ones as they are.
pub trait Parameterization: Clone + Debug + Send + Sync + 'static {
    /// The path whose noise levels this mode understands.
    type Path: Path;

    /// The path itself.
    fn path(&self) -> Self::Path;

    /// The mixture `a·x₀ + b·ε` that the network is trained to output at noise level `sigma`.
    fn target(&self, sigma: f64) -> Mix;

    /// The factor c_in on the network's input at noise level `sigma`.
    fn c_in(&self, _sigma: f64) -> f64 {
        1.0
    }

    /// The estimate D of x₀: `(b·x − σ·F)/(α·b − σ·a)`.
    fn denoised(&self, sigma: f64) -> Scalings {
        let (Mix { x0: _, eps: b }, n) = (self.target(sigma), determinant(self, sigma));
        Scalings { skip: b / n, out: -sigma / n }
    }

    /// The estimate of ε: `(α·F − a·x)/(α·b − σ·a)`.
    fn noise(&self, sigma: f64) -> Scalings {
        let (Mix { x0: a, eps: _ }, n) = (self.target(sigma), determinant(self, sigma));
        Scalings { skip: -a / n, out: self.path().alpha(sigma) / n }
    }

    /// The estimate of dx/dσ = α′·x₀ + ε: `((α′·b − a)·x + (α − σ·α′)·F)/(α·b − σ·a)`.
    ///
    /// Nothing is divided by σ, so that ε-prediction and flow prediction give `F` itself, exactly.
    fn velocity(&self, sigma: f64) -> Scalings {
        let (Mix { x0: a, eps: b }, n) = (self.target(sigma), determinant(self, sigma));
        let (alpha, grad_alpha) = (self.path().alpha(sigma), self.path().alpha_derivative(sigma));
        Scalings { skip: (grad_alpha * b - a) / n, out: (alpha - sigma * grad_alpha) / n }
    }
}

/// The determinant α·b − σ·a of the two equations for x₀ and ε.
fn determinant<P: Parameterization>(parameterization: &P, sigma: f64) -> f64 {
    let Mix { x0: a, eps: b } = parameterization.target(sigma);
    parameterization.path().alpha(sigma) * b - sigma * a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::AnyPath;

    const SIGMAS: [f64; 5] = [1e-3, 0.1, 0.7, 0.999, 80.0];

    /// x₀, ε and dx/dσ come back from x and the exact output, at every σ of the mode's path.
    fn round_trip<P: Parameterization>(mode: P, sigmas: &[f64]) {
        let (x0, eps) = (0.3, -1.7);
        for &sigma in sigmas {
            let (alpha, grad_alpha) = (mode.path().alpha(sigma), mode.path().alpha_derivative(sigma));
            let Mix { x0: a, eps: b } = mode.target(sigma);
            let (x, f) = (alpha * x0 + sigma * eps, a * x0 + b * eps);
            let apply = |c: Scalings| c.skip * x + c.out * f;
            for (name, found, expected) in [
                ("denoised", apply(mode.denoised(sigma)), x0),
                ("noise", apply(mode.noise(sigma)), eps),
                ("velocity", apply(mode.velocity(sigma)), grad_alpha * x0 + eps),
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
                assert!((found.skip - c_skip).abs() < 1e-14, "{found:?} at {s}");
                assert!((found.out - c_out).abs() < 1e-14 * (1.0 + s), "{found:?} at {s}");
            }
        }
    }

    #[test]
    fn velocity_of_eps_and_flow_is_the_output_itself() {
        for s in SIGMAS {
            assert_eq!(EpsPrediction.velocity(s), Scalings { skip: 0.0, out: 1.0 });
            let flow = FlowPrediction.velocity(s);
            assert_eq!(flow.skip, 0.0);
            assert_eq!(flow.out, 1.0);
        }
    }

    #[test]
    fn a_mode_chosen_at_run_time_has_its_own_path() {
        for any in [AnyPrediction::V, AnyPrediction::Edm { sigma_data: 0.5 }] {
            assert_eq!(any.path(), AnyPath::VarianceExploding);
        }
        assert_eq!(AnyPrediction::Flow.path(), AnyPath::Straight);
        for s in &SIGMAS[..4] {
            assert_eq!(AnyPrediction::Flow.denoised(*s), FlowPrediction.denoised(*s));
            assert_eq!(AnyPrediction::Flow.velocity(*s), FlowPrediction.velocity(*s));
        }
    }

    /// The name is what a configuration file says.
    #[test]
    fn modes_are_named_as_in_files() {
        use AnyPrediction::*;
        for any in [Eps, X0, V, ScaledEps, ScaledX0, ScaledV, Flow] {
            assert_eq!(serde_json::to_string(&any).unwrap(), format!("{:?}", any.name()));
        }
        let edm = Edm { sigma_data: 0.5 };
        assert_eq!(serde_json::to_string(&edm).unwrap(), r#"{"edm":{"sigma_data":0.5}}"#);
    }

    #[test]
    fn a_mode_chosen_at_run_time_is_the_mode_it_names() {
        for s in SIGMAS {
            let any = AnyPrediction::ScaledV;
            assert_eq!(any.target(s), VPrediction.target(s));
            assert_eq!(any.c_in(s), Scaled(VPrediction).c_in(s));
        }
        assert_eq!(format!("{:?}", AnyPrediction::ScaledV), "Scaled(VPrediction)");
        assert_eq!(format!("{:?}", AnyPrediction::Edm { sigma_data: 0.5 }), "Edm { sigma_data: 0.5 }");
    }
}
