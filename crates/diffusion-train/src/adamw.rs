//! AdamW as an optimizer of Burn's, with a step of its own where the backend has one.

use burn::module::AutodiffModule;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate, SimpleOptimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::Invalid;
use serde::{Deserialize, Serialize};

/// The settings of AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); the defaults are PyTorch's, not Burn's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// β₁, the decay of the mean gradient.
    pub beta_1: f64,
    /// β₂, the decay of the mean squared gradient.
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
    /// Whether these settings can be used.
    ///
    /// # Errors
    /// Unless both betas are in [0, 1), ε is positive in f32 and the decay is at least 0 and finite there.
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self { beta_1, beta_2, epsilon, weight_decay } = *self;
        for (setting, beta) in [("beta_1", beta_1), ("beta_2", beta_2)] {
            let reason = || format!("is {beta}, expected a number in [0, 1)");
            Invalid::unless((0.0..1.0).contains(&beta), setting, reason)?;
        }
        // Networks are trained in f32.
        let valid = (epsilon as f32).is_normal() && epsilon > 0.0;
        Invalid::unless(valid, "epsilon", || format!("is {epsilon}, expected a positive number, e.g. 1e-8"))?;
        let valid = (weight_decay as f32).is_finite() && weight_decay >= 0.0;
        Invalid::unless(valid, "weight_decay", || format!("is {weight_decay}, expected at least 0"))
    }

    /// The optimizer, for a loop of your own; [`train`](crate::train) makes it itself.
    pub fn init<B: AutodiffBackend, M: AutodiffModule<B>>(&self) -> OptimizerAdaptor<AdamW, M, B> {
        OptimizerAdaptor::from(AdamW::new(self.clone()))
    }
}

/// AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); [`AdamWConfig::init`] makes it.
#[derive(Clone)]
pub struct AdamW {
    config: AdamWConfig,
    plain: burn::optim::AdamW,
}

impl AdamW {
    pub(crate) fn new(config: AdamWConfig) -> Self {
        let plain = burn::optim::AdamWConfig::new()
            .with_beta_1(config.beta_1 as f32)
            .with_beta_2(config.beta_2 as f32)
            .with_epsilon(config.epsilon as f32)
            .with_weight_decay(config.weight_decay as f32)
            .build();
        Self { config, plain }
    }
}

impl<B: Backend> SimpleOptimizer<B> for AdamW {
    type State<const D: usize> = AdamWState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        // Burn's own takes the first gradient for the moments' start, and knows what it does with it.
        let Some(AdamWState { momentum }) = state else {
            return SimpleOptimizer::step(&self.plain, lr, tensor, gradient, None);
        };
        let AdamWConfig { beta_1, beta_2, epsilon, weight_decay } = self.config;
        let time = momentum.time + 1;
        let step = diffusion_kernels::AdamW { lr, beta_1, beta_2, epsilon, weight_decay, time: time as u64 };
        let moments = [momentum.moment_1, momentum.moment_2];
        match diffusion_kernels::adamw(&step, tensor, gradient, moments) {
            Ok([tensor, first, second]) => {
                (tensor, Some(AdamWState::new(AdaptiveMomentumState::new(time, first, second))))
            }
            Err([tensor, gradient, first, second]) => {
                let momentum = AdaptiveMomentumState::new(momentum.time, first, second);
                SimpleOptimizer::step(&self.plain, lr, tensor, gradient, Some(AdamWState::new(momentum)))
            }
        }
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &B::Device) -> Self::State<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}
