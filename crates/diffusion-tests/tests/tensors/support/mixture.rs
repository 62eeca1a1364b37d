//! An oracle that is no linear function: the exact denoiser of three normal distributions in the plane.

use diffusion::core::Path;
use diffusion::core::network::mixture::{Component, GaussianMixture};

/// The data of `denoised` in `fixtures/samplers_sde.py`.
pub fn plane<P: Path>(path: P) -> GaussianMixture<P> {
    let component = |weight, mean: [f64; 2]| Component { weight, mean: mean.to_vec(), std: 0.4 };
    let components =
        vec![component(0.5, [1.0, 0.5]), component(0.3, [-0.8, 0.9]), component(0.2, [0.2, -1.1])];
    GaussianMixture::new(path, components)
}
