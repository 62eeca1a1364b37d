//! A request with all that its pictures have in common.

use super::request::{Observe, Request};
use crate::autoencoder::Autoencoder;
use crate::inpaint::{Known, mask_of_latents, repaint, without_painted};
use crate::schedule::Plan;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::invalid::Invalid;
use diffusion_core::watch::Stopped;
use diffusion_core::{
    AnyPath, AnyPrediction, ClassifierFree, Denoiser, Diffusion, Network, Noise, Sampler, sample_from,
};

/// A request that waits for its noise: texts and pictures are encoded, once for all that is drawn.
pub struct Prepared<'a, B: Backend> {
    told: Box<dyn Told<B> + 'a>,
    autoencoder: &'a Autoencoder<B>,
    plan: Plan,
    begin: Begin<B>,
    in_tiles: bool,
    cut: Vec<String>,
    class: Option<usize>,
}

impl<'a, B: Backend> Prepared<'a, B> {
    /// What a model that is `told` what to draw makes of `request` along `plan`.
    pub(super) fn new<N>(
        request: &Request,
        plan: Plan,
        begin: Begin<B>,
        told: Guided<B, N>,
        autoencoder: &'a Autoencoder<B>,
    ) -> Self
    where
        N: Network<B, 4> + 'a,
    {
        let in_tiles = request.in_tiles;
        Self { told: Box::new(told), autoencoder, plan, begin, in_tiles, cut: Vec::new(), class: None }
    }

    /// The same, of which the ends of some texts were left out.
    pub(super) fn with_cut(self, cut: Vec<String>) -> Self {
        Self { cut, ..self }
    }

    /// The same, of a class.
    pub(super) fn with_class(self, class: usize) -> Self {
        Self { class: Some(class), ..self }
    }

    /// What was left out of the texts, because the model takes no more tokens.
    pub fn cut(&self) -> &[String] {
        &self.cut
    }

    /// The label of the class that is drawn, by a model of classes.
    pub fn class(&self) -> Option<usize> {
        self.class
    }

    /// Draws a picture; `noise` decides which of all that could be. `observe` is told after each step how far it is, and may
    /// stop it.
    ///
    /// # Shapes
    /// - returns `[1, 3, height, width]`, mostly in [−1, 1]
    ///
    /// # Errors
    /// If `observe` stops it.
    pub fn draw(&self, noise: Noise, observe: Observe<'_, B>) -> Result<Tensor<B, 4>, Stopped> {
        let (denoiser, plan, begin) = (self.told.denoiser(), &self.plan, &self.begin);
        let unit: Tensor<B, 4> = noise.initial(denoiser.input_shape(1), &begin.mask.device());
        let x = match &begin.latents {
            Some(latents) if begin.strength < 1.0 => plan.from_data(latents.clone(), unit.clone()),
            _ => plan.from_noise(unit.clone()),
        };
        let (mut last, steps) = (x.clone(), plan.sigmas.steps());
        let noise = plan.sampler.noise_kind().of(noise);
        let states: Box<dyn Iterator<Item = Tensor<B, 4>> + '_> = match &begin.latents {
            Some(latents) if begin.keeps => {
                let known = Known::new(latents.clone(), begin.mask.clone(), unit);
                Box::new(repaint(&*denoiser, plan, x, noise, known))
            }
            _ => Box::new(sample_from(&*denoiser, plan.sampler, &plan.sigmas, x, noise)),
        };
        for (step, x) in states.enumerate() {
            observe(step + 1, steps, &x)?;
            last = x;
        }
        let latents = last * plan.result;
        Ok(match self.in_tiles {
            true => self.autoencoder.decode_in_tiles(latents),
            false => self.autoencoder.decode(latents),
        })
    }
}

/// A model that was told what to draw.
trait Told<B: Backend> {
    fn denoiser(&self) -> Box<dyn Denoiser<B, 4, Path = AnyPath> + '_>;
}

/// A model under guidance.
pub(super) struct Guided<B: Backend, N: Network<B, 4>> {
    pub model: Diffusion<B, N, AnyPrediction>,
    /// What is to be seen, of one example.
    pub prompt: N::Condition,
    /// What guidance leads away from, of one example.
    pub against: N::Condition,
    pub rule: ClassifierFree,
}

impl<B: Backend, N: Network<B, 4>> Told<B> for Guided<B, N> {
    fn denoiser(&self) -> Box<dyn Denoiser<B, 4, Path = AnyPath> + '_> {
        let given = self.model.given(self.prompt.clone());
        Box::new(given.guided_with(self.against.clone(), self.rule.clone()))
    }
}

/// What a run begins with besides noise.
pub(super) struct Begin<B: Backend> {
    /// Of the picture to begin with.
    latents: Option<Tensor<B, 4>>,
    /// Those of the picture without what is painted anew, for a network that sees pictures; anything else else.
    pub seen: Tensor<B, 4>,
    /// In latents, 1 where it is painted anew.
    pub mask: Tensor<B, 4>,
    /// Whether a part of the picture is put back after each step.
    keeps: bool,
    strength: f64,
}

impl<B: Backend> Begin<B> {
    /// That of `request`, for a network that sees pictures or does not.
    pub fn new(
        request: &Request,
        autoencoder: &Autoencoder<B>,
        sees_pictures: bool,
        device: &B::Device,
    ) -> Result<Self, Invalid> {
        let [height, width] = request.size;
        let latent_size = request.size.map(|side| side / autoencoder.config.factor());
        let tensor = |setting: &str, data: &TensorData, channels: usize| {
            Invalid::unless(data.shape[..] == [channels, height, width], setting, || {
                format!("is of shape {:?}, expected {channels}x{height}x{width}", data.shape)
            })?;
            Ok::<_, Invalid>(Tensor::<B, 3>::from_data(data.clone(), device).unsqueeze_dim::<4>(0))
        };
        let Some(start) = &request.image else {
            let mask = Tensor::ones([1, 1, latent_size[0], latent_size[1]], device);
            // Nothing is seen: a gray picture, all of which is to be painted.
            let seen = match sees_pictures {
                true => autoencoder.encode(Tensor::zeros([1, 3, height, width], device)),
                false => mask.clone(),
            };
            return Ok(Self { latents: None, seen, mask, keeps: false, strength: 1.0 });
        };
        let image = tensor("image", &start.image, 3)?;
        let mask = match &start.mask {
            Some(mask) => tensor("mask", mask, 1)? / 2.0 + 0.5,
            None => Tensor::ones([1, 1, height, width], device),
        };
        let seen = match sees_pictures {
            true => autoencoder.encode(without_painted(image.clone(), mask.clone())),
            false => mask.clone(),
        };
        Ok(Self {
            latents: Some(autoencoder.encode(image)),
            seen,
            mask: mask_of_latents(mask, latent_size),
            keeps: start.mask.is_some() && !sees_pictures,
            strength: start.strength,
        })
    }
}
