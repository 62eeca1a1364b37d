//! What is asked for, and why it may not be had.

use crate::schedule::{FromPureNoise, Grid, LatentSchedule, Plan, Spacing};
use burn::tensor::{Tensor, TensorData};
use diffusion_core::guidance::AnyModifier;
use diffusion_core::invalid::{Invalid, MAX_SIZE};
use diffusion_core::schedule as core;
use diffusion_core::watch::Stopped;
use diffusion_core::{AnySampler, ClassifierFree, Sampler as _};

/// A picture that is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be seen: a text, or a class of a diffusion transformer by its name or number.
    pub prompt: String,
    /// What is not; where this is absent, guidance leads away from no text, or from no class.
    pub negative: Option<String>,
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// How many steps of the sampler.
    pub steps: usize,
    /// The strength of guidance as other programs count it: 1 is none. Of CFG++ it is λ, from 0 to 1.
    pub guidance: f64,
    /// What changes guidance, one after the other: an interval of noise levels, rescaling, and the like.
    pub modifiers: Vec<AnyModifier>,
    /// The sampler, where it is not the model's own.
    pub sampler: Option<AnySampler>,
    /// Which timesteps, where they are not the model's own.
    pub spacing: Option<Spacing>,
    /// How the noise levels lie, where it is not as the model's scheduler has it.
    pub grid: Option<core::Grid>,
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
            modifiers: Vec::new(),
            sampler: None,
            spacing: None,
            grid: None,
            image: None,
            in_tiles: false,
        }
    }

    /// The rule that guides, by the count of diffusion-core, where a scale of 0 is none.
    pub(crate) fn rule(&self) -> ClassifierFree {
        let is_lambda = self.modifiers.iter().any(|modifier| matches!(modifier, AnyModifier::CfgPlusPlus(_)));
        let scale = if is_lambda { self.guidance } else { self.guidance - 1.0 };
        ClassifierFree::new(scale).with(self.modifiers.clone())
    }

    /// The steps that are asked for, of a model with this schedule.
    pub(crate) fn plan(&self, schedule: &LatentSchedule) -> Result<Plan, Invalid> {
        let guidance = || format!("is {:?}, expected a finite number, and 0 to 1 for CFG++", self.guidance);
        self.rule().validate().map_err(|error| match &*error.setting {
            "scale" => Invalid::new("guidance", guidance()),
            _ => error,
        })?;
        let mut plan = schedule.like_diffusers(self.steps)?;
        if let Some(spacing) = self.spacing {
            plan.sigmas = schedule.grid(Grid { spacing, ..schedule.config().grid() }, self.steps)?;
        }
        if let Some(grid) = &self.grid {
            grid.check(schedule).map_err(|invalid| invalid.within("grid"))?;
            Invalid::unless_positive("steps", self.steps, MAX_SIZE)?;
            plan.sigmas = grid.sigmas(schedule, self.steps).into_any();
        }
        if let Some(sampler) = self.sampler {
            Invalid::unless(!sampler.takes_mean_velocity(), "sampler", || {
                "asks for mean velocities, expected one for a model that was not trained to know them".into()
            })?;
            plan.sampler = FromPureNoise(sampler);
        }
        match &self.image {
            Some(start) => plan.last_part(start.strength),
            None => Ok(plan),
        }
    }
}

/// What [`Prepared::draw`](super::Prepared::draw) tells on its way: the number of the step that is done, that of all steps,
/// and the latents.
pub type Observe<'a, B> = &'a mut dyn FnMut(usize, usize, &Tensor<B, 4>) -> Result<(), Stopped>;
