//! The U-Net as the network of a diffusion model.

use super::{Added, UNet2DConditionModel};
use crate::condition::{TextCondition, whole_picture};
use crate::folder::names;
use crate::schedule::Timesteps;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion_core::{Condition, Network, NullCondition, Tokens, Tracer};
use diffusion_weights::state_dict;

/// A U-Net for latents of one size, which knows the levels of noise that it was trained with, and what it is told where
/// there is no text.
///
/// Where it is evaluated it panics if the condition has not what the network is told: a pooled text for SDXL, the seen
/// picture for one that paints into pictures.
#[derive(Module, Debug)]
pub struct SizedUnet<B: Backend> {
    /// The network.
    pub unet: UNet2DConditionModel<B>,
    #[module(skip)]
    size: [usize; 2],
    #[module(skip)]
    factor: usize,
    #[module(skip)]
    timesteps: Timesteps,
    #[module(skip)]
    empty: TextCondition,
    #[module(skip)]
    dropout: f64,
}

/// How the names of the weights end that files have as matrices or as kernels of one pixel.
const PROJECTIONS: [&str; 2] = [".proj_in.weight", ".proj_out.weight"];

impl<B: Backend> SizedUnet<B> {
    /// The network for latents of `[height, width]`, each of them `factor` pixels high and wide; `empty` is the text of one
    /// example that stands for none.
    ///
    /// # Panics
    /// If `empty` is of more or fewer examples than one.
    pub fn new(
        unet: UNet2DConditionModel<B>,
        size: [usize; 2],
        factor: usize,
        timesteps: Timesteps,
        empty: TextCondition,
    ) -> Self {
        empty.check(1);
        Self { unet, size, factor, timesteps, empty, dropout: 0.0 }
    }

    /// The same network for latents of another `[height, width]`; its weights are shared.
    #[must_use]
    pub fn at(&self, size: [usize; 2]) -> Self {
        Self { size, ..self.clone() }
    }

    /// The same with another U-Net of the same sizes.
    pub(crate) fn map_unet<E>(
        self,
        change: impl FnOnce(UNet2DConditionModel<B>) -> Result<UNet2DConditionModel<B>, E>,
    ) -> Result<Self, E> {
        let Self { unet, size, factor, timesteps, empty, dropout } = self;
        Ok(Self { unet: change(unet)?, size, factor, timesteps, empty, dropout })
    }

    /// The same with another text that stands for none, of one example.
    ///
    /// # Panics
    /// If it is of more or fewer examples than one.
    #[must_use]
    pub fn with_empty(self, empty: TextCondition) -> Self {
        empty.check(1);
        Self { empty, ..self }
    }

    /// The same network, which in training forgets the text of an example with this probability.
    ///
    /// # Panics
    /// If it is no probability.
    #[must_use]
    pub fn with_dropout(self, dropout: f64) -> Self {
        assert!((0.0..=1.0).contains(&dropout), "dropout is {dropout}, expected a probability");
        Self { dropout, ..self }
    }

    /// Height and width of the latents.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// What it is told where there is no text, of one example.
    pub fn empty(&self) -> &TextCondition {
        &self.empty
    }

    /// # Panics
    /// If the condition has not what the network needs.
    fn added(&self, condition: &TextCondition, device: &B::Device) -> Option<Added<B>> {
        let width = self.unet.config.pooled_dim()?;
        let tensor = |part: &Tokens| part.tensor::<B>(device).squeeze_dim::<2>(1);
        let pooled = condition.pooled.as_ref().expect("this network is told the pooled text, and was not");
        let own = || whole_picture(condition.batch(), self.size.map(|side| side * self.factor));
        let size = condition.size.clone().unwrap_or_else(own);
        let pooled = tensor(pooled);
        assert_eq!(pooled.dims()[1], width, "values of the pooled text");
        Some(Added { pooled, size: tensor(&size) })
    }
}

impl<B: Backend> Network<B, 4> for SizedUnet<B> {
    type Condition = TextCondition;

    fn input_shape(&self, batch: usize) -> [usize; 4] {
        [batch, self.unet.config.out_channels, self.size[0], self.size[1]]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 4>,
        sigma: Tensor<B, 1>,
        condition: TextCondition,
        tracer: &mut T,
    ) -> Tensor<B, 4> {
        let (device, [batch, channels, height, width]) = (x.device(), x.dims());
        let x = match &condition.painted {
            Some(painted) => {
                let painted = painted.tensor::<B>(&device);
                let [_, more, _] = painted.dims();
                Tensor::cat(vec![x, painted.reshape([batch, more, height, width])], 1)
            }
            None => x,
        };
        let expected = self.unet.config.in_channels;
        assert_eq!(
            x.dims()[1],
            expected,
            "channels, of which {channels} are noise and the rest the picture's"
        );
        let added = self.added(&condition, &device);
        let context = condition.tokens.tensor(&device);
        let output = self.unet.forward(x, self.timesteps.of(sigma), context, added);
        tracer.layer(&"unet", output)
    }

    fn drop_condition(
        &self,
        condition: TextCondition,
        uniform: &mut dyn FnMut(usize) -> f64,
    ) -> TextCondition {
        match self.dropout > 0.0 {
            true => condition.replace(&self.empty, |example| uniform(example) < self.dropout),
            false => condition,
        }
    }

    /// As the file `diffusion_pytorch_model.safetensors` of diffusers has them.
    fn exported(&self) -> Option<Vec<(String, TensorData)>> {
        let dict = state_dict(&self.unet, &names(), &[]);
        let kernels = !self.unet.config.use_linear_projection;
        let tensor = |(name, tensor): (&String, &TensorData)| {
            let mut tensor = tensor.clone();
            if kernels && PROJECTIONS.iter().any(|end| name.ends_with(end)) {
                tensor.shape.extend([1, 1]);
            }
            (name.clone(), tensor)
        };
        Some(dict.iter().map(tensor).collect())
    }
}

impl<B: Backend> NullCondition for SizedUnet<B> {
    type Condition = TextCondition;

    /// The text that stands for none; sizes and pictures stay.
    fn null_condition(&self, condition: &TextCondition) -> TextCondition {
        condition.replace(&self.empty, |_| true)
    }
}
