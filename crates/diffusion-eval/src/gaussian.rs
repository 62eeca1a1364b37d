//! Means and covariances, and the files in which other programs keep them.

use crate::error::MetricError;
use crate::statistics;
use diffusion_weights::{NpyArray, write_npz};
use faer::{Mat, MatRef, Side};
use std::path::Path;
use std::sync::OnceLock;

/// How far a covariance may be from symmetric, and its lowest eigenvalue below 0, relative to its largest value: what f32
/// leaves.
const ROUNDING: f64 = 1e-4;

/// A mean and a covariance, all that the Fréchet distance knows of a set.
///
/// [`Moments`](crate::Moments) makes one of features. [`open`](Self::open) reads what pytorch-fid, EDM and EDM2 have written,
/// and [`save`](Self::save) writes what they read.
#[derive(Clone, Debug)]
pub struct Gaussian {
    mean: Vec<f64>,
    covariance: Vec<f64>,
    /// What is found when it is needed first.
    root: OnceLock<Mat<f64>>,
}

/// Of the same mean and covariance.
impl PartialEq for Gaussian {
    fn eq(&self, other: &Self) -> bool {
        (&self.mean, &self.covariance) == (&other.mean, &other.covariance)
    }
}

impl Gaussian {
    /// The mean `mean`, `[d]`, and the covariance `covariance`, `[d, d]` row by row.
    ///
    /// # Errors
    /// If there are no dimensions, the sizes do not agree, a number is not finite, or the covariance is not symmetric.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self, MetricError> {
        let d = mean.len();
        if d == 0 {
            return Err(MetricError::Empty);
        }
        if covariance.len() != d * d {
            return Err(MetricError::Shapes { mu: vec![d], sigma: vec![covariance.len()] });
        }
        for (array, values) in [("mu", &mean), ("sigma", &covariance)] {
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(MetricError::Statistic { array, index, value: values[index] });
            }
        }
        let largest = covariance.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        for (row, column) in (0..d).flat_map(|row| (0..row).map(move |column| (row, column))) {
            let apart = covariance[row * d + column] - covariance[column * d + row];
            if apart.abs() > ROUNDING * largest {
                return Err(MetricError::NotSymmetric { row, column });
            }
        }
        Ok(Self { mean, covariance, root: OnceLock::new() })
    }

    /// The arrays `mu` and `sigma` of a `.npz` file, as pytorch-fid and EDM write it, or of the only set in a pickle, as EDM2
    /// writes it, of which nothing is run.
    ///
    /// # Errors
    /// If the file cannot be read or lacks one of them, if a pickle has several sets, or as [`new`](Self::new).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, MetricError> {
        Self::of_arrays(statistics::read(path.as_ref(), None)?)
    }

    /// The same of the set `set` in a pickle of several: EDM2's have `fid`, of Inception's features, and `fd_dinov2`, of
    /// DINOv2's. A file that has one set without a name is of any.
    ///
    /// # Errors
    /// If the file has no such set, or as [`open`](Self::open).
    pub fn open_set(path: impl AsRef<Path>, set: &str) -> Result<Self, MetricError> {
        Self::of_arrays(statistics::read(path.as_ref(), Some(set))?)
    }

    fn of_arrays([mu, sigma]: [NpyArray; 2]) -> Result<Self, MetricError> {
        match (&mu.shape[..], &sigma.shape[..]) {
            (&[d], &[rows, columns]) if [rows, columns] == [d, d] => Self::new(mu.values, sigma.values),
            _ => Err(MetricError::Shapes { mu: mu.shape, sigma: sigma.shape }),
        }
    }

    /// Writes the file that [`open`](Self::open) reads, in f64, whole or not at all.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), MetricError> {
        let d = self.mean.len();
        let mu = NpyArray { shape: vec![d], values: self.mean.clone() };
        let sigma = NpyArray { shape: vec![d, d], values: self.covariance.clone() };
        Ok(write_npz(path, &[("mu", &mu), ("sigma", &sigma)])?)
    }

    /// The mean, `[d]`.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance, `[d, d]` row by row.
    pub fn covariance(&self) -> &[f64] {
        &self.covariance
    }

    /// The sum of the variances.
    pub(crate) fn trace(&self) -> f64 {
        self.covariance.iter().step_by(self.mean.len() + 1).sum()
    }

    /// A matrix R of `[d, rank]` with R·Rᵀ the covariance.
    pub(crate) fn root(&self) -> Result<&Mat<f64>, MetricError> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let d = self.mean.len();
        let covariance = MatRef::from_row_major_slice(&self.covariance, d, d);
        let eigen = covariance.self_adjoint_eigen(Side::Lower).map_err(|_| MetricError::Diverged)?;
        let (values, vectors) = (eigen.S().column_vector(), eigen.U());
        // In increasing order.
        let (lowest, highest) = (values[0], values[d - 1]);
        if lowest < -ROUNDING * highest.abs() {
            return Err(MetricError::NegativeVariance { eigenvalue: lowest });
        }
        // What lies below is what rounding leaves of 0; its root would not be small.
        let noise = d as f64 * f64::EPSILON * highest;
        let rank = (0..d).filter(|&i| values[i] > noise).count();
        let first = d - rank;
        let root = Mat::from_fn(d, rank, |row, column| {
            vectors[(row, first + column)] * values[first + column].sqrt()
        });
        Ok(self.root.get_or_init(|| root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_covariance_is_refused() {
        let refusal = |mean: &[f64], covariance: &[f64]| {
            Gaussian::new(mean.to_vec(), covariance.to_vec()).and_then(|it| it.root().cloned()).unwrap_err()
        };
        assert!(matches!(refusal(&[], &[]), MetricError::Empty));
        assert!(matches!(
            refusal(&[0.0], &[1.0, 2.0]),
            MetricError::Shapes { mu, sigma } if (&mu[..], &sigma[..]) == (&[1], &[2])
        ));
        assert!(matches!(
            refusal(&[0.0, f64::NAN], &[1.0; 4]),
            MetricError::Statistic { array: "mu", index: 1, .. }
        ));
        assert!(matches!(
            refusal(&[0.0; 2], &[1.0, 0.0, f64::INFINITY, 1.0]),
            MetricError::Statistic { array: "sigma", index: 2, .. }
        ));
        assert!(matches!(
            refusal(&[0.0; 2], &[1.0, 0.5, 0.4, 1.0]),
            MetricError::NotSymmetric { row: 1, column: 0 }
        ));
        assert!(matches!(
            refusal(&[0.0; 2], &[1.0, 2.0, 2.0, 1.0]),
            MetricError::NegativeVariance { eigenvalue } if (eigenvalue + 1.0).abs() < 1e-12
        ));
        assert!(matches!(refusal(&[0.0], &[-1.0]), MetricError::NegativeVariance { .. }));
    }

    #[test]
    fn a_file_has_every_bit() {
        let gaussian = Gaussian::new(vec![0.1, -1e-300], vec![1.0 / 3.0, 0.2, 0.2, 0.7]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("statistics.npz");
        gaussian.save(&path).unwrap();
        assert_eq!(Gaussian::open(&path).unwrap(), gaussian);
    }

    #[test]
    fn arrays_of_other_shapes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("statistics.npz");
        let array =
            |shape: &[usize]| NpyArray { shape: shape.to_vec(), values: vec![1.0; shape.iter().product()] };
        for (mu, sigma) in [(&[2][..], &[4][..]), (&[2, 1], &[2, 2]), (&[2], &[2, 3]), (&[3], &[2, 2])] {
            write_npz(&path, &[("mu", &array(mu)), ("sigma", &array(sigma))]).unwrap();
            let error = Gaussian::open(&path).unwrap_err();
            assert!(
                matches!(&error, MetricError::Shapes { mu: found, sigma: other } if (&found[..], &other[..]) == (mu, sigma)),
                "{error}"
            );
        }
        assert!(matches!(Gaussian::open(folder.path().join("none.npz")), Err(MetricError::File(_))));
    }
}
