//! The spacing of noise levels that is chosen while the program runs: the list of all spacings.

mod align_your_steps;
mod beta_quantiles;
mod curves;
mod level_list;
mod timesteps;
mod vp;

pub use align_your_steps::{AlignYourSteps, PublishedSteps};
pub use beta_quantiles::BetaQuantiles;
pub use curves::{Exponential, Karras, PolyExponential};
pub use level_list::LevelList;
pub use timesteps::{TimestepSpacing, Timesteps};
pub use vp::Vp;

use super::Spacing;
use crate::invalid::Invalid;
use serde::{Deserialize, Serialize};

/// [`AnySpacing`] from one line per spacing: the type and its name.
macro_rules! spacings {
    ($($kind:ident: $name:literal,)+) => {
        /// A spacing that is chosen while the program runs, e.g. by a configuration file.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        pub enum AnySpacing {
            $(
                #[doc = concat!("[`", stringify!($kind), "`]")]
                #[serde(rename = $name)]
                $kind($kind),
            )+
            /// [`LevelList`]
            #[serde(rename = "list")]
            LevelList(LevelList),
        }

        impl AnySpacing {
            /// The names that [`from_name`](Self::from_name) knows: of all but a [`LevelList`], which has no default.
            pub const NAMES: [&str; [$($name),+].len()] = [$($name),+];

            /// The spacing of this name with its default parameters.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$kind($kind::default())),)+
                    _ => None,
                }
            }

            /// Whether there is such a spacing.
            ///
            /// # Errors
            /// If a parameter is out of its range.
            pub fn validate(&self) -> Result<(), Invalid> {
                match self {
                    $(Self::$kind(spacing) => spacing.validate(),)+
                    Self::LevelList(list) => list.validate(),
                }
            }
        }

        impl Spacing for AnySpacing {
            fn levels(&self, table: &[f64], steps: usize) -> Vec<f64> {
                match self {
                    $(Self::$kind(spacing) => spacing.levels(table, steps),)+
                    Self::LevelList(list) => list.levels(table, steps),
                }
            }
        }

        $(
            impl From<$kind> for AnySpacing {
                fn from(spacing: $kind) -> Self {
                    Self::$kind(spacing)
                }
            }
        )+
    };
}

spacings! {
    Karras: "karras",
    Exponential: "exponential",
    PolyExponential: "polyexponential",
    Vp: "vp",
    BetaQuantiles: "beta",
    Timesteps: "timesteps",
    AlignYourSteps: "align-your-steps",
}

impl From<LevelList> for AnySpacing {
    fn from(list: LevelList) -> Self {
        Self::LevelList(list)
    }
}

impl AnySpacing {
    /// The number of steps by which all of its own levels are seen.
    pub(crate) fn least_steps(&self) -> usize {
        match self {
            Self::LevelList(list) => list.levels.len().max(2),
            _ => 2,
        }
    }
}
