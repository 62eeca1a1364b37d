//! The optimizer of a training: AdamW for all parameters, or for those that are not Muon's.

use crate::adamw::AdamW;
use crate::config::TrainConfig;
use crate::hidden;
use crate::muon::Muon;
use crate::optimizer_config::OptimizerConfig;
use burn::module::{AutodiffModule, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use std::collections::HashSet;

/// The optimizer of the model `T`.
pub(crate) struct Optim<T: AutodiffModule<B>, B: AutodiffBackend> {
    pub adamw: OptimizerAdaptor<AdamW, T, B>,
    pub muon: Option<MuonPart<T, B>>,
}

/// Muon, and which parameters it trains.
pub(crate) struct MuonPart<T: AutodiffModule<B>, B: AutodiffBackend> {
    pub optimizer: OptimizerAdaptor<Muon, T, B>,
    pub hidden: HashSet<ParamId>,
    lr_factor: f64,
}

impl<T: AutodiffModule<B>, B: AutodiffBackend> Optim<T, B> {
    /// The optimizer of `model` before the first step.
    pub fn new(config: &TrainConfig, model: &T) -> Self {
        let muon = match &config.optimizer {
            OptimizerConfig::Adamw => None,
            OptimizerConfig::Muon(muon) => Some(MuonPart {
                optimizer: muon.init(),
                hidden: hidden::with_ids::<B, _>(model).into_iter().map(|(id, _)| id).collect(),
                lr_factor: muon.lr_factor,
            }),
        };
        Self { adamw: config.adamw.init(), muon }
    }

    /// The model after a step along `gradients`.
    pub fn step(&mut self, lr: f64, model: T, mut gradients: GradientsParams) -> T {
        let Some(muon) = &mut self.muon else { return self.adamw.step(lr, model, gradients) };
        let mut split = Split { from: &mut gradients, to: GradientsParams::new(), which: &muon.hidden };
        model.visit(&mut split);
        let hidden = split.to;
        let model = muon.optimizer.step(lr * muon.lr_factor, model, hidden);
        self.adamw.step(lr, model, gradients)
    }
}

/// Takes the gradients of some parameters from those of all.
struct Split<'a> {
    from: &'a mut GradientsParams,
    to: GradientsParams,
    which: &'a HashSet<ParamId>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Split<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.which.contains(&param.id)
            && let Some(gradient) = self.from.remove::<B::InnerBackend, D>(param.id)
        {
            self.to.register(param.id, gradient);
        }
    }
}
