//! How a network is told over how long a way it is asked for the mean velocity.

use super::Init;
use super::label::{ConditionEmbedder, Embedded, NoCondition};
use super::sigma::{SigmaEmbedderSinCos, SigmaEmbedderSinCosConfig};
use crate::condition::{AnyCondition, Averaged, NullCondition};
use crate::random::{Purpose, Stream};
use crate::sigma::Sigma;
use burn::module::{
    AutodiffModule, Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{
    Tensor,
    backend::{AutodiffBackend, Backend},
};
use std::f64::consts::FRAC_PI_2;
use std::fmt::Debug;

/// The embedder of a condition, and beside it that of the length of a way; their vectors are added.
///
/// The condition's parameters have the names that they have without lengths, so that files of networks without them stay as
/// they are.
#[derive(Clone, Debug)]
pub struct WithLength<C, L> {
    /// The condition's embedder.
    pub told: C,
    /// The embedder of lengths.
    pub length: L,
}

/// The embedder of a network that is asked for mean velocities, and otherwise told what `C` embeds.
pub type AveragedEmbedder<B, C = NoCondition<B>> = WithLength<C, SigmaEmbedderSinCos<B>>;

/// The embedder of a network that is told conditions of one kind or none, and lengths or none, as is chosen while the program
/// runs.
pub type AnyEmbedder<B, E> = WithLength<Option<E>, Option<SigmaEmbedderSinCos<B>>>;

/// Lengths up to 1 as the sine and the cosine of a quarter of a turn: smooth, since training takes derivatives along it.
fn config() -> SigmaEmbedderSinCosConfig {
    SigmaEmbedderSinCosConfig { scaling_factor: FRAC_PI_2, log_scale: false }
}

/// The number of parameters that lengths add, embedded in vectors of `size` values.
pub fn length_params(size: usize) -> u128 {
    config().num_params(size)
}

/// The embedder of lengths to vectors of `size` values that `seed` stands for, drawn apart from all else of the network.
pub fn length_embedder<B: Backend>(
    size: usize,
    weight: Init,
    bias: Init,
    seed: u64,
    device: &B::Device,
) -> SigmaEmbedderSinCos<B> {
    config().init(size, weight, bias, &mut Stream::new(seed, Purpose::PARAMETERS, 0, 1), device)
}

impl<B: Backend, E> AnyEmbedder<B, E> {
    /// That without lengths.
    pub fn plain(told: Option<E>) -> Self {
        Self { told, length: None }
    }
}

/// The lengths' embedding, in one row where all are the same.
///
/// # Shapes
/// - returns `[batch, size]` or `[1, size]`
fn embedded<B: Backend>(embedder: &SigmaEmbedderSinCos<B>, over: &Sigma) -> Tensor<B, 2> {
    embedder.forward(over.tensor(over.levels().len(), &embedder.input.weight.device()))
}

/// The sum of both embeddings.
fn sum<B: Backend>(told: Embedded<B>, length: Tensor<B, 2>) -> Embedded<B> {
    match told {
        Embedded::Nothing => Embedded::Vector(length),
        Embedded::Vector(told) => Embedded::Vector(told + length),
        Embedded::Tokens(told) => Embedded::Tokens(told + length.unsqueeze_dim(1)),
    }
}

impl<B: Backend, C: ConditionEmbedder<B>> ConditionEmbedder<B> for AveragedEmbedder<B, C> {
    type Condition = Averaged<C::Condition>;

    fn embed(&self, Averaged { over, condition }: Self::Condition) -> Option<Tensor<B, 2>> {
        let length = embedded(&self.length, &over);
        Some(match self.told.embed(condition) {
            Some(told) => told + length,
            None => length,
        })
    }

    fn embed_tokens(&self, Averaged { over, condition }: Self::Condition) -> Embedded<B> {
        sum(self.told.embed_tokens(condition), embedded(&self.length, &over))
    }

    fn drop_condition(
        &self,
        Averaged { over, condition }: Self::Condition,
        uniform: &mut dyn FnMut(usize) -> f64,
    ) -> Self::Condition {
        Averaged { over, condition: self.told.drop_condition(condition, uniform) }
    }

    fn averaged(&self, condition: Self::Condition, over: Sigma) -> Option<Self::Condition> {
        Some(Averaged { over, ..condition })
    }
}

impl<B: Backend, C: NullCondition> NullCondition for AveragedEmbedder<B, C> {
    type Condition = Averaged<C::Condition>;

    /// No condition, over the same lengths.
    fn null_condition(&self, condition: &Self::Condition) -> Self::Condition {
        let Averaged { over, condition } = condition;
        Averaged { over: over.clone(), condition: self.told.null_condition(condition) }
    }
}

/// A condition without lengths asks for the velocity where it is.
///
/// # Panics
/// Its methods panic as those of `Option<E>` do, and if lengths are given to a network that is told none.
impl<B: Backend, E> ConditionEmbedder<B> for AnyEmbedder<B, E>
where
    Option<E>: ConditionEmbedder<B, Condition = AnyCondition>,
{
    type Condition = AnyCondition;

    fn embed(&self, condition: AnyCondition) -> Option<Tensor<B, 2>> {
        let Some(length) = &self.length else { return self.told.embed(condition) };
        let Averaged { over, condition } = split(condition);
        let (told, length) = (self.told.embed(condition), embedded(length, &over));
        Some(match told {
            Some(told) => told + length,
            None => length,
        })
    }

    fn embed_tokens(&self, condition: AnyCondition) -> Embedded<B> {
        let Some(length) = &self.length else { return self.told.embed_tokens(condition) };
        let Averaged { over, condition } = split(condition);
        sum(self.told.embed_tokens(condition), embedded(length, &over))
    }

    fn drop_condition(&self, condition: AnyCondition, uniform: &mut dyn FnMut(usize) -> f64) -> AnyCondition {
        within(condition, |condition| self.told.drop_condition(condition, uniform))
    }

    fn averaged(&self, condition: AnyCondition, over: Sigma) -> Option<AnyCondition> {
        self.length.as_ref()?;
        let Averaged { condition, .. } = split(condition);
        Some(Averaged { over, condition }.into())
    }
}

impl<B: Backend, E> NullCondition for AnyEmbedder<B, E>
where
    Option<E>: NullCondition<Condition = AnyCondition>,
{
    type Condition = AnyCondition;

    /// No condition, over the same lengths if there are some.
    fn null_condition(&self, condition: &AnyCondition) -> AnyCondition {
        within(condition.clone(), |condition| self.told.null_condition(&condition))
    }
}

/// The condition and its lengths, which are 0 if it has none.
fn split(condition: AnyCondition) -> Averaged<AnyCondition> {
    match condition {
        AnyCondition::Averaged(averaged) => *averaged,
        condition => Averaged::at_once(condition),
    }
}

/// `f` of the condition, whose lengths stay if it has some.
fn within(condition: AnyCondition, f: impl FnOnce(AnyCondition) -> AnyCondition) -> AnyCondition {
    match condition {
        AnyCondition::Averaged(averaged) => {
            let Averaged { over, condition } = *averaged;
            Averaged { over, condition: f(condition) }.into()
        }
        condition => f(condition),
    }
}

/// The name under which a module's parameters stand, and the type that holds it, as Burn writes them.
const LENGTH: [&str; 2] = ["length", "Struct:WithLength"];

/// By hand, so that the condition's embedder is no level of its own in the names of parameters.
impl<B, C, L> Module<B> for WithLength<C, L>
where
    B: Backend,
    C: Module<B>,
    L: Module<B>,
{
    type Record = (C::Record, L::Record);

    fn collect_devices(&self, devices: Vec<B::Device>) -> Vec<B::Device> {
        self.length.collect_devices(self.told.collect_devices(devices))
    }

    fn fork(self, device: &B::Device) -> Self {
        Self { told: self.told.fork(device), length: self.length.fork(device) }
    }

    fn to_device(self, device: &B::Device) -> Self {
        Self { told: self.told.to_device(device), length: self.length.to_device(device) }
    }

    fn visit<V: ModuleVisitor<B>>(&self, visitor: &mut V) {
        let [name, container] = LENGTH;
        self.told.visit(visitor);
        visitor.enter_module(name, container);
        self.length.visit(visitor);
        visitor.exit_module(name, container);
    }

    fn map<M: ModuleMapper<B>>(self, mapper: &mut M) -> Self {
        let [name, container] = LENGTH;
        let told = self.told.map(mapper);
        mapper.enter_module(name, container);
        let length = self.length.map(mapper);
        mapper.exit_module(name, container);
        Self { told, length }
    }

    fn load_record(self, (told, length): Self::Record) -> Self {
        Self { told: self.told.load_record(told), length: self.length.load_record(length) }
    }

    fn into_record(self) -> Self::Record {
        (self.told.into_record(), self.length.into_record())
    }
}

impl<B, C, L> AutodiffModule<B> for WithLength<C, L>
where
    B: AutodiffBackend,
    C: AutodiffModule<B>,
    L: AutodiffModule<B>,
{
    type InnerModule = WithLength<C::InnerModule, L::InnerModule>;

    fn valid(&self) -> Self::InnerModule {
        WithLength { told: self.told.valid(), length: self.length.valid() }
    }

    fn from_inner(module: Self::InnerModule) -> Self {
        Self { told: C::from_inner(module.told), length: L::from_inner(module.length) }
    }
}

impl<C: ModuleDisplay, L: ModuleDisplay> ModuleDisplayDefault for WithLength<C, L> {
    fn content(&self, content: Content) -> Option<Content> {
        content
            .add("told", &self.told)
            .add("length", &self.length)
            .set_top_level_type("WithLength")
            .optional()
    }
}

impl<C: ModuleDisplay, L: ModuleDisplay> ModuleDisplay for WithLength<C, L> {}
