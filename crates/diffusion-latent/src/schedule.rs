//! Noise levels and grids of pretrained models, from the settings of diffusers' schedulers.
//!
//! diffusers' schedulers are tables of levels σ, grids through them, and Euler steps or others in σ. Here all of them are
//! on the variance-exploding path: a state is x = x₀ + σ·ε, whatever a class holds.

mod class;
mod config;
mod grid;
mod plan;
mod solver;
mod timesteps;

pub use config::SchedulerConfig;
pub use diffusion_core::sampler::FromPureNoise;
pub use diffusion_core::schedule::PURE_NOISE;
pub use grid::{Curve, End, Grid, Spacing, Start};
pub use plan::Plan;
pub use timesteps::Timesteps;

use crate::config::Settings;
use crate::error::LatentError;
use crate::original::{Family, Predicts};
use diffusion_core::invalid::Invalid;
use diffusion_core::schedule::{Levels, Schedule, ScheduleConfig, Sigmas};
use diffusion_core::{AnyPath, AnyPrediction, AnySampler, VarianceExploding};
use std::path::Path;

/// The noise levels that a pretrained model was trained with, and how its folder samples.
///
/// As a [`Schedule`] it trains and samples as any other: `schedule.sigmas(20)` are trailing levels that end at the smallest.
/// [`like_diffusers`](Self::like_diffusers) is what the folder's own scheduler does.
#[derive(Clone, Debug)]
pub struct LatentSchedule {
    config: SchedulerConfig,
    levels: Levels<VarianceExploding>,
    prediction: AnyPrediction,
    timesteps: Timesteps,
}

impl LatentSchedule {
    /// The schedule of a folder: of the part `scheduler` of a pipeline, or of the folder itself.
    ///
    /// # Errors
    /// If there is no `scheduler_config.json`, or a setting is known and cannot be honored: it names the setting.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, LatentError> {
        let settings = Self::settings(folder.as_ref())?;
        Self::new(SchedulerConfig::from_settings(&settings)?, &settings)
    }

    /// The schedule of a folder of a text model, with [what its pipeline changes](SchedulerConfig::for_text).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_for_text(folder: impl AsRef<Path>) -> Result<Self, LatentError> {
        let settings = Self::settings(folder.as_ref())?;
        Self::new(SchedulerConfig::from_settings(&settings)?.for_text(), &settings)
    }

    /// The schedule of Stable Diffusion, for a checkpoint that states none: that of the published models of its family.
    pub(crate) fn of_stable_diffusion(
        checkpoint: &Path,
        family: Family,
        predicts: Predicts,
    ) -> Result<Self, LatentError> {
        let settings = Settings::of(checkpoint, config::of_stable_diffusion(family, predicts));
        Self::new(SchedulerConfig::from_settings(&settings)?, &settings)
    }

    fn settings(folder: &Path) -> Result<Settings, LatentError> {
        let (part, own) = (folder.join("scheduler").join(FILE), folder.join(FILE));
        Settings::read(if !part.exists() && own.exists() { own } else { part })
    }

    /// The schedule of `config`; `settings` are the file that it comes from, which errors name.
    ///
    /// # Errors
    /// If a setting cannot be honored.
    pub fn new(config: SchedulerConfig, settings: &Settings) -> Result<Self, LatentError> {
        config.check(settings)?;
        let invalid = |Invalid { setting, reason }| {
            settings.unsupported(&setting, format!("what gives noise levels; it {reason}"))
        };
        let levels = config.levels().map_err(invalid)?;
        let timesteps = Timesteps::new(levels.levels())
            .map_err(|found| invalid(Invalid { setting: "beta_start".into(), ..found }))?;
        let Some(prediction) = config.prediction() else {
            return Err(settings.unsupported("prediction_type", "epsilon, v_prediction or sample"));
        };
        Ok(Self { config, levels, prediction, timesteps })
    }

    /// The settings.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// The noise levels as a configuration has them, to train the model further: of a schedule without data in its last
    /// level all but that.
    pub fn schedule_config(&self) -> ScheduleConfig {
        self.config.schedule_config(self.levels())
    }

    /// What the network's output means.
    pub fn prediction(&self) -> AnyPrediction {
        self.prediction
    }

    /// The timesteps of noise levels, which the network is told.
    pub fn timesteps(&self) -> &Timesteps {
        &self.timesteps
    }

    /// The noise levels of `steps` steps along `grid`.
    ///
    /// # Errors
    /// Unless `steps` is from 1 to the number of levels.
    pub fn grid(&self, grid: Grid, steps: usize) -> Result<Sigmas<AnyPath>, Invalid> {
        let timesteps = grid.spacing.timesteps(self.levels().len(), steps)?;
        Ok(self.through(&timesteps, grid))
    }

    /// What the scheduler of the folder does in `steps` steps.
    ///
    /// # Errors
    /// Unless `steps` is from 1 to the number of levels.
    pub fn like_diffusers(&self, steps: usize) -> Result<Plan, Invalid> {
        let (grid, n) = (self.config.grid(), self.levels().len());
        let sigmas = if self.config.has_one_more() && steps < n {
            let mut timesteps = grid.spacing.timesteps(n, steps.saturating_add(1))?;
            timesteps.truncate(steps.max(1));
            Invalid::unless_positive("steps", steps, n)?;
            self.through(&timesteps, grid)
        } else {
            self.grid(grid, steps)?
        };
        let end = sigmas[sigmas.steps()];
        Ok(Plan {
            sigmas,
            start: self.config.start(),
            result: self.config.result(end),
            sampler: FromPureNoise(self.config.sampler(steps)),
        })
    }

    /// Its sampler in `steps` steps, by its [name](AnySampler::NAMES) here; one whose settings have no name, as a file of JSON
    /// states it.
    pub fn sampler_name(&self, steps: usize) -> String {
        let sampler = self.config.sampler(steps);
        let named = AnySampler::NAMES.into_iter().find(|name| AnySampler::from_name(name) == Some(sampler));
        named.map_or_else(|| serde_json::json!(sampler).to_string(), str::to_string)
    }

    /// The class of the folder's scheduler, if [`like_diffusers`](Self::like_diffusers) has its levels, but another sampler.
    pub fn replaced(&self) -> Option<&str> {
        self.config.is_replaced().then_some(&*self.config.class_name)
    }

    fn through(&self, timesteps: &[f64], grid: Grid) -> Sigmas<AnyPath> {
        let levels = self.levels();
        let visited = timesteps.iter().map(|&timestep| grid::level_at(levels, timestep)).collect();
        grid::through(visited, grid.curve, grid.end, levels[0])
    }
}

/// What the file of settings is called.
const FILE: &str = "scheduler_config.json";

impl Schedule for LatentSchedule {
    type Path = AnyPath;

    fn path(&self) -> AnyPath {
        AnyPath::VarianceExploding
    }

    fn levels(&self) -> &[f64] {
        self.levels.levels()
    }
}
