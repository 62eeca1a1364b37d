//! Which network: the one place outside of core that knows them all.

mod own;
mod settings;
mod text;
mod visitor;

pub use own::{Conditional, Points};
pub use settings::NetworkSize;
pub use text::{TextDitConfig, TextUnetConfig};
pub use visitor::{NetworkVisitor, RunNetwork, SampledNetwork};

use crate::error::RecipeError;
use burn::tensor::backend::Backend;
use diffusion::core::Invalid;
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use serde::{Deserialize, Serialize};
use settings::NetworkSettings;
use std::path::Path;
use toml::Table;

/// [`NetworkConfig`] from one line per network: its settings, and how it is made of them.
macro_rules! networks {
    ($($(#[$doc:meta])* $kind:ident($config:ty): |$settings:ident, $seed:ident, $device:ident| $init:expr;)+) => {
        /// A network and its settings.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
        pub enum NetworkConfig {
            $($(#[$doc])* $kind($config),)+
            /// A U-Net that looks at texts.
            TextUnet(Box<TextUnetConfig>),
            /// One that another crate brings; see [`TypedRun::new`](crate::TypedRun::new).
            Custom(CustomNetworkConfig),
        }

        impl NetworkConfig {
            fn settings(&self) -> &dyn NetworkSettings {
                match self {
                    $(Self::$kind(settings) => settings,)+
                    Self::TextUnet(settings) => &**settings,
                    Self::Custom(settings) => settings,
                }
            }

            /// Makes the network that `seed` stands for, and lets `visitor` see it with its type. Every network is seen
            /// as one type whether it has labels or not.
            ///
            /// # Errors
            /// If the network is another crate's, or a pretrained one cannot be opened.
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
                    Self::TextUnet(unet) => unet.visit(seed, device, visitor)?,
                    Self::Custom(custom) => return Err(RecipeError::CustomNetwork(custom.name.clone())),
                })
            }
        }
    };
}

networks! {
    /// An MLP for points.
    TimeInputMlp(Points<TimeInputMlpConfig>): |mlp, seed, device| match mlp.mean_velocity {
        true => mlp.network.init_any_averaged(seed, device),
        false => mlp.network.init_any(seed, device),
    };
    /// An MLP for points with labels.
    ConditionalMlp(Points<ConditionalMlpConfig>): |mlp, seed, device| match mlp.mean_velocity {
        true => mlp.network.init_any_averaged(seed, device),
        false => mlp.network.init_any(seed, device),
    };
    /// A diffusion transformer.
    Dit(Conditional<DitConfig>): |dit, seed, device| match dit.mean_velocity {
        true => dit.network.init_any_averaged(dit.labels.as_ref(), seed, device),
        false => dit.network.init_any(dit.labels.as_ref(), seed, device),
    };
    /// A diffusion transformer that is told texts.
    TextDit(TextDitConfig): |dit, seed, device| dit.network.init_any_text(&dit.text, seed, device);
    /// A U-Net.
    Unet(Conditional<UnetConfig>): |unet, seed, device| match unet.mean_velocity {
        true => unet.network.init_any_averaged(unet.labels.as_ref(), seed, device),
        false => unet.network.init_any(unet.labels.as_ref(), seed, device),
    };
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

impl NetworkConfig {
    /// The number of classes, if the network is conditioned on labels.
    pub fn classes(&self) -> Option<usize> {
        self.settings().classes()
    }

    /// The number of tokens of a text that the network is told, and the values of each, if it is told texts.
    pub fn text(&self) -> Option<[usize; 2]> {
        self.settings().text()
    }

    /// Whether it is given its own estimate of the data; not known of another crate's.
    pub fn self_condition(&self) -> bool {
        self.settings().self_condition()
    }

    /// Whether it is told something that it can be guided by.
    pub fn is_conditional(&self) -> bool {
        self.classes().is_some() || self.text().is_some()
    }

    /// The folder of the pretrained model that it begins with, if there is one.
    pub fn pretrained(&self) -> Option<&Path> {
        match self {
            Self::TextUnet(unet) => unet.pretrained.as_deref(),
            _ => None,
        }
    }

    /// Takes the pretrained model that it begins with from another folder; returns `false` if it begins with none.
    pub fn set_pretrained(&mut self, folder: impl AsRef<Path>) -> bool {
        match self {
            Self::TextUnet(unet) if unet.pretrained.is_some() => {
                unet.pretrained = Some(folder.as_ref().to_path_buf());
                true
            }
            _ => false,
        }
    }

    /// The same without the place of a pretrained model, for weights that do not depend on it.
    pub(crate) fn without_place(&self) -> Self {
        let mut network = self.clone();
        if let Self::TextUnet(unet) = &mut network {
            unet.pretrained = None;
        }
        network
    }

    /// Whether low-rank changes of that model are trained, and nothing else.
    pub fn is_lora(&self) -> bool {
        matches!(self, Self::TextUnet(unet) if unet.lora.is_some())
    }

    /// The probability with which training forgets an example's label or text; nothing if the network has neither, or is
    /// another crate's.
    pub fn dropout(&self) -> Option<f64> {
        self.settings().dropout().map(|(_, dropout)| dropout)
    }

    /// The path of that setting.
    pub(crate) fn dropout_setting(&self) -> Option<String> {
        self.settings().dropout().map(|(setting, _)| format!("network.{setting}"))
    }

    /// Whether it has learned before the run to do without a condition.
    pub(crate) fn can_do_without(&self) -> bool {
        self.settings().can_do_without()
    }

    /// Whether it can be asked for mean velocities, as the objective mean-flow and the sampler of that name need it.
    pub fn mean_velocity(&self) -> bool {
        self.settings().mean_velocity()
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
