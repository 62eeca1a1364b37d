//! The reference's sampler: one rule with two numbers that holds DDPM, DDIM and accelerated sampling.

use super::{Sampler, Step, renoise};
use crate::guidance::Denoiser;
use burn::tensor::{Tensor, backend::Backend};

/// The sampler with gradient estimation of Permenter & Yuan (2024, arXiv:2306.04848, §5), extended by noise.
///
/// It follows the average `gam·v + (1 − gam)·v_previous` of velocities down to
/// `s = (σ'/σ^mu)^(1/(1−mu))` and then adds noise to come back up to σ' by the path's own rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct General {
    gam: f64,
    mu: f64,
}

impl General {
    /// DDIM (Song et al. 2021, arXiv:2010.02502), the Euler method: gam 1, mu 0.
    pub const DDIM: Self = Self { gam: 1.0, mu: 0.0 };

    /// DDPM (Ho et al. 2020, arXiv:2006.11239), the ancestral sampler: gam 1, mu ½.
    pub const DDPM: Self = Self { gam: 1.0, mu: 0.5 };

    /// Accelerated sampling (Permenter & Yuan 2024, arXiv:2306.04848): gam 2, mu 0.
    pub const ACCELERATED: Self = Self { gam: 2.0, mu: 0.0 };

    /// The sampler with these numbers; the reference suggests gam ≥ 1.
    ///
    /// # Panics
    /// Unless `gam` is finite and `mu` in [0, 1).
    pub fn new(gam: f64, mu: f64) -> Self {
        assert!(gam.is_finite(), "gam is {gam}, expected a finite number");
        assert!((0.0..1.0).contains(&mu), "mu is {mu}, expected 0 ≤ mu < 1");
        Self { gam, mu }
    }
}

/// The velocity of the step before.
#[derive(Debug)]
pub struct Previous<B: Backend, const D: usize>(Option<Tensor<B, D>>);

impl<B: Backend, const D: usize> Default for Previous<B, D> {
    fn default() -> Self {
        Self(None)
    }
}

impl Sampler for General {
    type Memory<B: Backend, const D: usize> = Previous<B, D>;

    fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
        &self,
        denoiser: &M,
        x: Tensor<B, D>,
        Step { from, to, .. }: Step,
        noise: &mut dyn FnMut() -> Tensor<B, D>,
        memory: &mut Previous<B, D>,
    ) -> Tensor<B, D> {
        let Self { gam, mu } = *self;
        let velocity = denoiser.evaluate(x.clone(), from).velocity();
        let average = match memory.0.take() {
            Some(previous) if gam != 1.0 => velocity.clone() * gam + previous * (1.0 - gam),
            _ => velocity.clone(),
        };
        memory.0 = Some(velocity);
        let down = if mu == 0.0 || to == from { to } else { (to / from.powf(mu)).powf((1.0 - mu).recip()) };
        renoise::<M::Path, B, D>(x + average * (down - from), down, to, noise)
    }
}
