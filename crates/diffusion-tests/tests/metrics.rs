//! Distances between sets of features beside pytorch-fid's, torch-fidelity's, prdc's, POT's, dcor's and scikit-learn's, by the
//! numbers that `fixtures/metrics.py` draws from them.

#![allow(clippy::unwrap_used)]

use diffusion::core::watch::Watch;
use diffusion::eval::{
    Directions, Features, Gaussian, Memorization, MetricError, Moments, energy_distance, frechet_distance,
    kernel_distance, median_distance, mmd, nearest, neighborhoods, sliced_wasserstein, wasserstein,
};
use safetensors::SafeTensors;
use std::fs;
use std::path::PathBuf;

/// Relative to the expected value.
const TOLERANCE: f64 = 1e-6;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The bytes of the array `name`, and its last axis.
fn bytes(name: &str) -> (Vec<u8>, usize) {
    let file = fs::read(path("metrics.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let array = file.tensor(name).unwrap();
    (array.data().to_vec(), array.shape().last().copied().unwrap())
}

fn numbers(name: &str) -> Vec<f64> {
    bytes(name).0.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn number(name: &str) -> f64 {
    let numbers = numbers(name);
    assert_eq!(numbers.len(), 1, "{name}");
    numbers[0]
}

/// The places in `name`, those of a row of the array together.
fn places(name: &str) -> Vec<Vec<usize>> {
    let (bytes, width) = bytes(name);
    let places: Vec<usize> =
        bytes.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()) as usize).collect();
    places.chunks_exact(width).map(<[usize]>::to_vec).collect()
}

fn features(name: &str) -> Features {
    let (bytes, dimensions) = bytes(name);
    let values = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    Features::new(values.collect(), dimensions).unwrap()
}

fn gaussian(features: &Features) -> Gaussian {
    let mut moments = Moments::new(features.dimensions());
    moments.add(features).unwrap();
    moments.gaussian().unwrap()
}

/// As many of the data as there are samples.
fn as_many(real: &Features, samples: &Features) -> Features {
    real.select(&(0..samples.count()).collect::<Vec<_>>())
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= TOLERANCE * expected.abs(), "{found} is not {expected}");
    }
}

#[test]
fn means_and_covariances_are_those_of_numpy() {
    for (set, mean, covariance) in [("real", "mean", "covariance"), ("far", "far.mean", "far.covariance")] {
        let found = gaussian(&features(set));
        assert_close(found.mean(), &numbers(mean));
        assert_close(found.covariance(), &numbers(covariance));
    }
}

#[test]
fn the_frechet_distance_is_that_of_pytorch_fid() {
    let [samples, real, few] = ["samples", "real", "few"].map(|name| gaussian(&features(name)));
    assert_close(&[frechet_distance(&samples, &real).unwrap()], &[number("frechet")]);
    assert_close(&[frechet_distance(&real, &samples).unwrap()], &[number("frechet")]);
    assert_close(&[frechet_distance(&few, &real).unwrap()], &[number("frechet.few")]);
}

/// Deflated as pytorch-fid writes them, and plain as EDM does.
#[test]
fn statistics_of_other_programs_are_read() {
    let samples = gaussian(&features("samples"));
    for name in ["statistics.npz", "statistics_compressed.npz"] {
        let read = Gaussian::open(path(name)).unwrap();
        assert_eq!(read.mean(), numbers("mean"));
        assert_eq!(read.covariance(), numbers("covariance"));
        assert_close(&[frechet_distance(&samples, &read).unwrap()], &[number("frechet")]);
    }
}

/// A pickle of sets of statistics, as EDM2 writes it.
#[test]
fn statistics_of_edm2_are_read() {
    let file = path("statistics.pkl");
    let read = Gaussian::open_set(&file, "fid").unwrap();
    assert_eq!((read.mean(), read.covariance()), (&numbers("mean")[..], &numbers("covariance")[..]));
    let few = Gaussian::open_set(&file, "fd_dinov2").unwrap();
    assert_close(few.covariance(), gaussian(&features("few")).covariance());
    // A file with one set has no name for it.
    assert_eq!(Gaussian::open_set(path("statistics.npz"), "fid").unwrap(), read);
    match Gaussian::open(&file) {
        Err(MetricError::Sets { found, set: None, .. }) => assert_eq!(found, ["fd_dinov2", "fid"]),
        other => panic!("{other:?}"),
    }
    assert!(matches!(Gaussian::open_set(&file, "fd"), Err(MetricError::Sets { set: Some(_), .. })));

    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pkl");
    for (bytes, is_dict) in [(&b"\x80\x04]."[..], false), (b"\x80\x04}.", true), (b"\x80\x04}", false)] {
        fs::write(&other, bytes).unwrap();
        match Gaussian::open(&other) {
            Err(MetricError::Sets { found, .. }) => assert!(is_dict && found.is_empty()),
            Err(MetricError::NoStatistics { path, .. }) => assert!(!is_dict && path == other),
            found => panic!("{found:?}"),
        }
    }
}

#[test]
fn the_kernel_distance_is_that_of_torch_fidelity() {
    let (samples, real) = (features("samples"), features("real"));
    let distance =
        |samples: &Features, real: &Features| kernel_distance(samples, real, &Watch::default()).unwrap();
    assert_close(&[distance(&samples, &as_many(&real, &samples))], &[number("kid")]);
    let subsets = places("kid.samples").into_iter().zip(places("kid.real"));
    let values: Vec<f64> =
        subsets.map(|(left, right)| distance(&samples.select(&left), &real.select(&right))).collect();
    let mean = values.iter().sum::<f64>() / 5.0;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 5.0;
    assert_close(&[mean, variance.sqrt()], &[number("kid.mean"), number("kid.std")]);
}

#[test]
fn neighborhoods_are_those_of_prdc() {
    let (samples, real) = (features("samples"), features("real"));
    for k in [3, 5] {
        let found = neighborhoods(&samples, &real, k, &Watch::default()).unwrap();
        assert_close(
            &[found.precision, found.recall, found.density, found.coverage],
            &numbers(&format!("prdc.{k}")),
        );
    }
}

#[test]
fn the_energy_distance_is_that_of_dcor() {
    let found = energy_distance(&features("samples"), &features("real"), &Watch::default()).unwrap();
    assert_close(&[found], &[number("energy")]);
}

#[test]
fn the_mean_discrepancy_is_that_of_the_kernels_of_scikit_learn() {
    let (samples, real) = (features("samples"), features("real"));
    let median = median_distance(&real).unwrap();
    assert_close(&[median], &[number("median")]);
    assert_close(&[mmd(&samples, &real, median, &Watch::default()).unwrap()], &[number("mmd")]);
}

#[test]
fn the_sliced_wasserstein_distance_is_that_of_pot() {
    let (samples, real) = (features("samples"), features("real"));
    let directions = Directions::of(numbers("directions"), samples.dimensions());
    let distance = |real: &Features| sliced_wasserstein(&samples, real, &directions).unwrap();
    assert_close(&[distance(&real)], &[number("sliced")]);
    assert_close(&[distance(&as_many(&real, &samples))], &[number("sliced.equal")]);
}

#[test]
fn the_exact_wasserstein_distance_is_that_of_pot() {
    let (samples, real) = (features("samples"), features("real"));
    let found = wasserstein(&samples, &as_many(&real, &samples), &Watch::default()).unwrap();
    assert_close(&[found], &[number("wasserstein")]);
}

#[test]
fn the_nearest_examples_are_those_of_scikit_learn() {
    let (samples, real, few) = (features("samples"), features("real"), features("few"));
    let found = nearest(&samples, &real, &Watch::default()).unwrap();
    let indices: Vec<usize> = found.iter().map(|nearest| nearest.index).collect();
    assert_eq!(indices, places("nearest").concat());
    let distances: Vec<f64> = found.iter().map(|nearest| nearest.distance).collect();
    assert_close(&distances, &numbers("nearest.distance"));
    let memorization = Memorization::new(&samples, &few, &real, &Watch::default()).unwrap();
    assert_eq!(memorization.samples, found);
    assert_close(&[memorization.nearer()], &[number("nearer")]);
}
