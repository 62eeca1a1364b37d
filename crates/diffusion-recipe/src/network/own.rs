//! The settings of the networks of diffusion-core.

use super::settings::{NetworkSettings, NetworkSize};
use diffusion::core::Invalid;
use diffusion::core::layer::CondEmbedderLabelConfig;
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use toml::{Table, Value};

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
        let (network, labels) = with_table(deserializer, "labels")?;
        Ok(Self { network, labels })
    }
}

/// A network's settings, and those in the table `name` among them, if there is one.
pub(super) fn with_table<'de, D, C, T>(deserializer: D, name: &str) -> Result<(C, Option<T>), D::Error>
where
    D: Deserializer<'de>,
    C: DeserializeOwned,
    T: DeserializeOwned,
{
    let mut table = Table::deserialize(deserializer)?;
    let inner = table.remove(name).map(Value::try_into).transpose();
    let read = |error: toml::de::Error| D::Error::custom(error.message());
    Ok((table.try_into().map_err(read)?, inner.map_err(read)?))
}

impl NetworkSettings for TimeInputMlpConfig {
    fn classes(&self) -> Option<usize> {
        None
    }

    fn self_condition(&self) -> bool {
        self.self_condition
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

    fn dropout(&self) -> Option<(&'static str, f64)> {
        Some(("labels.dropout", self.labels.dropout))
    }

    fn self_condition(&self) -> bool {
        self.self_condition
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

    fn dropout(&self) -> Option<(&'static str, f64)> {
        self.labels.as_ref().map(|labels| ("labels.dropout", labels.dropout))
    }

    fn self_condition(&self) -> bool {
        self.network.self_condition
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

    fn dropout(&self) -> Option<(&'static str, f64)> {
        self.labels.as_ref().map(|labels| ("labels.dropout", labels.dropout))
    }

    fn self_condition(&self) -> bool {
        self.network.self_condition
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
