//! Explicit Runge–Kutta methods along increasing noise levels.

use crate::invalid::Invalid;
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// A solver of the probability flow ODE dx/dσ = f(x, σ) from low noise levels to high ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OdeSolver {
    /// Euler's method, whose steps are DDIM's; one evaluation in a step, order 1.
    Euler,
    /// Heun's method; two evaluations in a step, order 2.
    #[default]
    Heun,
    /// The classical method of Runge and Kutta; four evaluations in a step, order 4.
    Rk4,
    /// The pair of Dormand and Prince (1980) of orders 5 and 4, which chooses its steps by the difference of the two; six
    /// evaluations in a step. Of the noise levels it takes the first and the last, and the first step's length.
    ///
    /// All samples of a batch have their steps in common, so that a sample depends on those beside it, within the tolerance.
    Adaptive {
        /// The error that a step may have, relative to the state, above 0.
        rtol: f64,
        /// What is added to that, in the data's units, above 0.
        atol: f64,
    },
}

impl OdeSolver {
    /// The names that [`from_name`](Self::from_name) knows.
    pub const NAMES: [&str; 4] = ["euler", "heun", "rk4", "adaptive"];

    /// The adaptive solver with the tolerances of Song et al. 2021 (arXiv:2011.13456, appendix D.4), 1e-5 both.
    pub const ADAPTIVE: Self = Self::Adaptive { rtol: 1e-5, atol: 1e-5 };

    /// The solver of this name; the adaptive one with a tolerance of 1e-5.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "euler" => Self::Euler,
            "heun" => Self::Heun,
            "rk4" => Self::Rk4,
            "adaptive" => Self::ADAPTIVE,
            _ => return None,
        })
    }

    /// Whether there is such a solver.
    ///
    /// # Errors
    /// If a tolerance is not above 0 and at most 1.
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self::Adaptive { rtol, atol } = *self else { return Ok(()) };
        for (setting, found) in [("rtol", rtol), ("atol", atol)] {
            Invalid::unless(found > 0.0 && found <= 1.0, setting, || {
                format!("is {found:?}, expected a number above 0 and at most 1")
            })?;
        }
        Ok(())
    }

    /// The order of convergence.
    pub fn order(&self) -> u32 {
        match self {
            Self::Euler => 1,
            Self::Heun => 2,
            Self::Rk4 => 4,
            Self::Adaptive { .. } => 5,
        }
    }

    fn tableau(&self) -> &'static Tableau {
        match self {
            Self::Euler => &EULER,
            Self::Heun => &HEUN,
            Self::Rk4 => &RK4,
            Self::Adaptive { .. } => &DORMAND_PRINCE,
        }
    }
}

/// The coefficients of a method (Hairer, Nørsett & Wanner 1993, II.1).
struct Tableau {
    /// Of the slopes before it in each stage but the first, whose place they add up to.
    stages: &'static [&'static [f64]],
    /// Of all slopes in the step.
    weights: &'static [f64],
    /// Of all slopes in the step less those of the embedded method.
    errors: &'static [f64],
}

const EULER: Tableau = Tableau { stages: &[], weights: &[1.0], errors: &[] };
const HEUN: Tableau = Tableau { stages: &[&[1.0]], weights: &[0.5, 0.5], errors: &[] };
const RK4: Tableau = Tableau {
    stages: &[&[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    weights: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    errors: &[],
};
/// Its last stage is the step itself, so that its last slope is the next step's first.
const DORMAND_PRINCE: Tableau = Tableau {
    stages: &[
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    weights: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0],
    errors: &[
        71.0 / 57600.0,
        0.0,
        -71.0 / 16695.0,
        71.0 / 1920.0,
        -17253.0 / 339200.0,
        22.0 / 525.0,
        -1.0 / 40.0,
    ],
};

/// A state, or its derivative by σ: the samples, and a number for each of them, or none at all.
#[derive(Clone, Debug)]
pub(super) struct Joint<B: Backend, const D: usize> {
    /// `[batch, …]`
    pub x: Tensor<B, D>,
    /// What is integrated beside each sample, or nothing.
    pub numbers: Vec<f64>,
}

impl<B: Backend, const D: usize> Joint<B, D> {
    /// The same with `h` times the weighted slopes.
    fn plus(&self, h: f64, weights: &[f64], slopes: &[Self]) -> Self {
        let x = sum([(1.0, self.x.clone())].into_iter().chain(terms(h, weights, slopes)));
        let more = weighted(h, weights, slopes, self.numbers.len());
        let numbers = self.numbers.iter().zip(more).map(|(number, more)| number + more).collect();
        Self { x, numbers }
    }
}

/// Slopes and `h` times their weights.
fn terms<B: Backend, const D: usize>(
    h: f64,
    weights: &[f64],
    slopes: &[Joint<B, D>],
) -> impl Iterator<Item = (f64, Tensor<B, D>)> {
    weights.iter().zip(slopes).map(move |(weight, slope)| (h * weight, slope.x.clone()))
}

/// The sums of the numbers beside slopes, times `h` and their weights.
fn weighted<B: Backend, const D: usize>(
    h: f64,
    weights: &[f64],
    slopes: &[Joint<B, D>],
    count: usize,
) -> Vec<f64> {
    let at = |i: usize| weights.iter().zip(slopes).map(|(weight, slope)| h * weight * slope.numbers[i]).sum();
    (0..count).map(at).collect()
}

/// The slopes of a step from `from` to `to`; `first` is the first of them.
fn slopes<B: Backend, const D: usize>(
    tableau: &Tableau,
    state: &Joint<B, D>,
    first: Joint<B, D>,
    (from, to): (f64, f64),
    slope: &mut impl FnMut(Tensor<B, D>, f64) -> Joint<B, D>,
) -> Vec<Joint<B, D>> {
    let h = to - from;
    let mut found = vec![first];
    for stage in tableau.stages {
        let place: f64 = stage.iter().sum();
        // The last level exactly, which a sum may pass.
        let sigma = if (place - 1.0).abs() < 1e-12 { to } else { from + place * h };
        let x = sum([(1.0, state.x.clone())].into_iter().chain(terms(h, stage, &found)));
        found.push(slope(x, sigma));
    }
    found
}

/// What a step of `solver` from `from` to `to` adds to the state `x`; `to` may lie below, and is not 0 unless the solver is
/// Euler's.
pub(super) fn increment<B: Backend, const D: usize>(
    solver: &OdeSolver,
    x: Tensor<B, D>,
    (from, to): (f64, f64),
    slope: &mut impl FnMut(Tensor<B, D>, f64) -> Joint<B, D>,
) -> Tensor<B, D> {
    let tableau = solver.tableau();
    let first = slope(x.clone(), from);
    let state = Joint { x, numbers: Vec::new() };
    let slopes = slopes(tableau, &state, first, (from, to), slope);
    sum(terms(to - from, tableau.weights, &slopes))
}

/// The state at the last of `levels`, which increase, given that at the first.
pub(super) fn solve<B: Backend, const D: usize>(
    solver: &OdeSolver,
    levels: &[f64],
    mut state: Joint<B, D>,
    mut slope: impl FnMut(Tensor<B, D>, f64) -> Joint<B, D>,
) -> Joint<B, D> {
    if let OdeSolver::Adaptive { rtol, atol } = *solver {
        return adapt(levels, state, (rtol, atol), slope);
    }
    let tableau = solver.tableau();
    for step in levels.windows(2) {
        let (from, to) = (step[0], step[1]);
        let first = slope(state.x.clone(), from);
        let slopes = slopes(tableau, &state, first, (from, to), &mut slope);
        state = state.plus(to - from, tableau.weights, &slopes);
    }
    state
}

/// The same with steps whose estimated error is within tolerances; the next one's length follows from the errors of the
/// last two (Hairer & Wanner 1996, IV.2).
fn adapt<B: Backend, const D: usize>(
    levels: &[f64],
    mut state: Joint<B, D>,
    tolerances: (f64, f64),
    mut slope: impl FnMut(Tensor<B, D>, f64) -> Joint<B, D>,
) -> Joint<B, D> {
    /// The shortest step, in parts of the noise level: below it the error is that of f32.
    const SHORTEST: f64 = 1e-4;
    let (mut from, Some(&end)) = (levels[0], levels.last()) else { return state };
    let mut h = levels.get(1).map_or(0.0, |next| next - from);
    let mut first = slope(state.x.clone(), from);
    let mut before: f64 = 1.0;
    while from < end {
        let shortest = SHORTEST * from;
        h = h.max(shortest);
        let to = if from + 1.01 * h >= end { end } else { from + h };
        let mut found = slopes(&DORMAND_PRINCE, &state, first.clone(), (from, to), &mut slope);
        let reached = state.plus(to - from, DORMAND_PRINCE.weights, &found);
        let error = error(&state, &reached, to - from, &found, tolerances).max(1e-10);
        let is_accepted = error <= 1.0 || h <= shortest;
        let factor = 0.9 * error.powf(-0.7 / 5.0) * if is_accepted { before.powf(0.4 / 5.0) } else { 1.0 };
        h = (to - from) * if factor.is_finite() { factor.clamp(0.2, 5.0) } else { 5.0 };
        if is_accepted {
            before = error.min(1.0);
            (from, state) = (to, reached);
            first = found.pop().unwrap_or(first);
        }
    }
    state
}

/// The largest error of a sample in units of what it may be; numbers beside it count per value.
fn error<B: Backend, const D: usize>(
    before: &Joint<B, D>,
    after: &Joint<B, D>,
    h: f64,
    slopes: &[Joint<B, D>],
    (rtol, atol): (f64, f64),
) -> f64 {
    let batch = before.x.dims()[0];
    let size = before.x.shape().num_elements() / batch.max(1);
    let error = sum(terms(h, DORMAND_PRINCE.errors, slopes));
    let allowed = before.x.clone().abs().max_pair(after.x.clone().abs()) * rtol + atol;
    let ratio = (error / allowed).into_data();
    let ratios: Vec<f64> = ratios(&ratio.iter::<f64>().collect::<Vec<_>>(), size);
    let numbers = weighted(h, DORMAND_PRINCE.errors, slopes, before.numbers.len());
    let numbers = numbers.iter().zip(&after.numbers).map(|(error, number)| {
        let [error, number] = [error, number].map(|number| number.abs() / size as f64);
        error / (atol + rtol * number)
    });
    // Not a number is no reason to go on for ever.
    ratios.into_iter().chain(numbers).filter(|ratio| !ratio.is_nan()).fold(0.0, f64::max)
}

/// The root mean squares of rows of `size` values.
fn ratios(values: &[f64], size: usize) -> Vec<f64> {
    let mean = |row: &[f64]| (row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64).sqrt();
    values.chunks(size.max(1)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conditions on the sums of the coefficients, up to order 2, and that the pair's errors add up to nothing.
    #[test]
    fn coefficients_add_up() {
        for tableau in [EULER, HEUN, RK4, DORMAND_PRINCE] {
            let sum: f64 = tableau.weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
            assert_eq!(tableau.weights.len(), tableau.stages.len() + 1);
            assert!(tableau.errors.iter().sum::<f64>().abs() < 1e-12);
            let places = tableau.stages.iter().map(|stage| stage.iter().sum::<f64>());
            let moment: f64 = tableau.weights[1..].iter().zip(places).map(|(w, c)| w * c).sum();
            assert!(tableau.weights.len() == 1 || (moment - 0.5).abs() < 1e-12, "{moment}");
        }
    }

    #[test]
    fn names_and_files_have_their_solvers() {
        for name in OdeSolver::NAMES {
            assert!(OdeSolver::from_name(name).is_some_and(|solver| solver.validate().is_ok()), "{name}");
        }
        let parse = serde_json::from_str::<OdeSolver>;
        assert_eq!(parse(r#"{"kind": "rk4"}"#).unwrap(), OdeSolver::Rk4);
        assert!(parse(r#"{"kind": "simpson"}"#).is_err());
        let zero = OdeSolver::Adaptive { rtol: 0.0, atol: 1e-3 };
        assert_eq!(zero.validate().unwrap_err().setting, "rtol");
    }
}
