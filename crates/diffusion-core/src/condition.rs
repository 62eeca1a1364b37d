//! What a network is conditioned on: nothing, labels, or tokens. Data on the host until a tensor is needed.

use crate::sigma::Sigma;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use std::error::Error;
use std::fmt::{self, Debug};

/// The condition of a whole batch.
///
/// A condition of your own: a direction per example.
/// ```
/// use diffusion_core::Condition;
///
/// #[derive(Clone, Debug, PartialEq)]
/// struct Angles(Vec<f64>);
///
/// impl Condition for Angles {
///     fn join(mut self, other: Self) -> Self {
///         self.0.extend(other.0);
///         self
///     }
///
///     fn check(&self, batch: usize) {
///         assert_eq!(self.0.len(), batch, "angles and examples differ in number");
///     }
/// }
///
/// assert_eq!(Angles(vec![0.0]).join(Angles(vec![3.1])), Angles(vec![0.0, 3.1]));
/// ```
pub trait Condition: Clone + Debug + Send + 'static {
    /// The conditions of both batches, one after the other, so that guidance needs one forward pass.
    fn join(self, other: Self) -> Self;

    /// Panics if this is the condition of another number of examples than `batch`.
    fn check(&self, batch: usize);

    /// The class of each example, if classes are what the condition says; none unless a condition has some.
    fn classes(&self) -> Option<&[usize]> {
        None
    }

    /// The condition of these examples alone, in this order; nothing where a condition cannot be taken apart, which costs
    /// time and changes nothing.
    fn rows(&self, _rows: &[usize]) -> Option<Self> {
        None
    }
}

impl Condition for () {
    fn join(self, (): ()) {}

    fn check(&self, _batch: usize) {}

    fn rows(&self, _rows: &[usize]) -> Option<()> {
        Some(())
    }
}

/// A condition that is nothing: models that have it can be sampled from as they are.
///
/// A model that is told something is sampled from once that is bound to it by
/// [`given`](crate::Diffusion::given):
/// ```
/// # use burn::backend::Flex;
/// # use diffusion_core::network::mlp::ConditionalMlpConfig;
/// # use diffusion_core::schedule::{Ddpm, Schedule};
/// # use diffusion_core::{Diffusion, EpsPrediction, GradientEstimation, Labels, Noise, sample};
/// # let (device, sigmas) = (Default::default(), Ddpm::default().sigmas(2));
/// let model = Diffusion::new(ConditionalMlpConfig::default().init::<Flex>(0, &device), EpsPrediction);
/// let model = model.given(Labels(vec![0, 1, 2, 3]));
/// sample(&model, GradientEstimation::DDIM, &sigmas, 4, Noise::new(0), &device).last();
/// ```
/// and not before, which the compiler says with this cure:
/// ```compile_fail,E0277
/// # use burn::backend::Flex;
/// # use diffusion_core::network::mlp::ConditionalMlpConfig;
/// # use diffusion_core::schedule::{Ddpm, Schedule};
/// # use diffusion_core::{Diffusion, EpsPrediction, GradientEstimation, Labels, Noise, sample};
/// # let (device, sigmas) = (Default::default(), Ddpm::default().sigmas(2));
/// let model = Diffusion::new(ConditionalMlpConfig::default().init::<Flex>(0, &device), EpsPrediction);
/// sample(&model, GradientEstimation::DDIM, &sigmas, 4, Noise::new(0), &device).last();
/// ```
#[diagnostic::on_unimplemented(
    message = "a model that is conditioned on `{Self}` cannot be sampled from without it",
    label = "this model has no condition yet",
    note = "bind one to it: `sample(&model.given(labels), …)`; with guidance, `&model.given(labels).guided(scale)`",
    note = "of a model whose condition is `AnyCondition`, `model.given(AnyCondition::None)` has none"
)]
pub trait Unconditional: Condition {
    /// Nothing.
    const NONE: Self;
}

impl Unconditional for () {
    const NONE: Self = ();
}

/// What a data set says of its examples, where a network with the condition `C` is told that: the condition itself, or
/// one that [`AnyCondition`] holds.
///
/// ```
/// use diffusion_core::{AnyCondition, ConditionFor, Labels};
///
/// fn told<C>(labels: impl ConditionFor<C>) -> C {
///     labels.into_condition()
/// }
/// assert_eq!(told::<Labels>(Labels(vec![3])), Labels(vec![3]));
/// assert_eq!(told::<AnyCondition>(Labels(vec![3])), AnyCondition::Labels(Labels(vec![3])));
/// ```
/// A network that is told nothing has no place for labels:
/// ```compile_fail,E0277
/// # use diffusion_core::{AnyCondition, ConditionFor, Labels};
/// # fn told<C>(labels: impl ConditionFor<C>) -> C {
/// #     labels.into_condition()
/// # }
/// told::<()>(Labels(vec![3]));
/// ```
#[diagnostic::on_unimplemented(
    message = "examples with `{Self}` are given to a network whose condition is `{C}`",
    label = "these examples come with `{Self}`",
    note = "a network whose condition is `()` has no labels: leave those of the data out by `dataset.unlabeled()`, or \
            take a network that has some, e.g. `ConditionalMlpConfig`, or `DitConfig::init_conditional`",
    note = "a network whose condition is `Labels` takes a labeled data set, e.g. `points.labeled(labels)`"
)]
pub trait ConditionFor<C> {
    /// The condition as the network takes it.
    fn into_condition(self) -> C;
}

impl<C> ConditionFor<C> for C {
    fn into_condition(self) -> C {
        self
    }
}

/// Each condition that [`AnyCondition`] holds, for a network that has it.
macro_rules! conditions_for_any {
    ($($condition:ty),*) => {$(
        impl ConditionFor<AnyCondition> for $condition {
            fn into_condition(self) -> AnyCondition {
                self.into()
            }
        }
    )*};
}

conditions_for_any!((), Labels, Tokens);

/// A condition, and the length of the way over which each example asks for the mean velocity: a network that was trained for
/// it (MeanFlow, Geng et al. 2025, arXiv:2505.13447) gives the mean of dx/dσ on the way of the flow from σ down to σ − `over`,
/// and dx/dσ at σ itself where that is 0.
///
/// ```
/// use diffusion_core::{Averaged, Condition, Labels, Sigma};
///
/// let half = Averaged { over: Sigma::Each(vec![0.5, 0.0]), condition: Labels(vec![3, 7]) };
/// half.check(2);
/// let whole = Averaged { over: Sigma::Each(vec![1.0]), condition: Labels(vec![1]) };
/// let expected = Averaged { over: Sigma::Each(vec![0.5, 0.0, 1.0]), condition: Labels(vec![3, 7, 1]) };
/// assert_eq!(half.join(whole), expected);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Averaged<C> {
    /// The length of the way, in units of σ; at least 0, and at most σ.
    pub over: Sigma,
    /// What the network is told beside that.
    pub condition: C,
}

impl<C> Averaged<C> {
    /// The condition, which asks for the velocity where it is.
    pub fn at_once(condition: C) -> Self {
        Self { over: Sigma::All(0.0), condition }
    }
}

impl<C: Condition> Condition for Averaged<C> {
    /// # Panics
    /// If one has a length for all examples, and the other has not the same.
    fn join(self, other: Self) -> Self {
        let over = match (self.over, other.over) {
            (Sigma::Each(one), Sigma::Each(other)) => Sigma::Each([one, other].concat()),
            (one, other) if one == other => one,
            (one, other) => {
                panic!("the lengths {one:?} and {other:?} cannot be joined, expected one for each")
            }
        };
        Self { over, condition: self.condition.join(other.condition) }
    }

    fn check(&self, batch: usize) {
        if let Sigma::Each(over) = &self.over {
            assert_eq!(over.len(), batch, "lengths and examples differ in number");
        }
        self.condition.check(batch);
    }

    fn classes(&self) -> Option<&[usize]> {
        self.condition.classes()
    }

    fn rows(&self, rows: &[usize]) -> Option<Self> {
        let over = match &self.over {
            Sigma::Each(over) => Sigma::Each(rows.iter().map(|&row| over[row]).collect()),
            all => all.clone(),
        };
        Some(Self { over, condition: self.condition.rows(rows)? })
    }
}

impl<C: Unconditional> Unconditional for Averaged<C> {
    const NONE: Self = Self { over: Sigma::All(0.0), condition: C::NONE };
}

/// Each condition of a data set, for a network that is also asked for mean velocities.
macro_rules! conditions_for_averaged {
    ($($condition:ty),*) => {$(
        impl ConditionFor<Averaged<$condition>> for $condition {
            fn into_condition(self) -> Averaged<$condition> {
                Averaged::at_once(self)
            }
        }
    )*};
}

conditions_for_averaged!((), Labels, Tokens);

/// One class label per example, on the host, where a wrong one is found before it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(pub Vec<usize>);

impl Labels {
    /// The labels as a tensor.
    ///
    /// # Shapes
    /// - returns `[batch]`
    ///
    /// # Panics
    /// If a label is not below `classes`.
    pub fn tensor<B: Backend>(&self, classes: usize, device: &B::Device) -> Tensor<B, 1, Int> {
        for (i, &label) in self.0.iter().enumerate() {
            assert!(label < classes, "label {i} is {label}, expected one of 0..{classes}");
        }
        let labels: Vec<i32> = self.0.iter().map(|&label| label as i32).collect();
        Tensor::from_data(TensorData::new(labels, [self.0.len()]), device)
    }
}

impl Condition for Labels {
    fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn check(&self, batch: usize) {
        assert_eq!(self.0.len(), batch, "labels and examples differ in number");
    }

    fn classes(&self) -> Option<&[usize]> {
        Some(&self.0)
    }

    fn rows(&self, rows: &[usize]) -> Option<Self> {
        Some(Self(rows.iter().map(|&row| self.0[row]).collect()))
    }
}

/// A sequence of vectors per example, e.g. the embedded words of a text, on the host.
///
/// Those of an example can be forgotten: then its values are zeros, and a network that has learned what stands for "no
/// tokens" puts that in their place.
/// ```
/// use diffusion_core::Tokens;
///
/// let tokens = Tokens::new(vec![1.0, 2.0, 3.0, 4.0], [2, 1, 2]).forget(|example| example == 0);
/// assert_eq!(tokens.forgotten(), [true, false]);
/// assert_eq!(tokens.values(), [0.0, 0.0, 3.0, 4.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    values: Vec<f32>,
    shape: [usize; 3],
    forgotten: Vec<bool>,
}

impl Tokens {
    /// The tokens with these values, in the order of `shape`, which is `[batch, tokens, width]`.
    ///
    /// # Panics
    /// If there are more or fewer values than the shape has.
    pub fn new(values: Vec<f32>, shape: [usize; 3]) -> Self {
        let expected = shape.iter().product::<usize>();
        assert_eq!(values.len(), expected, "values and shape {shape:?} of tokens differ in size");
        Self { values, shape, forgotten: vec![false; shape[0]] }
    }

    /// The tokens of `shape`, which is `[batch, tokens, width]`, all of them forgotten.
    pub fn none(shape: [usize; 3]) -> Self {
        Self { values: vec![0.0; shape.iter().product()], shape, forgotten: vec![true; shape[0]] }
    }

    /// These tokens without those of the examples that `which` names; it is asked once for each, in their order.
    pub fn forget(mut self, mut which: impl FnMut(usize) -> bool) -> Self {
        let size = self.shape[1] * self.shape[2];
        for (example, forgotten) in self.forgotten.iter_mut().enumerate() {
            if which(example) {
                *forgotten = true;
                self.values[example * size..][..size].fill(0.0);
            }
        }
        self
    }

    /// Whether the tokens of each example are forgotten.
    pub fn forgotten(&self) -> &[bool] {
        &self.forgotten
    }

    /// Their shape, `[batch, tokens, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Their values, in the order of the shape.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The tokens as a tensor, with zeros for those that are forgotten.
    ///
    /// # Shapes
    /// - returns `[batch, tokens, width]`
    pub fn tensor<B: Backend>(&self, device: &B::Device) -> Tensor<B, 3> {
        Tensor::from_data(TensorData::new(self.values.clone(), self.shape), device)
    }
}

impl Condition for Tokens {
    /// # Panics
    /// If the examples of both differ in shape.
    fn join(mut self, other: Self) -> Self {
        assert_eq!(self.shape[1..], other.shape[1..], "the tokens of both conditions differ in shape");
        self.values.extend(other.values);
        self.forgotten.extend(other.forgotten);
        self.shape[0] += other.shape[0];
        self
    }

    fn check(&self, batch: usize) {
        assert_eq!(self.shape[0], batch, "tokens and examples differ in number");
    }

    fn rows(&self, rows: &[usize]) -> Option<Self> {
        let [_, tokens, width] = self.shape;
        let size = tokens * width;
        Some(Self {
            values: rows.iter().flat_map(|&row| &self.values[row * size..][..size]).copied().collect(),
            shape: [rows.len(), tokens, width],
            forgotten: rows.iter().map(|&row| self.forgotten[row]).collect(),
        })
    }
}

/// A condition whose kind is chosen while the program runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AnyCondition {
    /// Nothing.
    #[default]
    None,
    /// One label per example.
    Labels(Labels),
    /// A sequence of vectors per example.
    Tokens(Tokens),
    /// Any of these, with a way over which the mean velocity is asked for.
    Averaged(Box<Averaged<AnyCondition>>),
}

impl AnyCondition {
    /// Its kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "no condition",
            Self::Labels(_) => "labels",
            Self::Tokens(_) => "tokens",
            Self::Averaged(_) => "lengths of ways",
        }
    }

    /// The labels, if these are labels.
    pub fn labels(&self) -> Option<&Labels> {
        match self {
            Self::Labels(labels) => Some(labels),
            Self::Averaged(averaged) => averaged.condition.labels(),
            Self::None | Self::Tokens(_) => None,
        }
    }

    /// The tokens, if these are tokens.
    pub fn tokens(&self) -> Option<&Tokens> {
        match self {
            Self::Tokens(tokens) => Some(tokens),
            Self::Averaged(averaged) => averaged.condition.tokens(),
            Self::None | Self::Labels(_) => None,
        }
    }
}

impl Condition for AnyCondition {
    /// # Panics
    /// If the two are of different kinds.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, Self::None) => Self::None,
            (Self::Labels(one), Self::Labels(other)) => Self::Labels(one.join(other)),
            (Self::Tokens(one), Self::Tokens(other)) => Self::Tokens(one.join(other)),
            (Self::Averaged(one), Self::Averaged(other)) => Self::Averaged(Box::new(one.join(*other))),
            (one, other) => panic!("{} and {} cannot be joined, expected one kind", one.kind(), other.kind()),
        }
    }

    fn check(&self, batch: usize) {
        match self {
            Self::None => {}
            Self::Labels(labels) => labels.check(batch),
            Self::Tokens(tokens) => tokens.check(batch),
            Self::Averaged(averaged) => averaged.check(batch),
        }
    }

    fn classes(&self) -> Option<&[usize]> {
        self.labels()?.classes()
    }

    fn rows(&self, rows: &[usize]) -> Option<Self> {
        Some(match self {
            Self::None => Self::None,
            Self::Labels(labels) => labels.rows(rows)?.into(),
            Self::Tokens(tokens) => tokens.rows(rows)?.into(),
            Self::Averaged(averaged) => Self::Averaged(Box::new(averaged.rows(rows)?)),
        })
    }
}

impl From<()> for AnyCondition {
    fn from((): ()) -> Self {
        Self::None
    }
}

impl From<Labels> for AnyCondition {
    fn from(labels: Labels) -> Self {
        Self::Labels(labels)
    }
}

impl<C: Into<AnyCondition>> From<Averaged<C>> for AnyCondition {
    fn from(Averaged { over, condition }: Averaged<C>) -> Self {
        Self::Averaged(Box::new(Averaged { over, condition: condition.into() }))
    }
}

impl From<Tokens> for AnyCondition {
    fn from(tokens: Tokens) -> Self {
        Self::Tokens(tokens)
    }
}

/// A condition of another kind than the one that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongKind {
    /// The kind that was found, as [`AnyCondition::kind`] names it.
    pub found: &'static str,
    /// The kind that was expected.
    pub expected: &'static str,
}

impl fmt::Display for WrongKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, expected {}", self.found, self.expected)
    }
}

impl Error for WrongKind {}

/// The way back from [`AnyCondition`], which fails on one of another kind.
macro_rules! conditions_of_any {
    ($($condition:ty, $pattern:pat => $found:expr, $expected:literal;)*) => {$(
        impl TryFrom<AnyCondition> for $condition {
            type Error = WrongKind;

            fn try_from(condition: AnyCondition) -> Result<Self, WrongKind> {
                match condition {
                    $pattern => Ok($found),
                    other => Err(WrongKind { found: other.kind(), expected: $expected }),
                }
            }
        }
    )*};
}

conditions_of_any! {
    (), AnyCondition::None => (), "no condition";
    Labels, AnyCondition::Labels(labels) => labels, "labels";
    Tokens, AnyCondition::Tokens(tokens) => tokens, "tokens";
}

/// Something that can also be asked without a condition, having been trained with some left out: a network must forget
/// some in [`Network::drop_condition`](crate::Network::drop_condition), else guidance compares with an answer that was
/// never learned.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion_core::layer::CondEmbedderLabelConfig;
/// use diffusion_core::network::mlp::ConditionalMlpConfig;
/// use diffusion_core::{Labels, NullCondition};
///
/// // A network of ten classes has an eleventh label, which means that there is none.
/// let labels = CondEmbedderLabelConfig::new(10);
/// let network = ConditionalMlpConfig { labels, ..Default::default() }.init::<Flex>(0, &Default::default());
/// assert_eq!(network.null_condition(&Labels(vec![3, 7])), Labels(vec![10, 10]));
/// ```
pub trait NullCondition {
    /// The condition that it can do without.
    type Condition: Condition;

    /// "No condition", for as many examples as `condition` has.
    fn null_condition(&self, condition: &Self::Condition) -> Self::Condition;
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    #[test]
    fn conditions_join_one_after_the_other() {
        let labels = |labels: &[usize]| AnyCondition::from(Labels(labels.to_vec()));
        assert_eq!(labels(&[1, 2]).join(labels(&[3])), labels(&[1, 2, 3]));
        let tokens = Tokens::new(vec![1.0, 2.0], [1, 2, 1]).join(Tokens::new(vec![3.0, 4.0], [1, 2, 1]));
        assert_eq!((tokens.shape(), tokens.values()), ([2, 2, 1], &[1.0, 2.0, 3.0, 4.0][..]));
        tokens.check(2);
        let tensor = tokens.tensor::<Flex>(&Default::default());
        assert_eq!(tensor.into_data(), TensorData::new(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2, 1]));
    }

    /// What is forgotten leaves nothing behind, and stays forgotten in the joined batch.
    #[test]
    fn tokens_are_forgotten_by_example() {
        let tokens = || Tokens::new((1..=6).map(|i| i as f32).collect(), [3, 1, 2]);
        let mut asked = Vec::new();
        let found = tokens().forget(|example| {
            asked.push(example);
            example == 1
        });
        assert_eq!(asked, [0, 1, 2]);
        assert_eq!(found.forgotten(), [false, true, false]);
        assert_eq!(found.values(), [1.0, 2.0, 0.0, 0.0, 5.0, 6.0]);
        let all = tokens().forget(|_| true);
        assert_eq!(all, Tokens::none([3, 1, 2]));
        assert_ne!(all, Tokens::new(vec![0.0; 6], [3, 1, 2]));
        assert_eq!(found.clone().forget(|example| example == 0).forgotten(), [true, true, false]);
        assert_eq!(found.join(all).forgotten(), [false, true, false, true, true, true]);
    }

    #[test]
    fn a_condition_of_any_kind_is_only_its_own() {
        let (labels, tokens) = (Labels(vec![1]), Tokens::new(vec![1.0], [1, 1, 1]));
        let wrong = |found, expected| WrongKind { found, expected };
        assert_eq!(Labels::try_from(AnyCondition::from(labels.clone())), Ok(labels.clone()));
        assert_eq!(Tokens::try_from(AnyCondition::from(tokens.clone())), Ok(tokens.clone()));
        assert_eq!(<()>::try_from(AnyCondition::None), Ok(()));
        let found = Labels::try_from(AnyCondition::from(tokens.clone()));
        assert_eq!(found, Err(wrong("tokens", "labels")));
        assert_eq!(Tokens::try_from(AnyCondition::None), Err(wrong("no condition", "tokens")));
        assert_eq!(<()>::try_from(AnyCondition::from(labels.clone())), Err(wrong("labels", "no condition")));
        assert_eq!(AnyCondition::from(tokens.clone()).tokens(), Some(&tokens));
        assert_eq!(AnyCondition::from(labels.clone()).tokens(), None);
        assert_eq!(AnyCondition::from(labels).classes(), Some(&[1][..]));
        assert_eq!(AnyCondition::from(tokens).classes(), None);
    }

    #[test]
    #[should_panic(expected = "labels and no condition cannot be joined, expected one kind")]
    fn kinds_do_not_mix() {
        let _ = AnyCondition::from(Labels(vec![1])).join(().into());
    }

    #[test]
    #[should_panic(expected = "tokens and examples differ in number")]
    fn tokens_of_another_batch_are_refused() {
        AnyCondition::from(Tokens::new(vec![1.0], [1, 1, 1])).check(2);
    }
}
