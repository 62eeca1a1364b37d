//! MLPs for points, with and without labels.

use super::{Network, NullCondition, input_channels};
use crate::invalid::{Invalid, MAX_DEPTH, MAX_SIZE, expect_valid};
use crate::layer::{
    AnyEmbedder, CondEmbedderLabel, CondEmbedderLabelConfig, ConditionEmbedder, Init, NoCondition, gelu,
    linear, linear_params, sigma_embedding,
};
use crate::random::{Purpose, Stream};
use crate::sigma::Sigma;
use crate::trace::Tracer;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// The size of the embedding of the noise level.
const SIGMA_DIM: usize = 2;

/// The sizes of a [`TimeInputMlp`]; the defaults are smalldiffusion's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeInputMlpConfig {
    /// Coordinates of a point.
    pub dim: usize,
    /// Widths of the hidden layers.
    pub hidden_dims: Vec<usize>,
    /// Whether the network is given its last estimate of the data beside its input
    /// ([`Network::self_conditioned`]).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub self_condition: bool,
}

impl Default for TimeInputMlpConfig {
    fn default() -> Self {
        Self { dim: 2, hidden_dims: vec![16, 128, 256, 128, 16], self_condition: false }
    }
}

impl TimeInputMlpConfig {
    /// The network that `seed` stands for, initialized as PyTorch does; the same on every backend.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the sizes.
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> TimeInputMlp<B> {
        expect_valid(self.validate());
        self.layers().init(seed, device, |_| NoCondition::new())
    }

    /// The same network, of the kind that also serves labels.
    ///
    /// # Panics
    /// As [`init`](Self::init).
    pub fn init_any<B: Backend>(&self, seed: u64, device: &B::Device) -> AnyMlp<B> {
        expect_valid(self.validate());
        self.layers().init(seed, device, |_| AnyEmbedder::plain(None))
    }

    /// Whether there is such a network.
    ///
    /// # Errors
    /// If a size is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.layers().validate()
    }

    /// The shape of one example.
    pub fn input_shape(&self) -> Vec<usize> {
        vec![self.dim]
    }

    /// The number of parameters.
    pub fn num_params(&self) -> u128 {
        self.layers().num_params()
    }

    /// Values in the largest of the layers' outputs for one example.
    pub fn largest_layer(&self) -> u128 {
        self.layers().widest() as u128
    }

    /// Values in the largest attention matrix of one head for one example: none.
    pub fn attention_size(&self) -> u128 {
        0
    }

    pub(super) fn layers(&self) -> Layers<'_> {
        let Self { dim, hidden_dims, self_condition } = self;
        Layers { dim: *dim, cond_dim: 0, hidden: hidden_dims, self_condition: *self_condition }
    }
}

/// The sizes of a [`ConditionalMlp`]; the defaults are smalldiffusion's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConditionalMlpConfig {
    /// Coordinates of a point.
    pub dim: usize,
    /// Widths of the hidden layers.
    pub hidden_dims: Vec<usize>,
    /// The size of a label's embedding.
    pub cond_dim: usize,
    /// The labels.
    pub labels: CondEmbedderLabelConfig,
    /// Whether the network is given its last estimate of the data beside its input
    /// ([`Network::self_conditioned`]).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub self_condition: bool,
}

impl Default for ConditionalMlpConfig {
    fn default() -> Self {
        let TimeInputMlpConfig { dim, hidden_dims, self_condition } = Default::default();
        Self { dim, hidden_dims, cond_dim: 4, labels: CondEmbedderLabelConfig::new(10), self_condition }
    }
}

impl ConditionalMlpConfig {
    /// The network that `seed` stands for, initialized as PyTorch does; the same on every backend.
    ///
    /// # Panics
    /// If [`validate`](Self::validate) refuses the sizes.
    pub fn init<B: Backend>(&self, seed: u64, device: &B::Device) -> ConditionalMlp<B> {
        expect_valid(self.validate());
        self.layers().init(seed, device, |stream| self.labels(stream, device))
    }

    /// The same network, of the kind that also serves points without labels.
    ///
    /// # Panics
    /// As [`init`](Self::init).
    pub fn init_any<B: Backend>(&self, seed: u64, device: &B::Device) -> AnyMlp<B> {
        expect_valid(self.validate());
        self.layers().init(seed, device, |stream| AnyEmbedder::plain(Some(self.labels(stream, device))))
    }

    /// Whether there is such a network.
    ///
    /// # Errors
    /// If a size is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.layers().validate()?;
        Invalid::unless_positive("cond_dim", self.cond_dim, MAX_SIZE)?;
        self.labels.validate().map_err(|invalid| invalid.within("labels"))
    }

    /// The shape of one example.
    pub fn input_shape(&self) -> Vec<usize> {
        vec![self.dim]
    }

    /// The number of parameters.
    pub fn num_params(&self) -> u128 {
        self.layers().num_params() + self.labels.num_params(self.cond_dim)
    }

    /// Values in the largest of the layers' outputs for one example.
    pub fn largest_layer(&self) -> u128 {
        self.layers().widest() as u128
    }

    /// Values in the largest attention matrix of one head for one example: none.
    pub fn attention_size(&self) -> u128 {
        0
    }

    pub(super) fn layers(&self) -> Layers<'_> {
        let Self { dim, hidden_dims, cond_dim, self_condition, .. } = self;
        Layers { dim: *dim, cond_dim: *cond_dim, hidden: hidden_dims, self_condition: *self_condition }
    }

    pub(super) fn labels<B: Backend>(&self, stream: &mut Stream, device: &B::Device) -> CondEmbedderLabel<B> {
        self.labels.init(self.cond_dim, Init::Torch, Init::Torch, stream, device)
    }
}

/// What both kinds of networks have in common.
pub(super) struct Layers<'a> {
    pub dim: usize,
    pub cond_dim: usize,
    pub hidden: &'a [usize],
    pub self_condition: bool,
}

impl Layers<'_> {
    fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("dim", self.dim, MAX_SIZE)?;
        let depth = self.hidden.len();
        Invalid::unless(depth <= MAX_DEPTH, "hidden_dims", || {
            format!("has {depth} layers, expected at most {MAX_DEPTH}")
        })?;
        self.hidden.iter().try_for_each(|&width| Invalid::unless_positive("hidden_dims", width, MAX_SIZE))
    }

    /// The sizes of the input, of every hidden layer and of the output.
    fn widths(&self) -> Vec<usize> {
        let point = input_channels(self.dim, self.self_condition);
        [&[point + SIGMA_DIM + self.cond_dim], self.hidden, &[self.dim]].concat()
    }

    fn widest(&self) -> usize {
        self.widths().into_iter().max().unwrap_or_default()
    }

    pub(super) fn num_params(&self) -> u128 {
        self.widths().windows(2).map(|w| linear_params(w[0], w[1])).sum()
    }

    pub(super) fn init<B: Backend, C>(
        &self,
        seed: u64,
        device: &B::Device,
        cond_embed: impl FnOnce(&mut Stream) -> C,
    ) -> Mlp<B, C> {
        let stream = &mut Stream::new(seed, Purpose::PARAMETERS, 0, 0);
        let layer = |w: &[usize]| Init::Torch.linear(Some(Init::Torch), [w[0], w[1]], stream, device);
        let net = self.widths().windows(2).map(layer).collect();
        let Self { dim, self_condition, .. } = *self;
        Mlp { net, cond_embed: cond_embed(stream), dim, self_condition }
    }
}

/// An MLP that sees a point, the embedding of ln σ and, where `C` has one, the embedding of a
/// condition; GELU between its layers.
#[derive(Module, Debug)]
pub struct Mlp<B: Backend, C = NoCondition<B>> {
    /// The linear layers, in order.
    pub net: Vec<Linear<B>>,
    /// The condition's embedding.
    pub cond_embed: C,
    dim: usize,
    self_condition: bool,
}

/// The network without a condition.
pub type TimeInputMlp<B> = Mlp<B>;

/// The network conditioned on labels.
pub type ConditionalMlp<B> = Mlp<B, CondEmbedderLabel<B>>;

/// Either of them, chosen while the program runs.
pub type AnyMlp<B> = Mlp<B, AnyEmbedder<B, CondEmbedderLabel<B>>>;

impl<B: Backend, C: ConditionEmbedder<B>> Network<B, 2> for Mlp<B, C> {
    type Condition = C::Condition;

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, self.dim]
    }

    fn self_conditioned(&self) -> bool {
        self.self_condition
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        condition: C::Condition,
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        let batch = x.dims()[0];
        let condition = self.cond_embed.embed(condition).map(|embedded| {
            // What is the same for the whole batch may come as one row.
            let is_one_of_many = batch > 1 && embedded.dims()[0] == 1;
            let embedded = if is_one_of_many { embedded.repeat_dim(0, batch) } else { embedded };
            tracer.layer(&"cond_embed", embedded) // [batch, size]
        });
        let inputs = [x, sigma_embedding(sigma, 0.5, true)].into_iter().chain(condition).collect();
        self.net.iter().enumerate().fold(Tensor::cat(inputs, 1), |x, (i, layer)| {
            let x = if i == 0 { x } else { gelu(x) };
            tracer.layer(&format_args!("net.{i}"), linear(layer, x)) // [batch, width]
        })
    }

    fn drop_condition(&self, condition: C::Condition, uniform: &mut dyn FnMut(usize) -> f64) -> C::Condition {
        self.cond_embed.drop_condition(condition, uniform)
    }

    fn averaged(&self, condition: C::Condition, over: Sigma) -> Option<C::Condition> {
        self.cond_embed.averaged(condition, over)
    }
}

impl<B: Backend, C: NullCondition> NullCondition for Mlp<B, C> {
    type Condition = C::Condition;

    fn null_condition(&self, condition: &C::Condition) -> C::Condition {
        self.cond_embed.null_condition(condition)
    }
}
