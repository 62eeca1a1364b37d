//! Completing data of which a part is known.

use super::start::noised;
use crate::denoiser::Denoiser;
use crate::invalid::Invalid;
use crate::path::Path;
use crate::random::Noise;
use crate::sampler::{NoiseSource, Sampler, SamplerStep, renoise, sample_changed};
use crate::schedule::Sigmas;
use crate::sigma::sum;
use burn::tensor::{Bool, Tensor, backend::Backend};

/// What is known of data.
#[derive(Clone, Debug)]
pub struct Known<B: Backend, const D: usize> {
    values: Tensor<B, D>,
    /// What the last state has of them.
    end: Tensor<B, D>,
    unknown: Tensor<B, D, Bool>,
}

impl<B: Backend, const D: usize> Known<B, D> {
    /// The data `values`, of which those with at least ½ in `mask` are to be made, and the others stay.
    ///
    /// # Shapes
    /// - `values`: `[batch, …]`
    /// - `mask`: the same, or 1 along axes where it is the same for all
    ///
    /// # Errors
    /// If the shapes do not fit; the setting that is named is `mask`.
    pub fn new(values: Tensor<B, D>, mask: Tensor<B, D>) -> Result<Self, Invalid> {
        let (found, expected) = (mask.dims(), values.dims());
        let fits = found.iter().zip(&expected).all(|(found, expected)| found == expected || *found == 1);
        Invalid::unless(fits, "mask", || {
            format!("is of shape {found:?}, expected {expected:?}, that of the data, or 1 in some places")
        })?;
        let unknown = mask.greater_equal_elem(0.5).expand(expected);
        Ok(Self { end: values.clone(), values, unknown })
    }

    /// The same where what is known is `end` in the last state, in the place of the data themselves: of a run whose result
    /// is a multiple of its last state.
    ///
    /// # Panics
    /// If the shape is not that of the data.
    pub fn ending_as(self, end: Tensor<B, D>) -> Self {
        assert_eq!(end.dims(), self.values.dims(), "the data and the end differ in shape");
        Self { end, ..self }
    }

    /// The state `x` with what is known in the place of what was found: at a noise level, or at the end.
    fn put_back(&self, x: Tensor<B, D>, known: Tensor<B, D>) -> Tensor<B, D> {
        known.mask_where(self.unknown.clone(), x)
    }

    /// The state `x`, which the step has reached, with what is known; `noise` gives that of the known part.
    fn after(
        &self,
        path: &impl Path,
        x: Tensor<B, D>,
        (step, is_end): (SamplerStep, bool),
        noise: impl FnOnce(SamplerStep) -> Tensor<B, D>,
    ) -> Tensor<B, D> {
        let known = match is_end || step.to == 0.0 {
            true => self.end.clone(),
            false => noised(path, self.values.clone(), noise(step), step.to),
        };
        self.put_back(x, known)
    }
}

/// Samples from the state `x` on and puts what is known back after each step, at the noise level that was reached
/// (Song et al. 2021, arXiv:2011.13456, appendix I.2): `α(σ′)·known + σ′·noise(step)`. Yields the states; in the last one
/// what is known is as it was given, bit for bit.
///
/// `noise` gives the unit normal noise of the known part after a step: fresh at each step, or the same at all of them.
/// Begin in noise, or for a part of the way with [`Start`](super::Start). What is unknown follows what is known only as far
/// as the steps that are left let it; [`repaint`] gives it more.
///
/// # Shapes
/// - `x`, what `noise` returns, yields: `[batch, …]`, the shape of the known data
///
/// # Panics
/// As [`sample_from`](crate::sample_from), or if shapes do not fit.
pub fn inpaint<'a, B, const D: usize, M, S, Z, F>(
    denoiser: &'a M,
    sampler: S,
    sigmas: &'a Sigmas<M::Path>,
    x: Tensor<B, D>,
    noise: Z,
    known: (Known<B, D>, F),
) -> impl Iterator<Item = Tensor<B, D>> + use<'a, B, D, M, S, Z, F>
where
    B: Backend,
    M: Denoiser<B, D> + ?Sized,
    S: Sampler,
    Z: NoiseSource<B, D>,
    F: FnMut(SamplerStep) -> Tensor<B, D>,
{
    part(denoiser, sampler, (sigmas, true), x, noise, known)
}

/// [`inpaint`] along a part of a run, at whose end the run ends or goes on.
fn part<'a, B, const D: usize, M, S, Z, F>(
    denoiser: &'a M,
    sampler: S,
    (sigmas, is_last): (&'a Sigmas<M::Path>, bool),
    x: Tensor<B, D>,
    noise: Z,
    (known, mut known_noise): (Known<B, D>, F),
) -> impl Iterator<Item = Tensor<B, D>> + use<'a, B, D, M, S, Z, F>
where
    B: Backend,
    M: Denoiser<B, D> + ?Sized,
    S: Sampler,
    Z: NoiseSource<B, D>,
    F: FnMut(SamplerStep) -> Tensor<B, D>,
{
    assert_eq!(x.dims(), known.values.dims(), "the state and the known data differ in shape");
    let (path, steps) = (denoiser.path(), sigmas.steps());
    sample_changed(denoiser, sampler, sigmas, x, noise, move |step, x| {
        let is_end = is_last && step.index + 1 == steps;
        known.after(&path, x, (step, is_end), &mut known_noise)
    })
}

/// A grid that is walked in parts, each of them several times: at the end of a part the state goes back up to its beginning
/// by fresh noise, so that what is unknown has time to suit what is known (Lugmayr et al. 2022, arXiv:2201.09865, §4.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Jumps<P> {
    parts: Vec<Sigmas<P>>,
    times: usize,
}

impl<P: Path> Jumps<P> {
    /// Parts of `length` steps of `sigmas`, j in the paper, the last of which may be shorter, each of them walked `times`
    /// times, r in the paper. The paper has 10 and 10; 1 and 1 is no jump.
    ///
    /// # Errors
    /// If one of the two is 0; it is named `jump` or `times`.
    pub fn new(sigmas: &Sigmas<P>, length: usize, times: usize) -> Result<Self, Invalid> {
        Invalid::unless_positive("jump", length, crate::invalid::MAX_SIZE)?;
        Invalid::unless_positive("times", times, crate::invalid::MAX_SIZE)?;
        let steps = sigmas.steps();
        let part = |from: usize| sigmas[from..=(from + length).min(steps)].to_vec();
        let parts = match times {
            // Without a jump a sampler remembers its steps all the way.
            1 => vec![sigmas.clone()],
            _ => (0..steps).step_by(length).map(|from| Sigmas::on(sigmas.path(), part(from))).collect(),
        };
        Ok(Self { parts, times })
    }

    /// The number of steps in all.
    pub fn steps(&self) -> usize {
        self.times * self.parts.iter().map(Sigmas::steps).sum::<usize>()
    }
}

/// [`inpaint`] with [`Jumps`], and fresh noise for what is known after each step (RePaint; Lugmayr et al. 2022,
/// arXiv:2201.09865, Alg. 1): yields the states of all walks. Each walk begins the sampler anew.
///
/// Sample i depends on the seed and on i alone.
///
/// ```
/// # use burn::backend::Flex;
/// # use burn::tensor::{Tensor, TensorData};
/// # use diffusion_core::network::ideal::IdealDenoiser;
/// # use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::task::{Jumps, Known, repaint};
/// use diffusion_core::{GradientEstimation, Noise};
///
/// # let device = Default::default();
/// # let data = TensorData::new(vec![0.0f32, 0.0, 1.0, 1.0], [2, 2]);
/// # let model = IdealDenoiser::<Flex, 2>::new(&data, &device);
/// let (sigmas, noise) = (LogLinear::default().sigmas(20).to_zero(), Noise::new(0));
/// // The first value is known, the second is not.
/// let values = Tensor::<Flex, 2>::from_floats([[1.0, 0.0]], &device);
/// let known = Known::new(values, Tensor::from_floats([[0.0, 1.0]], &device))?;
/// let jumps = Jumps::new(&sigmas, 5, 3)?;
/// let x = noise.initial([1, 2], &device) * sigmas[0];
/// let x0 = repaint(&model, GradientEstimation::DDPM, &jumps, x, noise, known).last().unwrap();
/// let found: Vec<f32> = x0.into_data().iter().collect();
/// assert_eq!(found[0], 1.0);
/// assert!((found[1] - 1.0).abs() < 0.1);
/// # Ok::<(), diffusion_core::Invalid>(())
/// ```
///
/// # Shapes
/// - `x`, yields: `[batch, …]`, the shape of the known data
///
/// # Panics
/// As [`inpaint`].
pub fn repaint<'a, B, const D: usize, M, S>(
    denoiser: &'a M,
    sampler: S,
    jumps: &'a Jumps<M::Path>,
    mut x: Tensor<B, D>,
    noise: Noise,
    known: Known<B, D>,
) -> impl Iterator<Item = Tensor<B, D>> + 'a
where
    B: Backend,
    M: Denoiser<B, D> + ?Sized,
    S: Sampler + Clone + 'a,
{
    let (dims, device, path) = (x.dims(), x.device(), denoiser.path());
    let walks = jumps.parts.len() * jumps.times;
    let mut walk = 0;
    let mut states: Option<Box<dyn Iterator<Item = Tensor<B, D>> + 'a>> = None;
    std::iter::from_fn(move || {
        loop {
            if let Some(state) = states.as_mut().and_then(Iterator::next) {
                x = state.clone();
                return Some(state);
            }
            if walk == walks {
                return None;
            }
            let sigmas = &jumps.parts[walk / jumps.times];
            let noise = noise.part(walk as u64);
            if walk % jumps.times > 0 {
                let (low, high) = (sigmas[sigmas.steps()], sigmas[0]);
                let (kept, fresh) = renoise(&path, low, high);
                x = sum([(kept, x.clone()), (fresh, noise.initial(dims, &device))]);
            }
            let device = device.clone();
            let known_noise = move |step: SamplerStep| noise.known(step.index, dims, &device);
            let known = (known.clone(), known_noise);
            let end = (sigmas, walk / jumps.times + 1 == jumps.parts.len());
            let noise = sampler.noise_kind().of(noise);
            states = Some(Box::new(part(denoiser, sampler.clone(), end, x.clone(), noise, known)));
            walk += 1;
        }
    })
}
