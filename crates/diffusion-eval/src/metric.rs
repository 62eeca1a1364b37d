//! The metrics by their names.

use diffusion_core::named;
use serde::{Deserialize, Serialize};

/// What can be measured of samples, by its name in programs and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The [Fréchet distance](crate::frechet_distance) of means and covariances; FID where the features are Inception's.
    Fd,
    /// The [kernel distance](crate::kid).
    Kid,
    /// Improved precision and recall, by the three [nearest neighbors](crate::neighborhoods).
    PrecisionRecall,
    /// Density and coverage, by the five [nearest neighbors](crate::neighborhoods).
    DensityCoverage,
    /// The [sliced Wasserstein distance](crate::sliced_wasserstein).
    SlicedWasserstein,
    /// The exact [Wasserstein distance](crate::wasserstein).
    Wasserstein,
    /// The [energy distance](crate::energy_distance).
    Energy,
    /// The [maximum mean discrepancy](crate::mmd).
    Mmd,
    /// Whether samples are nearer to the training examples than other data are ([`Memorization`](crate::Memorization)).
    Memorization,
    /// How likely data are under the model.
    BitsPerDim,
}

named!(Metric {
    Fd = "fd",
    Kid = "kid",
    PrecisionRecall = "precision-recall",
    DensityCoverage = "density-coverage",
    SlicedWasserstein = "sliced-wasserstein",
    Wasserstein = "wasserstein",
    Energy = "energy",
    Mmd = "mmd",
    Memorization = "memorization",
    BitsPerDim = "bits-per-dim",
});

impl Metric {
    /// Whether it compares two sets of examples, and needs nothing else.
    pub const fn is_of_sets(self) -> bool {
        !matches!(self, Self::Fd | Self::Memorization | Self::BitsPerDim)
    }

    /// The names of its values: two of those that come in pairs.
    pub const fn values(self) -> &'static [&'static str] {
        match self {
            Self::Fd => &["fd"],
            Self::Kid => &["kid"],
            Self::PrecisionRecall => &["precision", "recall"],
            Self::DensityCoverage => &["density", "coverage"],
            Self::SlicedWasserstein => &["sliced-wasserstein"],
            Self::Wasserstein => &["wasserstein"],
            Self::Energy => &["energy"],
            Self::Mmd => &["mmd"],
            Self::Memorization => &["memorization"],
            Self::BitsPerDim => &["bits-per-dim"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse(), Ok(metric));
            assert!(!metric.values().is_empty());
        }
        assert!("fid".parse::<Metric>().is_err());
        assert_eq!(Metric::NAMES[1], "kid");
    }
}
