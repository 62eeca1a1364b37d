//! The exponential moving average (EMA) of a model's weights, which samples better than the weights themselves.

pub(crate) mod config;
pub(crate) mod fit;
pub(crate) mod power;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend};
use config::{EmaConfig, EmaStep};
use diffusion_core::invalid::expect_valid;
use std::collections::HashMap;

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
    /// If a setting is out of its range ([`EmaConfig::validate`]).
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

    /// Takes in the weights that `module` has after a step. Parameters are matched by their ids, so `module` must be a
    /// descendant of the one that the EMA began with.
    pub fn update<B: Backend>(&mut self, module: &M, at: EmaStep)
    where
        M: Module<B>,
    {
        let mut weights = Collect(HashMap::new());
        module.visit(&mut weights);
        let mut mapper = Approach { weights: weights.0, rate: 1.0 - self.config.decay_at(at) };
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
