//! The parameterization that is chosen while the program runs.

use super::{
    ConsistencyPrediction, Edm, EpsPrediction, FlowPrediction, Mix, Parameterization, Scaled, VPrediction,
    X0Prediction,
};
use crate::invalid::Invalid;
use crate::path::AnyPath;
use crate::precision::check_level;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Debug};

/// A mode that is chosen while the program runs, e.g. by a configuration file.
///
/// One compiled instantiation per network serves all modes. Its `Debug` form is that of the type it stands for.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum AnyPrediction {
    /// [`EpsPrediction`]
    Eps,
    /// [`X0Prediction`]
    X0,
    /// [`VPrediction`]
    V,
    /// [`Edm`]
    Edm {
        /// Standard deviation of the data.
        sigma_data: f64,
    },
    /// [`ConsistencyPrediction`]
    Consistency {
        /// Standard deviation of the data.
        sigma_data: f64,
        /// The smallest noise level.
        sigma_min: f64,
    },
    /// [`Scaled`]`(`[`EpsPrediction`]`)`
    #[serde(rename = "scaled-eps")]
    ScaledEps,
    /// [`Scaled`]`(`[`X0Prediction`]`)`
    #[serde(rename = "scaled-x0")]
    ScaledX0,
    /// [`Scaled`]`(`[`VPrediction`]`)`
    #[serde(rename = "scaled-v")]
    ScaledV,
    /// [`FlowPrediction`], on the straight path
    Flow,
}

/// Runs `$body` with `$mode` bound to the unit struct that the value stands for.
macro_rules! with_mode {
    ($value:expr, $mode:ident => $body:expr) => {
        match *$value {
            AnyPrediction::Eps => {
                let $mode = EpsPrediction;
                $body
            }
            AnyPrediction::X0 => {
                let $mode = X0Prediction;
                $body
            }
            AnyPrediction::V => {
                let $mode = VPrediction;
                $body
            }
            AnyPrediction::Edm { sigma_data } => {
                let $mode = Edm { sigma_data };
                $body
            }
            AnyPrediction::Consistency { sigma_data, sigma_min } => {
                let $mode = ConsistencyPrediction { sigma_data, sigma_min };
                $body
            }
            AnyPrediction::ScaledEps => {
                let $mode = Scaled(EpsPrediction);
                $body
            }
            AnyPrediction::ScaledX0 => {
                let $mode = Scaled(X0Prediction);
                $body
            }
            AnyPrediction::ScaledV => {
                let $mode = Scaled(VPrediction);
                $body
            }
            AnyPrediction::Flow => {
                let $mode = FlowPrediction;
                $body
            }
        }
    };
}

impl AnyPrediction {
    /// Whether there is such a mode.
    ///
    /// # Errors
    /// If the data's standard deviation or a noise level is not positive, or f32 does not hold its square.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Self::Edm { sigma_data } => check_level("edm.sigma_data", *sigma_data),
            Self::Consistency { sigma_data, sigma_min } => {
                check_level("consistency.sigma_data", *sigma_data)?;
                check_level("consistency.sigma_min", *sigma_min)
            }
            _ => Ok(()),
        }
    }

    /// Its name in configuration files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Eps => "eps",
            Self::X0 => "x0",
            Self::V => "v",
            Self::Edm { .. } => "edm",
            Self::Consistency { .. } => "consistency",
            Self::ScaledEps => "scaled-eps",
            Self::ScaledX0 => "scaled-x0",
            Self::ScaledV => "scaled-v",
            Self::Flow => "flow",
        }
    }
}

impl Parameterization for AnyPrediction {
    type Path = AnyPath;

    fn path(&self) -> AnyPath {
        with_mode!(self, mode => mode.path().into())
    }

    fn target(&self, sigma: f64) -> Mix {
        with_mode!(self, mode => mode.target(sigma))
    }

    fn c_in(&self, sigma: f64) -> f64 {
        with_mode!(self, mode => mode.c_in(sigma))
    }

    fn boundary(&self) -> f64 {
        with_mode!(self, mode => mode.boundary())
    }
}

impl Debug for AnyPrediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_mode!(self, mode => mode.fmt(f))
    }
}
