//! The settings of a training run.

use crate::adamw::AdamWConfig;
use crate::ema::config::{EmaConfig, NamedEma};
use crate::learning_rate::LrSchedule;
use crate::optimizer_config::OptimizerConfig;
use crate::snapshot_config::SnapshotConfig;
use diffusion_core::Invalid;
use diffusion_core::invalid::MAX_SIZE;
use diffusion_core::precision::holds;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// How long and how fast to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Number of steps.
    pub steps: u64,
    /// Learning rate, 1e-3 in smalldiffusion.
    pub lr: f64,
    /// The seed of noise, noise levels and dropped conditions.
    #[serde(default)]
    pub seed: u64,
    /// Batches whose gradients are averaged, each example weighing the same, for one update; 1 by default. Noise and
    /// noise levels are those of one batch that is so many times as large.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// The largest norm of all gradients together; longer ones are scaled down to it, as by PyTorch's
    /// `clip_grad_norm_`. None by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// How many steps in a row may be skipped, because their loss or gradients are not finite, before training
    /// stops; 10 by default. With 0 nobody looks: no number is read from the device, and a NaN goes where it goes.
    #[serde(default = "ten")]
    pub max_skipped: u64,
    /// The learning rate over the run; constant by default.
    #[serde(default)]
    pub lr_schedule: LrSchedule,
    /// Which optimizer; AdamW by default.
    #[serde(default, skip_serializing_if = "OptimizerConfig::is_default")]
    pub optimizer: OptimizerConfig,
    /// AdamW's other settings; also those for the parameters that another optimizer leaves to it.
    #[serde(default)]
    pub adamw: AdamWConfig,
    /// The exponential moving average (EMA) of the weights that is validated and sampled from.
    #[serde(default)]
    pub ema: EmaConfig,
    /// Further averages, saved in every checkpoint under their names; none by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emas: Vec<NamedEma>,
    /// Whether averages are kept on the way, from which others can be made afterwards; not by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<SnapshotConfig>,
}

fn one() -> usize {
    1
}

fn ten() -> u64 {
    10
}

impl TrainConfig {
    /// `steps` updates at smalldiffusion's settings: learning rate 1e-3, seed 0.
    pub fn new(steps: u64) -> Self {
        Self {
            steps,
            lr: 1e-3,
            seed: 0,
            accumulate: one(),
            clip_norm: None,
            max_skipped: ten(),
            lr_schedule: LrSchedule::default(),
            optimizer: OptimizerConfig::default(),
            adamw: AdamWConfig::default(),
            ema: EmaConfig::default(),
            emas: Vec::new(),
            snapshots: None,
        }
    }

    /// All averages with names: [`emas`](Self::emas), then those that snapshots need and that are not among them.
    pub fn named_emas(&self) -> Vec<NamedEma> {
        let mut all = self.emas.clone();
        for &width in self.snapshots.iter().flat_map(|snapshots| &snapshots.widths) {
            if !self.emas.iter().any(|named| named.ema.width() == Some(width)) {
                all.push(NamedEma::of_width(width));
            }
        }
        all
    }

    /// The name of the average of this width, if it has one.
    pub(crate) fn name_of_width(&self, width: f64) -> Option<String> {
        let found = self.named_emas().into_iter().find(|named| named.ema.width() == Some(width));
        found.map(|named| named.name)
    }

    /// The learning rate of the step `step`, counted from 1.
    pub fn lr_at(&self, step: u64) -> f64 {
        self.lr * self.lr_schedule.factor(step, self.steps)
    }

    /// Whether these settings can be used.
    ///
    /// # Errors
    /// The first setting that cannot: nothing to do, a learning rate or norm that is not positive, or a setting of the
    /// optimizer, an EMA, the snapshots or the learning rate's schedule.
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self { steps, lr, accumulate, clip_norm, .. } = *self;
        // Networks are trained in f32.
        let positive = |x: f64| holds(x) && x > 0.0;
        Invalid::unless(steps > 0, "steps", || "is 0, expected at least 1".into())?;
        Invalid::unless(positive(lr), "lr", || format!("is {lr}, expected a positive number, e.g. 1e-3"))?;
        Invalid::unless_positive("accumulate", accumulate, MAX_SIZE)?;
        if let Some(norm) = clip_norm {
            let reason = || format!("is {norm}, expected a positive number, e.g. 1.0");
            Invalid::unless(positive(norm), "clip_norm", reason)?;
        }
        self.lr_schedule.validate().map_err(|invalid| invalid.within("lr_schedule"))?;
        self.optimizer.validate().map_err(|invalid| invalid.within("optimizer"))?;
        self.adamw.validate().map_err(|invalid| invalid.within("adamw"))?;
        self.ema.validate().map_err(|invalid| invalid.within("ema"))?;
        if let Some(snapshots) = &self.snapshots {
            snapshots.validate().map_err(|invalid| invalid.within("snapshots"))?;
        }
        self.validate_emas()
    }

    fn validate_emas(&self) -> Result<(), Invalid> {
        let all = self.named_emas();
        for (i, named) in all.iter().enumerate() {
            named.validate().map_err(|invalid| invalid.within("emas"))?;
            // Their files may lie on a disk for which both are one.
            let is_taken = all[..i].iter().any(|other| other.name.eq_ignore_ascii_case(&named.name));
            let reason = || format!("is {:?} for two of them, expected different names", named.name);
            Invalid::unless(!is_taken, "emas.name", reason)?;
        }
        Ok(())
    }
}
