//! The pairing that is chosen while the program runs: the list of all pairings.

mod assignment;
mod sinkhorn;

pub use assignment::Assignment;
pub use sinkhorn::Sinkhorn;

use super::{Pairing, Products};
use crate::invalid::Invalid;
use crate::random::Stream;
use serde::{Deserialize, Serialize};

/// [`AnyPairing`] from the types of all pairings.
macro_rules! pairings {
    ($($kind:ident,)+) => {
        /// A pairing that is chosen while the program runs, e.g. by a configuration file.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum AnyPairing {
            $(
                #[doc = concat!("[`", stringify!($kind), "`]")]
                $kind($kind),
            )+
        }

        impl AnyPairing {
            /// The most examples of a batch: beyond, all their products are more than a computer holds.
            pub const MOST_EXAMPLES: usize = 8_192;

            /// Whether there is such a pairing.
            ///
            /// # Errors
            /// If a parameter is out of its range.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$kind(pairing) => pairing.validate(),)+
                }
            }
        }

        $(
            impl From<$kind> for AnyPairing {
                fn from(pairing: $kind) -> Self {
                    Self::$kind(pairing)
                }
            }
        )+

        impl Pairing for AnyPairing {
            fn pair(&self, products: &Products, stream: &mut Stream) -> Vec<usize> {
                match self {
                    $(Self::$kind(pairing) => pairing.pair(products, stream),)+
                }
            }
        }
    };
}

pairings! {
    Assignment,
    Sinkhorn,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, normal_data};

    fn products(n: usize, seed: u64) -> Products {
        let draw = |index| normal_data(seed, Purpose(1000), index, 0, [n, 2]).to_vec::<f32>().unwrap();
        Products::new(&draw(0), &draw(1), n)
    }

    fn pair(pairing: impl Pairing, products: &Products) -> Vec<usize> {
        pairing.pair(products, &mut Stream::new(0, Purpose(1001), 0, 0))
    }

    /// The largest sum of all permutations.
    fn brute_force(products: &Products, i: usize, taken: &mut Vec<usize>) -> f64 {
        if i == products.examples() {
            return 0.0;
        }
        let mut best = f64::NEG_INFINITY;
        for j in 0..products.examples() {
            if !taken.contains(&j) {
                taken.push(j);
                best = best.max(products.at(i, j) + brute_force(products, i + 1, taken));
                taken.pop();
            }
        }
        best
    }

    #[test]
    fn the_assignment_is_the_best_of_all() {
        for n in 1..=7 {
            for seed in 0..10 {
                let products = products(n, seed);
                let found = products.sum(&pair(Assignment {}, &products));
                let best = brute_force(&products, 0, &mut Vec::new());
                assert!((found - best).abs() < 1e-9, "{found}, of all permutations {best}");
            }
        }
    }

    /// With little blur Sinkhorn's pairs are nearly the best, with much they are still no worse than at random.
    #[test]
    fn sinkhorn_comes_near_the_best() {
        let (mut near, mut best) = (0.0, 0.0);
        for seed in 0..20 {
            let products = products(24, seed);
            let identity: Vec<usize> = (0..24).collect();
            let sum = |pairing: AnyPairing| products.sum(&pair(pairing, &products));
            best += sum(Assignment {}.into()) - products.sum(&identity);
            near += sum(Sinkhorn { epsilon: 0.02, iterations: 200 }.into()) - products.sum(&identity);
            assert!(sum(Sinkhorn { epsilon: 100.0, iterations: 5 }.into()) >= products.sum(&identity));
        }
        assert!(near > 0.95 * best && near <= best, "{near} of {best}");
    }

    /// A diffuse plan is drawn from: by the stream and by nothing else.
    #[test]
    fn sinkhorn_draws_from_its_stream() {
        let products = products(16, 3);
        let pair = |seed| {
            Sinkhorn { epsilon: 1.0, iterations: 20 }
                .pair(&products, &mut Stream::new(seed, Purpose(1001), 0, 0))
        };
        assert_eq!(pair(1), pair(1));
        assert!((2..20).any(|seed| pair(seed) != pair(1)));
    }

    #[test]
    fn data_that_are_not_finite_stay_where_they_are() {
        let products = Products::new(&[f32::NAN, 1.0, 2.0], &[3.0, 2.0, 1.0], 3);
        for pairing in [AnyPairing::from(Assignment {}), Sinkhorn::default().into()] {
            assert_eq!(pair(pairing, &products), [0, 1, 2]);
            assert_eq!(pair(pairing, &Products::new(&[0.0; 3], &[0.0; 3], 3)).len(), 3);
        }
    }

    #[test]
    fn files_say_the_kind() {
        for (text, expected) in [
            (r#"{"kind":"assignment"}"#, AnyPairing::from(Assignment {})),
            (r#"{"kind":"sinkhorn"}"#, Sinkhorn::default().into()),
            (r#"{"kind":"sinkhorn","epsilon":0.5}"#, Sinkhorn { epsilon: 0.5, ..Sinkhorn::default() }.into()),
        ] {
            assert_eq!(serde_json::from_str::<AnyPairing>(text).unwrap(), expected);
            assert_eq!(expected.validate(), Ok(()));
        }
        for (sinkhorn, setting) in [
            (Sinkhorn { epsilon: 0.0, iterations: 5 }, "epsilon"),
            (Sinkhorn { epsilon: f64::NAN, iterations: 5 }, "epsilon"),
            (Sinkhorn { epsilon: 0.1, iterations: 0 }, "iterations"),
        ] {
            assert_eq!(AnyPairing::from(sinkhorn).validate().unwrap_err().setting, setting);
        }
        assert!(serde_json::from_str::<AnyPairing>(r#"{"kind":"assignment","epsilon":1}"#).is_err());
    }
}
