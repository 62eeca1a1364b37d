//! The guidance that is chosen while the program runs: the list of all of them.

mod autoguidance;
mod classifier_free;

pub use autoguidance::Autoguidance;
pub use classifier_free::ClassifierFree;

use super::Guidance;
use super::estimate::GuidedEstimate;
use super::modifier::AnyModifier;
use super::point::GuidancePoint;
use crate::invalid::Invalid;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// [`AnyGuidance`] and its state from the types of all guidances.
macro_rules! guidances {
    ($($kind:ident,)+) => {
        /// A guidance that is chosen while the program runs, e.g. by a configuration file.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum AnyGuidance {
            /// None: the second denoiser is never evaluated.
            #[default]
            None,
            $(
                #[doc = concat!("[`", stringify!($kind), "`]")]
                $kind($kind),
            )+
        }

        impl AnyGuidance {
            /// Its scale and its modifiers; nothing where there is no guidance.
            pub fn parts(&self) -> Option<(f64, &[AnyModifier])> {
                match self {
                    Self::None => None,
                    $(Self::$kind(guidance) => Some((guidance.scale, &guidance.modifiers)),)+
                }
            }

            /// The same rule with this scale; where there is none, classifier-free guidance. What is left without
            /// scale and modifiers is none.
            pub fn with_scale(mut self, scale: f64) -> Self {
                match &mut self {
                    Self::None => self = ClassifierFree::new(scale).into(),
                    $(Self::$kind(guidance) => guidance.scale = scale,)+
                }
                match &self {
                    Self::ClassifierFree(guidance) if scale == 0.0 && guidance.modifiers.is_empty() => Self::None,
                    _ => self,
                }
            }

            /// The same rule with these modifiers; there are none to change where there is no guidance.
            pub fn with_modifiers(mut self, changed: Vec<AnyModifier>) -> Self {
                match &mut self {
                    Self::None => {}
                    $(Self::$kind(guidance) => guidance.modifiers = changed,)+
                }
                self
            }

            /// Whether there is such guidance.
            ///
            /// # Errors
            /// If a parameter is out of its range.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    Self::None => Ok(()),
                    $(Self::$kind(guidance) => guidance.validate(),)+
                }
            }
        }

        $(
            impl From<$kind> for AnyGuidance {
                fn from(guidance: $kind) -> Self {
                    Self::$kind(guidance)
                }
            }
        )+

        /// The state of whichever guidance it is.
        #[derive(Debug)]
        pub enum AnyGuidanceState<B: Backend, const D: usize> {
            /// Nothing.
            None,
            $(
                #[doc = concat!("That of [`", stringify!($kind), "`].")]
                $kind(<$kind as Guidance>::State<B, D>),
            )+
        }

        impl Guidance for AnyGuidance {
            type State<B: Backend, const D: usize> = AnyGuidanceState<B, D>;

            fn start<B: Backend, const D: usize>(&self) -> AnyGuidanceState<B, D> {
                match self {
                    Self::None => AnyGuidanceState::None,
                    $(Self::$kind(guidance) => AnyGuidanceState::$kind(guidance.start::<B, D>()),)+
                }
            }

            fn is_active(&self, at: &GuidancePoint) -> bool {
                match self {
                    Self::None => false,
                    $(Self::$kind(guidance) => guidance.is_active(at),)+
                }
            }

            /// # Panics
            /// If `state` was started by another guidance.
            fn guide<B: Backend, const D: usize>(
                &self,
                estimate: GuidedEstimate<B, D>,
                at: &GuidancePoint,
                state: &mut AnyGuidanceState<B, D>,
            ) -> GuidedEstimate<B, D> {
                match (self, state) {
                    (Self::None, AnyGuidanceState::None) => estimate,
                    $((Self::$kind(guidance), AnyGuidanceState::$kind(state)) => {
                        guidance.guide(estimate, at, state)
                    })+
                    (guidance, _) => panic!("the state of another guidance was given to {guidance:?}"),
                }
            }
        }
    };
}

guidances! {
    ClassifierFree,
    Autoguidance,
}

#[cfg(test)]
mod tests {
    use super::super::{Interval, Rescale};
    use super::*;
    use crate::path::VarianceExploding;

    fn parse(text: &str) -> AnyGuidance {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn files_say_kind_and_scale() {
        let at = GuidancePoint::alone(&VarianceExploding, 1.0);
        assert_eq!(parse(r#"{"kind": "none"}"#), AnyGuidance::None);
        let scaled = parse(r#"{"kind": "classifier-free", "scale": 2.0}"#);
        assert_eq!(scaled, ClassifierFree::new(2.0).into());
        assert_eq!((scaled.is_active(&at), AnyGuidance::None.is_active(&at)), (true, false));
        let endless = AnyGuidance::from(ClassifierFree::new(f64::INFINITY));
        assert_eq!(endless.validate().unwrap_err().setting, "scale");
        // What files said before there were modifiers is what they say now.
        assert_eq!(serde_json::to_string(&scaled).unwrap(), r#"{"kind":"classifier-free","scale":2.0}"#);
    }

    #[test]
    fn files_say_modifiers() {
        let list = r#"[{"kind":"interval","low":0.3,"high":3.0},{"kind":"rescale","phi":0.7}]"#;
        let modifiers = vec![Interval { low: 0.3, high: 3.0 }.into(), Rescale { phi: 0.7 }.into()];
        let text = format!(r#"{{"kind":"classifier-free","scale":2.0,"modifiers":{list}}}"#);
        let stack = AnyGuidance::from(ClassifierFree::new(2.0).with(modifiers.clone()));
        assert_eq!(parse(&text), stack);
        assert_eq!(serde_json::to_string(&stack).unwrap(), text);
        assert_eq!(stack.parts(), Some((2.0, &modifiers[..])));

        let text = format!(r#"{{"kind":"autoguidance","scale":1.0,"modifiers":{list},"checkpoint":500}}"#);
        let weaker = Autoguidance { checkpoint: Some(500), modifiers, ..Autoguidance::new(1.0) };
        let weaker = AnyGuidance::from(weaker);
        assert_eq!(parse(&text), weaker);
        assert_eq!(serde_json::to_string(&weaker).unwrap(), text);
        for unknown in [
            r#"{"kind":"classifier-free","scale":2.0,"modifier":[]}"#,
            r#"{"kind":"autoguidance","scale":1.0,"step":500}"#,
            r#"{"kind":"classifier-free","scale":2.0,"modifiers":[{"kind":"lift"}]}"#,
        ] {
            assert!(serde_json::from_str::<AnyGuidance>(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn modifiers_stay_when_the_scale_changes() {
        let modifiers = vec![AnyModifier::from(Rescale { phi: 0.7 })];
        let stack = |scale| AnyGuidance::from(ClassifierFree::new(scale).with(modifiers.clone()));
        assert_eq!(stack(1.0).with_scale(3.0), stack(3.0));
        assert_eq!(stack(1.0).with_scale(0.0), stack(0.0));
        let plain = AnyGuidance::from(ClassifierFree::new(3.0));
        assert_eq!(AnyGuidance::None.with_scale(3.0), plain);
        assert_eq!(plain.clone().with_scale(0.0), AnyGuidance::None);
        assert_eq!(plain.with_modifiers(modifiers.clone()), stack(3.0));
        let weaker =
            |scale| AnyGuidance::from(Autoguidance { checkpoint: Some(5), ..Autoguidance::new(scale) });
        assert_eq!(weaker(1.0).with_scale(0.0), weaker(0.0));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let bad: Vec<AnyModifier> =
            vec![Rescale { phi: 0.7 }.into(), Interval { low: 3.0, high: 1.0 }.into()];
        let rule = |guidance: AnyGuidance| guidance.validate().unwrap_err().setting;
        assert_eq!(rule(ClassifierFree::new(1.0).with(bad.clone()).into()), "modifiers[1].high");
        let weaker = |checkpoint, run: Option<&str>| {
            let run = run.map(Into::into);
            AnyGuidance::from(Autoguidance { checkpoint, run, ..Autoguidance::new(1.0) })
        };
        assert_eq!(rule(weaker(Some(1), None).with_modifiers(bad)), "modifiers[1].high");
        assert_eq!(rule(weaker(Some(1), None).with_scale(f64::NAN)), "scale");
        assert_eq!(rule(weaker(None, None)), "checkpoint");
        assert_eq!(rule(weaker(None, Some(""))), "run");
        for fine in [weaker(Some(1), None), weaker(None, Some("run")), weaker(Some(1), Some("run"))] {
            assert_eq!(fine.validate(), Ok(()));
        }
    }
}
