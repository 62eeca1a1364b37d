//! How a network is told the condition, if it has one.

use super::{Init, linear, linear_params, silu};
use crate::condition::{AnyCondition, Condition, Labels, NullCondition, WrongKind};
use crate::invalid::{Invalid, MAX_SIZE, expect_valid};
use crate::random::Stream;
use crate::sigma::Sigma;
use burn::module::Module;
use burn::nn::{Embedding, Linear};
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::marker::PhantomData;

/// A layer that turns a batch's condition into vectors, or into nothing where there is no condition.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, TensorData, backend::Backend};
/// use diffusion_core::layer::ConditionEmbedder;
/// use diffusion_core::Condition;
///
/// /// Embeds a direction as its cosine and sine; learns nothing and forgets nothing.
/// struct Compass;
///
/// #[derive(Clone, Debug)]
/// struct Angles(Vec<f64>);
///
/// impl Condition for Angles {
///     fn join(self, other: Self) -> Self {
///         Self([self.0, other.0].concat())
///     }
///
///     fn check(&self, batch: usize) {
///         assert_eq!(self.0.len(), batch, "angles and examples differ in number");
///     }
/// }
///
/// impl<B: Backend> ConditionEmbedder<B> for Compass {
///     type Condition = Angles;
///
///     fn embed(&self, Angles(angles): Angles) -> Option<Tensor<B, 2>> {
///         let values: Vec<f32> = angles.iter().flat_map(|a| [a.cos() as f32, a.sin() as f32]).collect();
///         Some(Tensor::from_data(TensorData::new(values, [angles.len(), 2]), &Default::default()))
///     }
///
///     fn drop_condition(&self, angles: Angles, _uniform: &mut dyn FnMut(usize) -> f64) -> Angles {
///         angles
///     }
/// }
///
/// let embedded: Option<Tensor<Flex, 2>> = Compass.embed(Angles(vec![0.0, 1.0, 2.0]));
/// assert_eq!(embedded.unwrap().dims(), [3, 2]);
/// ```
pub trait ConditionEmbedder<B: Backend> {
    /// What it embeds.
    type Condition: Condition;

    /// The condition's embedding.
    ///
    /// # Shapes
    /// - returns `[batch, size]`
    fn embed(&self, condition: Self::Condition) -> Option<Tensor<B, 2>>;

    /// The condition's embedding for a network whose inputs are sequences: one vector, or tokens of which each stands beside
    /// those of the input. The default is what [`embed`](Self::embed) gives.
    fn embed_tokens(&self, condition: Self::Condition) -> Embedded<B> {
        self.embed(condition).map_or(Embedded::Nothing, Embedded::Vector)
    }

    /// The condition as training sees it; see [`Network::drop_condition`](crate::Network::drop_condition).
    fn drop_condition(
        &self,
        condition: Self::Condition,
        uniform: &mut dyn FnMut(usize) -> f64,
    ) -> Self::Condition;

    /// The condition with a way over which the mean velocity is asked for; see
    /// [`Network::averaged`](crate::Network::averaged).
    fn averaged(&self, _condition: Self::Condition, _over: Sigma) -> Option<Self::Condition> {
        None
    }
}

/// A batch's condition as a network takes it in.
#[derive(Clone, Debug)]
pub enum Embedded<B: Backend> {
    /// There is no condition.
    Nothing,
    /// One vector per example, `[batch, size]`.
    Vector(Tensor<B, 2>),
    /// Further tokens of the network's sequence, `[batch, tokens, size]`.
    Tokens(Tensor<B, 3>),
}

/// The embedder of an unconditional network.
#[derive(Module, Debug)]
pub struct NoCondition<B: Backend> {
    _backend: PhantomData<B>,
}

impl<B: Backend> NoCondition<B> {
    /// The embedder.
    pub fn new() -> Self {
        Self { _backend: PhantomData }
    }
}

impl<B: Backend> Default for NoCondition<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backend> ConditionEmbedder<B> for NoCondition<B> {
    type Condition = ();

    fn embed(&self, (): ()) -> Option<Tensor<B, 2>> {
        None
    }

    fn drop_condition(&self, (): (), _uniform: &mut dyn FnMut(usize) -> f64) {}
}

/// The settings of a [`CondEmbedderLabel`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CondEmbedderLabelConfig {
    /// Number of classes.
    pub num_classes: usize,
    /// The probability with which training forgets an example's label, 0.1 in smalldiffusion.
    #[serde(default = "tenth")]
    pub dropout: f64,
}

fn tenth() -> f64 {
    0.1
}

impl CondEmbedderLabelConfig {
    /// Labels of `num_classes` classes, forgotten with probability 0.1.
    pub fn new(num_classes: usize) -> Self {
        Self { num_classes, dropout: tenth() }
    }

    /// The embedder to vectors of `size` values.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the settings.
    pub fn init<B: Backend>(
        &self,
        size: usize,
        weight: Init,
        bias: Init,
        stream: &mut Stream,
        device: &B::Device,
    ) -> CondEmbedderLabel<B> {
        expect_valid(self.validate());
        CondEmbedderLabel {
            embeddings: Init::Normal(1.0).embedding([self.num_classes + 1, size], stream, device),
            output: weight.linear(Some(bias), [size, size], stream, device),
            dropout: self.dropout,
        }
    }

    /// Whether there can be such labels.
    ///
    /// # Errors
    /// If there are no classes or too many, or `dropout` is not in [0, 1].
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("num_classes", self.num_classes, MAX_SIZE)?;
        Invalid::unless_probability("dropout", self.dropout)
    }

    /// The number of parameters of the embedder to vectors of `size` values: a row for each label and one for none.
    pub fn num_params(&self, size: usize) -> u128 {
        (self.num_classes as u128 + 1) * size as u128 + linear_params(size, size)
    }
}

/// An embedding table of labels and of "no label", its last row; then SiLU and a linear layer.
///
/// Training learns the last row only if the network hands [`Network::drop_condition`](crate::Network::drop_condition)
/// on to this layer.
#[derive(Module, Debug)]
pub struct CondEmbedderLabel<B: Backend> {
    /// One row per class, and one for "no label".
    pub embeddings: Embedding<B>,
    /// To the output.
    pub output: Linear<B>,
    dropout: f64,
}

impl<B: Backend> CondEmbedderLabel<B> {
    /// The label that means "no label": the number of classes.
    pub fn null_label(&self) -> usize {
        self.embeddings.weight.dims()[0] - 1
    }

    /// "No label", for as many examples as `labels` has.
    pub fn null_labels(&self, labels: &Labels) -> Labels {
        Labels(vec![self.null_label(); labels.0.len()])
    }

    /// The labels' embedding.
    ///
    /// # Shapes
    /// - returns `[batch, size]`
    ///
    /// # Panics
    /// If a label is above [`null_label`](Self::null_label).
    pub fn forward(&self, labels: &Labels) -> Tensor<B, 2> {
        let rows = labels.tensor(self.null_label() + 1, &self.embeddings.weight.device());
        let embedded = self.embeddings.forward(rows.unsqueeze_dim::<2>(1)).squeeze_dim::<2>(1); // [batch, size]
        linear(&self.output, silu(embedded))
    }
}

impl<B: Backend> ConditionEmbedder<B> for CondEmbedderLabel<B> {
    type Condition = Labels;

    fn embed(&self, labels: Labels) -> Option<Tensor<B, 2>> {
        Some(self.forward(&labels))
    }

    fn drop_condition(&self, labels: Labels, uniform: &mut dyn FnMut(usize) -> f64) -> Labels {
        let keep_or_drop = |(i, label)| if uniform(i) < self.dropout { self.null_label() } else { label };
        Labels(labels.0.into_iter().enumerate().map(keep_or_drop).collect())
    }
}

impl<B: Backend> NullCondition for CondEmbedderLabel<B> {
    type Condition = Labels;

    fn null_condition(&self, labels: &Labels) -> Labels {
        self.null_labels(labels)
    }
}

/// The embedder of a network that has a condition of one kind or none, as is chosen while the program runs.
///
/// # Panics
/// Its methods panic if there is a condition and no embedder, or an embedder and a condition of another kind than its own.
impl<B: Backend, E: ConditionEmbedder<B>> ConditionEmbedder<B> for Option<E>
where
    E::Condition: TryFrom<AnyCondition, Error = WrongKind> + Into<AnyCondition>,
{
    type Condition = AnyCondition;

    fn embed(&self, condition: AnyCondition) -> Option<Tensor<B, 2>> {
        told(self, condition).and_then(|(embedder, condition)| embedder.embed(condition))
    }

    fn embed_tokens(&self, condition: AnyCondition) -> Embedded<B> {
        let told = told(self, condition);
        told.map_or(Embedded::Nothing, |(embedder, condition)| embedder.embed_tokens(condition))
    }

    fn drop_condition(&self, condition: AnyCondition, uniform: &mut dyn FnMut(usize) -> f64) -> AnyCondition {
        let told = told(self, condition);
        told.map_or(AnyCondition::None, |(embedder, own)| embedder.drop_condition(own, uniform).into())
    }
}

impl<E: NullCondition> NullCondition for Option<E>
where
    E::Condition: TryFrom<AnyCondition, Error = WrongKind> + Into<AnyCondition>,
{
    type Condition = AnyCondition;

    /// What the embedder has for "no condition", and nothing where there is none.
    fn null_condition(&self, condition: &AnyCondition) -> AnyCondition {
        let told = told(self, condition.clone());
        told.map_or(AnyCondition::None, |(embedder, own)| embedder.null_condition(&own).into())
    }
}

/// The embedder with its condition, or nothing where there is neither.
fn told<E, C>(embedder: &Option<E>, condition: AnyCondition) -> Option<(&E, C)>
where
    C: TryFrom<AnyCondition, Error = WrongKind>,
{
    let told = match embedder {
        Some(embedder) => C::try_from(condition).map(|own| Some((embedder, own))),
        None => <()>::try_from(condition).map(|()| None),
    };
    told.unwrap_or_else(|wrong| panic!("the network was given {wrong}"))
}
