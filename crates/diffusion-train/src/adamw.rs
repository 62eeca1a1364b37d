//! AdamW as an optimizer of Burn's, with a step of its own where the backend has one.

use crate::AdamWConfig;
use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate, SimpleOptimizer};
use burn::tensor::{Tensor, backend::Backend};

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
