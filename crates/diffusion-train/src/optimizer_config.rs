//! Which optimizer, and the settings of Muon.

use diffusion_core::Invalid;
use diffusion_core::precision::holds;
use serde::{Deserialize, Serialize};

/// Which optimizer trains a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// AdamW for all parameters, with the settings of [`AdamWConfig`](crate::AdamWConfig).
    #[default]
    Adamw,
    /// Muon for the [hidden matrices](crate::hidden_matrices), AdamW for all other parameters.
    Muon(MuonConfig),
}

impl OptimizerConfig {
    /// Whether these settings can be used.
    ///
    /// # Errors
    /// As [`MuonConfig::validate`].
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Self::Adamw => Ok(()),
            Self::Muon(muon) => muon.validate(),
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The settings of Muon (Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon/>); the defaults are those of
/// PyTorch's `torch.optim.Muon`, but for `scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MuonConfig {
    /// μ, the decay of the mean gradient; 0.95.
    pub momentum: f64,
    /// Whether the mean looks one step ahead, (1 − μ)·gradient + μ·mean (Nesterov); it does.
    pub nesterov: bool,
    /// The weights' decay per step, in units of the learning rate; 0.1.
    pub weight_decay: f64,
    /// How often the Newton–Schulz iteration is applied; 5.
    pub iterations: usize,
    /// How long a step is for a matrix of some size.
    pub scale: MuonScale,
    /// The learning rate of these matrices, in units of the other parameters'; 1.
    pub lr_factor: f64,
}

/// How long a step of Muon is for a matrix that maps `in` values to `out`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MuonScale {
    /// 0.2·√max(out, in): each weight changes about as much as by AdamW, so that both take the same learning rate (Liu et
    /// al. 2025, arXiv:2502.16982, §2.2). The default.
    #[default]
    MatchAdamw,
    /// √max(1, out/in), as the author has it; with learning rates about twenty times as large, see
    /// [`MuonConfig::lr_factor`].
    Original,
}

impl Default for MuonConfig {
    fn default() -> Self {
        Self {
            momentum: 0.95,
            nesterov: true,
            weight_decay: 0.1,
            iterations: 5,
            scale: MuonScale::default(),
            lr_factor: 1.0,
        }
    }
}

impl MuonConfig {
    /// Whether these settings can be used.
    ///
    /// # Errors
    /// Unless the momentum is in [0, 1), the decay at least 0, the factor positive, and there are 1 to 100 iterations.
    pub fn validate(&self) -> Result<(), Invalid> {
        let Self { momentum, weight_decay, iterations, lr_factor, .. } = *self;
        let reason = || format!("is {momentum}, expected a number in [0, 1)");
        Invalid::unless((0.0..1.0).contains(&momentum), "momentum", reason)?;
        let reason = || format!("is {weight_decay}, expected at least 0");
        Invalid::unless((weight_decay as f32).is_finite() && weight_decay >= 0.0, "weight_decay", reason)?;
        Invalid::unless_positive("iterations", iterations, 100)?;
        let reason = || format!("is {lr_factor}, expected a positive number, e.g. 1.0");
        Invalid::unless(holds(lr_factor) && lr_factor > 0.0, "lr_factor", reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optimizers_are_read_by_their_kinds() {
        let read = |text: &str| toml::from_str::<OptimizerConfig>(text);
        assert_eq!(read("kind = \"adamw\"").unwrap(), OptimizerConfig::Adamw);
        assert_eq!(read("kind = \"muon\"").unwrap(), OptimizerConfig::Muon(MuonConfig::default()));
        let expected = MuonConfig { scale: MuonScale::Original, lr_factor: 20.0, ..MuonConfig::default() };
        let found = read("kind = \"muon\"\nscale = \"original\"\nlr_factor = 20").unwrap();
        assert_eq!(found, OptimizerConfig::Muon(expected));
        assert_eq!(read(&toml::to_string(&found).unwrap()).unwrap(), found);
        for (text, named) in [
            ("kind = \"muon\"\nbeta = 1", "`beta`"),
            ("kind = \"muon\"\nscale = \"huge\"", "`huge`"),
            ("kind = \"lion\"", "`lion`"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
