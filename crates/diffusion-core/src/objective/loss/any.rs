//! The loss that is chosen while the program runs: the list of all losses.

mod pseudo_huber;
mod squared;

pub use pseudo_huber::PseudoHuber;
pub use squared::Squared;

use super::Loss;
use crate::invalid::Invalid;
use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

/// [`AnyLoss`] from the types of all losses.
macro_rules! losses {
    ($($kind:ident,)+) => {
        /// A loss that is chosen while the program runs, e.g. by a configuration file.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum AnyLoss {
            $(
                #[doc = concat!("[`", stringify!($kind), "`]")]
                $kind($kind),
            )+
        }

        impl AnyLoss {
            /// Whether there is such a loss.
            ///
            /// # Errors
            /// If a parameter is out of its range.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$kind(loss) => loss.validate(),)+
                }
            }
        }

        $(
            impl From<$kind> for AnyLoss {
                fn from(loss: $kind) -> Self {
                    Self::$kind(loss)
                }
            }
        )+

        impl Loss for AnyLoss {
            fn penalty<B: Backend, const D: usize>(&self, error: Tensor<B, D>) -> Tensor<B, D> {
                match self {
                    $(Self::$kind(loss) => loss.penalty(error),)+
                }
            }

            fn is_quadratic(&self) -> bool {
                match self {
                    $(Self::$kind(loss) => loss.is_quadratic(),)+
                }
            }
        }
    };
}

losses! {
    Squared,
    PseudoHuber,
}

impl Default for AnyLoss {
    fn default() -> Self {
        Squared {}.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};

    fn error() -> Tensor<Autodiff<Flex>, 3> {
        Tensor::from_floats([[[3.0, -4.0]], [[0.0, 0.0]]], &Default::default()).require_grad()
    }

    /// √(‖e‖² + c²) − c of whole examples; its gradient is e/√(‖e‖² + c²), also where the error is 0.
    #[test]
    fn pseudo_huber_is_the_published_distance() {
        for (loss, c) in [
            (AnyLoss::from(PseudoHuber { c: Some(0.5) }), 0.5f32),
            (PseudoHuber { c: Some(12.0) }.into(), 12.0),
            (PseudoHuber::default().into(), 0.00054 * 2f32.sqrt()),
        ] {
            let error = error();
            let losses = loss.penalty(error.clone());
            assert_eq!(losses.dims(), [2, 1, 1]);
            let gradients = losses.clone().sum().backward();
            let losses: Vec<f32> = losses.into_data().to_vec().unwrap();
            let root = (25.0 + c * c).sqrt();
            assert!((losses[0] - (root - c)).abs() < 1e-5 && losses[1] == 0.0, "{losses:?}, c = {c}");
            let gradient: Vec<f32> = error.grad(&gradients).unwrap().into_data().to_vec().unwrap();
            for (found, expected) in gradient.into_iter().zip([3.0 / root, -4.0 / root, 0.0, 0.0]) {
                assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
            }
        }
    }

    /// Errors far below c lose no digits to the difference.
    #[test]
    fn pseudo_huber_of_small_errors_is_a_parabola() {
        let error = Tensor::<Flex, 2>::from_floats([[1e-4, 0.0]], &Default::default());
        let found = PseudoHuber { c: Some(1.0) }.penalty(error).into_scalar();
        assert!((found / 0.5e-8 - 1.0).abs() < 1e-5, "{found}");
    }

    #[test]
    fn squares_are_squares() {
        let losses: Vec<f32> = AnyLoss::default().penalty(error()).into_data().to_vec().unwrap();
        assert_eq!(losses, [9.0, 16.0, 0.0, 0.0]);
        assert!(AnyLoss::default().is_quadratic() && !AnyLoss::from(PseudoHuber::default()).is_quadratic());
    }

    #[test]
    fn files_say_the_kind() {
        for (text, expected) in [
            (r#"{"kind":"squared"}"#, AnyLoss::default()),
            (r#"{"kind":"pseudo-huber"}"#, PseudoHuber { c: None }.into()),
            (r#"{"kind":"pseudo-huber","c":0.1}"#, PseudoHuber { c: Some(0.1) }.into()),
        ] {
            assert_eq!(serde_json::from_str::<AnyLoss>(text).unwrap(), expected);
            assert_eq!(serde_json::to_string(&expected).unwrap(), text);
            assert_eq!(expected.validate(), Ok(()));
        }
        assert_eq!(PseudoHuber { c: Some(0.0) }.validate().unwrap_err().setting, "c");
        for text in [r#"{"kind":"squared","c":1}"#, r#"{"kind":"pseudo-huber","d":1}"#] {
            assert!(serde_json::from_str::<AnyLoss>(text).is_err(), "{text}");
        }
    }
}
