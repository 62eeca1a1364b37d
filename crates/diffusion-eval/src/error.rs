//! What can be wrong with features, their statistics, and what is asked of them.

use diffusion_core::watch::Stopped;
use diffusion_weights::WeightsError;
use std::path::{Path, PathBuf};

/// Why a metric has no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// There are no examples, or none has a feature.
    #[error("there are no features")]
    Empty,
    /// A feature is infinite or not a number.
    #[error("feature {column} of example {row} is {value}, expected a finite number")]
    NotFinite {
        /// The example, counted from 0.
        row: usize,
        /// The feature, counted from 0.
        column: usize,
        /// What it is.
        value: f32,
    },
    /// Two sets have examples of different lengths.
    #[error("the examples have {found} features, expected {expected} as the others have")]
    Dimensions {
        /// How many features one set has.
        found: usize,
        /// How many the other has.
        expected: usize,
    },
    /// There are fewer examples than the metric needs to be defined.
    #[error("there are {found} examples, expected at least {needed}")]
    TooFew {
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// So many neighbors are not there, or none was asked for.
    #[error("{k} nearest neighbors were asked for among {count} examples, expected 1 to {}", count.saturating_sub(1))]
    Neighbors {
        /// How many neighbors were asked for.
        k: usize,
        /// How many examples the smaller set has.
        count: usize,
    },
    /// A subset is larger than half of the smaller set, or has fewer than 2 examples.
    #[error("subsets of {size} were asked for among {count} examples, expected 2 to {}", count / 2)]
    SubsetSize {
        /// How many examples a subset was to have.
        size: usize,
        /// How many examples the smaller set has.
        count: usize,
    },
    /// Fewer than 2 subsets were asked for, of which there is no standard error.
    #[error("{found} subsets were asked for, expected at least 2")]
    Subsets {
        /// How many were asked for.
        found: usize,
    },
    /// Fewer than 2 groups, or more than there are examples.
    #[error("{groups} groups of {count} examples were asked for, expected 2 to {count}")]
    Groups {
        /// How many groups were asked for.
        groups: usize,
        /// How many examples there are.
        count: usize,
    },
    /// A kernel has no width, as where most examples are the same.
    #[error("the kernel's bandwidth is {found}, expected a positive number")]
    Bandwidth {
        /// What it is.
        found: f64,
    },
    /// A number in a mean (`mu`) or covariance (`sigma`) is infinite or not a number.
    #[error("value {index} of `{array}` is {value}, expected a finite number")]
    Statistic {
        /// `mu` or `sigma`.
        array: &'static str,
        /// Its place, row by row.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// A mean and a covariance are of different numbers of dimensions, or not a vector and a square.
    #[error("`sigma` has shape {sigma:?} and `mu` has shape {mu:?}, expected [d, d] and [d]")]
    Shapes {
        /// The mean's shape.
        mu: Vec<usize>,
        /// The covariance's shape.
        sigma: Vec<usize>,
    },
    /// A covariance is not symmetric.
    #[error("`sigma` is not symmetric at row {row}, column {column}")]
    NotSymmetric {
        /// The row, counted from 0.
        row: usize,
        /// The column, counted from 0.
        column: usize,
    },
    /// A covariance has a negative eigenvalue that rounding does not explain.
    #[error("`sigma` has the eigenvalue {eigenvalue}, expected none below 0")]
    NegativeVariance {
        /// The lowest eigenvalue.
        eigenvalue: f64,
    },
    /// An eigenvalue or singular value was not found, which no finite matrix should bring about.
    #[error("the decomposition of a covariance does not converge")]
    Diverged,
    /// A pickle has something else than statistics.
    #[error("{} holds no statistics: {reason}", path.display())]
    NoStatistics {
        /// The file.
        path: PathBuf,
        /// What it has instead.
        reason: String,
    },
    /// A pickle has other sets of statistics than the one that is asked for, or several where none is named.
    #[error("{}", other_sets(path, found, set))]
    Sets {
        /// The file.
        path: PathBuf,
        /// Their names.
        found: Vec<String>,
        /// The one that was asked for.
        set: Option<String>,
    },
    /// A file of statistics cannot be read or written.
    #[error(transparent)]
    File(#[from] WeightsError),
    /// The work was asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

fn other_sets(path: &Path, found: &[String], set: &Option<String>) -> String {
    let found = match found {
        [] => "no set of statistics".to_string(),
        _ => format!("the sets of statistics {}", found.join(", ")),
    };
    let expected = match set {
        Some(set) => format!("`{set}`"),
        None => "one, or the name of one".to_string(),
    };
    format!("{} has {found}, expected {expected}", path.display())
}
