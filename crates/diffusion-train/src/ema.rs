//! The exponential moving average (EMA) of a model's weights, which samples better than the weights themselves.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend};
use diffusion_core::Invalid;
use diffusion_core::invalid::expect_valid;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How slowly an [`Ema`] forgets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// β of `ema ← β·ema + (1 − β)·weights`, 0.999 by default.
    pub decay: f64,
    /// The power of the warm-up β = min(decay, 1 − (1 + step)^(−power)), as in k-diffusion; 2/3 there. Without it
    /// the EMA of a short run is still full of the first weights; an infinite power turns it off.
    pub warmup_power: f64,
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self { decay: 0.999, warmup_power: 2.0 / 3.0 }
    }
}

impl EmaConfig {
    /// Whether these settings can be used.
    ///
    /// # Errors
    /// Unless the decay is in [0, 1) and the power of the warm-up at least 0.
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self { decay, warmup_power } = *self;
        let reason = || format!("is {decay}, expected a number in [0, 1)");
        Invalid::unless((0.0..1.0).contains(&decay), "decay", reason)?;
        let reason = || format!("is {warmup_power}, expected at least 0, e.g. 0.667");
        Invalid::unless(warmup_power >= 0.0, "warmup_power", reason)
    }

    /// β of the update after the step `step`, counted from 1.
    pub fn decay_at(&self, step: u64) -> f64 {
        self.decay.min(1.0 - (1.0 + step as f64).powf(-self.warmup_power))
    }
}

/// A module whose weights are the EMA of those of another.
#[derive(Clone, Debug)]
pub struct Ema<M> {
    /// Nothing only while it is updated, so that its memory can be used again.
    module: Option<M>,
    config: EmaConfig,
}

impl<M> Ema<M> {
    /// The EMA that starts at the weights of `module`.
    ///
    /// # Panics
    /// Unless the decay is in [0, 1) and the power of the warm-up is not negative.
    pub fn new(module: M, config: EmaConfig) -> Self {
        expect_valid(config.validate());
        Self { module: Some(module), config }
    }

    /// The averaged module.
    pub fn module(&self) -> &M {
        self.module.as_ref().expect(BETWEEN_UPDATES)
    }

    /// The averaged module, for good.
    pub fn into_module(self) -> M {
        self.module.expect(BETWEEN_UPDATES)
    }

    /// Takes in the weights that `module` has after the step `step`, counted from 1. Parameters are matched by their
    /// ids, so `module` must be a descendant of the one that the EMA began with.
    pub fn update<B: Backend>(&mut self, module: &M, step: u64)
    where
        M: Module<B>,
    {
        let mut weights = Collect(HashMap::new());
        module.visit(&mut weights);
        let mut mapper = Approach { weights: weights.0, rate: 1.0 - self.config.decay_at(step) };
        self.module = self.module.take().map(|ema| ema.map(&mut mapper));
        assert!(mapper.weights.is_empty(), "{} parameters are not in the EMA", mapper.weights.len());
    }
}

const BETWEEN_UPDATES: &str = "the EMA is there between updates";

struct Collect<B: Backend>(HashMap<ParamId, TensorPrimitive<B>>);

impl<B: Backend> ModuleVisitor<B> for Collect<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.insert(param.id, param.val().into_primitive());
    }
}

struct Approach<B: Backend> {
    weights: HashMap<ParamId, TensorPrimitive<B>>,
    rate: f64,
}

impl<B: Backend> ModuleMapper<B> for Approach<B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, ema, mapper) = param.consume();
        let weight = self.weights.remove(&id).expect("a module and its EMA have the same parameters");
        let ema = diffusion_kernels::ema_update(ema, Tensor::from_primitive(weight), self.rate)
            .unwrap_or_else(|[ema, weight]| mean(ema, weight, self.rate));
        Param::from_mapped_value(id, ema, mapper)
    }
}

/// `(1 - rate)·ema + rate·new` as a way from the nearer of the two: 1 - rate, rounded, would pull the ema towards
/// zero where the rate is small.
fn mean<B: Backend, const D: usize>(ema: Tensor<B, D>, new: Tensor<B, D>, rate: f64) -> Tensor<B, D> {
    let (from, to, rate) = if rate < 0.5 { (ema, new, rate) } else { (new, ema, 1.0 - rate) };
    from.clone() + (to - from) * rate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_ends_at_the_decay() {
        let config = EmaConfig { decay: 0.999, warmup_power: 1.0 };
        assert_eq!(config.decay_at(1), 0.5);
        assert_eq!(config.decay_at(999), 0.999);
        assert_eq!(config.decay_at(100_000), 0.999);
    }
}
