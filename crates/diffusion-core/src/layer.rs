//! The building blocks of the networks, each with the shape that Burn gives a layer.

pub mod activation;
pub mod attention;
pub mod conv;
pub mod count;
pub mod init;
pub mod label;
pub mod length;
pub mod linear;
pub mod modulation;
pub mod norm;
pub mod patch;
pub mod resample;
pub mod resnet;
pub mod sequential;
pub mod sigma;
pub mod text;

pub use activation::{geglu, gelu, gelu_tanh, quick_gelu, silu};
pub use attention::{Attention, AttentionConfig, attend};
pub use conv::conv2d;
pub use count::{conv3x3_params, linear_params, norm_params};
pub use init::{Init, Window};
pub use label::{CondEmbedderLabel, CondEmbedderLabelConfig, ConditionEmbedder, Embedded, NoCondition};
pub use length::{AnyEmbedder, AveragedEmbedder, WithLength, length_embedder, length_params};
pub use linear::linear;
pub use modulation::{
    ModulatedLayerNorm, ModulatedLayerNormConfig, Modulation, ModulationConfig, gated, layer_norm,
    modulated_layer_norm,
};
pub use norm::{group_norm, group_norm_layer, group_norm_silu};
pub use patch::{PatchEmbed, PatchEmbedConfig, position_embedding};
pub use resample::{Downsample, Upsample, nearest};
pub use resnet::{
    AttnBlock, AttnBlockConfig, ResnetBlock, ResnetBlockConfig, join_channels, shift_channels, transpose,
};
pub use sequential::{CondModule, CondSequential};
pub use sigma::{
    SigmaEmbedder, SigmaEmbedderSinCos, SigmaEmbedderSinCosConfig, SigmaEmbedding, TimestepEmbedder,
    TimestepEmbedderConfig, sigma_embedding, sin_cos, sinusoids, timestep_embedding,
};
pub use text::{CondEmbedderText, CondEmbedderTextConfig, mean_token};
