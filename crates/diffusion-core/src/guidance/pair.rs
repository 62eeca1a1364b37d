//! Two denoisers, evaluated at the same point.

use crate::denoiser::{Denoiser, DenoiserOutput, Evaluate};
use crate::invalid::Invalid;
use crate::path::Path;
use crate::step::SamplerStep;
use burn::tensor::{Tensor, backend::Backend};

/// What the first of two denoisers found, and where both were asked the difference between the outputs, of the first less the
/// second, in the units of the first one's.
pub type Compared<B, const D: usize> = (DenoiserOutput<B, D>, Option<Tensor<B, D>>);

/// Two denoisers on one path, evaluated at the same point.
///
/// Any two denoisers are a pair: here one that knows all data is guided away from one that knows a half of them. This is
/// autoguidance (Karras et al. 2024, arXiv:2406.02507), by a smaller model or an earlier one.
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
/// let guided = Guided::new(&strong, &weak, ClassifierFree::new(0.5));
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

    /// Begins a sampling run: a function of the state, its noise level, the step that the run is in, and whether both are
    /// asked for.
    fn start(&self) -> impl FnMut(Tensor<B, D>, f64, SamplerStep, bool) -> Compared<B, D>;

    /// The same with [mean velocities](Denoiser::start_averaged); nothing where one of the two does not know them.
    fn start_averaged(&self) -> Option<impl FnMut(Tensor<B, D>, f64, SamplerStep, bool) -> Compared<B, D>> {
        None::<fn(Tensor<B, D>, f64, SamplerStep, bool) -> Compared<B, D>>
    }

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

    fn start(&self) -> impl FnMut(Tensor<B, D>, f64, SamplerStep, bool) -> Compared<B, D> {
        compared(&self.0, &self.1, [self.0.start(), self.1.start()])
    }

    fn start_averaged(&self) -> Option<impl FnMut(Tensor<B, D>, f64, SamplerStep, bool) -> Compared<B, D>> {
        Some(compared(&self.0, &self.1, [self.0.start_averaged()?, self.1.start_averaged()?]))
    }

    fn check_levels(&self, sigmas: &[f64]) -> Result<(), Invalid> {
        self.0.check_levels(sigmas)?;
        self.1.check_levels(sigmas)
    }
}

/// Both denoisers, each evaluated by itself.
///
/// # Panics
/// If they are on different paths.
fn compared<B: Backend, M, W, const D: usize>(
    with: &M,
    without: &W,
    [mut evaluate, mut evaluate_other]: [Evaluate<'_, B, D>; 2],
) -> impl FnMut(Tensor<B, D>, f64, SamplerStep, bool) -> Compared<B, D>
where
    M: Denoiser<B, D>,
    W: Denoiser<B, D, Path = M::Path>,
{
    let (path, other) = (with.path(), without.path());
    assert_eq!(path, other, "the two denoisers of a guided one are on different paths");
    move |x, sigma, step, both| {
        let output = evaluate(x.clone(), sigma, step);
        if !both {
            return (output, None);
        }
        let against = evaluate_other(x.clone(), sigma, step);
        if output.denoised == against.denoised {
            let difference = output.output.clone() - against.output;
            return (output, Some(difference));
        }
        let denoised = output.denoised();
        let difference = denoised.clone() - against.denoised();
        (DenoiserOutput::from_denoised(&path, x, denoised, sigma), Some(difference))
    }
}
