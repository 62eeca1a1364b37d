//! How samples are drawn.

use diffusion::core::invalid::MAX_SIZE;
use diffusion::core::{AnyGuidance, AnySampler, ClassifierFree, Invalid, ScheduleConfig};
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
        match &self.schedule {
            Some(schedule) => schedule.validate().map_err(|error| error.within("schedule")),
            None => Ok(()),
        }
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

    /// Uses classifier-free guidance of the strength `scale` instead; 0 is off.
    pub fn set_cfg_scale(&mut self, scale: f64) {
        self.guidance = if scale == 0.0 { AnyGuidance::None } else { ClassifierFree { scale }.into() };
    }

    /// The sampling schedule, if it has one of its own, and its setting in a run.
    pub(crate) fn schedule_with_name(&self) -> Option<(&ScheduleConfig, &'static str)> {
        self.schedule.as_ref().map(|schedule| (schedule, "sampling.schedule"))
    }
}
