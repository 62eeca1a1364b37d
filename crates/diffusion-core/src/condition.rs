//! What a network is conditioned on: nothing, labels, or tokens. Data on the host until a tensor is needed.

mod any;
mod averaged;
mod labels;
mod tokens;

pub use any::{AnyCondition, WrongKind};
pub use averaged::Averaged;
pub use labels::Labels;
pub use tokens::Tokens;

use std::fmt::Debug;

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
