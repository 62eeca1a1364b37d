//! Beginning with data instead of noise: image to image.

use crate::invalid::Invalid;
use crate::path::Path;
use crate::schedule::Sigmas;
use crate::sigma::{Sigma, mix};
use burn::tensor::{Tensor, backend::Backend};

/// Where a sampling run begins that is given data: the noise levels that are left to it, and the state at the first.
///
/// Image to image (Meng et al. 2022, arXiv:2108.01073): of the data only what survives the noise stays.
/// ```
/// # use burn::backend::Flex;
/// # use burn::tensor::{Tensor, TensorData};
/// # use diffusion_core::network::ideal::IdealDenoiser;
/// # use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::task::Start;
/// use diffusion_core::{GradientEstimation, Noise, sample_from};
///
/// # let device = Default::default();
/// # let data = TensorData::new(vec![0.0f32, 0.0, 0.0, 1.0], [2, 2]);
/// # let model = IdealDenoiser::<Flex, 2>::new(&data, &device);
/// let (sigmas, noise) = (LogLinear::default().sigmas(10).to_zero(), Noise::new(0));
/// let x0 = Tensor::<Flex, 2>::ones([4, 2], &device);
/// let start = Start::new(&sigmas, x0.clone(), 0.5, noise.initial(x0.dims(), &device))?;
/// let changed = match &start {
///     Some(Start { sigmas, x }) => {
///         sample_from(&model, GradientEstimation::DDIM, sigmas, x.clone(), noise).last().unwrap()
///     }
///     // The strength leaves no step.
///     None => x0,
/// };
/// assert_eq!(changed.dims(), [4, 2]);
/// # Ok::<(), diffusion_core::Invalid>(())
/// ```
#[derive(Clone, Debug)]
pub struct Start<P, B: Backend, const D: usize> {
    /// The noise levels from the first one on.
    pub sigmas: Sigmas<P>,
    /// The state at the first of them, `[batch, …]`.
    pub x: Tensor<B, D>,
}

impl<P: Path, B: Backend, const D: usize> Start<P, B, D> {
    /// Begins with the data `x0`, of which `strength` from 0 to 1 is made new, by the unit normal `noise`.
    ///
    /// The run is the [last part](last_part) of `sigmas`. Nothing is returned where no step is left, as for a strength of 0:
    /// the data are the result. Where all steps are left, as for a strength of 1, nothing is left of the data: the run begins
    /// in noise, as [`sample`](crate::sample) does.
    ///
    /// # Shapes
    /// - `x0`, `noise`: `[batch, …]`
    ///
    /// # Errors
    /// Unless `strength` is in [0, 1].
    ///
    /// # Panics
    /// If `x0` and `noise` differ in shape.
    pub fn new(
        sigmas: &Sigmas<P>,
        x0: Tensor<B, D>,
        strength: f64,
        noise: Tensor<B, D>,
    ) -> Result<Option<Self>, Invalid> {
        assert_eq!(x0.dims(), noise.dims(), "data and noise differ in shape");
        Ok(last_part(sigmas, strength)?.map(|part| {
            let x = match part.steps() == sigmas.steps() {
                true => noise * sigmas[0],
                false => noised(&sigmas.path(), x0, noise, part[0]),
            };
            Self { sigmas: part, x }
        }))
    }
}

/// The last ⌊S·`strength`⌋ of the S steps of `sigmas`; nothing where no step is left.
///
/// # Errors
/// Unless `strength` is in [0, 1]; the setting that is named is `strength`.
pub fn last_part<P: Path>(sigmas: &Sigmas<P>, strength: f64) -> Result<Option<Sigmas<P>>, Invalid> {
    check_strength(strength)?;
    let steps = sigmas.steps();
    let kept = (steps as f64 * strength) as usize;
    Ok((kept > 0).then(|| Sigmas::on(sigmas.path(), sigmas[steps - kept..].to_vec())))
}

/// Refuses a strength that is no part of the way.
///
/// # Errors
/// Unless it is in [0, 1]; the setting that is named is `strength`.
pub fn check_strength(strength: f64) -> Result<(), Invalid> {
    Invalid::unless((0.0..=1.0).contains(&strength), "strength", || {
        format!("is {strength:?}, expected a number from 0 to 1")
    })
}

/// The data `x0` at the noise level `sigma` of `path`: `α(σ)·x₀ + σ·noise`.
///
/// # Shapes
/// - `x0`, `noise` of unit variance, returns: the same
pub fn noised<B: Backend, const D: usize>(
    path: &impl Path,
    x0: Tensor<B, D>,
    noise: Tensor<B, D>,
    sigma: f64,
) -> Tensor<B, D> {
    mix((Sigma::All(path.alpha(sigma)), x0), (Sigma::All(sigma), noise))
}
