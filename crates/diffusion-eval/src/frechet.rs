//! The Fréchet distance between sets, as far as their means and covariances go.

use crate::error::MetricError;
use crate::gaussian::Gaussian;

/// The squared Fréchet distance between two normal distributions, ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½), which is
/// what is called FID where the features are those of Inception (Heusel et al. 2017).
///
/// The trace of the root is the sum of the singular values of R₁ᵀR₂, where R·Rᵀ = Σ by an eigendecomposition in f64. Nothing
/// is squared that was a root, so that a set has the distance 0 from itself to some 14 digits of its variance, with fewer
/// examples than dimensions as well. The distance of few samples is too large by some c/n: compare equal numbers, and see
/// [`Features::halves`](crate::Features::halves) for the floor and [`jackknife`](crate::jackknife) for the standard error.
///
/// ```
/// use diffusion_eval::{Gaussian, frechet_distance};
///
/// let normal = |mean: f64, std: f64| Gaussian::new(vec![mean], vec![std * std]);
/// let distance = frechet_distance(&normal(0.0, 1.0)?, &normal(3.0, 5.0)?)?;
/// assert!((distance - (9.0 + 16.0)).abs() < 1e-12);
/// # Ok::<(), diffusion_eval::MetricError>(())
/// ```
///
/// # Errors
/// If the two differ in their dimensions, or a covariance has a negative eigenvalue.
pub fn frechet_distance(first: &Gaussian, second: &Gaussian) -> Result<f64, MetricError> {
    let (found, expected) = (first.mean().len(), second.mean().len());
    if found != expected {
        return Err(MetricError::Dimensions { found, expected });
    }
    let means = first.mean().iter().zip(second.mean()).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let roots = [first.root()?, second.root()?];
    let trace = if roots.iter().any(|root| root.ncols() == 0) {
        0.0
    } else {
        let product = roots[0].transpose() * roots[1];
        product.singular_values().map_err(|_| MetricError::Diverged)?.into_iter().sum()
    };
    Ok((means + first.trace() + second.trace() - 2.0 * trace).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Features, Moments};
    use diffusion_core::random::{Purpose, Stream};

    fn gaussian(count: usize, dimensions: usize, seed: u64) -> Gaussian {
        let mut stream = Stream::new(seed, Purpose(1000), 0, 0);
        let values = std::iter::repeat_with(|| stream.normal() as f32).take(count * dimensions).collect();
        let mut moments = Moments::new(dimensions);
        moments.add(&Features::new(values, dimensions).unwrap()).unwrap();
        moments.gaussian().unwrap()
    }

    #[test]
    fn a_set_has_no_distance_from_itself() {
        for (count, dimensions) in [(300, 20), (5, 20), (2, 70)] {
            let (set, again) = (gaussian(count, dimensions, 0), gaussian(count, dimensions, 0));
            let distance = frechet_distance(&set, &again).unwrap();
            assert!(distance < 1e-12 * set.trace(), "{distance} of {count} in {dimensions} dimensions");
        }
    }

    /// Of covariances that commute it is the distance between the standard deviations.
    #[test]
    fn singular_covariances_have_a_distance() {
        let diagonal = |variances: [f64; 3]| {
            let covariance = (0..9).map(|at| if at % 4 == 0 { variances[at / 4] } else { 0.0 }).collect();
            Gaussian::new(vec![0.0; 3], covariance).unwrap()
        };
        for (first, second, expected) in [
            ([0.0; 3], [0.0; 3], 0.0),
            ([0.0; 3], [1.0, 4.0, 9.0], 14.0),
            ([4.0, 0.0, 0.0], [0.0, 9.0, 0.0], 13.0),
            ([4.0, 1.0, 0.0], [9.0, 0.0, 0.0], 2.0),
        ] {
            let distance = frechet_distance(&diagonal(first), &diagonal(second)).unwrap();
            assert!((distance - expected).abs() < 1e-12, "{distance} is not {expected}");
        }
    }

    #[test]
    fn dimensions_must_agree() {
        let error = frechet_distance(&gaussian(5, 2, 0), &gaussian(5, 3, 0)).unwrap_err();
        assert!(matches!(error, MetricError::Dimensions { found: 2, expected: 3 }));
    }
}
