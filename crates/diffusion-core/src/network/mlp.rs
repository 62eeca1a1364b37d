//! Multi-layer perceptrons for points, with and without labels.

use super::{Labels, Network, NullCondition};
use crate::layer::{
    CondEmbedderLabel, CondEmbedderLabelConfig, ConditionEmbedder, Init, gelu, linear, sigma_embedding,
};
use crate::random::{Purpose, Stream};
use crate::trace::{Tracer, Untraced};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// How many numbers tell these networks the noise level.
const SIGMA_DIM: usize = 2;

/// The sizes of a [`TimeInputMlp`]; the defaults are the reference's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeInputMlpConfig {
    /// Numbers per point.
    pub dim: usize,
    /// Widths of the hidden layers.
    pub hidden_dims: Vec<usize>,
}

impl Default for TimeInputMlpConfig {
    fn default() -> Self {
        Self { dim: 2, hidden_dims: vec![16, 128, 256, 128, 16] }
    }
}

impl TimeInputMlpConfig {
    /// The network that `seed` stands for, initialised as PyTorch does; the same on every backend.
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> TimeInputMlp<B> {
        let stream = &mut Stream::new(seed, Purpose::Parameters, 0, 0);
        TimeInputMlp {
            net: perceptron(self.dim + SIGMA_DIM, &self.hidden_dims, self.dim, stream, device),
            dim: self.dim,
        }
    }
}

/// A perceptron that sees a point and the embedding of ln σ; GELU between its layers.
#[derive(Module, Debug)]
pub struct TimeInputMlp<B: Backend> {
    /// The linear layers, in order.
    pub net: Vec<Linear<B>>,
    dim: usize,
}

impl<B: Backend> Network<B, 2> for TimeInputMlp<B> {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, self.dim]
    }

    fn forward(&self, x: Tensor<B, 2>, sigma: Tensor<B, 1>, (): ()) -> Tensor<B, 2> {
        self.trace(x, sigma, (), &mut Untraced)
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        (): (),
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        run(&self.net, Tensor::cat(vec![x, sigma_embedding(sigma, 0.5, true)], 1), tracer)
    }
}

/// The sizes of a [`ConditionalMlp`]; the defaults are the reference's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConditionalMlpConfig {
    /// Numbers per point.
    pub dim: usize,
    /// Widths of the hidden layers.
    pub hidden_dims: Vec<usize>,
    /// Numbers per embedded label.
    pub cond_dim: usize,
    /// The labels.
    pub labels: CondEmbedderLabelConfig,
}

impl Default for ConditionalMlpConfig {
    fn default() -> Self {
        let TimeInputMlpConfig { dim, hidden_dims } = Default::default();
        Self { dim, hidden_dims, cond_dim: 4, labels: CondEmbedderLabelConfig::new(10) }
    }
}

impl ConditionalMlpConfig {
    /// The network that `seed` stands for, initialised as PyTorch does; the same on every backend.
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> ConditionalMlp<B> {
        let stream = &mut Stream::new(seed, Purpose::Parameters, 0, 0);
        let inputs = self.dim + SIGMA_DIM + self.cond_dim;
        ConditionalMlp {
            net: perceptron(inputs, &self.hidden_dims, self.dim, stream, device),
            cond_embed: self.labels.init(self.cond_dim, Init::Torch, Init::Torch, stream, device),
            dim: self.dim,
        }
    }
}

/// A [`TimeInputMlp`] that also sees the embedding of a label.
#[derive(Module, Debug)]
pub struct ConditionalMlp<B: Backend> {
    /// The linear layers, in order.
    pub net: Vec<Linear<B>>,
    /// The labels' embedding.
    pub cond_embed: CondEmbedderLabel<B>,
    dim: usize,
}

impl<B: Backend> Network<B, 2> for ConditionalMlp<B> {
    type Condition = Labels;

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, self.dim]
    }

    fn forward(&self, x: Tensor<B, 2>, sigma: Tensor<B, 1>, labels: Labels) -> Tensor<B, 2> {
        self.trace(x, sigma, labels, &mut Untraced)
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        labels: Labels,
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        let label = tracer.layer(&"cond_embed", self.cond_embed.forward(&labels));
        let inputs = vec![x, sigma_embedding(sigma, 0.5, true), label];
        run(&self.net, Tensor::cat(inputs, 1), tracer)
    }

    fn drop_condition(&self, labels: Labels, uniform: &mut dyn FnMut(usize) -> f64) -> Labels {
        self.cond_embed.drop_condition(labels, uniform)
    }
}

impl<B: Backend> NullCondition for ConditionalMlp<B> {
    type Condition = Labels;

    fn null_condition(&self, labels: &Labels) -> Labels {
        self.cond_embed.null_labels(labels)
    }
}

/// Linear layers from `inputs` numbers through `hidden` to `outputs`.
fn perceptron<B: Backend>(
    inputs: usize,
    hidden: &[usize],
    outputs: usize,
    stream: &mut Stream,
    device: &B::Device,
) -> Vec<Linear<B>> {
    let widths: Vec<usize> = [&[inputs], hidden, &[outputs]].concat();
    widths.windows(2).map(|w| Init::Torch.linear(Some(Init::Torch), [w[0], w[1]], stream, device)).collect()
}

/// The linear layers with GELU between them.
fn run<B: Backend, T: Tracer<B>>(layers: &[Linear<B>], x: Tensor<B, 2>, tracer: &mut T) -> Tensor<B, 2> {
    layers.iter().enumerate().fold(x, |x, (i, layer)| {
        let x = if i == 0 { x } else { gelu(x) };
        tracer.layer(&format_args!("net.{i}"), linear(layer, x))
    })
}
