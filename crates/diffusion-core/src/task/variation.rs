//! Variations of data: the same composition, other details.

use super::inversion::{Inversion, invert};
use super::start::{Start, check_strength, last_part, noised};
use crate::denoiser::Denoiser;
use crate::invalid::{Invalid, expect_valid};
use crate::sampler::renoise;
use crate::schedule::Sigmas;
use crate::sigma::sum;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// How data are varied: they are inverted up to a noise level, fresh noise takes them on up to a second one, and sampling
/// leads down from there.
///
/// Both ways up keep the distribution that the states have at each level, so that what comes out is distributed as data are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variation {
    /// How far up, from 0 to 1 of the steps: how coarse what changes is.
    pub strength: f64,
    /// Which part of that way goes by fresh noise, from 0 to 1, after the rest was inverted: with 0 the data come back, with
    /// 1 they are [noised](noised) as for image to image.
    pub fresh: f64,
    /// How they are inverted.
    pub inversion: Inversion,
}

impl Default for Variation {
    fn default() -> Self {
        Self { strength: 0.6, fresh: 0.5, inversion: Inversion::default() }
    }
}

impl Variation {
    /// Whether there is such a variation.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_strength(self.strength)?;
        Invalid::unless((0.0..=1.0).contains(&self.fresh), "fresh", || {
            format!("is {:?}, expected a number from 0 to 1", self.fresh)
        })?;
        self.inversion.validate().map_err(|error| error.within("inversion"))
    }
}

/// Where the run for a variation of the data `x0` begins; nothing where the strength leaves no step, and the data are the
/// result. A sampler that adds noise makes what it adds new as well.
///
/// ```
/// # use burn::backend::Flex;
/// # use burn::tensor::{Tensor, TensorData};
/// # use diffusion_core::network::ideal::IdealDenoiser;
/// # use diffusion_core::schedule::{LogLinear, Schedule};
/// use diffusion_core::task::{Start, Variation, vary};
/// use diffusion_core::{Heun, Noise, sample_from};
///
/// # let device = Default::default();
/// # let data = TensorData::new(vec![0.0f32, 0.0, 0.0, 1.0], [2, 2]);
/// # let model = IdealDenoiser::<Flex, 2>::new(&data, &device);
/// let (sigmas, noise) = (LogLinear::default().sigmas(20).to_zero(), Noise::new(0));
/// let x0 = Tensor::<Flex, 2>::ones([4, 2], &device);
/// let start = vary(&model, &Variation::default(), &sigmas, x0, noise.initial([4, 2], &device));
/// let Start { sigmas, x } = start.expect("steps are left");
/// let varied = sample_from(&model, Heun::default(), &sigmas, x, noise).last().unwrap();
/// assert_eq!(varied.dims(), [4, 2]);
/// ```
///
/// # Shapes
/// - `x0`, `noise` of unit variance: `[batch, …]`
///
/// # Panics
/// As [`invert`](invert()), if `x0` and `noise` differ in shape, or if [`validate`](Variation::validate) is an error.
pub fn vary<B: Backend, const D: usize, M: Denoiser<B, D> + ?Sized>(
    denoiser: &M,
    variation: &Variation,
    sigmas: &Sigmas<M::Path>,
    x0: Tensor<B, D>,
    noise: Tensor<B, D>,
) -> Option<Start<M::Path, B, D>> {
    expect_valid(variation.validate());
    assert_eq!(x0.dims(), noise.dims(), "data and noise differ in shape");
    let part = expect_valid(last_part(sigmas, variation.strength))?;
    let (path, sigma) = (denoiser.path(), part[0]);
    let x = match expect_valid(last_part(&part, 1.0 - variation.fresh)) {
        None => noised(&path, x0, noise, sigma),
        Some(lower) => {
            let state = invert(denoiser, &variation.inversion, &lower, x0);
            let (kept, fresh) = renoise(&path, lower[0], sigma);
            sum([(kept, state), (fresh, noise)])
        }
    };
    Some(Start { sigmas: part, x })
}
