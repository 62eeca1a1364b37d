//! The settings of a training run.

use crate::AdamW;
use crate::ema::EmaConfig;
use crate::learning_rate::LrSchedule;
use burn::module::AutodiffModule;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::tensor::backend::AutodiffBackend;
use serde::{Deserialize, Serialize};

/// How long and how fast to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Number of steps.
    pub steps: u64,
    /// Learning rate, 1e-3 in the reference.
    pub lr: f64,
    /// The seed of noise, noise levels and dropped conditions.
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
    /// The optimizer's other settings.
    pub adamw: AdamWConfig,
    /// The average of the weights.
    pub ema: EmaConfig,
}

fn one() -> usize {
    1
}

fn ten() -> u64 {
    10
}

impl TrainConfig {
    /// `steps` updates at the reference's settings: learning rate 1e-3, seed 0.
    pub fn new(steps: u64) -> Self {
        Self {
            steps,
            lr: 1e-3,
            seed: 0,
            accumulate: one(),
            clip_norm: None,
            max_skipped: ten(),
            lr_schedule: LrSchedule::default(),
            adamw: AdamWConfig::default(),
            ema: EmaConfig::default(),
        }
    }

    /// The learning rate of the step `step`, counted from 1.
    pub fn lr_at(&self, step: u64) -> f64 {
        self.lr * self.lr_schedule.factor(step, self.steps)
    }

    pub(crate) fn check(&self) {
        assert!(self.accumulate > 0, "0 batches per update were asked for, expected at least 1");
        if let Some(norm) = self.clip_norm {
            assert!(norm > 0.0, "gradients are to be clipped to the norm {norm}, expected a positive number");
        }
        self.lr_schedule.check();
    }
}

/// The settings of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); the defaults are PyTorch's, not Burn's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// β₁, the memory of the mean gradient.
    pub beta_1: f64,
    /// β₂, the memory of the mean squared gradient.
    pub beta_2: f64,
    /// ε in the denominator.
    pub epsilon: f64,
    /// The weights' decay per step, in units of the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

impl AdamWConfig {
    /// The optimizer, for a loop of your own; [`train`](crate::train) makes it itself.
    pub fn init<B: AutodiffBackend, M: AutodiffModule<B>>(&self) -> OptimizerAdaptor<AdamW, M, B> {
        OptimizerAdaptor::from(AdamW::new(self.clone()))
    }
}
