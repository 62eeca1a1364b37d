//! What else a denoiser is good for: changing, completing, inverting, blending and varying data, and measuring how likely
//! they are.
//!
//! Each task is a function over [`Denoiser`](crate::Denoiser). Those that sample begin somewhere else than in noise: a
//! [`Start`] says where, and [`sample_from`](crate::sample_from) goes on from there with any sampler.

mod inpaint;
mod inversion;
mod likelihood;
mod ode;
mod slerp;
mod start;
mod variation;

pub use inpaint::{Jumps, Known, inpaint, repaint};
pub use inversion::{Inversion, invert};
pub use likelihood::{Likelihood, LikelihoodConfig, PIXEL_OFFSET, Trace, dequantized, likelihood};
pub use ode::OdeSolver;
pub use slerp::slerp;
pub use start::{Start, check_strength, last_part, noised};
pub use variation::{Variation, vary};
