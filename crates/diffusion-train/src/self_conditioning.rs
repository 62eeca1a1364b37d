//! The first pass of self-conditioning: the estimates that half of the examples are trained with.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use diffusion_core::objective::{BatchPlace, NoisyBatch};
use diffusion_core::{Diffusion, Network, Parameterization};

/// The estimates of the data that a network which is given its own is trained with, `[batch, …]`: what it finds itself
/// without one and without dropout for half of the examples, zeros for the others (Chen et al. 2022, arXiv:2208.04202,
/// Alg. 1). No gradient flows into them. None for other networks.
///
/// Which half follows from the step and from the example's place in it: both change from step to step, and neither depends
/// on how the step is cut into batches.
pub(crate) fn estimates<B, N, P, const D: usize>(
    model: &Diffusion<B, N, P>,
    batch: &NoisyBatch<B, D>,
    condition: N::Condition,
    place: &BatchPlace,
) -> Option<Tensor<B, D>>
where
    B: AutodiffBackend,
    N: Network<B, D> + Module<B> + ModuleDisplay,
    P: Parameterization,
{
    if !model.network.self_conditioned() {
        return None;
    }
    let network = model.network.clone().no_grad().without_dropout();
    let frozen = Diffusion::new(network, model.parameterization.clone());
    let [x0, eps] = [&batch.x0, &batch.eps].map(|data| Tensor::from_inner(data.clone()));
    let noisy = frozen.noised(x0, &batch.sigmas, eps);
    let found: Tensor<B, D> = frozen.denoised(noisy, &batch.sigmas, condition);
    let found = found.inner();

    let given = (0..place.examples).map(|i| f32::from(is_given(place, i)));
    let mut shape = [1; D];
    shape[0] = place.examples;
    let given = TensorData::new(given.collect::<Vec<f32>>(), shape);
    let given = Tensor::from_data(given, &found.device());
    Some(Tensor::from_inner(found * given))
}

/// Whether the batch's example `i` is given an estimate.
fn is_given(place: &BatchPlace, i: usize) -> bool {
    (place.step + place.first + i as u64).is_multiple_of(2)
}
