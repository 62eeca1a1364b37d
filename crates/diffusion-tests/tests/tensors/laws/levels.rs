//! Noise levels at which nothing can be computed are refused before anything is; denoisers behind a pointer, and labels
//! for a network whose condition is chosen while the program runs.

use crate::support::parameters::assert_same_bits;
use burn::backend::Autodiff;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::network::mlp::{AnyMlp, ConditionalMlpConfig, TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::schedule::{LogLinear, Schedule};
use diffusion::core::{
    AnyPrediction, ClassifierFree, Denoiser, Diffusion, EpsPrediction, GradientEstimation, Guided, Labels,
    Mix, Noise, Parameterization, Sigmas, VarianceExploding, sample,
};
use diffusion::train::{TrainConfig, train};
use diffusion_tests::{TestBackend, backend_tests};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

backend_tests!(
    a_mode_that_tells_nothing_at_a_level_is_refused,
    levels_that_f32_does_not_square_are_refused,
    pointers_to_denoisers_are_sampled_from,
    labels_suit_a_network_with_any_condition,
);

/// `½·x₀ + ½·ε`, which at σ = 1 is half of the input.
#[derive(Clone, Debug)]
struct Mean;

impl Parameterization for Mean {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn target(&self, _sigma: f64) -> Mix {
        Mix { x0: 0.5, eps: 0.5 }
    }
}

fn model<B: Backend, P: Parameterization>(mode: P, device: &B::Device) -> Diffusion<B, TimeInputMlp<B>, P> {
    Diffusion::new(
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![4], ..Default::default() }.init(0, device),
        mode,
    )
}

fn batches<C: Clone>(condition: C) -> impl Iterator<Item = (TensorData, C)> {
    std::iter::repeat((TensorData::new(vec![0.1f32, 0.2, -0.3, 0.4], [2, 2]), condition))
}

#[track_caller]
fn assert_refused<T>(what: &str, expected: &str, work: impl FnOnce() -> T) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(work()))) else { panic!("{what} is not refused") };
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains(expected), "{what}: {message}");
}

fn a_mode_that_tells_nothing_at_a_level_is_refused<B: TestBackend>(device: &B::Device) {
    // None of the 100 levels is 1.
    let (schedule, config) = (LogLinear::new(100, 0.1, 10.0), TrainConfig::new(2));
    let expected = "Mean does not tell data and noise apart near σ = 1.0";
    assert_refused("training", expected, || {
        train(batches(()), model::<Autodiff<B>, _>(Mean, device), &schedule, &config)
    });
    let mean = model::<B, _>(Mean, device);
    let (sigmas, ddim) = (schedule.sigmas(7), GradientEstimation::DDIM);
    let sampled = |denoiser: &dyn Denoiser<B, 2, Path = VarianceExploding>| {
        sample(denoiser, ddim, &sigmas, 1, Noise::new(0), device).next()
    };
    assert_refused("sampling", expected, || sampled(&mean));
    assert_refused("sampling of what is given", expected, || sampled(&mean.given(())));
    let guided = Guided::new(model::<B, _>(EpsPrediction, device), mean.clone(), ClassifierFree::new(1.0));
    assert_refused("guidance", expected, || sampled(&guided));
    let x = || Tensor::<B, 2>::ones([2, 2], device);
    assert_refused("an estimate", expected, || mean.denoised(x(), [0.5, 1.0], ()));

    // Above σ = 1 it is a mode like any other.
    let above = LogLinear::new(100, 1.5, 10.0);
    let mut run = train(batches(()), model::<Autodiff<B>, _>(Mean, device), &above, &config);
    assert!(run.next().unwrap().unwrap().loss().is_finite());
    let x0 = sample(&mean, ddim, &above.sigmas(3), 2, Noise::new(0), device).last().unwrap();
    assert!(x0.into_data().iter::<f32>().all(f32::is_finite));
}

/// A schedule that checks nothing.
#[derive(Debug)]
struct Unchecked(Vec<f64>);

impl Schedule for Unchecked {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn levels(&self) -> &[f64] {
        &self.0
    }
}

fn levels_that_f32_does_not_square_are_refused<B: TestBackend>(device: &B::Device) {
    let expected = "whose squares f32 holds";
    let eps = || model::<Autodiff<B>, _>(EpsPrediction, device);
    for levels in [vec![0.1, 1e30], vec![1e-30, 0.1], vec![0.1, f64::NAN]] {
        assert_refused("training", expected, || {
            train(batches(()), eps(), Unchecked(levels), &TrainConfig::new(1))
        });
    }
    let model = model::<B, _>(EpsPrediction, device);
    for sigma in [1e30, 1e-30, f64::INFINITY] {
        let x = Tensor::<B, 2>::ones([2, 2], device);
        assert_refused("a prediction", expected, || model.predict_eps(x, sigma, ()));
    }
}

fn pointers_to_denoisers_are_sampled_from<B: TestBackend>(device: &B::Device) {
    let model = model::<B, _>(EpsPrediction, device);
    let sigmas = Sigmas::karras(5, 0.1, 10.0, 7.0);
    fn sampled<B: TestBackend, M>(
        denoiser: &M,
        sigmas: &Sigmas<VarianceExploding>,
        device: &B::Device,
    ) -> Vec<f32>
    where
        M: Denoiser<B, 2, Path = VarianceExploding> + ?Sized,
    {
        let x0 = sample(denoiser, GradientEstimation::DDPM, sigmas, 3, Noise::new(4), device).last().unwrap();
        x0.into_data().to_vec().unwrap()
    }
    let expected = sampled::<B, _>(&model, &sigmas, device);
    type Dyn<B> = dyn Denoiser<B, 2, Path = VarianceExploding>;
    let boxed: Box<Dyn<B>> = Box::new(model.clone());
    let counted: Rc<Dyn<B>> = Rc::new(model.clone());
    let shared = Arc::new(model.clone());
    for found in [
        sampled::<B, _>(&boxed, &sigmas, device),
        sampled::<B, _>(&*boxed, &sigmas, device),
        sampled::<B, _>(&counted, &sigmas, device),
        sampled::<B, _>(&shared, &sigmas, device),
        sampled::<B, _>(&&model, &sigmas, device),
    ] {
        assert_same_bits("a pointer's samples", &found, &expected);
    }
}

/// A batch with labels, and one without, to networks that may have some.
fn labels_suit_a_network_with_any_condition<B: TestBackend>(device: &B::Device) {
    let network = |labeled: bool| -> AnyMlp<Autodiff<B>> {
        match labeled {
            true => ConditionalMlpConfig::default().init_any(0, device),
            false => TimeInputMlpConfig::default().init_any(0, device),
        }
    };
    let (schedule, config) = (LogLinear::default(), TrainConfig::new(1));
    let labeled = Diffusion::new(network(true), EpsPrediction);
    let mut run = train(batches(Labels(vec![3, 4])), labeled, &schedule, &config);
    assert!(run.next().unwrap().unwrap().loss().is_finite());
    let unlabeled = Diffusion::new(network(false), EpsPrediction);
    let mut run = train(batches(()), unlabeled, &schedule, &config);
    assert!(run.next().unwrap().unwrap().loss().is_finite());
    assert!(AnyPrediction::Eps.check_levels(schedule.levels()).is_ok());
}
