//! How far a sampler's samples are from the data, where the data's distribution is known.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::network::mixture::{Component, GaussianMixture};
use diffusion_core::{Noise, Path, Sampler, Sigmas, sample_from};
use special::Error as _;

/// The Wasserstein distance W₂ between the data and what `sampler` makes of noise along `sigmas`, relative to the data's
/// standard deviation, for data in one dimension: the mean square difference between the quantiles of both, under the root.
///
/// The run begins at the exact quantiles of the noisy data, one for each of `samples` equal shares, so that nothing but the
/// sampler is measured. Of a sampler without noise the distance is exact: its exact solution takes quantiles to quantiles. Of
/// one with noise, samples that were drawn from the data themselves are some 1/√samples apart; [`floor`] says how far.
///
/// # Panics
/// If the data are not of one dimension, or as [`sample_from`].
pub fn transport_distance<B: Backend, P: Path>(
    data: &GaussianMixture<P>,
    sampler: impl Sampler,
    sigmas: &Sigmas<P>,
    samples: usize,
    device: &B::Device,
) -> f64 {
    let start: Vec<f32> =
        quantiles(&data.noised(sigmas[0]), samples).into_iter().map(|value| value as f32).collect();
    let x = Tensor::<B, 2>::from_data(TensorData::new(start, [samples, 1]), device);
    let end = sample_from(data, sampler, sigmas, x, Noise::new(0)).last().expect("a grid has a step");
    distance(end.into_data().iter::<f64>().collect(), data.components())
}

/// The same distance of `samples` samples that are drawn from the data.
///
/// # Panics
/// If the data are not of one dimension.
pub fn floor<P: Path>(data: &GaussianMixture<P>, samples: usize, draw: impl FnMut() -> f64) -> f64 {
    let drawn: Vec<f64> =
        std::iter::repeat_with(draw).take(samples).map(|u| quantile(data.components(), u)).collect();
    distance(drawn, data.components())
}

fn distance(mut samples: Vec<f64>, data: &[Component]) -> f64 {
    samples.sort_by(f64::total_cmp);
    let expected = quantiles(data, samples.len());
    let square =
        samples.iter().zip(&expected).map(|(found, expected)| (found - expected).powi(2)).sum::<f64>();
    let mean = expected.iter().sum::<f64>() / expected.len() as f64;
    let variance = expected.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    (square / variance).sqrt()
}

/// The values below which half, one and a half, … of `count` equal shares lie.
fn quantiles(mixture: &[Component], count: usize) -> Vec<f64> {
    (0..count).map(|i| quantile(mixture, (i as f64 + 0.5) / count as f64)).collect()
}

/// The value below which the share `share` of a mixture lies.
fn quantile(mixture: &[Component], share: f64) -> f64 {
    assert!(
        mixture.iter().all(|component| component.mean.len() == 1),
        "quantiles are of data in one dimension"
    );
    let total: f64 = mixture.iter().map(|component| component.weight).sum();
    let below = |x: f64| {
        let part = |Component { weight, mean, std }: &Component| {
            weight * 0.5 * (1.0 + ((x - mean[0]) / (std * 2f64.sqrt())).error())
        };
        mixture.iter().map(part).sum::<f64>() / total
    };
    let ends =
        |sign: f64| mixture.iter().map(move |component| component.mean[0] + sign * 9.0 * component.std);
    let (mut low, mut high) =
        (ends(-1.0).fold(f64::INFINITY, f64::min), ends(1.0).fold(f64::NEG_INFINITY, f64::max));
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) < share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use diffusion_core::schedule::{Grid, Karras, LogLinear};
    use diffusion_core::{Heun, VarianceExploding};

    fn two() -> GaussianMixture<VarianceExploding> {
        let component = |mean: f64| Component { weight: 1.0, mean: vec![mean], std: 0.5 };
        GaussianMixture::new(VarianceExploding, vec![component(-1.0), component(1.0)])
    }

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        let one = [Component { weight: 3.0, mean: vec![2.0], std: 0.5 }];
        for (share, expected) in [(0.5, 0.0), (0.841_344_746, 1.0), (0.022_750_132, -2.0)] {
            assert!(((quantile(&one, share) - 2.0) / 0.5 - expected).abs() < 1e-6);
        }
        assert!(quantile(two().components(), 0.5).abs() < 1e-9);
    }

    #[test]
    fn more_steps_come_nearer() {
        let sigmas = |steps| Grid::from(Karras::default()).sigmas(&LogLinear::new(9, 0.002, 80.0), steps);
        let distance = |steps| {
            transport_distance::<Flex, _>(&two(), Heun::default(), &sigmas(steps), 500, &Default::default())
        };
        // Of order 2: a quarter with twice as many.
        let ratio = distance(80) / distance(160);
        assert!((3.5..4.5).contains(&ratio), "{ratio}");
    }

    #[test]
    fn draws_of_the_data_have_a_distance() {
        let mut i = 0;
        let even = || {
            i += 1;
            (f64::from(i) - 0.5) / 100.0
        };
        assert!(floor(&two(), 100, even) < 1e-9);
        assert!(floor(&two(), 100, || 0.5) > 0.9);
    }
}
