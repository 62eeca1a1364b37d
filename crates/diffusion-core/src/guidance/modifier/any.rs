//! The modifier that is chosen while the program runs: the list of all of them.

mod apg;
mod cfg_plus_plus;
mod interval;
mod rescale;
mod scale_schedule;

pub use apg::{Apg, Momentum};
pub use cfg_plus_plus::CfgPlusPlus;
pub use interval::Interval;
pub use rescale::Rescale;
pub use scale_schedule::{ScaleCurve, ScaleSchedule};

use super::Modifier;
use crate::guidance::estimate::GuidedEstimate;
use crate::guidance::point::GuidancePoint;
use crate::invalid::Invalid;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// [`AnyModifier`] and its state from the types of all modifiers, and what files call them.
macro_rules! modifiers {
    ($($name:literal => $kind:ident,)+) => {
        /// A modifier of guidance that is chosen while the program runs, e.g. by a configuration file.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        pub enum AnyModifier {
            $(
                #[doc = concat!("[`", stringify!($kind), "`]")]
                #[serde(rename = $name)]
                $kind($kind),
            )+
        }

        impl AnyModifier {
            /// What files call the modifiers.
            pub const NAMES: &[&str] = &[$($name),+];

            /// What files call it.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $name,)+
                }
            }

            /// Whether there is such a modifier.
            ///
            /// # Errors
            /// If a parameter is out of its range.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$kind(modifier) => modifier.validate(),)+
                }
            }
        }

        $(
            impl From<$kind> for AnyModifier {
                fn from(modifier: $kind) -> Self {
                    Self::$kind(modifier)
                }
            }
        )+

        /// The state of whichever modifier it is.
        #[derive(Debug)]
        pub enum AnyModifierState<B: Backend, const D: usize> {
            $(
                #[doc = concat!("That of [`", stringify!($kind), "`].")]
                $kind(<$kind as Modifier>::State<B, D>),
            )+
        }

        impl Modifier for AnyModifier {
            type State<B: Backend, const D: usize> = AnyModifierState<B, D>;

            fn start<B: Backend, const D: usize>(&self) -> AnyModifierState<B, D> {
                match self {
                    $(Self::$kind(modifier) => AnyModifierState::$kind(modifier.start::<B, D>()),)+
                }
            }

            fn is_active(&self, at: &GuidancePoint) -> bool {
                match self {
                    $(Self::$kind(modifier) => modifier.is_active(at),)+
                }
            }

            fn scale(&self, scale: f64, at: &GuidancePoint) -> f64 {
                match self {
                    $(Self::$kind(modifier) => modifier.scale(scale, at),)+
                }
            }

            /// # Panics
            /// If `state` was started by another modifier.
            fn modify<B: Backend, const D: usize>(
                &self,
                estimate: GuidedEstimate<B, D>,
                at: &GuidancePoint,
                state: &mut AnyModifierState<B, D>,
            ) -> GuidedEstimate<B, D> {
                match (self, state) {
                    $((Self::$kind(modifier), AnyModifierState::$kind(state)) => {
                        modifier.modify(estimate, at, state)
                    })+
                    (modifier, _) => panic!("the state of another modifier was given to {modifier:?}"),
                }
            }
        }
    };
}

modifiers! {
    "interval" => Interval,
    "schedule" => ScaleSchedule,
    "cfg-plus-plus" => CfgPlusPlus,
    "apg" => Apg,
    "rescale" => Rescale,
}

/// The settings of a rule of the scale `scale` with these modifiers, each by its place in the list.
pub(crate) fn validate(scale: f64, modifiers: &[AnyModifier]) -> Result<(), Invalid> {
    for (i, modifier) in modifiers.iter().enumerate() {
        modifier.validate().map_err(|error| error.within(&format!("modifiers[{i}]")))?;
    }
    let renoising =
        modifiers.iter().filter(|modifier| matches!(modifier, AnyModifier::CfgPlusPlus(_))).count();
    Invalid::unless(renoising <= 1, "modifiers", || {
        format!("has {renoising} of the kind cfg-plus-plus, expected at most one")
    })?;
    Invalid::unless(renoising == 0 || (0.0..=1.0).contains(&scale), "scale", || {
        format!("is {scale:?}, expected 0 to 1: of cfg-plus-plus it is λ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_and_written() {
        let kinds: [(&str, AnyModifier); 9] = [
            (r#"{"kind":"interval","low":0.3,"high":3.0}"#, Interval { low: 0.3, high: 3.0 }.into()),
            (r#"{"kind":"rescale","phi":0.7}"#, Rescale { phi: 0.7 }.into()),
            (r#"{"kind":"cfg-plus-plus"}"#, CfgPlusPlus {}.into()),
            (
                r#"{"kind":"apg","eta":0.5,"momentum":-0.75,"norm_threshold":2.5}"#,
                Apg { eta: 0.5, momentum: -0.75, norm_threshold: Some(2.5) }.into(),
            ),
            (
                r#"{"kind":"schedule","curve":{"kind":"linear"}}"#,
                ScaleSchedule::new(ScaleCurve::Linear {}).into(),
            ),
            (
                r#"{"kind":"schedule","curve":{"kind":"cosine"}}"#,
                ScaleSchedule::new(ScaleCurve::Cosine {}).into(),
            ),
            (
                r#"{"kind":"schedule","curve":{"kind":"power-cosine","power":4.0}}"#,
                ScaleSchedule::new(ScaleCurve::PowerCosine { power: 4.0 }).into(),
            ),
            (
                r#"{"kind":"schedule","curve":{"kind":"beta","a":2.0,"b":3.0}}"#,
                ScaleSchedule::new(ScaleCurve::Beta { a: 2.0, b: 3.0 }).into(),
            ),
            (
                r#"{"kind":"schedule","curve":{"kind":"piecewise","points":[[10.0,0.0],[1.0,2.0]]}}"#,
                ScaleSchedule::new(ScaleCurve::Piecewise { points: vec![[10.0, 0.0], [1.0, 2.0]] }).into(),
            ),
        ];
        for (text, modifier) in &kinds {
            assert_eq!(serde_json::from_str::<AnyModifier>(text).unwrap(), *modifier, "{text}");
            assert_eq!(serde_json::to_string(modifier).unwrap(), *text);
            assert_eq!(modifier.validate(), Ok(()), "{text}");
        }
        let mut named: Vec<&str> = kinds.iter().map(|(_, modifier)| modifier.name()).collect();
        named.sort_unstable();
        named.dedup();
        let mut names = AnyModifier::NAMES.to_vec();
        names.sort_unstable();
        assert_eq!(named, names, "a kind is not read here");
        for unknown in [r#"{"kind":"interval","low":0.3,"high":3.0,"mid":1}"#, r#"{"kind":"apg","beta":1}"#] {
            assert!(serde_json::from_str::<AnyModifier>(unknown).is_err(), "{unknown}");
        }
        // What is not said is what the papers have.
        let apg = serde_json::from_str::<AnyModifier>(r#"{"kind":"apg"}"#).unwrap();
        assert_eq!(apg, Apg { eta: 0.0, momentum: 0.0, norm_threshold: None }.into());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let curve = |curve| AnyModifier::from(ScaleSchedule::new(curve));
        let points = |points: &[[f64; 2]]| curve(ScaleCurve::Piecewise { points: points.to_vec() });
        let apg = Apg::default();
        let bad: [(AnyModifier, &str); 20] = [
            (Interval { low: -1.0, high: 3.0 }.into(), "low"),
            (Interval { low: f64::NAN, high: 3.0 }.into(), "low"),
            (Interval { low: 3.0, high: 3.0 }.into(), "high"),
            (Interval { low: 0.0, high: f64::NAN }.into(), "high"),
            (Rescale { phi: 1.5 }.into(), "phi"),
            (Rescale { phi: f64::NAN }.into(), "phi"),
            (Apg { eta: f64::NAN, ..apg }.into(), "eta"),
            (Apg { momentum: 1.0, ..apg }.into(), "momentum"),
            (Apg { momentum: -1.0, ..apg }.into(), "momentum"),
            (Apg { momentum: f64::NAN, ..apg }.into(), "momentum"),
            (Apg { norm_threshold: Some(0.0), ..apg }.into(), "norm_threshold"),
            (Apg { norm_threshold: Some(f64::INFINITY), ..apg }.into(), "norm_threshold"),
            (curve(ScaleCurve::PowerCosine { power: 0.0 }), "curve.power"),
            (curve(ScaleCurve::Beta { a: 1.0, b: 2.0 }), "curve.a"),
            (curve(ScaleCurve::Beta { a: 2.0, b: f64::NAN }), "curve.b"),
            (points(&[]), "curve.points"),
            (points(&[[0.0, 1.0]]), "curve.points[0]"),
            (points(&[[1.0, f64::INFINITY]]), "curve.points[0]"),
            (points(&[[1.0, 1.0], [2.0, 1.0]]), "curve.points[1]"),
            (points(&[[1.0, 1.0], [1.0, 1.0]]), "curve.points[1]"),
        ];
        for (modifier, setting) in bad {
            assert_eq!(modifier.validate().unwrap_err().setting, setting, "{modifier:?}");
            let stack = [Rescale { phi: 0.5 }.into(), modifier];
            let found = validate(1.0, &stack).unwrap_err().setting;
            assert_eq!(found, format!("modifiers[1].{setting}"));
        }
        let renoising = || AnyModifier::from(CfgPlusPlus {});
        for scale in [-0.1, 1.1, f64::NAN] {
            assert_eq!(validate(scale, &[renoising()]).unwrap_err().setting, "scale");
        }
        assert_eq!(validate(0.6, &[renoising()]), Ok(()));
        assert_eq!(validate(0.6, &[renoising(), renoising()]).unwrap_err().setting, "modifiers");
    }
}
