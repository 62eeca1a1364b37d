//! What a run needs of a network, and work that needs its type.

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, ModuleDisplay};
use burn::tensor::backend::Backend;
use diffusion::core::{AnyCondition, Network, NullCondition};

/// What a run needs of a network on the backend `B`; every network that has the parts has it.
///
/// ```
/// use burn::backend::Flex;
/// use diffusion::core::network::dit::AnyDit;
/// use diffusion_recipe::RunNetwork;
///
/// /// Fails to compile for a network that cannot take part in a run.
/// fn takes_part<N: RunNetwork<Flex, D>, const D: usize>() {}
///
/// takes_part::<AnyDit<burn::backend::Autodiff<Flex>>, 4>();
/// ```
pub trait RunNetwork<B: Backend, const D: usize>:
    Network<Autodiff<B>, D, Condition = AnyCondition>
    + ModuleDisplay
    + AutodiffModule<Autodiff<B>, InnerModule: SampledNetwork<B, D>>
    + 'static
{
}

impl<B: Backend, N, const D: usize> RunNetwork<B, D> for N where
    N: Network<Autodiff<B>, D, Condition = AnyCondition>
        + ModuleDisplay
        + AutodiffModule<Autodiff<B>, InnerModule: SampledNetwork<B, D>>
        + 'static
{
}

/// What a run needs of its network to validate it and sample from it.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Tensor, backend::Backend};
/// use diffusion::core::network::dit::DitConfig;
/// use diffusion::core::{AnyCondition, AnyPrediction, Diffusion, Noise};
/// use diffusion_recipe::SampledNetwork;
///
/// /// What the model makes of pure noise at σ = 10 in one step, without a condition.
/// fn mean<B: Backend, N: SampledNetwork<B, D>, const D: usize>(network: N) -> Tensor<B, D> {
///     let model = Diffusion::new(network, AnyPrediction::Eps);
///     let x = model.rand_input(1, Noise::new(0), &Default::default()) * 10.0;
///     model.denoised(x, 10.0, AnyCondition::None)
/// }
///
/// let config = DitConfig { in_dim: 8, channels: 1, depth: 1, ..DitConfig::default() };
/// assert_eq!(mean(config.init_any::<Flex>(None, 0, &Default::default())).dims(), [1, 1, 8, 8]);
/// ```
pub trait SampledNetwork<B: Backend, const D: usize>:
    Network<B, D, Condition = AnyCondition> + NullCondition<Condition = AnyCondition> + ModuleDisplay
{
}

impl<B: Backend, N, const D: usize> SampledNetwork<B, D> for N where
    N: Network<B, D, Condition = AnyCondition> + NullCondition<Condition = AnyCondition> + ModuleDisplay
{
}

/// Work that needs a network's type; see [`NetworkConfig::visit`](crate::NetworkConfig::visit).
///
/// ```
/// use burn::backend::Flex;
/// use burn::module::Module;
/// use diffusion_recipe::{NetworkVisitor, RunConfig, RunNetwork};
///
/// /// Counts a network's parameters, and says what shape it takes.
/// struct Look;
///
/// impl NetworkVisitor<Flex> for Look {
///     type Output = (usize, Vec<usize>);
///
///     fn visit<N: RunNetwork<Flex, D>, const D: usize>(self, network: N) -> Self::Output {
///         (Module::num_params(&network), network.input_shape(1).to_vec())
///     }
/// }
///
/// let config = RunConfig::preset("fashion-unet-small")?;
/// let seen = config.network.visit(0, &Default::default(), Look)?;
/// assert_eq!(seen, (1_124_833, vec![1, 1, 28, 28]));
/// # Ok::<(), diffusion_recipe::RecipeError>(())
/// ```
pub trait NetworkVisitor<B: Backend> {
    /// What comes out of it.
    type Output;

    /// Does the work.
    fn visit<N: RunNetwork<B, D>, const D: usize>(self, network: N) -> Self::Output;
}
