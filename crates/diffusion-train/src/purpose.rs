//! What the random values of training are for.

pub use diffusion_core::objective::TRAINING_SIGMA;
use diffusion_core::random::Purpose;

/// The noise that training examples are corrupted with.
pub const TRAINING_NOISE: Purpose = Purpose(4);
/// Which training examples lose their condition, for classifier-free guidance.
pub const CONDITION_DROP: Purpose = Purpose(6);
/// A layer that must use the device's own generator, such as dropout.
pub const DEVICE: Purpose = Purpose(9);
