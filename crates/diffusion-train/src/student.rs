//! The model that is trained, with a batch's condition and its teacher.

use burn::module::{AutodiffModule, Module, ModuleDisplay};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use diffusion_core::objective::TrainedModel;
use diffusion_core::{Denoiser, Diffusion, Network, Parameterization, Path as _};
use std::sync::Arc;

/// A teacher's dx/dσ at noisy examples, `[batch, …]`, each with its noise level, under a condition `C`.
pub type Teacher<B, C, const D: usize> = Arc<dyn Fn(Tensor<B, D>, &[f64], C) -> Tensor<B, D>>;

/// A teacher made of a denoiser, which knows its condition itself and one noise level at a time: examples of the same
/// level are evaluated together.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, TensorData};
/// use diffusion_core::network::ideal::IdealDenoiser;
/// use diffusion_train::denoiser_teacher;
///
/// let device = Default::default();
/// let ideal = IdealDenoiser::<Flex, 2>::new(&TensorData::new(vec![1.0f32, 0.0], [1, 2]), &device);
/// let teacher = denoiser_teacher::<Flex, (), _, 2>(ideal);
/// // (x − D)/σ, row by row.
/// let x = Tensor::from_floats([[3.0, 0.0], [2.0, 0.0], [1.0, 2.0]], &device);
/// let velocity = teacher(x, &[2.0, 1.0, 2.0], ());
/// let expected = Tensor::<Flex, 2>::from_floats([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], &device);
/// assert!((velocity - expected).abs().max().into_scalar() < 1e-6);
/// ```
pub fn denoiser_teacher<B: Backend, C, M, const D: usize>(denoiser: M) -> Teacher<B, C, D>
where
    M: Denoiser<B, D> + 'static,
{
    Arc::new(move |x, sigmas, _| {
        let mut levels = sigmas.to_vec();
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        let mut rows: Vec<Option<Tensor<B, D>>> = vec![None; sigmas.len()];
        for level in levels {
            let places: Vec<usize> = (0..sigmas.len()).filter(|&i| sigmas[i] == level).collect();
            let alike = places.iter().map(|&i| x.clone().narrow(0, i, 1)).collect();
            let velocities = denoiser.evaluate(Tensor::cat(alike, 0), level).velocity();
            for (row, &place) in places.iter().enumerate() {
                rows[place] = Some(velocities.clone().narrow(0, row, 1));
            }
        }
        Tensor::cat(rows.into_iter().flatten().collect(), 0)
    })
}

/// The model under the condition of a batch.
pub(crate) struct Student<'a, B, N, P, const D: usize>
where
    B: AutodiffBackend,
    N: Network<B, D>,
    P: Parameterization,
{
    pub model: &'a Diffusion<B, N, P>,
    pub condition: N::Condition,
    pub teacher: Option<&'a Teacher<B::InnerBackend, N::Condition, D>>,
    /// Seeds the generator that dropout draws from, so that each evaluation of a batch drops the same.
    pub seed: &'a dyn Fn(),
}

impl<B, N, P, const D: usize> TrainedModel<B, D> for Student<'_, B, N, P, D>
where
    B: AutodiffBackend,
    N: Network<B, D> + AutodiffModule<B> + ModuleDisplay,
    P: Parameterization,
{
    fn alpha(&self, sigma: f64) -> f64 {
        self.model.parameterization.path().alpha(sigma)
    }

    fn denoised(&self, x: Tensor<B, D>, sigmas: &[f64]) -> Tensor<B, D> {
        (self.seed)();
        self.model.denoised(x, sigmas, self.condition.clone())
    }

    fn frozen(&self, x: Tensor<B::InnerBackend, D>, sigmas: &[f64]) -> Tensor<B::InnerBackend, D> {
        (self.seed)();
        let model = self.model.clone().no_grad();
        model.denoised(Tensor::from_inner(x), sigmas, self.condition.clone()).inner()
    }

    fn taught_velocity(
        &self,
        x: Tensor<B::InnerBackend, D>,
        sigmas: &[f64],
    ) -> Option<Tensor<B::InnerBackend, D>> {
        Some(self.teacher?(x, sigmas, self.condition.clone()))
    }
}
