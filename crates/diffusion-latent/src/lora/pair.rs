//! A network of which only low-rank changes are trained.

use super::frozen::Frozen;
use super::merge::added;
use crate::error::LatentError;
use crate::folder::names;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::{Network, NullCondition, Tracer};
use diffusion_weights::{Place, write_tensors};
use std::path::Path;

/// A network of which only low-rank changes are trained; made by [`LoraConfig::init`](super::LoraConfig::init).
///
/// It trains, is averaged and saved as any other network, and all of that touches the pairs only: a checkpoint has no other
/// weights. Each pass adds the products to the weights anew, which costs little beside the pass itself; to sample many
/// times take [`merged`](Self::merged).
///
/// ```
/// use burn::backend::{Autodiff, Flex};
/// use burn::module::Module;
/// use diffusion_latent::lora::LoraConfig;
/// use diffusion_latent::{SizedUnet, TextCondition, Timesteps, UnetConfig};
/// use diffusion_core::Tokens;
///
/// let device = Default::default();
/// let config = UnetConfig {
///     block_out_channels: vec![32, 32],
///     down_block_types: UnetConfig::default().down_block_types[2..].to_vec(),
///     up_block_types: UnetConfig::default().up_block_types[..2].to_vec(),
///     ..UnetConfig::default()
/// };
/// let unet = config.init::<Autodiff<Flex>>(0, &device);
/// let empty = TextCondition::from(Tokens::new(vec![0.0; 1280], [1, 1, 1280]));
/// let network = SizedUnet::new(unet, [8, 8], 8, Timesteps::new(&[0.1, 10.0])?, empty);
/// let network = LoraConfig { rank: 2, ..LoraConfig::default() }.init(network, 0, &device)?;
/// assert_eq!(network.pairs.len(), 6 * 2 * 4);
/// // `train(batches, Diffusion::new(network, prediction), schedule, &config)` trains them.
/// # Ok::<(), diffusion_core::Invalid>(())
/// ```
#[derive(Module, Debug)]
pub struct Lora<B: Backend, N> {
    pub(super) base: Frozen<N>,
    /// A pair for each of the layers, in the network's order.
    pub pairs: Vec<LoraPair<B>>,
    #[module(skip)]
    pub(super) layers: Vec<(String, Vec<usize>)>,
    pub(super) scale: f64,
}

/// Two matrices, the product of which is added to a weight.
#[derive(Module, Debug)]
pub struct LoraPair<B: Backend> {
    /// `[rank, inputs · height · width of a kernel]`.
    pub down: Param<Tensor<B, 2>>,
    /// `[outputs, rank]`.
    pub up: Param<Tensor<B, 2>>,
}

impl<B: Backend, N: Module<B>> Lora<B, N> {
    /// The network that nothing was added to.
    pub fn base(&self) -> &N {
        &self.base.0
    }

    /// The names of the layers that have pairs.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|(layer, _)| layer.as_str())
    }

    /// The network with the products in its weights.
    pub fn merged(&self) -> N {
        let names = names();
        self.base.0.clone().map(&mut Adder { place: Place::new(&names), lora: self, next: 0 })
    }

    /// Writes the pairs as a safetensors file under PEFT's names, which [`LoraFile`](super::LoraFile) and diffusers read. The
    /// scale is in the second matrix, for readers differ in what they make of a file without one.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), LatentError> {
        Ok(write_tensors(&self.tensors(), path)?)
    }

    /// The pairs under PEFT's names, as [`save`](Self::save) writes them.
    fn tensors(&self) -> Vec<(String, TensorData)> {
        self.layers
            .iter()
            .zip(&self.pairs)
            .flat_map(|((layer, shape), pair)| {
                let (down, up) = (pair.down.val(), pair.up.val() * self.scale);
                let rank = down.dims()[0];
                let ones = vec![1; shape.len() - 2];
                let down_shape = [&[rank], &shape[1..]].concat();
                let up_shape = [&[shape[0], rank], &ones[..]].concat();
                [("lora_A", down, down_shape), ("lora_B", up, up_shape)].map(|(end, matrix, shape)| {
                    let values = matrix.into_data().iter::<f32>().collect::<Vec<_>>();
                    (format!("{layer}.{end}.weight"), TensorData::new(values, shape))
                })
            })
            .collect()
    }
}

/// Adds the products of pairs that are trained, and keeps the way of their gradients.
struct Adder<'a, B: Backend, N> {
    place: Place<'a>,
    lora: &'a Lora<B, N>,
    next: usize,
}

impl<B: Backend, N> ModuleMapper<B> for Adder<'_, B, N> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.place.leave();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let layer = self.place.name().strip_suffix(".weight");
        match self.lora.layers.get(self.next) {
            Some((next, _)) if layer == Some(next) => {}
            _ => return param,
        }
        let pair = &self.lora.pairs[self.next];
        self.next += 1;
        let (id, weight, mapper) = param.consume();
        let down = pair.down.val() * self.lora.scale;
        let weight = added(weight, down, pair.up.val(), self.place.is_transposed());
        Param::from_mapped_value(id, weight, mapper)
    }
}

impl<B: Backend, N: Network<B, D> + Module<B>, const D: usize> Network<B, D> for Lora<B, N> {
    type Condition = N::Condition;

    fn input_shape(&self, batch: usize) -> [usize; D] {
        self.base.0.input_shape(batch)
    }

    fn self_conditioned(&self) -> bool {
        self.base.0.self_conditioned()
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, D>,
        sigma: Tensor<B, 1>,
        condition: N::Condition,
        tracer: &mut T,
    ) -> Tensor<B, D> {
        self.merged().trace(x, sigma, condition, tracer)
    }

    fn drop_condition(&self, condition: N::Condition, uniform: &mut dyn FnMut(usize) -> f64) -> N::Condition {
        self.base.0.drop_condition(condition, uniform)
    }

    /// The pairs, as [`save`](Self::save) writes them.
    fn exported(&self) -> Option<Vec<(String, TensorData)>> {
        Some(self.tensors())
    }
}

impl<B: Backend, N: NullCondition> NullCondition for Lora<B, N> {
    type Condition = N::Condition;

    fn null_condition(&self, condition: &N::Condition) -> N::Condition {
        self.base.0.null_condition(condition)
    }
}
