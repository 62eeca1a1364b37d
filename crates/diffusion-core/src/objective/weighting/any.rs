//! The weighting that is chosen while the program runs: the list of all weightings.

mod cosmap;
mod edm_weight;
mod likelihood;
mod min_snr;
mod p2;
mod soft_min_snr;
mod truncated_snr;
mod uniform_weight;

pub use cosmap::Cosmap;
pub use edm_weight::EdmWeight;
pub use likelihood::Likelihood;
pub use min_snr::MinSnr;
pub use p2::P2;
pub use soft_min_snr::SoftMinSnr;
pub use truncated_snr::TruncatedSnr;
pub use uniform_weight::UniformWeight;

use super::Weighting;
use crate::invalid::Invalid;
use crate::objective::Weight;
use crate::parameterization::Parameterization;
use serde::{Deserialize, Serialize};

/// [`AnyWeight`] from the types of all weightings.
macro_rules! weightings {
    ($($kind:ident($type:ty),)+) => {
        /// A weighting that is chosen while the program runs, e.g. by a configuration file.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum AnyWeight {
            $(
                #[doc = concat!("[`", stringify!($type), "`]")]
                $kind($type),
            )+
        }

        impl AnyWeight {
            /// Whether there is such a weighting.
            ///
            /// # Errors
            /// If a parameter is out of its range.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$kind(weight) => weight.validate(),)+
                }
            }
        }

        $(
            impl From<$type> for AnyWeight {
                fn from(weight: $type) -> Self {
                    Self::$kind(weight)
                }
            }
        )+

        impl Weighting for AnyWeight {
            fn weight<P: Parameterization>(&self, parameterization: &P, sigma: f64) -> Weight {
                match self {
                    $(Self::$kind(weight) => weight.weight(parameterization, sigma),)+
                }
            }

            fn is_per_log_sigma(&self) -> bool {
                match self {
                    $(Self::$kind(weight) => weight.is_per_log_sigma(),)+
                }
            }
        }
    };
}

weightings! {
    Uniform(UniformWeight),
    Edm(EdmWeight),
    MinSnr(MinSnr),
    SoftMinSnr(SoftMinSnr),
    P2(P2),
    TruncatedSnr(TruncatedSnr),
    Likelihood(Likelihood),
    Cosmap(Cosmap),
}

impl Default for AnyWeight {
    fn default() -> Self {
        UniformWeight {}.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnyPrediction, Edm, EpsPrediction, FlowPrediction, VPrediction, X0Prediction};

    fn any(kind: &str) -> AnyWeight {
        serde_json::from_str(&format!(r#"{{"kind":"{kind}"}}"#)).unwrap()
    }

    fn assert_on_output<P: Parameterization>(weighting: AnyWeight, mode: &P, sigma: f64, expected: f64) {
        let found = weighting.weight(mode, sigma).on_output(mode, sigma);
        assert!(
            (found - expected).abs() <= 1e-12 * expected,
            "{weighting:?} of {mode:?} at {sigma}: {found}, {expected}"
        );
    }

    const SIGMAS: [f64; 5] = [0.01, 0.3, 0.447, 1.0, 40.0];

    /// As the papers state them for each mode.
    #[test]
    fn weights_on_the_output_are_the_published_ones() {
        for sigma in SIGMAS {
            let snr = 1.0 / (sigma * sigma);
            assert_on_output(any("min-snr"), &EpsPrediction, sigma, snr.min(5.0) / snr);
            assert_on_output(any("min-snr"), &VPrediction, sigma, snr.min(5.0) / (snr + 1.0));
            assert_on_output(any("min-snr"), &X0Prediction, sigma, snr.min(5.0));
            for sigma_data in [0.5, 2.0] {
                assert_on_output(EdmWeight { sigma_data }.into(), &Edm { sigma_data }, sigma, 1.0);
            }
            assert_on_output(any("soft-min-snr"), &X0Prediction, sigma, 1.0 / (sigma * sigma + 0.25));
            assert_on_output(any("p2"), &EpsPrediction, sigma, 1.0 / (1.0 + snr));
            let p2 = P2 { gamma: 0.5, k: 2.0 };
            assert_on_output(p2.into(), &EpsPrediction, sigma, (2.0 + snr).powf(-0.5));
            assert_on_output(any("truncated-snr"), &X0Prediction, sigma, snr.max(1.0));
            assert_on_output(any("truncated-snr"), &VPrediction, sigma, snr.max(1.0) / (snr + 1.0));
            assert_on_output(any("likelihood"), &EpsPrediction, sigma, 1.0);
            assert_on_output(any("uniform"), &VPrediction, sigma, 1.0);
        }
        for t in [0.01, 0.5, 0.99] {
            let cosmap = 2.0 / (std::f64::consts::PI * (1.0 - 2.0 * t + 2.0 * t * t));
            assert_on_output(any("cosmap"), &FlowPrediction, t, cosmap);
        }
    }

    /// The error of D is the same on all paths and in all modes: so is its weight at the same ratio of noise to data.
    #[test]
    fn a_weight_is_the_same_for_all_modes() {
        for kind in ["edm", "min-snr", "soft-min-snr", "p2", "truncated-snr", "likelihood", "cosmap"] {
            for t in [0.001, 0.2, 0.5, 0.9] {
                let Weight::OnDenoised(flow) = any(kind).weight(&AnyPrediction::Flow, t) else {
                    panic!("{kind}")
                };
                for mode in [AnyPrediction::Eps, AnyPrediction::V, AnyPrediction::ScaledX0] {
                    let Weight::OnDenoised(found) = any(kind).weight(&mode, t / (1.0 - t)) else {
                        panic!("{kind}")
                    };
                    assert!((found / flow - 1.0).abs() < 1e-12, "{kind} at {t}: {found}, {flow}");
                }
            }
            assert!(any(kind).weight(&FlowPrediction, 1.0).on_output(&FlowPrediction, 1.0).is_finite());
        }
        assert_eq!(any("uniform").weight(&FlowPrediction, 0.3), Weight::OnOutput(1.0));
        assert_eq!(AnyWeight::default(), any("uniform"));
    }

    #[test]
    fn bad_values_are_named() {
        for (weighting, setting) in [
            (AnyWeight::from(EdmWeight { sigma_data: 0.0 }), "sigma_data"),
            (MinSnr { gamma: -1.0 }.into(), "gamma"),
            (SoftMinSnr { gamma: f64::NAN }.into(), "gamma"),
            (P2 { gamma: -0.1, k: 1.0 }.into(), "gamma"),
            (P2 { gamma: 1.0, k: 0.0 }.into(), "k"),
            (TruncatedSnr { least: 0.0 }.into(), "least"),
        ] {
            assert_eq!(weighting.validate().unwrap_err().setting, setting, "{weighting:?}");
        }
        let kinds =
            ["uniform", "edm", "min-snr", "soft-min-snr", "p2", "truncated-snr", "likelihood", "cosmap"];
        for kind in kinds {
            let text = serde_json::to_string(&any(kind)).unwrap();
            assert_eq!(serde_json::from_str::<AnyWeight>(&text).unwrap(), any(kind));
            assert_eq!(any(kind).validate(), Ok(()));
            let unknown = format!(r#"{{"kind":"{kind}","power":2}}"#);
            assert!(serde_json::from_str::<AnyWeight>(&unknown).is_err(), "{kind}");
        }
    }
}
