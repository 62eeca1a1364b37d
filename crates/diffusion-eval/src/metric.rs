//! The metrics by their names.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

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

impl Metric {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Fd,
        Self::Kid,
        Self::PrecisionRecall,
        Self::DensityCoverage,
        Self::SlicedWasserstein,
        Self::Wasserstein,
        Self::Energy,
        Self::Mmd,
        Self::Memorization,
        Self::BitsPerDim,
    ];

    /// Their names.
    pub const NAMES: [&str; 10] = {
        let mut names = [""; 10];
        let mut i = 0;
        while i < names.len() {
            names[i] = Self::ALL[i].name();
            i += 1;
        }
        names
    };

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fd => "fd",
            Self::Kid => "kid",
            Self::PrecisionRecall => "precision-recall",
            Self::DensityCoverage => "density-coverage",
            Self::SlicedWasserstein => "sliced-wasserstein",
            Self::Wasserstein => "wasserstein",
            Self::Energy => "energy",
            Self::Mmd => "mmd",
            Self::Memorization => "memorization",
            Self::BitsPerDim => "bits-per-dim",
        }
    }

    /// The metric of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
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

impl Display for Metric {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name() {
        for metric in Metric::ALL {
            assert_eq!(Metric::from_name(metric.name()), Some(metric));
            assert!(!metric.values().is_empty());
        }
        assert_eq!(Metric::from_name("fid"), None);
        assert_eq!(Metric::NAMES[1], "kid");
    }
}
