//! What the objectives ask for that make models for few steps.

use super::RunConfig;
use crate::sampling::NO_MEAN_VELOCITY;
use diffusion::core::invalid::Number;
use diffusion::core::{AnyPath, Invalid, Parameterization, Sampler as _, Schedule};
use diffusion::data::DataConfig;

/// Whether the network is given its own estimate.
const SELF_CONDITION: &str = "network.self_condition";

impl RunConfig {
    /// A teacher is there where one is needed, and a model that is compared with itself is not validated.
    pub(super) fn validate_few_steps(&self) -> Result<(), Invalid> {
        let (has_teacher, needs_teacher) = (self.teacher.is_some(), self.objective.needs_teacher());
        Invalid::unless(has_teacher || !needs_teacher, "teacher", || {
            "is absent, expected the folder of a trained run for the objective consistency-distillation"
                .into()
        })?;
        Invalid::unless(needs_teacher || !has_teacher, "teacher", || {
            "is given, but only the objective consistency-distillation learns from one".into()
        })?;
        Invalid::unless(has_teacher || self.teacher_checkpoint.is_none(), "teacher_checkpoint", || {
            "is given without a teacher, of which it is a step".into()
        })?;
        self.validate_pairs()?;
        self.validate_mean_flow()?;
        let compares = self.objective.is_consistency() || self.objective.needs_mean_velocity();
        Invalid::unless(!(compares && self.network.self_condition()), SELF_CONDITION, || {
            "is true, but no objective that compares the model with itself trains it to be given its own estimate".into()
        })?;
        if !self.objective.is_consistency() {
            return Ok(());
        }
        Invalid::unless(self.validation.is_none(), "validation", || {
            "is given, but the loss of consistency compares the model with itself, which says nothing of how good it is; \
             leave it out"
                .into()
        })?;
        let schedule = self.schedule.init();
        Invalid::unless(schedule.levels().len() > 1, "schedule", || {
            "has one noise level, expected at least two, between which a consistency model is compared with itself".into()
        })?;
        let boundary = self.prediction.boundary();
        let lowest = schedule.levels().first().copied().unwrap_or(boundary);
        Invalid::unless(boundary <= lowest * (1.0 + 1e-9), "prediction", || {
            let [boundary, lowest] = [boundary, lowest].map(Number);
            format!(
                "has sigma_min = {boundary}, expected at most {lowest}, the smallest noise level of the schedule"
            )
        })
    }

    /// Mean velocities are those of a flow, and asked of a network that knows them.
    fn validate_mean_flow(&self) -> Result<(), Invalid> {
        let is_known = self.network.mean_velocity();
        Invalid::unless(
            is_known || !self.sampling.sampler.takes_mean_velocity(),
            "sampling.sampler",
            || NO_MEAN_VELOCITY.into(),
        )?;
        if !self.objective.needs_mean_velocity() {
            return Ok(());
        }
        Invalid::unless(self.prediction.path() == AnyPath::Straight, "prediction", || {
            format!("is {:?}, expected flow for the objective mean-flow", self.prediction.name())
        })?;
        Invalid::unless(is_known, "network.mean_velocity", || {
            "is false or unknown to this kind of network, expected true for the objective mean-flow".into()
        })
    }

    /// Pairs of noise and sample are trained on as they are.
    fn validate_pairs(&self) -> Result<(), Invalid> {
        if !matches!(self.data, DataConfig::Pairs(_)) {
            return Ok(());
        }
        let name = self.prediction.name();
        Invalid::unless(self.prediction.path() == AnyPath::Straight, "prediction", || {
            format!("is {name:?}, expected flow for pairs of noise and sample")
        })?;
        let is_plain = !self.objective.is_consistency() && !self.objective.changes_noise();
        Invalid::unless(is_plain, "objective", || {
            "changes or compares the noise of examples, expected one that does not for pairs of noise and sample".into()
        })?;
        Invalid::unless(self.validation.is_none(), "validation", || {
            "is given, but its noise would be other than that of the pairs; leave it out".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diffusion::core::objective::{AnyObjective, ConsistencyDistillation, OffsetNoise, Weighted};
    use diffusion::eval::ValidationConfig;

    fn refused(preset: &str, change: impl FnOnce(&mut RunConfig)) -> String {
        let mut config = RunConfig::preset(preset).unwrap();
        config.validate().unwrap();
        change(&mut config);
        config.validate().unwrap_err().setting
    }

    #[test]
    fn what_few_steps_need_is_named() {
        let distilled = |config: &mut RunConfig| {
            config.objective = AnyObjective::from(ConsistencyDistillation::default());
        };
        let consistency = "swissroll-consistency";
        assert_eq!(refused(consistency, distilled), "teacher");
        assert_eq!(refused(consistency, |config| config.teacher = Some("runs/other".into())), "teacher");
        assert_eq!(refused(consistency, |config| config.teacher_checkpoint = Some(3)), "teacher_checkpoint");
        let validated = |config: &mut RunConfig| config.validation = Some(ValidationConfig::default());
        assert_eq!(refused(consistency, validated), "validation");
        let above = |config: &mut RunConfig| config.set("prediction.consistency.sigma_min=0.01").unwrap();
        assert_eq!(refused(consistency, above), "prediction");
        let one = |config: &mut RunConfig| {
            config.set_all(["schedule.kind=levels", "schedule.levels=[1.0]"]).unwrap();
        };
        assert_eq!(refused(consistency, one), "schedule");
        let negative = |config: &mut RunConfig| config.set("prediction.consistency.sigma_min=-1").unwrap();
        assert_eq!(refused(consistency, negative), "prediction.consistency.sigma_min");
        let told = |config: &mut RunConfig| config.set("network.self_condition=true").unwrap();
        assert_eq!(refused(consistency, told), SELF_CONDITION);
        let never = |config: &mut RunConfig| config.set("objective.double_every=0").unwrap();
        assert_eq!(refused(consistency, never), "objective.double_every");

        let mut taught = RunConfig::preset(consistency).unwrap();
        distilled(&mut taught);
        (taught.teacher, taught.teacher_checkpoint) = (Some("runs/other".into()), Some(3));
        taught.validate().unwrap();
        assert_eq!(RunConfig::from_toml(&taught.to_toml().unwrap()).unwrap(), taught);
    }

    #[test]
    fn what_mean_flow_needs_is_named() {
        let preset = "swissroll-mean-flow";
        let plain = |config: &mut RunConfig| config.set("network.mean_velocity=false").unwrap();
        assert_eq!(refused(preset, plain), "sampling.sampler");
        let untold = |config: &mut RunConfig| {
            plain(config);
            config.sampling.set_sampler("euler").unwrap();
        };
        assert_eq!(refused(preset, untold), "network.mean_velocity");
        let other = RunConfig::preset("swissroll").unwrap();
        let diffusion = |config: &mut RunConfig| {
            (config.prediction, config.schedule) = (other.prediction, other.schedule.clone());
        };
        assert_eq!(refused(preset, diffusion), "prediction");
        let sampler = |config: &mut RunConfig| config.sampling.set_sampler("mean-flow").unwrap();
        for other in ["swissroll", "swissroll-flow", "fashion-dit-small", "fashion-unet-small", "tree"] {
            assert_eq!(refused(other, sampler), "sampling.sampler", "{other}");
        }
        // Of such a network other samplers and objectives are those of a flow.
        let mut flow = RunConfig::preset(preset).unwrap();
        flow.set_all(["objective.kind=prediction-mse", "sampling.sampler.kind=heun"]).unwrap();
        flow.validate().unwrap();
        let mut paired = RunConfig::preset(preset).unwrap();
        paired.set_pairs("pairs");
        paired.validate().unwrap();
    }

    #[test]
    fn what_pairs_need_is_named() {
        let mut config = RunConfig::preset("swissroll-flow").unwrap();
        config.set_pairs("pairs");
        config.validate().unwrap();
        assert_eq!(RunConfig::from_toml(&config.to_toml().unwrap()).unwrap(), config);
        assert_eq!(refused("swissroll", |config| config.set_pairs("pairs")), "prediction");
        let flow = "swissroll-flow";
        let validated = |config: &mut RunConfig| {
            config.set_pairs("pairs");
            config.validation = Some(ValidationConfig::default());
        };
        assert_eq!(refused(flow, validated), "validation");
        let offset = |config: &mut RunConfig| {
            config.set_pairs("pairs");
            let offset_noise = Some(OffsetNoise::default());
            config.objective = AnyObjective::from(<Weighted>::default());
            if let AnyObjective::Weighted(weighted) = &mut config.objective {
                weighted.offset_noise = offset_noise;
            }
        };
        assert_eq!(refused(flow, offset), "objective");
    }
}
