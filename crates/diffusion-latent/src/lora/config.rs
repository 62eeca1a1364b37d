//! The settings of LoRA that is trained.

use super::frozen::Frozen;
use super::merge::layers;
use super::pair::{Lora, LoraPair};
use crate::folder::names;
use burn::module::Module;
use burn::tensor::backend::Backend;
use diffusion_core::invalid::{Invalid, MAX_SIZE};
use diffusion_core::layer::Init;
use diffusion_core::random::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// Which layers of a network get a pair of matrices to be trained, and of which rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// The rank of the changes.
    pub rank: usize,
    /// Changes are multiplied by `alpha / rank`.
    pub alpha: f64,
    /// The layers, linear ones and convolutions, by their names in diffusers' state dicts or by how these end.
    pub targets: Vec<String>,
}

impl Default for LoraConfig {
    /// Rank 8, not scaled, of all layers of attention.
    fn default() -> Self {
        let targets = ["to_q", "to_k", "to_v", "to_out.0"].map(str::to_string).to_vec();
        Self { rank: 8, alpha: 8.0, targets }
    }
}

impl LoraConfig {
    /// Refuses numbers out of their range.
    ///
    /// # Errors
    /// Names the setting.
    pub fn validate(&self) -> Result<(), Invalid> {
        Invalid::unless_positive("rank", self.rank, MAX_SIZE)?;
        Invalid::unless(self.alpha.is_finite() && self.alpha > 0.0, "alpha", || {
            format!("is {}, expected a positive number", self.alpha)
        })?;
        Invalid::unless(!self.targets.is_empty(), "targets", || {
            "is empty, expected names of layers".to_string()
        })
    }

    /// `base` with pairs for the layers of its that are targets; they change nothing yet.
    ///
    /// The first matrix is drawn from `seed` as PyTorch draws a layer, the second is zero (Hu et al. 2021, §4.1).
    ///
    /// # Errors
    /// If a setting is out of its range, or one of the targets is no layer of the network.
    pub fn init<B: Backend, N: Module<B>>(
        &self,
        base: N,
        seed: u64,
        device: &B::Device,
    ) -> Result<Lora<B, N>, Invalid> {
        self.validate()?;
        let all = layers(&base, &names());
        let ends = |layer: &str, target: &str| {
            layer.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        for target in &self.targets {
            let is_there = all.iter().any(|(layer, _)| ends(layer, target));
            Invalid::unless(is_there, "targets", || {
                format!(
                    "has `{target}`, expected how the name of a linear layer or a convolution of the network ends"
                )
            })?;
        }
        let stream = &mut Stream::new(seed, Purpose::PARAMETERS, 0, 0);
        let (mut pairs, mut chosen) = (Vec::new(), Vec::new());
        for (layer, shape) in all {
            if self.targets.iter().any(|target| ends(&layer, target)) {
                let (outputs, inputs) = (shape[0], shape[1..].iter().product());
                pairs.push(LoraPair {
                    down: Init::Torch.param([self.rank, inputs], (inputs, self.rank), stream, device),
                    up: Init::Zeros.param([outputs, self.rank], (self.rank, outputs), stream, device),
                });
                chosen.push((layer, shape));
            }
        }
        let scale = self.alpha / self.rank as f64;
        Ok(Lora { base: Frozen(base.no_grad()), pairs, layers: chosen, scale })
    }
}
