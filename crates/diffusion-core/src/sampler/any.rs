//! The sampler that is chosen while the program runs: the list of all samplers.

mod adaptive;
mod consistency;
mod deis;
mod dpm2_ancestral;
mod dpm_solver;
mod dpmpp_2s_ancestral;
mod dpmpp_sde;
mod euler_ancestral;
mod gradient_estimation;
mod heun;
mod ipndm;
mod lms;
mod mean_flow;
mod pndm;
mod predictor_corrector;
mod restart;
mod unipc;

pub use adaptive::{Adaptive, Lengths};
pub use consistency::{Consistency, End};
pub use deis::Deis;
pub use dpm_solver::{DpmSolver, Estimates, Variant};
pub use dpm2_ancestral::Dpm2Ancestral;
pub use dpmpp_2s_ancestral::Dpmpp2sAncestral;
pub use dpmpp_sde::DpmppSde;
pub use euler_ancestral::EulerAncestral;
pub use gradient_estimation::{GradientEstimation, Previous};
pub use heun::{Heun, Steps};
pub use ipndm::Ipndm;
pub use lms::Lms;
pub use mean_flow::MeanFlowSteps;
pub use pndm::{Outputs, Pndm};
pub use predictor_corrector::{Predictor, PredictorCorrector};
pub use restart::{Highest, Restart};
pub use unipc::{BVariant, Corrections, UniPc};

use super::{NoiseKind, Sampler, SamplerStep};
use crate::denoiser::Denoiser;
use crate::invalid::Invalid;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// [`AnySampler`] and its state from one line per sampler: the type, then the names with what each stands for. An attribute
/// before it says how files name a type whose kebab case is not what the field writes.
macro_rules! samplers {
    ($($(#[$attribute:meta])* $kind:ident: $($name:literal = $sampler:expr),+;)+) => {
        /// A sampler that is chosen while the program runs, e.g. by a configuration file.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum AnySampler {
            $(
                #[doc = concat!("[`", stringify!($kind), "`]")]
                $(#[$attribute])*
                $kind($kind),
            )+
        }

        impl AnySampler {
            /// The names that [`from_name`](Self::from_name) knows.
            pub const NAMES: [&str; [$($($name),+),+].len()] = [$($($name),+),+];

            /// The sampler of this name with its default parameters; `gradient-estimation` begins as DDIM.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($($name => Some(Self::$kind($sampler)),)+)+
                    _ => None,
                }
            }

            /// The [names](Self::NAMES) of those that any model serves: all but those that ask for
            /// [mean velocities](Sampler::takes_mean_velocity).
            pub fn names_for_any_model() -> impl Iterator<Item = &'static str> {
                let serves = |name: &&str| Self::from_name(name).is_some_and(|sampler| !sampler.takes_mean_velocity());
                Self::NAMES.into_iter().filter(serves)
            }

            /// Whether there is such a sampler.
            ///
            /// # Errors
            /// If a parameter is out of its range.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$kind(sampler) => sampler.validate(),)+
                }
            }
        }

        $(
            impl From<$kind> for AnySampler {
                fn from(sampler: $kind) -> Self {
                    Self::$kind(sampler)
                }
            }
        )+

        /// The state of whichever sampler it is.
        #[derive(Debug)]
        pub enum AnyState<B: Backend, const D: usize> {
            $(
                #[doc = concat!("That of [`", stringify!($kind), "`].")]
                $kind(<$kind as Sampler>::State<B, D>),
            )+
        }

        impl Sampler for AnySampler {
            type State<B: Backend, const D: usize> = AnyState<B, D>;

            fn start<B: Backend, const D: usize>(&self, sigmas: &[f64]) -> AnyState<B, D> {
                match self {
                    $(Self::$kind(sampler) => AnyState::$kind(sampler.start::<B, D>(sigmas)),)+
                }
            }

            fn order(&self) -> u32 {
                match self {
                    $(Self::$kind(sampler) => sampler.order(),)+
                }
            }

            fn evaluations(&self, step: SamplerStep) -> Option<usize> {
                match self {
                    $(Self::$kind(sampler) => sampler.evaluations(step),)+
                }
            }

            fn noise_kind(&self) -> NoiseKind {
                match self {
                    $(Self::$kind(sampler) => sampler.noise_kind(),)+
                }
            }

            fn adds_noise(&self) -> bool {
                match self {
                    $(Self::$kind(sampler) => sampler.adds_noise(),)+
                }
            }

            fn takes_mean_velocity(&self) -> bool {
                match self {
                    $(Self::$kind(sampler) => sampler.takes_mean_velocity(),)+
                }
            }

            /// # Panics
            /// If `state` was started by another sampler.
            fn step<B: Backend, const D: usize, M: Denoiser<B, D>>(
                &self,
                denoiser: &M,
                x: Tensor<B, D>,
                step: SamplerStep,
                noise: &mut dyn FnMut(f64, f64) -> Tensor<B, D>,
                state: &mut AnyState<B, D>,
            ) -> Tensor<B, D> {
                match (self, state) {
                    $((Self::$kind(sampler), AnyState::$kind(state)) => {
                        sampler.step(denoiser, x, step, noise, state)
                    })+
                    (sampler, _) => panic!("the state of another sampler was given to {sampler:?}"),
                }
            }
        }
    };
}

samplers! {
    GradientEstimation:
        "ddim" = GradientEstimation::DDIM,
        "ddpm" = GradientEstimation::DDPM,
        "accelerated" = GradientEstimation::ACCELERATED,
        "gradient-estimation" = GradientEstimation::DDIM;
    Heun: "heun" = Heun::default();
    Pndm: "pndm" = Pndm {};
    DpmSolver:
        "dpm-solver" = DpmSolver::M2,
        "dpmpp-2m" = DpmSolver::M2,
        "dpmpp-3m" = DpmSolver::M3,
        "dpmpp-2m-sde" = DpmSolver::M2_SDE,
        "dpmpp-3m-sde" = DpmSolver::M3_SDE;
    EulerAncestral:
        "euler" = EulerAncestral::EULER,
        "euler-ancestral" = EulerAncestral::default();
    Dpm2Ancestral:
        "dpm2" = Dpm2Ancestral::DPM2,
        "dpm2-ancestral" = Dpm2Ancestral::default();
    Lms: "lms" = Lms::default();
    Ipndm: "ipndm" = Ipndm::default();
    Deis: "deis" = Deis::default();
    #[serde(rename = "unipc")]
    UniPc: "unipc" = UniPc::default();
    #[serde(rename = "dpmpp-2s-ancestral")]
    Dpmpp2sAncestral:
        "dpmpp-2s" = Dpmpp2sAncestral::DPMPP_2S,
        "dpmpp-2s-ancestral" = Dpmpp2sAncestral::default();
    DpmppSde: "dpmpp-sde" = DpmppSde::default();
    Adaptive: "adaptive" = Adaptive::default();
    Restart: "restart" = Restart::default();
    PredictorCorrector: "predictor-corrector" = PredictorCorrector::default();
    Consistency: "consistency" = Consistency {};
    #[serde(rename = "mean-flow")]
    MeanFlowSteps: "mean-flow" = MeanFlowSteps {};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_sampler() {
        for name in AnySampler::NAMES {
            assert!(AnySampler::from_name(name).is_some_and(|sampler| sampler.validate().is_ok()), "{name}");
        }
        assert_eq!(AnySampler::from_name("ddpm"), Some(GradientEstimation::DDPM.into()));
        assert_eq!(AnySampler::from_name("dpmpp"), None);
        let others = AnySampler::NAMES.into_iter().filter(|name| *name != "mean-flow");
        assert!(AnySampler::names_for_any_model().eq(others));
    }

    #[test]
    fn files_say_kind_and_parameters() {
        let parse = serde_json::from_str::<AnySampler>;
        let general = parse(r#"{"kind": "gradient-estimation", "gam": 1.6, "mu": 0.0}"#).unwrap();
        assert_eq!(general, GradientEstimation::new(1.6, 0.0).into());
        assert_eq!(parse(r#"{"kind": "heun"}"#).unwrap(), Heun::default().into());
        let churn = parse(r#"{"kind": "heun", "s_churn": 40}"#).unwrap();
        assert_eq!(churn, Heun { s_churn: 40.0, ..Heun::default() }.into());
        assert!(parse(r#"{"kind": "heun", "gam": 1.0}"#).is_err());
        assert_eq!(parse(r#"{"kind": "pndm"}"#).unwrap(), Pndm {}.into());
        assert!(parse(r#"{"kind": "pndm", "gam": 1.0}"#).is_err());
        // As it was before it had parameters.
        assert_eq!(parse(r#"{"kind": "dpm-solver"}"#).unwrap(), DpmSolver::M2.into());
        let heun = DpmSolver { eta: 0.5, variant: Variant::Heun, ..DpmSolver::M2 };
        let stated = r#"{"kind": "dpm-solver", "eta": 0.5, "variant": "heun"}"#;
        assert_eq!(parse(stated).unwrap(), heun.into());
    }

    #[test]
    fn files_name_samplers_as_their_users_do() {
        for name in [
            "euler-ancestral",
            "dpm2-ancestral",
            "dpmpp-2s-ancestral",
            "dpmpp-sde",
            "adaptive",
            "restart",
            "predictor-corrector",
            "mean-flow",
        ] {
            let parse = |more: &str| {
                serde_json::from_str::<AnySampler>(&format!(r#"{{"kind": "{name}"{more}}}"#)).ok()
            };
            assert!(parse("").is_some() && parse("") == AnySampler::from_name(name), "{name}");
            assert_eq!(parse(r#", "gam": 1"#), None, "{name}");
        }
    }

    #[test]
    fn impossible_parameters_are_named() {
        for (sampler, setting) in [
            (GradientEstimation { gam: f64::NAN, mu: 0.0 }.into(), "gam"),
            (GradientEstimation { gam: 1.0, mu: 1.0 }.into(), "mu"),
            (Heun { s_churn: -1.0, ..Heun::default() }.into(), "s_churn"),
            (AnySampler::Heun(Heun { s_noise: f64::INFINITY, ..Heun::default() }), "s_noise"),
            (DpmSolver { order: 4, ..DpmSolver::M2 }.into(), "order"),
            (DpmSolver { eta: -1.0, ..DpmSolver::M2 }.into(), "eta"),
            (EulerAncestral { eta: f64::NAN, s_noise: 1.0 }.into(), "eta"),
            (Dpm2Ancestral { eta: 1.0, s_noise: -1.0 }.into(), "s_noise"),
            (Dpmpp2sAncestral { eta: -1.0, s_noise: 1.0 }.into(), "eta"),
            (DpmppSde { eta: 1.0, s_noise: 1e300 }.into(), "s_noise"),
            (Adaptive { atol: 0.0, ..Adaptive::default() }.into(), "atol"),
            (Adaptive { rtol: -1.0, ..Adaptive::default() }.into(), "rtol"),
            (Restart { t_max: 0.06, ..Restart::default() }.into(), "t_max"),
            (Restart { t_min: 0.0, ..Restart::default() }.into(), "t_min"),
            (Restart { steps: 0, ..Restart::default() }.into(), "steps"),
            (Restart { repeats: 1001, ..Restart::default() }.into(), "repeats"),
            (PredictorCorrector { snr: -0.1, ..PredictorCorrector::default() }.into(), "snr"),
            (PredictorCorrector { corrections: 1001, ..PredictorCorrector::default() }.into(), "corrections"),
        ] {
            assert_eq!(sampler.validate().unwrap_err().setting, setting, "{sampler:?}");
        }
    }
}
