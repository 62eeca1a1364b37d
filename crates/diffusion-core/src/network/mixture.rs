//! The exact denoiser of a mixture of normal distributions, in closed form.

use crate::denoiser::{Denoiser, DenoiserOutput};
use crate::invalid::{Invalid, expect_valid};
use crate::path::Path;
use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData, backend::Backend};

/// One of the normal distributions of a [`GaussianMixture`].
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Its share, positive; shares need not add up to 1.
    pub weight: f64,
    /// Its mean, one number per dimension.
    pub mean: Vec<f64>,
    /// Its standard deviation, the same in all directions.
    pub std: f64,
}

/// A mixture of normal distributions of points, whose noisy versions are mixtures too: on a path `x = α·x₀ + σ·ε` component k
/// has mean α·m and variance s² = α²c² + σ², so that
/// `D(x, σ) = Σ r_k(x)·(m_k + α·c_k²/s_k²·(x − α·m_k))` with r the posterior of the components.
///
/// It needs no training and no data: samplers, guidance and likelihoods are held against it.
/// ```
/// use burn::backend::Flex;
/// use diffusion_core::network::mixture::{Component, GaussianMixture};
/// use diffusion_core::schedule::{Grid, Karras, LogLinear};
/// use diffusion_core::{GradientEstimation, Noise, VarianceExploding, sample};
///
/// let component = |mean: f64| Component { weight: 1.0, mean: vec![mean, 0.0], std: 0.1 };
/// let device = Default::default();
/// let model = GaussianMixture::new(VarianceExploding, vec![component(-1.0), component(1.0)]);
/// let sigmas = Grid::from(Karras::default()).sigmas(&LogLinear::new(100, 0.002, 80.0), 20);
/// let x0 = sample::<Flex, 2, _, _>(&model, GradientEstimation::DDIM, &sigmas, 8, Noise::new(0), &device).last().unwrap();
/// assert!((x0.narrow(1, 0, 1).abs() - 1.0).abs().max().into_scalar() < 0.6);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianMixture<P> {
    path: P,
    components: Vec<Component>,
}

impl<P: Path> GaussianMixture<P> {
    /// The mixture of `components`, noised along `path`.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the components.
    pub fn new(path: P, components: Vec<Component>) -> Self {
        expect_valid(Self::validate(&components));
        Self { path, components }
    }

    /// Whether the components make a mixture.
    ///
    /// # Errors
    /// If there is none, or their dimensions differ, or a share is not positive, or a standard deviation negative.
    pub fn validate(components: &[Component]) -> Result<(), Invalid> {
        let Some(first) = components.first().filter(|first| !first.mean.is_empty()) else {
            return Err(Invalid::new("components", "are none, expected at least one of a dimension or more"));
        };
        for (i, Component { weight, mean, std }) in components.iter().enumerate() {
            Invalid::unless(mean.len() == first.mean.len(), "mean", || {
                format!("of component {i} has {} dimensions, expected {}", mean.len(), first.mean.len())
            })?;
            Invalid::unless(*weight > 0.0 && weight.is_finite(), "weight", || {
                format!("of component {i} is {weight}, expected a positive number")
            })?;
            Invalid::unless(*std >= 0.0 && std.is_finite(), "std", || {
                format!("of component {i} is {std}, expected at least 0")
            })?;
        }
        Ok(())
    }

    /// The components.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The components at noise level `sigma`: means α·m and standard deviations √(α²c² + σ²).
    pub fn noised(&self, sigma: f64) -> Vec<Component> {
        let alpha = self.path.alpha(sigma);
        let noised = |Component { weight, mean, std }: &Component| Component {
            weight: *weight,
            mean: mean.iter().map(|mean| alpha * mean).collect(),
            std: (alpha * std).hypot(sigma),
        };
        self.components.iter().map(noised).collect()
    }
}

impl<B: Backend, P: Path> Denoiser<B, 2> for GaussianMixture<P> {
    type Path = P;

    fn path(&self) -> P {
        self.path.clone()
    }

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, self.components[0].mean.len()]
    }

    fn evaluate(&self, x: Tensor<B, 2>, sigma: f64) -> DenoiserOutput<B, 2> {
        let (alpha, noised) = (self.path.alpha(sigma), self.noised(sigma));
        let ([batch, dims], count) = (x.dims(), noised.len());
        let table = |value: &dyn Fn(usize) -> f64| {
            let values: Vec<f32> = (0..count).map(|k| value(k) as f32).collect();
            Tensor::<B, 2>::from_data(TensorData::new(values, [1, count]), &x.device())
        };
        let means: Vec<f32> =
            noised.iter().flat_map(|component| &component.mean).map(|&m| m as f32).collect();
        let means = Tensor::<B, 3>::from_data(TensorData::new(means, [1, count, dims]), &x.device());
        let apart = x.clone().unsqueeze_dim::<3>(1) - means; // [batch, components, dims]
        let squares: Tensor<B, 2> = apart.clone().square().sum_dim(2).squeeze_dim(2); // [batch, components]
        let shares = table(&|k| noised[k].weight.ln() - dims as f64 * noised[k].std.ln());
        let posterior = softmax(squares * table(&|k| -0.5 / noised[k].std.powi(2)) + shares, 1);
        // D = Σ r·(m − (α·c²/s²)·α·m) + Σ r·(α·c²/s²)·x, of which the first is a constant per component.
        let towards = |k: usize| alpha * (self.components[k].std / noised[k].std).powi(2);
        let rest: Vec<f32> = (0..count)
            .flat_map(|k| {
                self.components[k].mean.iter().map(move |&mean| ((1.0 - alpha * towards(k)) * mean) as f32)
            })
            .collect();
        let rest = Tensor::<B, 2>::from_data(TensorData::new(rest, [count, dims]), &x.device());
        let along = (posterior.clone() * table(&towards)).sum_dim(1); // [batch, 1]
        let denoised = posterior.matmul(rest) + x.clone() * along.expand([batch, dims]);
        DenoiserOutput::from_denoised(&self.path, x, denoised, sigma)
    }
}
