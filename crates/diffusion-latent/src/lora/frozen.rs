//! A module that is not trained.

use burn::module::{
    AutodiffModule, Content, Devices, EmptyRecord, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
    ModuleVisitor,
};
use burn::tensor::backend::{AutodiffBackend, Backend};

/// A module that is not trained: nothing that goes through parameters sees its own, neither an optimizer nor an average nor
/// a checkpoint. Only devices are its affair.
#[derive(Clone, Debug)]
pub struct Frozen<N>(pub(super) N);

impl<B: Backend, N: Module<B>> Module<B> for Frozen<N> {
    type Record = EmptyRecord;

    fn collect_devices(&self, devices: Devices<B>) -> Devices<B> {
        self.0.collect_devices(devices)
    }

    fn fork(self, device: &B::Device) -> Self {
        Self(self.0.fork(device))
    }

    fn to_device(self, device: &B::Device) -> Self {
        Self(self.0.to_device(device))
    }

    fn visit<V: ModuleVisitor<B>>(&self, _visitor: &mut V) {}

    fn map<M: ModuleMapper<B>>(self, _mapper: &mut M) -> Self {
        self
    }

    fn load_record(self, _record: EmptyRecord) -> Self {
        self
    }

    fn into_record(self) -> EmptyRecord {
        EmptyRecord::new()
    }
}

impl<B: AutodiffBackend, N: AutodiffModule<B>> AutodiffModule<B> for Frozen<N> {
    type InnerModule = Frozen<N::InnerModule>;

    fn valid(&self) -> Self::InnerModule {
        Frozen(self.0.valid())
    }

    fn from_inner(module: Self::InnerModule) -> Self {
        Self(N::from_inner(module.0))
    }
}

impl<N> ModuleDisplayDefault for Frozen<N> {
    fn content(&self, content: Content) -> Option<Content> {
        content.set_top_level_type("Frozen").optional()
    }
}

impl<N> ModuleDisplay for Frozen<N> {}
