//! Where a sampler's noise comes from.

use crate::random::{BrownianNoise, Noise};
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// What a sampler asks noise for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseRequest {
    /// The place of its step in the run, from 0.
    pub index: usize,
    /// How often the step has asked before.
    pub draw: usize,
    /// The noise level that the way begins at.
    pub from: f64,
    /// The noise level that it ends at: 0 is data; one above `from` leads up.
    pub to: f64,
    /// (α/σ)² at both levels, the ratio of the powers of data and noise; it is infinite at σ = 0.
    pub snr: [f64; 2],
}

/// Where a run's noise comes from: [`Noise`] for a seed, [`BrownianNoise`] for one that is the same for any number of
/// steps, or a function of the request that gives it.
///
/// ```
/// # use burn::backend::Flex;
/// # use burn::tensor::{Tensor, TensorData};
/// # use diffusion_core::network::ideal::IdealDenoiser;
/// # use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::{GradientEstimation, NoiseRequest, sample_from};
///
/// # let device = Default::default();
/// # let data = TensorData::new(vec![0.0f32, 0.0, 0.0, 1.0], [2, 2]);
/// # let (model, sigmas) = (IdealDenoiser::<Flex, 2>::new(&data, &device), LogLinear::default().sigmas(10));
/// // Noise that is given, e.g. to repeat another program's run; here there is none.
/// let mut asked = Vec::new();
/// let given = |request: NoiseRequest| {
///     asked.push(request.index);
///     Tensor::<Flex, 2>::zeros([4, 2], &device)
/// };
/// let x = Tensor::<Flex, 2>::ones([4, 2], &device) * sigmas[0];
/// sample_from(&model, GradientEstimation::DDPM, &sigmas, x, given).last();
/// assert_eq!(asked[..3], [0, 1, 2]);
/// ```
pub trait NoiseSource<B: Backend, const D: usize> {
    /// Unit normal noise of the shape of `x` for the way from `request.from` to `request.to`.
    fn draw(&mut self, request: NoiseRequest, x: &Tensor<B, D>) -> Tensor<B, D>;
}

impl<B: Backend, const D: usize> NoiseSource<B, D> for Noise {
    /// A draw depends on its number and its step's alone.
    fn draw(&mut self, request: NoiseRequest, x: &Tensor<B, D>) -> Tensor<B, D> {
        Noise::draw(self, request.index, request.draw, x.dims(), &x.device())
    }
}

impl<B: Backend, const D: usize> NoiseSource<B, D> for BrownianNoise {
    /// A way down has that of the path, a way up that of its levels and the draw's number.
    fn draw(&mut self, request: NoiseRequest, x: &Tensor<B, D>) -> Tensor<B, D> {
        self.between(request.snr, request.draw, x.dims(), &x.device())
    }
}

impl<B: Backend, const D: usize, F: FnMut(NoiseRequest) -> Tensor<B, D>> NoiseSource<B, D> for F {
    fn draw(&mut self, request: NoiseRequest, _x: &Tensor<B, D>) -> Tensor<B, D> {
        self(request)
    }
}

/// Which noise a sampler is used with.
///
/// ```
/// use diffusion_core::sampler::{AnyNoise, NoiseKind};
/// use diffusion_core::{AnySampler, Noise, Sampler};
///
/// let sampler = AnySampler::from_name("dpmpp-2m-sde").unwrap();
/// assert_eq!(sampler.noise_kind(), NoiseKind::Brownian);
/// // What `sample` takes: the same picture of seed 7 at any number of steps.
/// assert!(matches!(sampler.noise_kind().of(Noise::new(7)), AnyNoise::Brownian(_)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseKind {
    /// Other noise in each step: [`Noise`].
    #[default]
    Steps,
    /// The increments of one path: [`BrownianNoise`].
    Brownian,
}

impl NoiseKind {
    /// Noise of this kind, for the seed and the samples of `noise`.
    pub fn of(self, noise: Noise) -> AnyNoise {
        match self {
            Self::Steps => AnyNoise::Steps(noise),
            Self::Brownian => AnyNoise::Brownian(noise.into()),
        }
    }
}

/// Noise of a kind that is chosen while the program runs.
#[derive(Clone, Debug)]
pub enum AnyNoise {
    /// [`NoiseKind::Steps`]
    Steps(Noise),
    /// [`NoiseKind::Brownian`]
    Brownian(BrownianNoise),
}

impl<B: Backend, const D: usize> NoiseSource<B, D> for AnyNoise {
    fn draw(&mut self, request: NoiseRequest, x: &Tensor<B, D>) -> Tensor<B, D> {
        match self {
            Self::Steps(noise) => NoiseSource::draw(noise, request, x),
            Self::Brownian(noise) => noise.draw(request, x),
        }
    }
}
