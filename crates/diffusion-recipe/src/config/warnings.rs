//! Settings that can be used together, and that nobody wants together.

use super::RunConfig;
use diffusion::core::guidance::GuidancePoint;
use diffusion::core::invalid::Number;
use diffusion::core::{AnyGuidance, AnySampler, Guidance, SamplerStep, Schedule, counted};

impl RunConfig {
    /// What is odd about settings that can be used, in one sentence each, with the setting's path.
    ///
    /// ```
    /// # use diffusion_recipe::RunConfig;
    /// let mut config = RunConfig::preset("tree")?;
    /// assert!(config.warnings().is_empty());
    /// config.set_all(["network.labels.dropout=0.0", "sampling.guidance.kind=classifier-free", "sampling.guidance.scale=2"])?;
    /// assert!(config.warnings()[0].starts_with("network.labels.dropout"));
    /// // A sampler that is not meant for what the model learns, and noise beyond what it has seen.
    /// let mut config = RunConfig::preset("swissroll")?;
    /// config.sampling.set_sampler("consistency")?;
    /// config.sampling.set_grid("vp")?;
    /// assert!(config.warnings()[0].starts_with("sampling.sampler"));
    /// assert!(config.warnings()[1].starts_with("sampling.grid"));
    /// # Ok::<(), diffusion_recipe::RecipeError>(())
    /// ```
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> =
            self.warning_of_sampler().into_iter().chain(self.warning_of_levels()).collect();
        let network = &self.network;
        let (Some(dropout), Some(setting)) = (network.dropout(), network.dropout_setting()) else {
            return warnings;
        };
        let condition = if network.classes().is_some() { "label" } else { "text" };
        // As often as a condition is expected to be dropped in all of training.
        let seen = self.training.steps as f64 * self.batch_size as f64 * self.training.accumulate as f64;
        if dropout * seen < 1.0 && self.is_guided() && !network.can_do_without() {
            let cure = match dropout {
                0.0 => "train with 0.1",
                _ => "train longer",
            };
            let steps = counted(self.training.steps, "step");
            warnings.push(format!(
                "{setting} is {}, so in {steps} the network does not learn to do without a {condition}, and guidance compares \
                 with an output that means nothing: {cure}, or sample without guidance",
                Number(dropout)
            ));
        }
        if dropout == 1.0 {
            warnings.push(format!(
                "{setting} is 1, so the network never sees a {condition}, and samples do not follow theirs: train with 0.1"
            ));
        }
        warnings
    }

    /// A sampler for consistency models is for these alone, and they for it.
    fn warning_of_sampler(&self) -> Option<String> {
        let jumps = matches!(self.sampling.sampler, AnySampler::Consistency(_));
        let reason = match (jumps, self.objective.is_consistency()) {
            (true, false) => {
                "is consistency, but the model is trained by another objective: its estimates are means of data and no samples"
            }
            (false, true) => {
                "goes along a way of which a consistency model knows the end alone: that of the kind consistency suits it"
            }
            _ => return None,
        };
        Some(format!("sampling.sampler {reason}"))
    }

    /// A grid has levels of its own, which may lie where nothing was learned.
    fn warning_of_levels(&self) -> Option<String> {
        let grid = self.sampling.grid.as_ref()?;
        let levels = self.sampling.schedule.as_ref().unwrap_or(&self.schedule);
        if levels.validate().and(self.schedule.validate()).is_err() {
            return None;
        }
        let (levels, trained) = (levels.init(), self.schedule.init());
        grid.check(&levels).ok()?;
        let (first, most) = (grid.sigmas(&levels, self.sampling.steps.max(1))[0], *trained.levels().last()?);
        (first > 1.01 * most).then(|| {
            format!(
                "sampling.grid begins at the noise level {first:.3}, and the model is trained up to {most:.3}"
            )
        })
    }

    /// Whether guidance away from no condition does something at a noise level of sampling.
    fn is_guided(&self) -> bool {
        let (guidance, schedule) = (&self.sampling.guidance, &self.sampling.schedule);
        let schedule = schedule.as_ref().unwrap_or(&self.schedule);
        if schedule.validate().is_err() || matches!(guidance, AnyGuidance::Autoguidance(_)) {
            return false;
        }
        let schedule = schedule.init();
        let (path, levels) = (schedule.path(), schedule.levels());
        let between = |pair: &[f64]| SamplerStep { index: 0, from: pair[1], to: pair[0] };
        let steps =
            levels.windows(2).map(between).chain(levels.iter().map(|&level| SamplerStep::to_data(level)));
        steps.into_iter().any(|step| guidance.is_active(&GuidancePoint::new(&path, step.from, step)))
    }
}
