//! The guidance that is chosen while the program runs: the list of all of them.

mod classifier_free;

pub use classifier_free::ClassifierFree;

use super::Guidance;
use crate::invalid::Invalid;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// [`AnyGuidance`] and its state from the types of all guidances.
macro_rules! guidances {
    ($($kind:ident,)+) => {
        /// A guidance that is chosen while the program runs, e.g. by a configuration file.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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

            fn is_active(&self, sigma: f64) -> bool {
                match self {
                    Self::None => false,
                    $(Self::$kind(guidance) => guidance.is_active(sigma),)+
                }
            }

            /// # Panics
            /// If `state` was started by another guidance.
            fn combine<B: Backend, const D: usize>(
                &self,
                with: Tensor<B, D>,
                without: Tensor<B, D>,
                sigma: f64,
                state: &mut AnyGuidanceState<B, D>,
            ) -> Tensor<B, D> {
                match (self, state) {
                    (Self::None, AnyGuidanceState::None) => with,
                    $((Self::$kind(guidance), AnyGuidanceState::$kind(state)) => {
                        guidance.combine(with, without, sigma, state)
                    })+
                    (guidance, _) => panic!("the state of another guidance was given to {guidance:?}"),
                }
            }
        }
    };
}

guidances! {
    ClassifierFree,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_kind_and_scale() {
        let parse = serde_json::from_str::<AnyGuidance>;
        assert_eq!(parse(r#"{"kind": "none"}"#).unwrap(), AnyGuidance::None);
        let scaled = parse(r#"{"kind": "classifier-free", "scale": 2.0}"#).unwrap();
        assert_eq!(scaled, ClassifierFree { scale: 2.0 }.into());
        assert_eq!((scaled.is_active(1.0), AnyGuidance::None.is_active(1.0)), (true, false));
        let endless = AnyGuidance::from(ClassifierFree { scale: f64::INFINITY });
        assert_eq!(endless.validate().unwrap_err().setting, "scale");
    }
}
