//! The model that is trained, with a batch's condition and its teacher.

use burn::module::{AutodiffModule, Module, ModuleDisplay};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use diffusion_core::objective::TrainedModel;
use diffusion_core::{Condition as _, Denoiser, Diffusion, Network, Parameterization, Path as _};
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
    /// The examples of the batch.
    pub examples: usize,
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

    fn mean_velocity(&self, x: Tensor<B, D>, sigmas: &[f64], over: &[f64]) -> Option<Tensor<B, D>> {
        let condition = self.model.network.averaged(self.condition.clone(), over.into())?;
        (self.seed)();
        Some(self.model.velocity(x, sigmas, condition))
    }

    /// Where the condition cannot be taken apart, the whole batch is evaluated, the other examples in the places of these.
    fn frozen_mean_velocity(
        &self,
        x: Tensor<B::InnerBackend, D>,
        sigmas: &[f64],
        over: &[f64],
        examples: &[usize],
    ) -> Option<Tensor<B::InnerBackend, D>> {
        let model = self.model.clone().no_grad();
        let velocity = |x, sigmas: Vec<f64>, over: Vec<f64>, condition| {
            let condition = model.network.averaged(condition, over.into())?;
            (self.seed)();
            Some(model.velocity(Tensor::from_inner(x), sigmas, condition).inner())
        };
        if let Some(condition) = self.condition.rows(examples) {
            return velocity(x, sigmas.to_vec(), over.to_vec(), condition);
        }
        let place = |example| examples.iter().position(|&own| own == example).unwrap_or(0);
        let places: Vec<usize> = (0..self.examples).map(place).collect();
        let all = |values: &[f64]| places.iter().map(|&place| values[place]).collect();
        let found = velocity(rows(x, &places), all(sigmas), all(over), self.condition.clone())?;
        Some(rows(found, examples))
    }
}

/// These rows of `x`.
fn rows<B: Backend, const D: usize>(x: Tensor<B, D>, rows: &[usize]) -> Tensor<B, D> {
    let (count, device) = (rows.len(), x.device());
    let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    x.select(0, Tensor::<B, 1, Int>::from_data(TensorData::new(rows, [count]), &device))
}
