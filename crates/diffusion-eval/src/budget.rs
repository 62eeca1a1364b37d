//! How many steps a sampler makes with a number of evaluations.

use diffusion_core::{Path, Sampler, SamplerStep, Sigmas};

/// How often a run of `sampler` along `sigmas` evaluates the denoiser; nothing where that is not known before.
pub fn evaluations<P: Path>(sampler: &impl Sampler, sigmas: &Sigmas<P>) -> Option<usize> {
    let steps = sigmas.windows(2).enumerate();
    steps
        .map(|(index, levels)| sampler.evaluations(SamplerStep { index, from: levels[0], to: levels[1] }))
        .sum()
}

/// The largest number of steps along `grid` in which `sampler` evaluates the denoiser at most `budget` times; nothing where
/// one step is too many, or that is not known before.
pub fn steps_within<P: Path>(
    sampler: &impl Sampler,
    grid: impl Fn(usize) -> Sigmas<P>,
    budget: usize,
) -> Option<usize> {
    let fits = |&steps: &usize| evaluations(sampler, &grid(steps)).is_some_and(|count| count <= budget);
    (1..=budget).rev().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use diffusion_core::schedule::{Grid, Karras, LogLinear};
    use diffusion_core::{GradientEstimation, Heun};

    #[test]
    fn two_evaluations_a_step_are_half_as_many_steps() {
        let grid = |steps| Grid::from(Karras::default()).sigmas(&LogLinear::new(9, 0.01, 10.0), steps);
        assert_eq!(evaluations(&Heun::default(), &grid(5)), Some(9));
        assert_eq!(steps_within(&Heun::default(), grid, 10), Some(5));
        assert_eq!(steps_within(&Heun::default(), grid, 11), Some(6));
        assert_eq!(steps_within(&GradientEstimation::DDIM, grid, 10), Some(10));
        assert_eq!(steps_within(&GradientEstimation::DDIM, grid, 0), None);
    }
}
