//! A step by velocities or noises of several steps, without cancellation.

use crate::denoiser::{Combination, Denoiser};
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};

/// What a method of several steps remembers, for estimates e of the noise or of the velocity, of which each is the state over
/// its noise level but for a remainder: `e = x/σ − w`.
///
/// A step that adds up estimates of earlier steps, `x' = x + Σ Kᵢ·eᵢ`, has large terms at high noise levels that nearly
/// cancel, since all estimates are nearly the noise. Remainders are small there. So what is kept of an earlier estimate is
/// its remainder from the present state, w = x/σ − e, which each step moves by as much as x/σ.
#[derive(Debug)]
pub struct Remainders<B: Backend, const D: usize>(Vec<(Tensor<B, D>, f64)>);

impl<B: Backend, const D: usize> Default for Remainders<B, D> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<B: Backend, const D: usize> Remainders<B, D> {
    /// The places of the steps before, the latest first, as they were given.
    pub(super) fn places(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|(_, place)| *place)
    }

    /// The state at `to`: `(σ'/σ)·x − Σ Kᵢ·wᵢ` for the `weights` K of the remainders here and before, the latest first. The one
    /// here is `remainder` of what the denoiser finds; it is remembered with its `place`, `keep` of them in all.
    pub(super) fn step<M: Denoiser<B, D>>(
        &mut self,
        denoiser: &M,
        x: Tensor<B, D>,
        [from, to]: [f64; 2],
        weights: &[f64],
        remainder: Combination,
        (place, keep): (f64, usize),
    ) -> Tensor<B, D> {
        let found = denoiser.evaluate(x, from);
        let along = Combination {
            x: to / from - weights[0] * remainder.x,
            denoised: -weights[0] * remainder.denoised,
            velocity: -weights[0] * remainder.velocity,
        };
        let here = (keep > 0).then(|| found.clone().combined(remainder));
        let earlier =
            || weights[1..].iter().zip(&self.0).map(|(weight, (known, _))| (*weight, known.clone()));
        let reached = sum([(1.0, found.combined(along))]
            .into_iter()
            .chain(earlier().map(|(weight, known)| (-weight, known))));
        if let (Some(here), true) = (here, to > 0.0) {
            let moved = sum([(weights[0], here.clone())].into_iter().chain(earlier())) * (-1.0 / to);
            self.0.insert(0, (here, place));
            self.0.truncate(keep);
            for (known, _) in &mut self.0 {
                *known = known.clone() + moved.clone();
            }
        }
        reached
    }
}
