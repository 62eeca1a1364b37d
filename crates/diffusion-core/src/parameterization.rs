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
//! A network that predicts the difference `ε − x₀` of noise and data, which is flow matching's target, on the
//! variance-exploding path:
//! ```
//! use diffusion_core::schedule::{LogLinear, Schedule};
//! use diffusion_core::{Mix, Parameterization, VarianceExploding};
//!
//! #[derive(Clone, Debug)]
//! struct DifferencePrediction;
//!
//! impl Parameterization for DifferencePrediction {
//!     type Path = VarianceExploding;
//!
//!     fn path(&self) -> VarianceExploding {
//!         VarianceExploding
//!     }
//!
//!     fn target(&self, _sigma: f64) -> Mix {
//!         Mix { x0: -1.0, eps: 1.0 }
//!     }
//! }
//!
//! // From x = x₀ + 3ε and F = ε − x₀ follows x₀ = ¼x − ¾F.
//! let denoised = DifferencePrediction.denoised(3.0);
//! assert_eq!((denoised.skip, denoised.out), (0.25, -0.75));
//! // Training and sampling ask for this at their noise levels.
//! assert_eq!(DifferencePrediction.check_levels(LogLinear::default().levels()), Ok(()));
//! ```
//! A mode must tell data and noise apart at every noise level: the mean `½·x₀ + ½·ε` does not, because at σ = 1 it is
//! half of the noisy input, of which the network learns nothing. Such a mode is refused:
//! ```
//! # use diffusion_core::schedule::{LogLinear, Schedule};
//! # use diffusion_core::{Mix, Parameterization, VarianceExploding};
//! # #[derive(Clone, Debug)]
//! # struct MeanPrediction;
//! # impl Parameterization for MeanPrediction {
//! #     type Path = VarianceExploding;
//! #     fn path(&self) -> VarianceExploding { VarianceExploding }
//! #     fn target(&self, _sigma: f64) -> Mix { Mix { x0: 0.5, eps: 0.5 } }
//! # }
//! assert!(MeanPrediction.check_levels(LogLinear::new(100, 0.02, 10.0).levels()).is_err());
//! assert!(MeanPrediction.check_levels(LogLinear::new(100, 2.0, 10.0).levels()).is_ok());
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
mod consistency;
mod edm;
mod eps;
mod flow;
mod scaled;
mod v;
mod x0;

pub use any::AnyPrediction;
pub use consistency::ConsistencyPrediction;
pub use edm::Edm;
pub use eps::EpsPrediction;
pub use flow::FlowPrediction;
pub use scaled::Scaled;
pub use v::VPrediction;
pub use x0::X0Prediction;

use crate::invalid::Invalid;
use crate::path::Path;
use crate::precision::{MAX_SIGMA, holds};
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
///
/// ```
/// use diffusion_core::{Mix, Parameterization, VarianceExploding};
///
/// /// Predicts the noise, times its own level.
/// #[derive(Clone, Debug)]
/// struct ScaledNoise;
///
/// impl Parameterization for ScaledNoise {
///     type Path = VarianceExploding;
///
///     fn path(&self) -> VarianceExploding {
///         VarianceExploding
///     }
///
///     fn target(&self, sigma: f64) -> Mix {
///         Mix { x0: 0.0, eps: sigma }
///     }
/// }
///
/// // x₀ = x − F and ε = F/σ.
/// let (denoised, noise) = (ScaledNoise.denoised(4.0), ScaledNoise.noise(4.0));
/// assert_eq!((denoised.skip, denoised.out, noise.skip, noise.out), (1.0, -1.0, 0.0, 0.25));
/// ```
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

    /// The noise level up to which the noisy input itself is the estimate of the data, so that the network is not asked;
    /// 0 unless a mode says otherwise.
    fn boundary(&self) -> f64 {
        0.0
    }

    /// The estimate D of x₀: `(b·x − σ·F)/(α·b − σ·a)`; x itself up to the [`boundary`](Self::boundary).
    fn denoised(&self, sigma: f64) -> Scalings {
        if is_data(self, sigma) {
            return Scalings { skip: 1.0, out: 0.0 };
        }
        let (Mix { x0: _, eps: b }, n) = (self.target(sigma), determinant(self, sigma));
        Scalings { skip: b / n, out: -sigma / n }
    }

    /// The estimate of ε: `(α·F − a·x)/(α·b − σ·a)`.
    fn noise(&self, sigma: f64) -> Scalings {
        if is_data(self, sigma) {
            return Scalings { skip: (1.0 - self.path().alpha(sigma)) / sigma, out: 0.0 };
        }
        let (Mix { x0: a, eps: _ }, n) = (self.target(sigma), determinant(self, sigma));
        Scalings { skip: -a / n, out: self.path().alpha(sigma) / n }
    }

    /// The estimate of dx/dσ = α′·x₀ + ε: `((α′·b − a)·x + (α − σ·α′)·F)/(α·b − σ·a)`.
    ///
    /// Nothing is divided by σ, so that ε-prediction and flow prediction give `F` itself, exactly.
    fn velocity(&self, sigma: f64) -> Scalings {
        if is_data(self, sigma) {
            return Scalings { skip: self.path().alpha_derivative(sigma) + self.noise(sigma).skip, out: 0.0 };
        }
        let (Mix { x0: a, eps: b }, n) = (self.target(sigma), determinant(self, sigma));
        let (alpha, grad_alpha) = (self.path().alpha(sigma), self.path().alpha_derivative(sigma));
        Scalings { skip: (grad_alpha * b - a) / n, out: (alpha - sigma * grad_alpha) / n }
    }

    /// Whether this mode can be trained and sampled at these noise levels, which are in order, and between them: the
    /// determinant α·b − σ·a of the two equations does not vanish, and f32 holds the coefficients that follow. Levels up
    /// to the [`boundary`](Self::boundary), and one of 0, where sampling ends, are passed over.
    ///
    /// # Errors
    /// If it cannot; the error says at which noise level, and why.
    fn check_levels(&self, levels: &[f64]) -> Result<(), Invalid> {
        let (mut before, mut last) = (None, None);
        for &sigma in levels.iter().filter(|&&sigma| sigma != 0.0 && !is_data(self, sigma)) {
            check_level(self, sigma)?;
            let separation = separation(self, sigma);
            if let Some((other, there)) = last {
                if separation.signum() != f64::signum(there) {
                    return Err(singular(self, nearest(self, other, sigma)));
                }
                if let Some((start, at_start)) = before
                    && f64::abs(there) < f64::abs(at_start).min(separation.abs()).min(0.5)
                {
                    check_level(self, nearest(self, start, sigma))?;
                }
            }
            (before, last) = (last, Some((sigma, separation)));
        }
        Ok(())
    }
}

/// Whether a mode takes its input for data at `sigma`, which is positive; the rounding of a schedule does not matter.
pub(crate) fn is_data<P: Parameterization>(mode: &P, sigma: f64) -> bool {
    sigma > 0.0 && sigma <= mode.boundary() * (1.0 + 1e-9)
}

/// The smallest separation of the two equations: below it, estimates are f32's rounding.
const LEAST_SEPARATION: f64 = 1e-5;

/// How far the two equations are from being one and the same: their determinant, relative to its terms.
fn separation<P: Parameterization>(mode: &P, sigma: f64) -> f64 {
    let Mix { x0: a, eps: b } = mode.target(sigma);
    determinant(mode, sigma) / ((mode.path().alpha(sigma) * b).abs() + (sigma * a).abs())
}

/// Refuses a mode that cannot be used at `sigma`.
fn check_level<P: Parameterization>(mode: &P, sigma: f64) -> Result<(), Invalid> {
    let Mix { x0: a, eps: b } = mode.target(sigma);
    let has_target = [a, b].iter().all(|x| holds(*x) && x.abs() <= MAX_SIGMA);
    let c_in = mode.c_in(sigma);
    if !has_target || !holds(c_in) || c_in == 0.0 {
        let reason = format!(
            "{mode:?} multiplies data, noise and input by {a:?}, {b:?} and {c_in:?} at σ = {sigma:?}, expected numbers \
             whose squares f32 holds"
        );
        return Err(Invalid::new(SETTING, reason));
    }
    if separation(mode, sigma).abs() < LEAST_SEPARATION || a == 0.0 && b == 0.0 {
        return Err(singular(mode, sigma));
    }
    let estimates = [mode.denoised(sigma), mode.noise(sigma), mode.velocity(sigma)];
    let is_held = |Scalings { skip, out }: &Scalings| holds(*skip) && holds(*out);
    Invalid::unless(estimates.iter().all(is_held), SETTING, || {
        format!("{mode:?} has estimates at σ = {sigma:?} whose coefficients f32 does not hold: {estimates:?}")
    })
}

/// The noise level between two others at which a mode's equations are nearest to being the same.
fn nearest<P: Parameterization>(mode: &P, one: f64, other: f64) -> f64 {
    let (mut low, mut high) = (one.min(other).ln(), one.max(other).ln());
    // Each round leaves two thirds of the range around the minimum: 40 leave a ten-millionth.
    for _ in 0..40 {
        let third = (high - low) / 3.0;
        let at = |sigma: f64| separation(mode, sigma.exp()).abs();
        if at(low + third) < at(high - third) { high -= third } else { low += third }
    }
    (0.5 * (low + high)).exp()
}

/// Of [`Parameterization::check_levels`], for messages.
const SETTING: &str = "prediction";

fn singular<P: Parameterization>(mode: &P, sigma: f64) -> Invalid {
    let reason = format!(
        "{mode:?} does not tell data and noise apart near σ = {sigma:.4}: what the network predicts there is the noisy input \
         again, so that no estimate follows; choose another target, or noise levels on one side"
    );
    Invalid::new(SETTING, reason)
}

/// The determinant α·b − σ·a of the two equations for x₀ and ε.
fn determinant<P: Parameterization>(parameterization: &P, sigma: f64) -> f64 {
    let Mix { x0: a, eps: b } = parameterization.target(sigma);
    parameterization.path().alpha(sigma) * b - sigma * a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{AnyPath, VarianceExploding};

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

    /// A mode of the tests' own, by its target.
    #[derive(Clone, Debug)]
    struct Own(fn(f64) -> (f64, f64));

    impl Parameterization for Own {
        type Path = VarianceExploding;

        fn path(&self) -> VarianceExploding {
            VarianceExploding
        }

        fn target(&self, sigma: f64) -> Mix {
            let (x0, eps) = (self.0)(sigma);
            Mix { x0, eps }
        }
    }

    #[test]
    fn every_mode_can_be_used_at_all_noise_levels() {
        fn at_all<P: Parameterization>(mode: P) {
            let most = mode.path().max_sigma().min(1e15);
            let levels: Vec<f64> = (-150..=150).map(|i| 10f64.powf(f64::from(i) / 10.0).min(most)).collect();
            assert_eq!(mode.check_levels(&levels), Ok(()));
            let down: Vec<f64> = levels.into_iter().rev().chain([0.0]).collect();
            assert_eq!(mode.check_levels(&down), Ok(()));
        }
        at_all(EpsPrediction);
        at_all(X0Prediction);
        at_all(VPrediction);
        at_all(Edm::default());
        at_all(Scaled(VPrediction));
        at_all(FlowPrediction);
        at_all(Own(|_| (-1.0, 1.0)));
    }

    #[test]
    fn modes_that_tell_nothing_at_a_level_are_refused() {
        // Of an even number of levels, none is 1.
        let levels: Vec<f64> = (0..100).map(|i| 10f64.powf(f64::from(i) / 49.5 - 1.0)).collect();
        for (mode, why) in [
            (Own(|_| (0.5, 0.5)), "σ = 1.0"),
            (Own(|sigma| (2.0, 1.0 + sigma * sigma)), "σ = 1.0000"),
            (Own(|_| (0.0, 0.0)), "apart near σ = 0.1000"),
            (Own(|sigma| (1.0, sigma)), "apart near σ = 0.1000"),
            (Own(|_| (f64::NAN, 1.0)), "multiplies data"),
            (Own(|_| (1e30, 1.0)), "multiplies data"),
            (Own(|_| (0.0, 1e-300)), "multiplies data"),
        ] {
            let reason = mode.check_levels(&levels).unwrap_err().reason;
            assert!(reason.contains(why), "{why}: {reason}");
            let down: Vec<f64> = levels.iter().rev().copied().collect();
            assert!(mode.check_levels(&down).is_err());
        }
        let apart: Vec<f64> = levels.into_iter().filter(|&level| level > 1.1).collect();
        assert_eq!(Own(|_| (0.5, 0.5)).check_levels(&apart), Ok(()));
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
