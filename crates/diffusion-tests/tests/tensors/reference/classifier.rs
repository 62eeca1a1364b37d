//! The classifier of clothes beside the same network in PyTorch, by the numbers that `fixtures/classifier.py` draws from it.

use crate::support::fixture::Fixture;
use burn::tensor::{Tensor, backend::Backend};
use diffusion::eval::extract::{FeatureExtractor, classifier::Classifier};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(features_are_those_of_pytorch, three_equal_channels_are_gray, other_sizes_panic);

/// The first images of the test set, `[count, 1, 28, 28]`.
fn images<B: Backend>(fixture: &Fixture, count: usize, device: &B::Device) -> Tensor<B, 4> {
    let bytes = fixture.tensor::<B, 2>("images", device).slice([0..count, 0..784]);
    bytes.reshape([count, 1, 28, 28]) / 127.5 - 1.0
}

fn features_are_those_of_pytorch<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("classifier");
    let classifier = Classifier::<B>::fashion_mnist(device);
    let images = images(&fixture, 4, device);
    let first = |name| fixture.tensor::<B, 2>(name, device).narrow(0, 0, 4).into_data();
    let features = classifier.extract(images.clone());
    assert_eq!(features.dims()[1], classifier.width());
    assert_close("features", features.into_data(), first("features"), B::TOLERANCE.max(1e-5));
    assert_close(
        "logits",
        classifier.logits(images.clone()).into_data(),
        first("logits"),
        B::TOLERANCE.max(1e-5),
    );
    assert_eq!(classifier.classify(images.clone()), &fixture.labels("labels").0[..4]);
    let sums = classifier.probabilities(images).sum_dim(1).flatten::<1>(0, 1);
    assert_close("sums", sums.into_data(), [1.0f32; 4].into(), B::TOLERANCE);
}

fn three_equal_channels_are_gray<B: TestBackend>(device: &B::Device) {
    let classifier = Classifier::<B>::fashion_mnist(device);
    let gray = images(&Fixture::open("classifier"), 2, device);
    let expected = classifier.extract(gray.clone()).into_data();
    assert_close("gray", classifier.extract(gray.repeat_dim(1, 3)).into_data(), expected, B::TOLERANCE);
}

fn other_sizes_panic<B: TestBackend>(device: &B::Device) {
    for shape in [[1, 1, 32, 28], [1, 2, 28, 28]] {
        let other = Tensor::<B, 4>::zeros(shape, device);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Classifier::<B>::untrained(0, device).extract(other)
        }));
        assert!(found.is_err(), "{shape:?}");
    }
}

/// The accuracy on the whole test set is that which PyTorch finds, up to images between two classes.
#[cfg(feature = "flex")]
#[test]
fn the_accuracy_is_the_recorded_one() {
    use diffusion::data::{Batches, Dataset as _, MnistLike, Split};
    use std::io::Write as _;

    let folder = std::path::Path::new("/usr/share/datasets/fashion-mnist");
    if !folder.exists() {
        // Not `eprintln!`, which the test harness hides when tests pass.
        let _ = writeln!(std::io::stderr(), "the accuracy is not tested: there is no {}", folder.display());
        return;
    }
    let device = Default::default();
    let classifier = Classifier::<burn::backend::Flex>::fashion_mnist(&device);
    let images = MnistLike::from_folder(folder, Split::Test).unwrap();
    let (count, mut right) = (images.len(), 0);
    for batch in Batches::new(images, 500, 0).keep_order().epochs(1) {
        let (images, labels) = batch.unwrap();
        let found = classifier.classify(Tensor::from_data(images, &device));
        right += found.iter().zip(&labels.0).filter(|(found, label)| found == label).count();
    }
    let expected = Fixture::open("classifier").number("accuracy");
    let found = right as f64 / count as f64;
    assert!((found - expected).abs() <= 3e-4, "accuracy {found}, expected {expected}");
}
