//! How samples are drawn.

use diffusion::core::invalid::MAX_SIZE;
use diffusion::core::schedule::{AnySpacing, Grid};
use diffusion::core::{AnyGuidance, AnyPath, AnySampler, Invalid, Schedule, ScheduleConfig, Sigmas};
use serde::{Deserialize, Serialize};

/// How samples are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingConfig {
    /// Number of samples.
    pub count: usize,
    /// Number of steps.
    pub steps: usize,
    /// Which sampler.
    pub sampler: AnySampler,
    /// How the model is guided; not at all by default.
    #[serde(default)]
    pub guidance: AnyGuidance,
    /// The noise levels to sample through, where they are not those of training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleConfig>,
    /// How the noise levels lie between the largest and the smallest of these; where this is absent, at trailing timesteps
    /// down to the smallest, as in smalldiffusion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Grid>,
}

impl SamplingConfig {
    /// Checks every setting's range.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("count", self.count, MAX_SIZE)?;
        Invalid::unless_positive("steps", self.steps, MAX_SIZE)?;
        self.sampler.validate().map_err(|error| error.within("sampler"))?;
        self.guidance.validate().map_err(|error| error.within("guidance"))?;
        if let Some(schedule) = &self.schedule {
            schedule.validate().map_err(|error| error.within("schedule"))?;
        }
        self.grid.as_ref().map_or(Ok(()), Grid::validate).map_err(|error| error.within("grid"))
    }

    /// The noise levels of a sampling run of a model that was trained at those of `training`.
    ///
    /// # Panics
    /// If the settings are not valid, or the grid does not suit the schedule.
    pub fn sigmas(&self, training: &ScheduleConfig) -> Sigmas<AnyPath> {
        let schedule = self.schedule.as_ref().unwrap_or(training).init();
        match &self.grid {
            Some(grid) => grid.sigmas(&schedule, self.steps),
            None => schedule.sigmas(self.steps),
        }
    }

    /// Samples along the grid whose spacing is called `name` instead, e.g. `karras`, with its end and its shift as they are.
    ///
    /// # Errors
    /// If none is.
    pub fn set_grid(&mut self, name: &str) -> Result<(), Invalid> {
        let reason = || format!("is {name:?}, expected one of {}", AnySpacing::NAMES.join(", "));
        let spacing =
            AnySpacing::from_name(name).ok_or_else(|| Invalid::new("sampling.grid.spacing", reason()))?;
        self.grid = Some(match self.grid.take() {
            Some(grid) => Grid { spacing, ..grid },
            None => spacing.into(),
        });
        Ok(())
    }

    /// Samples with the sampler that is called `name` instead, e.g. `ddim`.
    ///
    /// # Errors
    /// If none is.
    pub fn set_sampler(&mut self, name: &str) -> Result<(), Invalid> {
        let reason = || format!("is {name:?}, expected one of {}", AnySampler::NAMES.join(", "));
        self.sampler =
            AnySampler::from_name(name).ok_or_else(|| Invalid::new("sampling.sampler", reason()))?;
        Ok(())
    }

    /// Guides with the strength `scale` instead, by the rule and the modifiers that are there, or else by classifier-free
    /// guidance; 0 is off.
    ///
    /// ```
    /// # use diffusion_recipe::RunConfig;
    /// use diffusion::core::ClassifierFree;
    ///
    /// let mut sampling = RunConfig::preset("fashion-unet-small")?.sampling;
    /// sampling.set_cfg_scale(2.0);
    /// assert_eq!(sampling.guidance, ClassifierFree::new(2.0).into());
    /// # Ok::<(), diffusion_recipe::RecipeError>(())
    /// ```
    pub fn set_cfg_scale(&mut self, scale: f64) {
        self.guidance = std::mem::take(&mut self.guidance).with_scale(scale);
    }

    /// The sampling schedule, if it has one of its own, and its setting in a run.
    pub(crate) fn schedule_with_name(&self) -> Option<(&ScheduleConfig, &'static str)> {
        self.schedule.as_ref().map(|schedule| (schedule, "sampling.schedule"))
    }
}
