//! The transformer as the network of a diffusion model.

use super::DiTTransformer2DModel;
use crate::schedule::Timesteps;
use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use diffusion_core::{Labels, Network, NullCondition, Tracer};

/// A transformer for latents of one size, which knows the levels of noise that it was trained with. A learned variance is
/// left out.
#[derive(Module, Debug)]
pub struct SizedDit<B: Backend> {
    /// The network.
    pub transformer: DiTTransformer2DModel<B>,
    #[module(skip)]
    size: [usize; 2],
    #[module(skip)]
    timesteps: Timesteps,
    #[module(skip)]
    dropout: f64,
}

impl<B: Backend> SizedDit<B> {
    /// The network for latents of `[height, width]`.
    ///
    /// # Panics
    /// If they are no multiples of the patch size.
    pub fn new(transformer: DiTTransformer2DModel<B>, size: [usize; 2], timesteps: Timesteps) -> Self {
        let patch = transformer.config.patch_size;
        let is_divided = size.iter().all(|&side| side > 0 && side.is_multiple_of(patch));
        assert!(is_divided, "latents of {}×{}, expected multiples of {patch}", size[0], size[1]);
        Self { transformer, size, timesteps, dropout: 0.0 }
    }

    /// The same network for latents of another `[height, width]`; its weights are shared.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn at(&self, size: [usize; 2]) -> Self {
        let Self { transformer, timesteps, dropout, .. } = self.clone();
        Self { dropout, ..Self::new(transformer, size, timesteps) }
    }

    /// The same with another transformer of the same sizes.
    pub(crate) fn map_transformer<E>(
        self,
        change: impl FnOnce(DiTTransformer2DModel<B>) -> Result<DiTTransformer2DModel<B>, E>,
    ) -> Result<Self, E> {
        let Self { transformer, size, timesteps, dropout } = self;
        Ok(Self { transformer: change(transformer)?, size, timesteps, dropout })
    }

    /// The same network, which in training forgets the class of an example with this probability.
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

    /// The number of classes, which as a label stands for none.
    pub fn classes(&self) -> usize {
        self.transformer.config.num_embeds_ada_norm
    }
}

impl<B: Backend> Network<B, 4> for SizedDit<B> {
    type Condition = Labels;

    fn input_shape(&self, batch: usize) -> [usize; 4] {
        [batch, self.transformer.config.in_channels, self.size[0], self.size[1]]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 4>,
        sigma: Tensor<B, 1>,
        labels: Labels,
        tracer: &mut T,
    ) -> Tensor<B, 4> {
        let labels = labels.tensor(self.classes() + 1, &x.device());
        let output = self.transformer.forward(x, self.timesteps.of(sigma), labels);
        tracer.layer(&"transformer", output.narrow(1, 0, self.transformer.config.in_channels))
    }

    fn drop_condition(&self, Labels(mut labels): Labels, uniform: &mut dyn FnMut(usize) -> f64) -> Labels {
        if self.dropout > 0.0 {
            for (example, label) in labels.iter_mut().enumerate() {
                if uniform(example) < self.dropout {
                    *label = self.classes();
                }
            }
        }
        Labels(labels)
    }
}

impl<B: Backend> NullCondition for SizedDit<B> {
    type Condition = Labels;

    fn null_condition(&self, labels: &Labels) -> Labels {
        Labels(vec![self.classes(); labels.0.len()])
    }
}
