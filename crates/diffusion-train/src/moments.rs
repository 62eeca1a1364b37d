//! The optimizer's state as two modules with the network's parameters, so that it is stored, named and compared as
//! weights are.
//!
//! Burn keeps it in a map from parameters' ids, which every process draws anew.

use crate::adamw::AdamW;
use crate::muon::{Muon, MuonState};
use crate::optimizer::Optim;
use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::record::AdaptorRecord;
use burn::optim::{AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend};
use burn_store::ModuleSnapshot;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

type Record<O, T, B> = <OptimizerAdaptor<O, T, B> as Optimizer<T, B>>::Record;

/// What the optimizer remembers; `M` is the model without gradients.
pub(crate) struct Moments<M> {
    /// The mean gradient of each parameter.
    pub first: M,
    /// The mean squared gradient of each parameter; 0 of one that Muon trains, which has none.
    pub second: M,
    /// The updates of each parameter, by its path.
    pub updates: BTreeMap<String, u64>,
    /// The paths of the parameters that Muon trains.
    pub muon: BTreeSet<String>,
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
            let (adamw, muon) = (optimizer.adamw.to_record(), optimizer.muon.as_ref());
            let muon = muon.map(|part| part.optimizer.to_record()).unwrap_or_default();
            let mut taking = Take::<T, B> { adamw, muon, which, updates: HashMap::new() };
            (model.clone().map(&mut taking), taking.updates)
        };
        let ((first, updates), (second, _)) = (take(Moment::First), take(Moment::Second));
        let is_muon = |id: &ParamId| optimizer.muon.as_ref().is_some_and(|part| part.hidden.contains(id));
        let muon = paths(model).into_iter().filter(|(id, _)| is_muon(id)).map(|(_, path)| path).collect();
        let updates = paths(model)
            .into_iter()
            .map(|(id, path)| (path, updates.get(&id).copied().unwrap_or_default()))
            .collect();
        Self { first, second, updates, muon }
    }

    /// Gives the state to `optimizer`; of a parameter that another kind of optimizer trained before, none. The moments'
    /// ids must be those of the model that it trains.
    pub(crate) fn restore<B, T>(self, optimizer: Optim<T, B>) -> Optim<T, B>
    where
        B: AutodiffBackend,
        T: AutodiffModule<B, InnerModule = M>,
        M: Module<B::InnerBackend>,
    {
        let Optim { adamw, muon } = optimizer;
        let mut first = Values::<B::InnerBackend>(HashMap::new());
        self.first.visit(&mut first);
        let nobody = HashSet::new();
        let hidden = muon.as_ref().map_or(&nobody, |part| &part.hidden);
        let is_of_same_kind =
            |(id, path): &(ParamId, String)| hidden.contains(id) == self.muon.contains(path);
        let updates = paths(&self.second)
            .into_iter()
            .filter(is_of_same_kind)
            .map(|(id, path)| (id, self.updates.get(&path).copied().unwrap_or_default()))
            .collect();
        let (records, none) = (Default::default(), Default::default());
        let mut giving = Give::<T, B> { first: first.0, updates, hidden, adamw: records, muon: none };
        self.second.visit(&mut giving);
        let Give { adamw: of_adamw, muon: of_muon, .. } = giving;
        let adamw = adamw.load_record(of_adamw);
        let muon = muon.map(|mut part| {
            part.optimizer = part.optimizer.load_record(of_muon);
            part
        });
        Optim { adamw, muon }
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
    adamw: Record<AdamW, T, B>,
    muon: Record<Muon, T, B>,
    which: Moment,
    updates: HashMap<ParamId, u64>,
}

impl<T: AutodiffModule<B>, B: AutodiffBackend> ModuleMapper<B::InnerBackend> for Take<T, B> {
    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<B::InnerBackend, D>>,
    ) -> Param<Tensor<B::InnerBackend, D>> {
        let (id, weight, mapper) = param.consume();
        let adamw = self.adamw.remove(&id).map(AdaptorRecord::into_state::<D>);
        let muon = self.muon.remove(&id).map(AdaptorRecord::into_state::<D>);
        let (moment, time) = match (adamw, muon, self.which) {
            (Some(AdamWState { momentum }), _, Moment::First) => (momentum.moment_1, momentum.time),
            (Some(AdamWState { momentum }), _, Moment::Second) => (momentum.moment_2, momentum.time),
            (None, Some(MuonState { momentum, time }), Moment::First) => (momentum, time),
            (None, Some(MuonState { time, .. }), Moment::Second) => (weight.zeros_like(), time),
            (None, None, _) => (weight.zeros_like(), 0),
        };
        if time > 0 {
            self.updates.insert(id, time as u64);
        }
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

/// Makes records of the second moments, which it visits, and the first; none where there was no update.
struct Give<'a, T: AutodiffModule<B>, B: AutodiffBackend> {
    first: HashMap<ParamId, TensorPrimitive<B::InnerBackend>>,
    updates: HashMap<ParamId, u64>,
    hidden: &'a HashSet<ParamId>,
    adamw: Record<AdamW, T, B>,
    muon: Record<Muon, T, B>,
}

impl<T: AutodiffModule<B>, B: AutodiffBackend> ModuleVisitor<B::InnerBackend> for Give<'_, T, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B::InnerBackend, D>>) {
        let (id, updates) = (param.id, self.updates.get(&param.id).copied().unwrap_or_default());
        let (1.., Some(first)) = (updates, self.first.remove(&id)) else { return };
        let (first, time) = (Tensor::from_primitive(first), updates as usize);
        if self.hidden.contains(&id) {
            let state = MuonState::<_, D> { momentum: first, time };
            self.muon.insert(id, AdaptorRecord::from_state::<D>(state));
        } else {
            let momentum = AdaptiveMomentumState::new(time, first, param.val());
            self.adamw.insert(id, AdaptorRecord::from_state::<D>(AdamWState::new(momentum)));
        }
    }
}
