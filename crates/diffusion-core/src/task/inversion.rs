//! From data back to the noise that they would have come from.

use super::ode::{Joint, OdeSolver, increment, solve};
use crate::denoiser::Denoiser;
use crate::invalid::{Invalid, expect_valid};
use crate::path::Path;
use crate::schedule::Sigmas;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// How data are inverted: the probability flow ODE (Song et al. 2021, arXiv:2011.13456, eq. 13) from the lowest noise level
/// up to the highest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inversion {
    /// The solver; with [`OdeSolver::Euler`] this is DDIM's inversion (arXiv:2010.02502, §5.4).
    pub solver: OdeSolver,
    /// How often each step is mended so that the solver's step *down* leads back to where it came from: fixed-point
    /// iterations (Pan et al. 2023, arXiv:2309.04907, eq. 9, there for DDIM). With 0 there are none, and the way back differs
    /// from the way up by the error of both.
    pub fixed_point: usize,
}

impl Inversion {
    /// Whether there is such an inversion.
    ///
    /// # Errors
    /// If a setting is out of its range, or an adaptive solver is to be mended, whose steps down are others.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.solver.validate().map_err(|error| error.within("solver"))?;
        Invalid::unless_at_most("fixed_point", self.fixed_point, 1000)?;
        let is_adaptive = matches!(self.solver, OdeSolver::Adaptive { .. });
        Invalid::unless(!is_adaptive || self.fixed_point == 0, "fixed_point", || {
            format!("is {}, expected 0 with an adaptive solver", self.fixed_point)
        })
    }
}

/// The state at the first of `sigmas` that the data `x0` would have come from; sampling from there, with a sampler that adds
/// no noise, leads back to them.
///
/// The way up begins at the lowest level above 0, with `α(σ)·x₀`. Where the grid ends at 0 and steps are mended, it begins at
/// 0, so that the last step of sampling is inverted too. The denoiser remembers nothing from one evaluation to the next.
///
/// ```
/// # use burn::backend::Flex;
/// # use burn::tensor::{Tensor, TensorData};
/// # use diffusion_core::network::ideal::IdealDenoiser;
/// use diffusion_core::task::{Inversion, OdeSolver, invert};
/// use diffusion_core::{GradientEstimation, Noise, Sigmas, sample_from};
///
/// # let device = Default::default();
/// # let data = TensorData::new(vec![0.0f32, 0.0, 0.0, 1.0], [2, 2]);
/// # let model = IdealDenoiser::<Flex, 2>::new(&data, &device);
/// let sigmas = Sigmas::karras(20, 0.3, 10.0, 7.0);
/// let x0 = Tensor::<Flex, 2>::from_floats([[0.0, 0.1], [0.0, 0.8]], &device);
/// let ddim = Inversion { solver: OdeSolver::Euler, fixed_point: 30 };
/// let noise = invert(&model, &ddim, &sigmas, x0.clone());
/// let back = sample_from(&model, GradientEstimation::DDIM, &sigmas, noise, Noise::new(0)).last().unwrap();
/// assert!((back - x0).abs().max().into_scalar() < 1e-3);
/// ```
///
/// # Shapes
/// - `x0`, returns: `[batch, …]`
///
/// # Panics
/// If the denoiser and the noise levels are on different paths, the denoiser cannot be evaluated at them, or
/// [`validate`](Inversion::validate) is an error.
pub fn invert<B: Backend, const D: usize, M: Denoiser<B, D> + ?Sized>(
    denoiser: &M,
    inversion: &Inversion,
    sigmas: &Sigmas<M::Path>,
    x0: Tensor<B, D>,
) -> Tensor<B, D> {
    expect_valid(inversion.validate());
    check(denoiser, sigmas);
    let mut slope = |x: Tensor<B, D>, sigma: f64| Joint {
        x: denoiser.evaluate(x, sigma).velocity(),
        numbers: Vec::new(),
    };
    let Inversion { solver, fixed_point } = inversion;
    let begins_at_zero = *fixed_point > 0 && sigmas.last() == Some(&0.0);
    let levels = upward(sigmas, begins_at_zero);
    let alpha = denoiser.path().alpha(levels[0]);
    let mut x = if alpha == 1.0 { x0 } else { x0 * alpha };
    if *fixed_point == 0 {
        return solve(solver, &levels, Joint { x, numbers: Vec::new() }, slope).x;
    }
    for step in levels.windows(2) {
        let (low, high) = (step[0], step[1]);
        // No denoiser is evaluated at 0, and the last step of sampling is Euler's.
        let (solver, guess) = match low == 0.0 {
            true => (&OdeSolver::Euler, x.clone()),
            false => (solver, x.clone() + increment(solver, x.clone(), (low, high), &mut slope)),
        };
        let mended = (0..*fixed_point)
            .fold(guess, |guess, _| x.clone() - increment(solver, guess, (high, low), &mut slope));
        x = mended;
    }
    x
}

/// Panics where the denoiser cannot be evaluated along the noise levels.
pub(super) fn check<B: Backend, const D: usize, M: Denoiser<B, D> + ?Sized>(
    denoiser: &M,
    sigmas: &Sigmas<M::Path>,
) {
    assert_eq!(denoiser.path(), sigmas.path(), "the denoiser and the noise levels are on different paths");
    expect_valid(denoiser.check_levels(sigmas));
}

/// The levels of a grid from the lowest to the highest, each once, without 0 unless that is asked for.
pub(super) fn upward<P: Path>(sigmas: &Sigmas<P>, with_zero: bool) -> Vec<f64> {
    let mut levels: Vec<f64> = sigmas.iter().rev().copied().filter(|&s| with_zero || s > 0.0).collect();
    levels.dedup();
    levels
}
