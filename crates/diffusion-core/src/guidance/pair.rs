//! Two denoisers, evaluated at the same point.

use crate::condition::Condition;
use crate::denoiser::{Denoiser, DenoiserOutput};
use crate::diffusion::{Diffusion, Given};
use crate::invalid::Invalid;
use crate::network::Network;
use crate::parameterization::Parameterization;
use crate::path::Path;
use burn::tensor::{Tensor, backend::Backend};

/// How the outputs with and without are combined; absent where only the first is needed.
pub type Combine<'a, B, const D: usize> = &'a mut dyn FnMut(Tensor<B, D>, Tensor<B, D>) -> Tensor<B, D>;

/// Two denoisers on one path, evaluated at the same point.
///
/// Any two denoisers are a pair: here one that knows all data is guided away from one that knows a half of them (Karras et
/// al. 2024, arXiv:2406.02507).
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::TensorData;
/// use diffusion_core::network::ideal::IdealDenoiser;
/// use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::{ClassifierFree, GradientEstimation, Guided, Noise, sample};
///
/// let device = Default::default();
/// let ideal = |data: Vec<f32>| {
///     let shape = [data.len() / 2, 2];
///     IdealDenoiser::<Flex, 2>::new(&TensorData::new(data, shape), &device)
/// };
/// let (strong, weak) = (ideal(vec![0.0, 0.0, 1.0, 1.0]), ideal(vec![0.0, 0.0]));
/// let guided = Guided::new(&strong, &weak, ClassifierFree { scale: 0.5 });
/// let sigmas = LogLinear::default().sigmas(10);
/// let x0 = sample(&guided, GradientEstimation::DDIM, &sigmas, 4, Noise::new(0), &device).last().unwrap();
/// assert_eq!(x0.dims(), [4, 2]);
/// ```
pub trait DenoiserPair<B: Backend, const D: usize> {
    /// The path on which the noise levels lie.
    type Path: Path;

    /// The path itself.
    fn path(&self) -> Self::Path;

    /// The shape of a batch of inputs.
    fn input_shape(&self, batch: usize) -> [usize; D];

    /// Begins a sampling run: evaluates the first denoiser, and where there is a way to combine them the second one
    /// too.
    fn start(&self) -> impl FnMut(Tensor<B, D>, f64, Option<Combine<'_, B, D>>) -> DenoiserOutput<B, D>;

    /// Whether both can be evaluated at these noise levels.
    ///
    /// # Errors
    /// As [`Denoiser::check_levels`].
    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid>;
}

/// Any two denoisers, each evaluated by itself.
impl<B: Backend, M, W, const D: usize> DenoiserPair<B, D> for (M, W)
where
    M: Denoiser<B, D>,
    W: Denoiser<B, D, Path = M::Path>,
{
    type Path = M::Path;

    fn path(&self) -> M::Path {
        self.0.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.0.input_shape(batch)
    }

    fn start(&self) -> impl FnMut(Tensor<B, D>, f64, Option<Combine<'_, B, D>>) -> DenoiserOutput<B, D> {
        let (with, without) = self;
        let (path, other) = (with.path(), without.path());
        assert_eq!(path, other, "the two denoisers of a guided one are on different paths");
        let (mut with, mut without) = (with.start(), without.start());
        move |x, sigma, combine| {
            let output = with(x.clone(), sigma);
            let Some(combine) = combine else { return output };
            let against = without(x.clone(), sigma);
            if output.denoised == against.denoised {
                return DenoiserOutput { output: combine(output.output, against.output), ..output };
            }
            DenoiserOutput::from_denoised(&path, x, combine(output.denoised(), against.denoised()), sigma)
        }
    }

    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
        self.0.check_levels(sigmas)?;
        self.1.check_levels(sigmas)
    }
}

/// One model under two conditions; both halves go through the network in one batch.
#[derive(Clone, Debug)]
pub struct TwoConditions<'a, M, C> {
    pub(super) given: Given<'a, M, C>,
    pub(super) against: C,
}

impl<B: Backend, N, P: Parameterization, const D: usize> DenoiserPair<B, D>
    for TwoConditions<'_, Diffusion<B, N, P>, N::Condition>
where
    N: Network<B, D>,
{
    type Path = P::Path;

    fn path(&self) -> P::Path {
        self.given.path()
    }

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.given.input_shape(batch)
    }

    fn start(&self) -> impl FnMut(Tensor<B, D>, f64, Option<Combine<'_, B, D>>) -> DenoiserOutput<B, D> {
        |x: Tensor<B, D>, sigma, combine: Option<Combine<'_, B, D>>| {
            let Some(combine) = combine else { return self.given.evaluate(x, sigma) };
            let Given { model, condition } = &self.given;
            let batch = x.dims()[0];
            let both = Tensor::cat(vec![x.clone(), x.clone()], 0); // [2·batch, …]
            let output = model.predict(both, sigma, condition.clone().join(self.against.clone()));
            let (with, without) = (output.clone().narrow(0, 0, batch), output.narrow(0, batch, batch));
            model.denoiser_output(x, combine(with, without), sigma)
        }
    }

    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
        self.given.check_levels(sigmas)
    }
}
