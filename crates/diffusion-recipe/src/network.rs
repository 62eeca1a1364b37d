//! Which network: the one place outside of core that knows them all.

use crate::error::RecipeError;
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, ModuleDisplay};
use burn::tensor::backend::Backend;
use diffusion::core::layer::CondEmbedderLabelConfig;
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use diffusion::core::{AnyCondition, Invalid, Network, NullCondition};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use toml::{Table, Value};

/// [`NetworkConfig`] from one line per network: its settings, and how it is made of them.
macro_rules! networks {
    ($($(#[$doc:meta])* $kind:ident($config:ty): |$settings:ident, $seed:ident, $device:ident| $init:expr;)+) => {
        /// A network and its settings.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
        pub enum NetworkConfig {
            $($(#[$doc])* $kind($config),)+
            /// One that another crate brings; see [`TypedRun::new`](crate::TypedRun::new).
            Custom(CustomNetworkConfig),
        }

        impl NetworkConfig {
            fn settings(&self) -> &dyn NetworkSettings {
                match self {
                    $(Self::$kind(settings) => settings,)+
                    Self::Custom(settings) => settings,
                }
            }

            /// Makes the network that `seed` stands for, and lets `visitor` see it with its type. Every network is seen
            /// as one type whether it has labels or not.
            ///
            /// # Errors
            /// If the network is another crate's.
            pub fn visit<B: Backend, V: NetworkVisitor<B>>(
                &self,
                seed: u64,
                device: &B::Device,
                visitor: V,
            ) -> Result<V::Output, RecipeError> {
                Ok(match self {
                    $(Self::$kind($settings) => {
                        let ($seed, $device) = (seed, device);
                        visitor.visit($init)
                    })+
                    Self::Custom(custom) => return Err(RecipeError::CustomNetwork(custom.name.clone())),
                })
            }
        }
    };
}

networks! {
    /// An MLP for points.
    TimeInputMlp(TimeInputMlpConfig): |mlp, seed, device| mlp.init_any(seed, device);
    /// An MLP for points with labels.
    ConditionalMlp(ConditionalMlpConfig): |mlp, seed, device| mlp.init_any(seed, device);
    /// A diffusion transformer.
    Dit(Conditional<DitConfig>): |dit, seed, device| dit.network.init_any(dit.labels.as_ref(), seed, device);
    /// A U-Net.
    Unet(Conditional<UnetConfig>): |unet, seed, device| unet.network.init_any(unet.labels.as_ref(), seed, device);
}

/// What a run asks of a network's settings.
trait NetworkSettings {
    /// The labels that the network is conditioned on.
    fn classes(&self) -> Option<usize>;

    /// The probability with which training forgets a label, where the network has labels and that is known.
    fn label_dropout(&self) -> Option<f64> {
        None
    }

    /// The shape of one example.
    fn input_shape(&self) -> Vec<usize>;

    /// How many values the network and its layers have.
    fn size(&self) -> NetworkSize;

    /// The settings on which most depends how many parameters there are, and how large attention is.
    fn sizes(&self) -> [&'static str; 2];

    /// Checks every setting's range.
    fn validate(&self) -> Result<(), Invalid>;
}

/// How many values a network has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkSize {
    /// Its parameters.
    pub params: u128,
    /// The largest of its layers' outputs for one example.
    pub layer: u128,
    /// The table of one attention head, from each position to each.
    pub attention: u128,
}

/// What a run must know of a network that another crate brings. Its checkpoints are known by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomNetworkConfig {
    /// What the network is called.
    pub name: String,
    /// The shape of one example.
    pub input_shape: Vec<usize>,
    /// The number of classes, if it is conditioned on labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_classes: Option<usize>,
    /// Its own settings.
    #[serde(default)]
    pub settings: Table,
}

impl NetworkConfig {
    /// Of a network that has labels or none, as its settings say: it has none.
    pub(crate) fn forget_labels(&mut self) {
        match self {
            Self::Dit(dit) => dit.labels = None,
            Self::Unet(unet) => unet.labels = None,
            _ => {}
        }
    }
}

/// A network's settings, and those of its labels if it has some: a table `labels` among the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conditional<C> {
    /// The settings.
    #[serde(flatten)]
    pub network: C,
    /// The labels that it is conditioned on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<CondEmbedderLabelConfig>,
}

impl<C> From<C> for Conditional<C> {
    fn from(network: C) -> Self {
        Self { network, labels: None }
    }
}

/// By hand, because a flattened field takes in unknown settings without a word.
impl<'de, C: DeserializeOwned> Deserialize<'de> for Conditional<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let labels = table.remove("labels").map(Value::try_into).transpose();
        let read = |error: toml::de::Error| D::Error::custom(error.message());
        Ok(Self { labels: labels.map_err(read)?, network: table.try_into().map_err(read)? })
    }
}

impl NetworkConfig {
    /// The number of classes, if the network is conditioned on labels.
    pub fn classes(&self) -> Option<usize> {
        self.settings().classes()
    }

    /// The probability with which training forgets a label; nothing if the network has no labels, or is another
    /// crate's.
    pub fn label_dropout(&self) -> Option<f64> {
        self.settings().label_dropout()
    }

    /// The shape of one example.
    pub fn input_shape(&self) -> Vec<usize> {
        self.settings().input_shape()
    }

    /// How many values the network and its layers have; unknown of another crate's.
    pub fn size(&self) -> NetworkSize {
        self.settings().size()
    }

    /// The settings on which most depends how many parameters there are, and how large attention is.
    pub(crate) fn sizes(&self) -> [&'static str; 2] {
        self.settings().sizes()
    }

    /// Checks every setting's range.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.settings().validate()
    }
}

impl NetworkSettings for TimeInputMlpConfig {
    fn classes(&self) -> Option<usize> {
        None
    }

    fn input_shape(&self) -> Vec<usize> {
        self.input_shape()
    }

    fn size(&self) -> NetworkSize {
        NetworkSize {
            params: self.num_params(),
            layer: self.largest_layer(),
            attention: self.attention_size(),
        }
    }

    fn sizes(&self) -> [&'static str; 2] {
        ["hidden_dims"; 2]
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }
}

impl NetworkSettings for ConditionalMlpConfig {
    fn classes(&self) -> Option<usize> {
        Some(self.labels.num_classes)
    }

    fn label_dropout(&self) -> Option<f64> {
        Some(self.labels.dropout)
    }

    fn input_shape(&self) -> Vec<usize> {
        self.input_shape()
    }

    fn size(&self) -> NetworkSize {
        NetworkSize {
            params: self.num_params(),
            layer: self.largest_layer(),
            attention: self.attention_size(),
        }
    }

    fn sizes(&self) -> [&'static str; 2] {
        ["hidden_dims"; 2]
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }
}

impl NetworkSettings for Conditional<DitConfig> {
    fn classes(&self) -> Option<usize> {
        self.labels.as_ref().map(|labels| labels.num_classes)
    }

    fn label_dropout(&self) -> Option<f64> {
        self.labels.as_ref().map(|labels| labels.dropout)
    }

    fn input_shape(&self) -> Vec<usize> {
        self.network.input_shape()
    }

    fn size(&self) -> NetworkSize {
        NetworkSize {
            params: self.network.num_params(self.labels.as_ref()),
            layer: self.network.largest_layer(),
            attention: self.network.attention_size(),
        }
    }

    fn sizes(&self) -> [&'static str; 2] {
        ["num_heads", "patch_size"]
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.network.validate()?;
        self.validate_labels()
    }
}

impl NetworkSettings for Conditional<UnetConfig> {
    fn classes(&self) -> Option<usize> {
        self.labels.as_ref().map(|labels| labels.num_classes)
    }

    fn label_dropout(&self) -> Option<f64> {
        self.labels.as_ref().map(|labels| labels.dropout)
    }

    fn input_shape(&self) -> Vec<usize> {
        self.network.input_shape()
    }

    fn size(&self) -> NetworkSize {
        NetworkSize {
            params: self.network.num_params(self.labels.as_ref()),
            layer: self.network.largest_layer(),
            attention: self.network.attention_size(),
        }
    }

    fn sizes(&self) -> [&'static str; 2] {
        ["ch", "attn_resolutions"]
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.network.validate()?;
        let (found, expected) = (self.network.output_shape(), self.network.input_shape());
        let reason = || format!("gives outputs of shape {found:?}, expected the inputs' {expected:?}");
        Invalid::unless(found == expected, "out_ch", reason)?;
        self.validate_labels()
    }
}

impl<C> Conditional<C> {
    fn validate_labels(&self) -> Result<(), Invalid> {
        self.labels
            .as_ref()
            .map_or(Ok(()), |labels| labels.validate().map_err(|error| error.within("labels")))
    }
}

impl NetworkSettings for CustomNetworkConfig {
    fn classes(&self) -> Option<usize> {
        self.num_classes
    }

    fn input_shape(&self) -> Vec<usize> {
        self.input_shape.clone()
    }

    fn size(&self) -> NetworkSize {
        NetworkSize::default()
    }

    fn sizes(&self) -> [&'static str; 2] {
        ["settings"; 2]
    }

    fn validate(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// What a run needs of a network on the backend `B`; every network that has the parts has it.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion::core::network::dit::AnyDit;
/// use diffusion_recipe::RunNetwork;
///
/// /// Fails to compile for a network that cannot take part in a run.
/// fn takes_part<N: RunNetwork<Flex, D>, const D: usize>() {}
///
/// takes_part::<AnyDit<burn::backend::Autodiff<Flex>>, 4>();
/// ```
pub trait RunNetwork<B: Backend, const D: usize>:
    Network<Autodiff<B>, D, Condition = AnyCondition>
    + ModuleDisplay
    + AutodiffModule<Autodiff<B>, InnerModule: SampledNetwork<B, D>>
    + 'static
{
}

impl<B: Backend, N, const D: usize> RunNetwork<B, D> for N where
    N: Network<Autodiff<B>, D, Condition = AnyCondition>
        + ModuleDisplay
        + AutodiffModule<Autodiff<B>, InnerModule: SampledNetwork<B, D>>
        + 'static
{
}

/// What a run needs of its network to validate it and sample from it.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, backend::Backend};
/// use diffusion::core::network::dit::DitConfig;
/// use diffusion::core::{AnyCondition, AnyPrediction, Diffusion, Noise};
/// use diffusion_recipe::SampledNetwork;
///
/// /// What the model makes of pure noise at σ = 10 in one step, without a condition.
/// fn mean<B: Backend, N: SampledNetwork<B, D>, const D: usize>(network: N) -> Tensor<B, D> {
///     let model = Diffusion::new(network, AnyPrediction::Eps);
///     let x = model.rand_input(1, Noise::new(0), &Default::default()) * 10.0;
///     model.denoised(x, 10.0, AnyCondition::None)
/// }
///
/// let config = DitConfig { in_dim: 8, channels: 1, depth: 1, ..DitConfig::default() };
/// assert_eq!(mean(config.init_any::<Flex>(None, 0, &Default::default())).dims(), [1, 1, 8, 8]);
/// ```
pub trait SampledNetwork<B: Backend, const D: usize>:
    Network<B, D, Condition = AnyCondition> + NullCondition<Condition = AnyCondition> + ModuleDisplay
{
}

impl<B: Backend, N, const D: usize> SampledNetwork<B, D> for N where
    N: Network<B, D, Condition = AnyCondition> + NullCondition<Condition = AnyCondition> + ModuleDisplay
{
}

/// Work that needs a network's type; see [`NetworkConfig::visit`].
///
/// ```
/// use burn::backend::Flex;
/// use burn::module::Module;
/// use diffusion_recipe::{NetworkVisitor, RunConfig, RunNetwork};
///
/// /// Counts a network's parameters, and says what shape it takes.
/// struct Look;
///
/// impl NetworkVisitor<Flex> for Look {
///     type Output = (usize, Vec<usize>);
///
///     fn visit<N: RunNetwork<Flex, D>, const D: usize>(self, network: N) -> Self::Output {
///         (Module::num_params(&network), network.input_shape(1).to_vec())
///     }
/// }
///
/// let config = RunConfig::preset("fashion-unet-small")?;
/// let seen = config.network.visit(0, &Default::default(), Look)?;
/// assert_eq!(seen, (1_124_833, vec![1, 1, 28, 28]));
/// # Ok::<(), diffusion_recipe::RecipeError>(())
/// ```
pub trait NetworkVisitor<B: Backend> {
    /// What comes out of it.
    type Output;

    /// Does the work.
    fn visit<N: RunNetwork<B, D>, const D: usize>(self, network: N) -> Self::Output;
}
