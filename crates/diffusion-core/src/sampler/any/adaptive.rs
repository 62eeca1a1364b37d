//! A method that chooses its steps by the error that it finds.

use crate::denoiser::{Combination, Denoiser};
use crate::invalid::{Invalid, expect_valid};
use crate::path::Path;
use crate::precision::check_amount;
use crate::sampler::way::level;
use crate::sampler::{Sampler, SamplerStep};
use crate::sigma::sum;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use serde::{Deserialize, Serialize};

/// The embedded pair of orders 3 and 2 of Bogacki and Shampine (1989), with a controller of the step's length (PID; Söderlind
/// 2003), for the probability flow as d(x/σ)/d(α/σ) = D: exact while the estimate of the data stays, on any path, also from
/// pure noise. A step to σ' = 0, whose α/σ is infinite, ends at D; its error is how much D changes halfway.
///
/// Between two levels of its grid it takes as many steps as its tolerance asks for, so that a grid of few levels will do. The
/// error is measured in each sample by itself, as the root of the mean of (error/(atol + rtol·|x'|))², and each sample has
/// steps of its own: it depends on no other in its batch. Lengths are halves, quarters, … down to 1/4096 of the way
/// between the two levels, so that samples that stand at the same level and go as far share their evaluations,
/// which are always of the whole batch: one sample that is hard costs the time of all. A denoiser that remembers something
/// during a run, such as guidance with momentum, is asked more often than a sample moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adaptive {
    /// The tolerated error of a step, relative to the state that it reaches.
    pub rtol: f64,
    /// The tolerated error of a step where that state is 0; positive.
    pub atol: f64,
    /// The controller's proportional part.
    pub p: f64,
    /// The controller's integral part, which reacts to the last error alone.
    pub i: f64,
    /// The controller's derivative part.
    pub d: f64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { rtol: 0.05, atol: 0.0078, p: 0.0, i: 1.0, d: 0.0 }
    }
}

impl Adaptive {
    /// Whether there is such a sampler.
    ///
    /// # Errors
    /// If a number is negative or not finite in f32, or `atol` is 0.
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self { rtol, atol, p, i, d } = *self;
        for (setting, found) in [("rtol", rtol), ("atol", atol), ("p", p), ("i", i), ("d", d)] {
            check_amount(setting, found)?;
        }
        Invalid::unless(atol as f32 > 0.0, "atol", || format!("is {atol}, expected more than 0"))
    }

    /// By how much the next step is longer, given the last error and those of the steps before, the latest first.
    fn factor(&self, error: f64, before: [f64; 2]) -> f64 {
        let Self { p, i, d, .. } = *self;
        // The error of a step grows with the third power of its length.
        let exponents = [-(p + i + d) / 3.0, (p + 2.0 * d) / 3.0, -d / 3.0];
        let errors = [error, before[0], before[1]].map(|error| error.max(LEAST_ERROR));
        let factor: f64 = errors.into_iter().zip(exponents).map(|(error, power)| error.powf(power)).product();
        (SAFETY * factor).clamp(0.1, 10.0)
    }

    /// The error of each sample over what is tolerated at the state `x` where a step ends.
    fn measured<B: Backend, const D: usize>(&self, error: Tensor<B, D>, x: &Tensor<B, D>) -> Vec<f64> {
        let dims = error.dims();
        let relative = error / (x.clone().abs() * self.rtol + self.atol);
        let rows: Tensor<B, 2> = relative.reshape([dims[0], dims[1..].iter().product()]);
        rows.square().mean_dim(1).sqrt().into_data().iter().collect()
    }
}

/// The pieces of the way between two levels.
const PIECES: u32 = 1 << 12;
/// Part of the length at which the error would be as large as is tolerated.
const SAFETY: f64 = 0.9;
/// Below it, errors say nothing more about the length.
const LEAST_ERROR: f64 = 1e-8;

/// The length of the next step of each sample, and the errors of its last two.
#[derive(Clone, Debug)]
pub struct Lengths(Vec<Control>);

/// How a sample goes on.
#[derive(Clone, Copy, Debug)]
struct Control {
    /// The length of its next step in λ; infinite before there was one.
    length: f64,
    /// The last errors over the tolerance, the latest first.
    errors: [f64; 2],
}

/// Where a sample stands on the way between two levels.
#[derive(Clone, Copy, Debug)]
struct Stand {
    /// The pieces behind it.
    at: u32,
    /// The pieces of its next step, not yet a power of two.
    wanted: f64,
}

impl Stand {
    /// The pieces of its next step: the largest power of two that is wanted and ends at a multiple of itself.
    fn pieces(&self) -> u32 {
        let aligned = if self.at == 0 { PIECES } else { 1 << self.at.trailing_zeros() };
        let wanted = (self.wanted as u32).clamp(1, PIECES);
        aligned.min(1 << wanted.ilog2())
    }
}

/// The way between two levels of the grid, in pieces.
struct Pieces<'a, P> {
    path: &'a P,
    from: f64,
    to: f64,
}

impl<P: Path> Pieces<'_, P> {
    /// The length of the whole way in λ; infinite from pure noise and to data.
    fn length(&self) -> f64 {
        self.ratio(self.from).ln() - self.ratio(self.to).ln()
    }

    /// σ/α.
    fn ratio(&self, sigma: f64) -> f64 {
        sigma / self.path.alpha(sigma)
    }

    /// The noise level after `at` pieces, which are alike in λ where it is finite, and else in α/σ from pure noise, in σ/α to
    /// data.
    fn level(&self, at: u32) -> f64 {
        let (begin, end) = (self.ratio(self.from), self.ratio(self.to));
        let part = f64::from(at) / f64::from(PIECES);
        let ratio = match at {
            0 => return self.from,
            PIECES => return self.to,
            _ if begin.is_infinite() && end == 0.0 => (1.0 - part) / part,
            _ if begin.is_infinite() => end / part,
            _ if end == 0.0 => begin * (1.0 - part),
            _ => (begin.ln() + part * (end / begin).ln()).exp(),
        };
        level(self.path, ratio, self.from)
    }
}

/// Where a step of all samples leads.
struct Reached<B: Backend, const D: usize> {
    x: Tensor<B, D>,
    /// The estimate of the data there, unless it is the end.
    denoised: Tensor<B, D>,
    error: Tensor<B, D>,
}

/// A step from `x` at the noise level `from`, where the estimate of the data is `here`.
fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
    denoiser: &M,
    x: Tensor<B, D>,
    here: Tensor<B, D>,
    from: f64,
    to: f64,
) -> Reached<B, D> {
    let path = denoiser.path();
    let snr = |sigma: f64| path.alpha(sigma) / sigma;
    let begin = snr(from);
    if to == 0.0 {
        // Halfway in σ; from pure noise at the level of as much noise as data.
        let ratio = if begin > 0.0 { 0.5 / begin } else { 1.0 };
        let middle = level(&path, ratio, from);
        let x = sum([(middle / from, x), (middle * (snr(middle) - begin), here.clone())]);
        let denoised = denoiser.evaluate(x, middle).denoised();
        return Reached { x: denoised.clone(), error: denoised.clone() - here, denoised };
    }
    let whole = snr(to) - begin;
    let at = |part: f64| level(&path, (begin + part * whole).recip(), from);
    // x at the level σ' is σ'·(x/σ + (gain of α/σ)·(mean of D)).
    let state = |sigma: f64, terms: &[(f64, &Tensor<B, D>)]| {
        let terms = terms.iter().map(|&(weight, d)| (sigma * whole * weight, d.clone()));
        sum([(sigma / from, x.clone())].into_iter().chain(terms))
    };
    let (half, late) = (at(0.5), at(0.75));
    let second = denoiser.evaluate(state(half, &[(0.5, &here)]), half).denoised();
    let third = denoiser.evaluate(state(late, &[(0.75, &second)]), late).denoised();
    let reached = state(to, &[(2.0 / 9.0, &here), (1.0 / 3.0, &second), (4.0 / 9.0, &third)]);
    let found = denoiser.evaluate(reached.clone(), to);
    let fourth = found.combined(Combination { denoised: 1.0, ..Combination::default() });
    let weights = [-5.0 / 72.0, 1.0 / 12.0, 1.0 / 9.0, -1.0 / 8.0];
    let estimates = [here, second, third, fourth.clone()];
    let error = sum(weights.into_iter().map(|weight| to * whole * weight).zip(estimates));
    Reached { x: reached, denoised: fourth, error }
}

/// `new` for the samples that are `chosen`, `old` for the others.
fn chosen<B: Backend, const D: usize>(chosen: &[bool], new: Tensor<B, D>, old: Tensor<B, D>) -> Tensor<B, D> {
    if chosen.iter().all(|&is_chosen| is_chosen) {
        return new;
    }
    let mut shape = [1; D];
    shape[0] = chosen.len();
    let mask = TensorData::new(chosen.iter().map(|&is| f32::from(is)).collect::<Vec<_>>(), shape);
    let mask = Tensor::<B, D>::from_data(mask, &old.device()).greater_elem(0.5).expand(old.dims());
    old.mask_where(mask, new)
}

/// # Panics
/// [`start`](Sampler::start) panics where [`validate`](Adaptive::validate) is an error.
impl Sampler for Adaptive {
    type State<B: Backend, const D: usize> = Lengths;

    fn start<B: Backend, const D: usize>(&self, _sigmas: &[f64]) -> Lengths {
        expect_valid(self.validate());
        Lengths(Vec::new())
    }

    /// Of a grid that is finer than the tolerance asks for.
    fn order(&self) -> u32 {
        3
    }

    /// None, but for a step that does not move.
    fn evaluations(&self, step: SamplerStep) -> Option<usize> {
        (step.to == step.from).then_some(0)
    }

    fn adds_noise(&self) -> bool {
        false
    }

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        mut x: Tensor<B, D>,
        SamplerStep { from, to, .. }: SamplerStep,
        _noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
        Lengths(controls): &mut Lengths,
    ) -> Tensor<B, D> {
        if to == from {
            return x;
        }
        controls.resize(x.dims()[0], Control { length: f64::INFINITY, errors: [1.0; 2] });
        let path = denoiser.path();
        let pieces = Pieces { path: &path, from, to };
        let unit = pieces.length() / f64::from(PIECES);
        let wanted = |control: &Control| if unit.is_finite() { control.length / unit } else { PIECES.into() };
        let mut stands: Vec<Stand> =
            controls.iter().map(|control| Stand { at: 0, wanted: wanted(control) }).collect();
        let mut here = denoiser.evaluate(x.clone(), from).denoised();
        // The samples that are the furthest behind go on, those with the longest step first.
        while let Some(at) = stands.iter().map(|stand| stand.at).min().filter(|&at| at < PIECES) {
            let is_behind = |stand: &&Stand| stand.at == at;
            let taken = stands.iter().filter(is_behind).map(Stand::pieces).max().unwrap_or(1);
            let found = step(denoiser, x.clone(), here.clone(), pieces.level(at), pieces.level(at + taken));
            let errors = self.measured(found.error, &found.x);
            let mut moved = vec![false; stands.len()];
            for (row, stand) in stands.iter_mut().enumerate() {
                if stand.at != at || stand.pieces() != taken {
                    continue;
                }
                let (control, error, length) = (&mut controls[row], errors[row], f64::from(taken));
                let next = length * self.factor(error, control.errors);
                // Nothing is smaller than a piece, and where there is no number, there is no better one.
                if error > 1.0 && taken > 1 {
                    stand.wanted = next.min(length / 2.0);
                    continue;
                }
                *stand = Stand { at: at + taken, wanted: next };
                control.errors = [error, control.errors[0]];
                if unit.is_finite() {
                    control.length = next * unit;
                }
                moved[row] = true;
            }
            x = chosen(&moved, found.x, x);
            here = chosen(&moved, found.denoised, here);
        }
        x
    }
}
