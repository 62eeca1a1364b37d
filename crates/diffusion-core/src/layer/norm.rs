//! Group normalization.

use super::silu;
use burn::module::Param;
use burn::nn::GroupNorm;
use burn::tensor::{Tensor, backend::Backend};

/// The number of groups in every norm of the U-Net.
pub const GROUPS: usize = 32;

/// The norm of `channels` channels in [`GROUPS`] groups with ε = 1e-6, as smalldiffusion's U-Net has them; it starts
/// without effect on scale and shift.
///
/// # Panics
/// If `channels` is no multiple of [`GROUPS`].
pub fn group_norm_layer<B: Backend>(channels: usize, device: &B::Device) -> GroupNorm<B> {
    assert!(
        channels > 0 && channels.is_multiple_of(GROUPS),
        "a group norm of {channels} channels was asked for, expected a multiple of {GROUPS}"
    );
    GroupNorm {
        gamma: Some(Param::from_tensor(Tensor::ones([channels], device))),
        beta: Some(Param::from_tensor(Tensor::zeros([channels], device))),
        num_groups: GROUPS,
        num_channels: channels,
        epsilon: 1e-6,
        affine: true,
    }
}

/// Group normalization (Wu & He 2018, arXiv:1803.08494, eq. 1 to 6): mean 0 and variance 1 over each group of
/// channels and all pixels, then a scale and a shift for each channel.
///
/// The same as `norm.forward(x)`, with the division and the channel's scale in one factor, which saves passes over
/// the images.
///
/// # Shapes
/// - `x`, returns: `[batch, channels, height, width]`
pub fn group_norm<B: Backend>(norm: &GroupNorm<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    fused(norm, &x, false).unwrap_or_else(|| plain(norm, x))
}

/// [`group_norm`] with SiLU behind it.
///
/// # Shapes
/// - `x`, returns: `[batch, channels, height, width]`
pub fn group_norm_silu<B: Backend>(norm: &GroupNorm<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    fused(norm, &x, true).unwrap_or_else(|| silu(plain(norm, x)))
}

fn fused<B: Backend>(norm: &GroupNorm<B>, x: &Tensor<B, 4>, silu: bool) -> Option<Tensor<B, 4>> {
    let (gamma, beta) = (norm.gamma.as_ref()?.val(), norm.beta.as_ref()?.val());
    diffusion_kernels::group_norm(x, &gamma, &beta, norm.num_groups, norm.epsilon, silu)
}

fn plain<B: Backend>(norm: &GroupNorm<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    let (groups, pixels) = (norm.num_groups, height * width);
    let x = x.reshape([batch, groups, channels / groups * pixels]);
    let centered = x.clone() - x.mean_dim(2);
    let deviation = (centered.clone().square().mean_dim(2) + norm.epsilon).sqrt(); // [batch, groups, 1]
    let centered = centered.reshape([batch, channels, pixels]);
    let gamma = match &norm.gamma {
        Some(gamma) => gamma.val().reshape([1, groups, channels / groups]),
        None => Tensor::ones([1, groups, channels / groups], &deviation.device()),
    };
    let scale = gamma / deviation; // [batch, groups, channels / groups]
    let centered = centered * scale.reshape([batch, channels, 1]);
    let x = match &norm.beta {
        // Repeated, for CPU backends are slow where a broadcast's first axis is the long one.
        Some(beta) => centered + beta.val().reshape([1, channels, 1]).repeat_dim(0, batch),
        None => centered,
    };
    x.reshape([batch, channels, height, width])
}
