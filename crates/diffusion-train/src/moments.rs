//! The optimizer's state as two modules with the network's parameters, so that it is stored, named and compared as
//! weights are.
//!
//! Burn keeps it in a map from parameters' ids, which every process draws anew.

use crate::AdamW;
use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::record::AdaptorRecord;
use burn::optim::{AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend};
use burn_store::ModuleSnapshot;
use std::collections::{BTreeMap, HashMap};

/// AdamW for the model `M`.
pub(crate) type Optim<M, B> = OptimizerAdaptor<AdamW, M, B>;
type Record<M, B> = <Optim<M, B> as Optimizer<M, B>>::Record;

/// What AdamW remembers; `M` is the model without gradients.
pub(crate) struct Moments<M> {
    /// The mean gradient of each parameter.
    pub first: M,
    /// The mean squared gradient of each parameter.
    pub second: M,
    /// The updates of each parameter, by its path.
    pub updates: BTreeMap<String, u64>,
}

impl<M> Moments<M> {
    /// The state of `optimizer`, which trains `model`.
    pub(crate) fn of<B, T>(optimizer: &Optim<T, B>, model: &M) -> Self
    where
        B: AutodiffBackend,
        T: AutodiffModule<B, InnerModule = M>,
        M: Module<B::InnerBackend>,
    {
        let take = |which| {
            let mut taking = Take::<T, B> { records: optimizer.to_record(), which, updates: HashMap::new() };
            (model.clone().map(&mut taking), taking.updates)
        };
        let ((first, updates), (second, _)) = (take(Moment::First), take(Moment::Second));
        let updates = paths(model)
            .into_iter()
            .map(|(id, path)| (path, updates.get(&id).copied().unwrap_or_default()))
            .collect();
        Self { first, second, updates }
    }

    /// Gives the state to `optimizer`. The moments' ids must be those of the model that it trains.
    pub(crate) fn restore<B, T>(self, optimizer: Optim<T, B>) -> Optim<T, B>
    where
        B: AutodiffBackend,
        T: AutodiffModule<B, InnerModule = M>,
        M: Module<B::InnerBackend>,
    {
        let mut first = Values::<B::InnerBackend>(HashMap::new());
        self.first.visit(&mut first);
        let updates = paths(&self.second)
            .into_iter()
            .map(|(id, path)| (id, self.updates.get(&path).copied().unwrap_or_default()))
            .collect();
        let mut giving = Give::<T, B> { first: first.0, updates, records: Default::default() };
        self.second.visit(&mut giving);
        optimizer.load_record(giving.records)
    }
}

/// The path of each parameter in the module, in the module's order.
pub(crate) fn paths<B: Backend, M: Module<B>>(module: &M) -> Vec<(ParamId, String)> {
    let tensors = module.collect(None, None, false);
    tensors.into_iter().filter_map(|tensor| Some((tensor.tensor_id?, tensor.full_path()))).collect()
}

#[derive(Clone, Copy)]
enum Moment {
    First,
    Second,
}

/// Puts a moment in the place of each parameter, 0 where there is none.
struct Take<T: AutodiffModule<B>, B: AutodiffBackend> {
    records: Record<T, B>,
    which: Moment,
    updates: HashMap<ParamId, u64>,
}

impl<T: AutodiffModule<B>, B: AutodiffBackend> ModuleMapper<B::InnerBackend> for Take<T, B> {
    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<B::InnerBackend, D>>,
    ) -> Param<Tensor<B::InnerBackend, D>> {
        let (id, weight, mapper) = param.consume();
        let moment = match self.records.remove(&id).map(AdaptorRecord::into_state::<D>) {
            Some(AdamWState { momentum }) => {
                self.updates.insert(id, momentum.time as u64);
                match self.which {
                    Moment::First => momentum.moment_1,
                    Moment::Second => momentum.moment_2,
                }
            }
            None => weight.zeros_like(),
        };
        Param::from_mapped_value(id, moment, mapper)
    }
}

/// The values of all parameters.
struct Values<B: Backend>(HashMap<ParamId, TensorPrimitive<B>>);

impl<B: Backend> ModuleVisitor<B> for Values<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.insert(param.id, param.val().into_primitive());
    }
}

/// Makes a record of the second moments, which it visits, and the first; none where there was no update.
struct Give<T: AutodiffModule<B>, B: AutodiffBackend> {
    first: HashMap<ParamId, TensorPrimitive<B::InnerBackend>>,
    updates: HashMap<ParamId, u64>,
    records: Record<T, B>,
}

impl<T: AutodiffModule<B>, B: AutodiffBackend> ModuleVisitor<B::InnerBackend> for Give<T, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B::InnerBackend, D>>) {
        let updates = self.updates.get(&param.id).copied().unwrap_or_default();
        let (1.., Some(first)) = (updates, self.first.remove(&param.id)) else { return };
        let momentum =
            AdaptiveMomentumState::new(updates as usize, Tensor::from_primitive(first), param.val());
        self.records.insert(param.id, AdaptorRecord::from_state::<D>(AdamWState::new(momentum)));
    }
}
