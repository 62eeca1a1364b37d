//! How many parameters the layers have that are Burn's own.

/// A linear layer with a bias, or a convolution of single pixels.
pub fn linear_params(inputs: usize, outputs: usize) -> u128 {
    (inputs as u128 + 1) * outputs as u128
}

/// A convolution of 3×3 pixels with a bias.
pub fn conv3x3_params(inputs: usize, outputs: usize) -> u128 {
    (9 * inputs as u128 + 1) * outputs as u128
}

/// A norm with a scale and a shift per channel.
pub fn norm_params(channels: usize) -> u128 {
    2 * channels as u128
}
