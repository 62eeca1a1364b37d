//! Painting a part of a picture anew, with a model of whole pictures.

use crate::layer::nearest_to;
use crate::schedule::Plan;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::invalid::expect_valid;
use diffusion_core::sampler::{NoiseSource, SamplerStep};
use diffusion_core::task::{self, inpaint};
use diffusion_core::{AnyPath, Denoiser};

/// What is known of the latents of a picture.
#[derive(Clone, Debug)]
pub struct Known<B: Backend> {
    latents: Tensor<B, 4>,
    known: task::Known<B, 4>,
    noise: Tensor<B, 4>,
}

impl<B: Backend> Known<B> {
    /// The latents of a picture, of which those with 1 in `mask` are to be painted anew, and the noise that a run begins
    /// with: what is known has it at every noise level.
    ///
    /// # Shapes
    /// - `latents`, `noise`: `[batch, channels, height, width]`
    /// - `mask`: `[batch, 1, height, width]`, or of one example for all, as of [`mask_of_latents`]
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn new(latents: Tensor<B, 4>, mask: Tensor<B, 4>, noise: Tensor<B, 4>) -> Self {
        assert_eq!(latents.dims(), noise.dims(), "latents and noise differ in shape");
        let known = expect_valid(task::Known::new(latents.clone(), mask));
        Self { latents, known, noise }
    }
}

/// Samples as `plan` says from the state `x` and puts what is known back after each step, as diffusers'
/// `StableDiffusionInpaintPipeline` does with an ordinary U-Net (Lugmayr et al. 2022, arXiv:2201.09865, eq. 8, with the
/// first noise each time). Yields the states; the last, times [`Plan::result`], has the known latents as they are.
///
/// Begin with [`Plan::from_noise`] of the noise that [`Known`] has, or, for a part of the plan, with [`Plan::from_data`].
///
/// # Shapes
/// - `x`, yields: `[batch, channels, height, width]`
///
/// # Panics
/// As [`sample_from`](diffusion_core::sample_from), or if shapes do not fit.
pub fn repaint<'a, B, M, Z>(
    denoiser: &'a M,
    plan: &'a Plan,
    x: Tensor<B, 4>,
    noise: Z,
    known: Known<B>,
) -> impl Iterator<Item = Tensor<B, 4>> + use<'a, B, M, Z>
where
    B: Backend,
    M: Denoiser<B, 4, Path = AnyPath> + ?Sized,
    Z: NoiseSource<B, 4>,
{
    let Known { latents, known, noise: first } = known;
    let known = known.ending_as(latents * plan.result.recip());
    inpaint(denoiser, plan.sampler, &plan.sigmas, x, noise, (known, move |_: SamplerStep| first.clone()))
}

/// The mask of latents of the size `[height, width]`, from that of a picture: 1, to be painted, where the nearest pixel is at
/// least ½, and 0 elsewhere. Pixel ⌊i·in/out⌋ is the nearest of place i.
///
/// # Shapes
/// - `mask`: `[batch, 1, rows, columns]`
/// - returns `[batch, 1, height, width]`
pub fn mask_of_latents<B: Backend>(mask: Tensor<B, 4>, size: [usize; 2]) -> Tensor<B, 4> {
    nearest_to(mask, size).greater_equal_elem(0.5).float()
}

/// The picture without what is to be painted: what a U-Net for inpainting, of nine channels, is told of it.
///
/// # Shapes
/// - `image`, returns: `[batch, channels, height, width]`
/// - `mask`: `[batch, 1, height, width]`, or of one example for all
pub fn without_painted<B: Backend>(image: Tensor<B, 4>, mask: Tensor<B, 4>) -> Tensor<B, 4> {
    image * mask.lower_elem(0.5).float()
}
