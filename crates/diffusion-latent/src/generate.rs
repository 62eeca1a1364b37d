//! From a request to a picture, whatever the request has: a text, a picture to begin with, a part to paint anew.

use crate::condition::TextCondition;
use crate::inpaint::{Known, mask_of_latents, repaint, without_painted};
use crate::pipeline::{StableDiffusion, StableDiffusionModel};
use crate::schedule::{FromPureNoise, Grid, Plan, Spacing};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::invalid::Invalid;
use diffusion_core::watch::Stopped;
use diffusion_core::{AnyPath, AnySampler, ClassifierFree, Denoiser, Network, Noise, sample_from};

/// A picture that is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be seen.
    pub prompt: String,
    /// What is not; where this is absent, guidance leads away from no text.
    pub negative: Option<String>,
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// How many steps of the sampler.
    pub steps: usize,
    /// The strength of guidance as other programs count it: 1 is none.
    pub guidance: f64,
    /// The sampler, where it is not the folder's own.
    pub sampler: Option<AnySampler>,
    /// Which timesteps, where they are not the folder's own.
    pub spacing: Option<Spacing>,
    /// A picture to begin with, of which noise hides as much as [`strength`](Start::strength) says.
    pub image: Option<Start>,
    /// Whether the picture is decoded [in tiles](crate::Autoencoder::decode_in_tiles).
    pub in_tiles: bool,
}

/// A picture to begin with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The picture, `[3, height, width]`, in [−1, 1].
    pub image: TensorData,
    /// Which part of it is to be painted anew, `[1, height, width]`, at least 0 where it is, below where it stays; all of
    /// it where this is absent.
    pub mask: Option<TensorData>,
    /// How much of the way from noise is gone, above 0 and at most 1: of 1 nothing of what is painted anew is left.
    pub strength: f64,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A value of the request cannot be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The caller stopped it.
    #[error("stopped")]
    Stopped,
}

impl From<Stopped> for GenerateError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Request {
    /// A picture of `prompt` in `size`, in 20 steps and with a guidance of 7.5.
    pub fn new(prompt: impl Into<String>, size: [usize; 2]) -> Self {
        Self {
            prompt: prompt.into(),
            negative: None,
            size,
            steps: 20,
            guidance: 7.5,
            sampler: None,
            spacing: None,
            image: None,
            in_tiles: false,
        }
    }
}

/// What [`StableDiffusion::generate`] tells on its way: the number of the step that is done, that of all steps, and the
/// latents.
pub type Observe<'a, B> = &'a mut dyn FnMut(usize, usize, &Tensor<B, 4>) -> Result<(), Stopped>;

impl<B: Backend> StableDiffusion<B> {
    /// Makes the picture that is asked for; `noise` decides which of all that could be. `observe` is told after each step how
    /// far it is, and may stop it.
    ///
    /// # Shapes
    /// - returns `[1, 3, height, width]`, mostly in [−1, 1]
    ///
    /// # Errors
    /// If a value of the request cannot be used, or `observe` stops it.
    pub fn generate(
        &self,
        request: &Request,
        noise: Noise,
        device: &B::Device,
        observe: Observe<'_, B>,
    ) -> Result<Tensor<B, 4>, GenerateError> {
        let model = self.at(request.size[0], request.size[1])?;
        ClassifierFree { scale: request.guidance - 1.0 }.validate().map_err(|_| {
            Invalid::new("guidance", format!("is {:?}, expected a finite number", request.guidance))
        })?;
        let plan = self.plan(request)?;
        let begin = self.begin(request, device)?;
        let condition = |text: TextCondition| match self.sees_pictures() {
            true => text.painting(begin.mask.clone(), begin.seen.clone()),
            false => text,
        };
        let prompt = condition(self.text(&[&request.prompt]).into());
        let against = match &request.negative {
            Some(negative) => self.text(&[negative]).into(),
            None => self.empty().clone(),
        };
        let denoiser = guided(&model, prompt, condition(against), request.guidance);
        let unit: Tensor<B, 4> = noise.initial(model.network.input_shape(1), device);
        let x = match &begin.latents {
            Some(latents) if begin.strength < 1.0 => plan.from_data(latents.clone(), unit.clone()),
            _ => plan.from_noise(unit.clone()),
        };
        let (mut last, steps) = (x.clone(), plan.sigmas.steps());
        let states: Box<dyn Iterator<Item = Tensor<B, 4>> + '_> = match begin.latents.filter(|_| begin.keeps)
        {
            Some(latents) if !self.sees_pictures() => {
                let known = Known::new(latents, begin.mask, unit);
                Box::new(repaint(&*denoiser, &plan, x, noise, known))
            }
            _ => Box::new(sample_from(&*denoiser, plan.sampler, &plan.sigmas, x, noise)),
        };
        for (step, x) in states.enumerate() {
            observe(step + 1, steps, &x)?;
            last = x;
        }
        let latents = last * plan.result;
        Ok(match request.in_tiles {
            true => self.autoencoder().decode_in_tiles(latents),
            false => self.decode(latents),
        })
    }

    /// The steps that are asked for.
    fn plan(&self, request: &Request) -> Result<Plan, Invalid> {
        let schedule = self.schedule();
        let mut plan = schedule.like_diffusers(request.steps)?;
        if let Some(spacing) = request.spacing {
            plan.sigmas = schedule.grid(Grid { spacing, ..schedule.config().grid() }, request.steps)?;
        }
        if let Some(sampler) = request.sampler {
            plan.sampler = FromPureNoise(sampler);
        }
        match &request.image {
            Some(start) => plan.last_part(start.strength),
            None => Ok(plan),
        }
    }

    /// What a run begins with besides noise.
    fn begin(&self, request: &Request, device: &B::Device) -> Result<Begin<B>, Invalid> {
        let [height, width] = request.size;
        let latent_size = request.size.map(|side| side / self.autoencoder().config.factor());
        let tensor = |setting: &str, data: &TensorData, channels: usize| {
            Invalid::unless(data.shape[..] == [channels, height, width], setting, || {
                format!("is of shape {:?}, expected {channels}x{height}x{width}", data.shape)
            })?;
            Ok::<_, Invalid>(Tensor::<B, 3>::from_data(data.clone(), device).unsqueeze_dim::<4>(0))
        };
        let Some(start) = &request.image else {
            let mask = Tensor::ones([1, 1, latent_size[0], latent_size[1]], device);
            // Nothing is seen: a gray picture, all of which is to be painted.
            let seen = match self.sees_pictures() {
                true => self.encode(Tensor::zeros([1, 3, height, width], device)),
                false => mask.clone(),
            };
            return Ok(Begin { latents: None, seen, mask, keeps: false, strength: 1.0 });
        };
        let image = tensor("image", &start.image, 3)?;
        let mask = match &start.mask {
            Some(mask) => tensor("mask", mask, 1)? / 2.0 + 0.5,
            None => Tensor::ones([1, 1, height, width], device),
        };
        let seen = match self.sees_pictures() {
            true => self.encode(without_painted(image.clone(), mask.clone())),
            false => mask.clone(),
        };
        Ok(Begin {
            latents: Some(self.encode(image)),
            seen,
            mask: mask_of_latents(mask, latent_size),
            keeps: start.mask.is_some(),
            strength: start.strength,
        })
    }
}

/// What a run begins with besides noise.
struct Begin<B: Backend> {
    /// Of the picture to begin with.
    latents: Option<Tensor<B, 4>>,
    /// Those of the picture without what is painted anew, for a network that sees pictures; anything else else.
    seen: Tensor<B, 4>,
    /// In latents, 1 where it is painted anew.
    mask: Tensor<B, 4>,
    /// Whether a part of the picture stays.
    keeps: bool,
    strength: f64,
}

/// The model under guidance of the strength `guidance`, of which 1 is none.
fn guided<'a, B: Backend>(
    model: &'a StableDiffusionModel<B>,
    prompt: TextCondition,
    against: TextCondition,
    guidance: f64,
) -> Box<dyn Denoiser<B, 4, Path = AnyPath> + 'a> {
    let given = model.given(prompt);
    match guidance == 1.0 {
        true => Box::new(given),
        false => Box::new(given.guided_by(against, guidance - 1.0)),
    }
}
