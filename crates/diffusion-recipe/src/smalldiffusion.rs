//! How a run's model is made in smalldiffusion.

use crate::config::RunConfig;
use crate::network::NetworkConfig;
use diffusion::core::AnyPrediction;
use diffusion::core::layer::{CondEmbedderLabelConfig, SigmaEmbedding};
use diffusion::core::network::dit::DitConfig;
use diffusion::core::network::mlp::{ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::unet::UnetConfig;

/// The Python expression of the model that `config` describes, or nothing where smalldiffusion 0.5.0 has no such
/// network or prediction.
pub fn expression(config: &RunConfig) -> Option<String> {
    if config.network.self_condition() || config.network.mean_velocity() {
        return None;
    }
    let (kind, arguments) = match &config.network {
        NetworkConfig::TimeInputMlp(mlp) => {
            let TimeInputMlpConfig { dim, hidden_dims, .. } = &mlp.network;
            ("TimeInputMLP", format!("dim={dim}, hidden_dims={}", tuple(hidden_dims)))
        }
        NetworkConfig::ConditionalMlp(mlp) => {
            let ConditionalMlpConfig { dim, hidden_dims, cond_dim, labels, .. } = &mlp.network;
            let CondEmbedderLabelConfig { num_classes, dropout } = labels;
            let hidden = tuple(hidden_dims);
            let sizes = format!("dim={dim}, hidden_dims={hidden}, cond_dim={cond_dim}");
            ("ConditionalMLP", format!("{sizes}, num_classes={num_classes}, dropout_prob={dropout}"))
        }
        NetworkConfig::Dit(config) => ("DiT", dit(&config.network, config.labels.as_ref())),
        NetworkConfig::Unet(config) => ("Unet", unet(&config.network, config.labels.as_ref())),
        _ => return None,
    };
    let kind = match config.prediction {
        AnyPrediction::Eps => kind.to_string(),
        AnyPrediction::X0 => format!("PredX0({kind})"),
        AnyPrediction::V => format!("PredV({kind})"),
        AnyPrediction::ScaledEps => format!("Scaled({kind})"),
        AnyPrediction::ScaledX0 => format!("Scaled(PredX0({kind}))"),
        AnyPrediction::ScaledV => format!("Scaled(PredV({kind}))"),
        AnyPrediction::Flow => format!("PredFlow({kind})"),
        _ => return None,
    };
    Some(format!("{kind}({arguments})"))
}

fn dit(dit: &DitConfig, labels: Option<&CondEmbedderLabelConfig>) -> String {
    let DitConfig { in_dim, channels, patch_size, depth, head_dim, num_heads, mlp_ratio, .. } = dit;
    let image = format!("in_dim={in_dim}, channels={channels}, patch_size={patch_size}");
    let sizes = format!("depth={depth}, head_dim={head_dim}, num_heads={num_heads}, mlp_ratio={mlp_ratio}");
    format!("{image}, {sizes}{}", embedders(&dit.sigma_embedding, labels, head_dim * num_heads))
}

fn unet(unet: &UnetConfig, labels: Option<&CondEmbedderLabelConfig>) -> String {
    let UnetConfig { in_dim, in_ch, out_ch, ch, embed_ch_mult, num_res_blocks, dropout, .. } = unet;
    let image = format!("in_dim={in_dim}, in_ch={in_ch}, out_ch={out_ch}");
    let levels = format!("ch={ch}, ch_mult={}, embed_ch_mult={embed_ch_mult}", tuple(&unet.ch_mult));
    let blocks =
        format!("num_res_blocks={num_res_blocks}, attn_resolutions={}", tuple(&unet.attn_resolutions));
    let embedders = embedders(&unet.sigma_embedding, labels, ch * embed_ch_mult);
    format!("{image}, {levels}, {blocks}, dropout={dropout}{embedders}")
}

/// The arguments `sig_embed` and `cond_embed` of a network whose embeddings have `size` elements.
fn embedders(sigma: &SigmaEmbedding, labels: Option<&CondEmbedderLabelConfig>, size: usize) -> String {
    let sigma = match sigma {
        SigmaEmbedding::SinCos(config) => {
            let log = if config.log_scale { "True" } else { "False" };
            format!(
                ", sig_embed=SigmaEmbedderSinCos({size}, scaling_factor={:?}, log_scale={log})",
                config.scaling_factor
            )
        }
        SigmaEmbedding::Timestep => format!(", sig_embed=TimestepEmbedder({size})"),
    };
    let labels = labels.map(|CondEmbedderLabelConfig { num_classes, dropout }| {
        format!(", cond_embed=CondEmbedderLabel({size}, {num_classes}, {dropout})")
    });
    sigma + &labels.unwrap_or_default()
}

/// A tuple, which in Python has a comma behind its only element.
fn tuple(numbers: &[usize]) -> String {
    let numbers: String = numbers.iter().map(|n| format!("{n}, ")).collect();
    format!(
        "({})",
        if numbers.matches(',').count() == 1 { numbers.trim_end() } else { numbers.trim_end_matches(", ") }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_their_counterparts() {
        let of = |preset: &str| expression(&RunConfig::preset(preset).unwrap()).unwrap();
        assert_eq!(of("swissroll"), "TimeInputMLP(dim=2, hidden_dims=(16, 128, 128, 128, 128, 16))");
        assert_eq!(
            of("imagenet-dit"),
            "PredFlow(DiT)(in_dim=32, channels=4, patch_size=2, depth=12, head_dim=64, num_heads=12, mlp_ratio=4, \
             sig_embed=TimestepEmbedder(768), cond_embed=CondEmbedderLabel(768, 1000, 0.1))"
        );
        assert_eq!(
            of("fashion-unet"),
            "Scaled(Unet)(in_dim=28, in_ch=1, out_ch=1, ch=64, ch_mult=(1, 1, 2), embed_ch_mult=4, num_res_blocks=2, \
             attn_resolutions=(14,), dropout=0.1, sig_embed=SigmaEmbedderSinCos(256, scaling_factor=0.5, log_scale=True))"
        );
    }

    #[test]
    fn what_has_no_counterpart_has_none() {
        let edm = AnyPrediction::Edm { sigma_data: 0.5 };
        let config = RunConfig { prediction: edm, ..RunConfig::preset("swissroll").unwrap() };
        assert_eq!(expression(&config), None);
        for preset in ["swissroll", "fashion-dit", "fashion-unet"] {
            let mut config = RunConfig::preset(preset).unwrap();
            config.set("network.self_condition=true").unwrap();
            assert_eq!(expression(&config), None, "{preset}");
        }
        assert_eq!(expression(&RunConfig::preset("swissroll-mean-flow").unwrap()), None);
    }
}
