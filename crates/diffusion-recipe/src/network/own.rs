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
    /// Whether it can be asked for mean velocities, as the objective mean-flow needs it.
    #[serde(skip_serializing_if = "is_false")]
    pub mean_velocity: bool,
    /// The settings.
    #[serde(flatten)]
    pub network: C,
    /// The labels that it is conditioned on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<CondEmbedderLabelConfig>,
}

impl<C> From<C> for Conditional<C> {
    fn from(network: C) -> Self {
        Self { mean_velocity: false, network, labels: None }
    }
}

fn is_false(setting: &bool) -> bool {
    !setting
}

/// By hand, because a flattened field takes in unknown settings without a word.
impl<'de, C: DeserializeOwned> Deserialize<'de> for Conditional<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let mean_velocity = taken(&mut table, MEAN_VELOCITY)?.unwrap_or_default();
        let labels = taken(&mut table, "labels")?;
        Ok(Self { mean_velocity, network: read(table.into())?, labels })
    }
}

/// The settings of an MLP, and whether it can be asked for mean velocities.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Points<C> {
    /// Whether it can be asked for mean velocities, as the objective mean-flow needs it.
    #[serde(skip_serializing_if = "is_false")]
    pub mean_velocity: bool,
    /// The settings.
    #[serde(flatten)]
    pub network: C,
}

impl<C> From<C> for Points<C> {
    fn from(network: C) -> Self {
        Self { mean_velocity: false, network }
    }
}

/// By hand, as that of [`Conditional`].
impl<'de, C: DeserializeOwned> Deserialize<'de> for Points<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Table::deserialize(deserializer)?;
        let mean_velocity = taken(&mut table, MEAN_VELOCITY)?.unwrap_or_default();
        Ok(Self { mean_velocity, network: read(table.into())? })
    }
}

/// The setting of networks that can be asked for mean velocities.
const MEAN_VELOCITY: &str = "mean_velocity";

/// A network's settings, and those in the table `name` among them, if there is one.
pub(super) fn with_table<'de, D, C, T>(deserializer: D, name: &str) -> Result<(C, Option<T>), D::Error>
where
    D: Deserializer<'de>,
    C: DeserializeOwned,
    T: DeserializeOwned,
{
    let mut table = Table::deserialize(deserializer)?;
    let inner = taken(&mut table, name)?;
    Ok((read(table.into())?, inner))
}

/// The setting `name`, which is taken out of the table.
fn taken<T: DeserializeOwned, E: Error>(table: &mut Table, name: &str) -> Result<Option<T>, E> {
    table.remove(name).map(read).transpose()
}

fn read<T: DeserializeOwned, E: Error>(value: Value) -> Result<T, E> {
    value.try_into().map_err(|error: toml::de::Error| E::custom(error.message()))
}

impl NetworkSettings for Points<TimeInputMlpConfig> {
    fn classes(&self) -> Option<usize> {
        None
    }

    fn self_condition(&self) -> bool {
        self.network.self_condition
    }

    fn mean_velocity(&self) -> bool {
        self.mean_velocity
    }

    fn input_shape(&self) -> Vec<usize> {
        self.network.input_shape()
    }

    fn size(&self) -> NetworkSize {
        NetworkSize {
            params: self.network.num_params()
                + params_of(self.mean_velocity, self.network.averaging_params()),
            layer: self.network.largest_layer(),
            attention: self.network.attention_size(),
        }
    }

    fn sizes(&self) -> [&'static str; 2] {
        ["hidden_dims"; 2]
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.network.validate()
    }
}

impl NetworkSettings for Points<ConditionalMlpConfig> {
    fn classes(&self) -> Option<usize> {
        Some(self.network.labels.num_classes)
    }

    fn dropout(&self) -> Option<(&'static str, f64)> {
        Some(("labels.dropout", self.network.labels.dropout))
    }

    fn mean_velocity(&self) -> bool {
        self.mean_velocity
    }

    fn self_condition(&self) -> bool {
        self.network.self_condition
    }

    fn input_shape(&self) -> Vec<usize> {
        self.network.input_shape()
    }

    fn size(&self) -> NetworkSize {
        NetworkSize {
            params: self.network.num_params()
                + params_of(self.mean_velocity, self.network.averaging_params()),
            layer: self.network.largest_layer(),
            attention: self.network.attention_size(),
        }
    }

    fn sizes(&self) -> [&'static str; 2] {
        ["hidden_dims"; 2]
    }

    fn validate(&self) -> Result<(), Invalid> {
        self.network.validate()
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

    fn mean_velocity(&self) -> bool {
        self.mean_velocity
    }

    fn input_shape(&self) -> Vec<usize> {
        self.network.input_shape()
    }

    fn size(&self) -> NetworkSize {
        NetworkSize {
            params: self.network.num_params(self.labels.as_ref())
                + params_of(self.mean_velocity, self.network.averaging_params()),
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

    fn mean_velocity(&self) -> bool {
        self.mean_velocity
    }

    fn input_shape(&self) -> Vec<usize> {
        self.network.input_shape()
    }

    fn size(&self) -> NetworkSize {
        NetworkSize {
            params: self.network.num_params(self.labels.as_ref())
                + params_of(self.mean_velocity, self.network.averaging_params()),
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

/// The parameters of a part that may be absent.
fn params_of(is_there: bool, params: u128) -> u128 {
    if is_there { params } else { 0 }
}

impl<C> Conditional<C> {
    fn validate_labels(&self) -> Result<(), Invalid> {
        self.labels
            .as_ref()
            .map_or(Ok(()), |labels| labels.validate().map_err(|error| error.within("labels")))
    }
}
