//! The building blocks of the networks, each with the shape that Burn gives a layer.

pub mod activation;
pub mod attention;
pub mod init;
pub mod label;
pub mod modulation;
pub mod patch;
pub mod sequential;
pub mod sigma;

pub use activation::gelu_tanh;
pub use attention::{Attention, AttentionConfig};
pub use init::Init;
pub use label::{CondEmbedderLabel, CondEmbedderLabelConfig, ConditionEmbedder, NoCondition};
pub use modulation::{
    ModulatedLayerNorm, ModulatedLayerNormConfig, Modulation, ModulationConfig, layer_norm,
};
pub use patch::{PatchEmbed, PatchEmbedConfig, position_embedding};
pub use sequential::{CondModule, CondSequential};
pub use sigma::{
    SigmaEmbedder, SigmaEmbedderSinCos, SigmaEmbedderSinCosConfig, TimestepEmbedder, TimestepEmbedderConfig,
    sigma_embedding, timestep_embedding,
};
