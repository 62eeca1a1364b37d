//! Steps whose numbers are not finite change nothing and say where it went wrong; gradients are clipped and
//! accumulated as one batch would have them.

use crate::support::parameters::parameters;
use crate::support::spec::named;
use burn::backend::Autodiff;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use diffusion::core::network::mlp::{TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::schedule::LogLinear;
use diffusion::core::{Diffusion, EpsPrediction, Network, Tracer};
use diffusion::data::{Batches, Swissroll};
use diffusion::train::{AdamWConfig, EmaConfig, NonFinite, TrainConfig, train};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    a_nan_in_the_data_is_skipped_and_placed,
    a_nan_in_a_weight_is_named_and_stops_the_run,
    a_nan_in_the_loss_is_skipped,
    an_infinite_gradient_is_skipped_and_named,
    a_spoilt_model_is_not_saved,
    only_steps_in_a_row_count,
    nobody_looks_where_nobody_should,
    accumulated_batches_are_one_large_batch,
    gradients_are_clipped_to_their_common_norm,
    the_learning_rate_follows_its_schedule,
);

fn mlp<B: Backend>(device: &B::Device) -> TimeInputMlp<B> {
    TimeInputMlpConfig { dim: 2, hidden_dims: vec![8, 8], ..Default::default() }.init(1, device)
}

fn schedule() -> LogLinear {
    LogLinear::new(50, 0.1, 5.0)
}

fn batch(first: f32) -> (TensorData, ()) {
    (TensorData::from([[first, 0.5f32], [0.25, -0.5], [1.0, 0.75]]), ())
}

/// An MLP that does something wrong where an input is above 100.
#[derive(Module, Debug)]
struct Faulty<B: Backend> {
    inner: TimeInputMlp<B>,
    #[module(skip)]
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The output is NaN.
    Output,
    /// The output is right, its gradient infinite.
    Gradient,
}

impl<B: Backend> Network<B, 2> for Faulty<B> {
    type Condition = ();

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        self.inner.input_shape(batch)
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        (): (),
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        let bad = x.clone().detach().greater_elem(100.0).any().into_data().iter::<bool>().next();
        let tame = x.clamp(-1.0, 1.0);
        let output = self.inner.forward(tame, sigma, ());
        let output = match (bad, self.fault) {
            (Some(true), Fault::Output) => output * f32::NAN,
            // Nothing is added, with a slope of 1e50.
            (Some(true), Fault::Gradient) => {
                let steep = output.clone() * 1e25;
                output + (steep.clone() - steep.detach()) * 1e25
            }
            _ => output,
        };
        tracer.layer(&"network", output)
    }
}

fn faulty<B: Backend>(fault: Fault, device: &B::Device) -> Diffusion<B, Faulty<B>, EpsPrediction> {
    Diffusion::new(Faulty { inner: mlp(device), fault }, EpsPrediction)
}

/// What four steps do, of which the third has a bad batch: skipped, and the run goes on.
fn skips_the_third<B: TestBackend, N>(
    model: impl Fn() -> Diffusion<Autodiff<B>, N, EpsPrediction>,
    bad: f32,
) -> NonFinite
where
    N: Network<Autodiff<B>, 2, Condition = ()>
        + burn::module::AutodiffModule<Autodiff<B>>
        + burn::module::ModuleDisplay,
    N::InnerModule: burn::module::ModuleDisplay,
{
    let (schedule, config) = (schedule(), TrainConfig::new(4));
    let batches = [batch(0.0), batch(0.5), batch(bad), batch(0.25)];
    let mut run = train(batches, model(), &schedule, &config);
    assert!(run.by_ref().take(2).all(|step| step.unwrap().skipped.is_none()));
    let before = (parameters(&run.model()), parameters(run.ema()));
    let step = run.next().unwrap().unwrap();
    assert_eq!((parameters(&run.model()), parameters(run.ema())), before, "a skipped step changes something");
    assert_eq!((step.index, step.examples, run.skipped()), (3, 9, 1));

    let last = run.next().unwrap().unwrap();
    assert!(last.skipped.is_none() && last.loss().is_finite() && !run.gave_up());
    let after = parameters(&run.model());
    assert!(after != before.0 && after.iter().flatten().all(|value| value.is_finite()));
    step.skipped.unwrap()
}

fn a_nan_in_the_data_is_skipped_and_placed<B: TestBackend>(device: &B::Device) {
    let model = || Diffusion::new(mlp::<Autodiff<B>>(device), EpsPrediction);
    let expected = NonFinite::Data { example: 0, position: 0, value: "NaN".to_string() };
    assert_eq!(skips_the_third::<B, _>(model, f32::NAN), expected);
    assert_eq!(expected.to_string(), "the data are NaN in example 0 of the batch, at its number 0");
    // In the second batch of an update, counted from the update's first example.
    let (schedule, config) = (schedule(), TrainConfig { accumulate: 2, ..TrainConfig::new(1) });
    let last = (TensorData::from([[0.0f32, 1.0], [2.0, f32::NEG_INFINITY]]), ());
    let step = train([batch(0.0), last], model(), &schedule, &config).next().unwrap().unwrap();
    let expected = NonFinite::Data { example: 4, position: 1, value: "-inf".to_string() };
    assert_eq!(step.skipped, Some(expected));
}

fn a_nan_in_the_loss_is_skipped<B: TestBackend>(device: &B::Device) {
    let found = skips_the_third::<B, _>(|| faulty::<Autodiff<B>>(Fault::Output, device), 1e3);
    assert_eq!(found, NonFinite::Loss("NaN".to_string()));
}

fn an_infinite_gradient_is_skipped_and_named<B: TestBackend>(device: &B::Device) {
    let found = skips_the_third::<B, _>(|| faulty::<Autodiff<B>>(Fault::Gradient, device), 1e3);
    let NonFinite::Gradients(paths) = &found else { panic!("{found}") };
    assert!(paths.iter().any(|path| path == "network.inner.net.2.bias"), "{paths:?}");
    assert!(found.to_string().starts_with("the gradients of `network.inner.net.0.weight`"), "{found}");
}

/// Puts a NaN into the `which`th parameter.
struct Spoil {
    which: usize,
    seen: usize,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Spoil {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        let spoilt = self.seen == self.which;
        self.seen += 1;
        let tensor =
            if spoilt { Tensor::from_inner(tensor.inner() * f32::NAN).require_grad() } else { tensor };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

fn a_nan_in_a_weight_is_named_and_stops_the_run<B: TestBackend>(device: &B::Device) {
    let (schedule, config) = (schedule(), TrainConfig { max_skipped: 3, ..TrainConfig::new(50) });
    let model =
        Diffusion::new(mlp::<Autodiff<B>>(device), EpsPrediction).map(&mut Spoil { which: 2, seen: 0 });
    let mut run = train(std::iter::repeat_with(|| batch(0.5)), model, &schedule, &config);
    let reasons: Vec<_> = run.by_ref().map(|step| step.unwrap().skipped).collect();
    let expected = NonFinite::Weights(vec!["network.net.1.weight".to_string()]);
    assert_eq!(reasons, [Some(expected.clone()), Some(expected.clone()), Some(expected)]);
    assert!(run.gave_up());
    assert_eq!((run.step(), run.skipped()), (3, 3));
}

fn a_spoilt_model_is_not_saved<B: TestBackend>(device: &B::Device) {
    let (schedule, config) = (schedule(), TrainConfig::new(9));
    let spec = named("mlp", "eps", "log-linear");
    let model =
        Diffusion::new(mlp::<Autodiff<B>>(device), EpsPrediction).map(&mut Spoil { which: 1, seen: 0 });
    let run = train([batch(0.5)], model, &schedule, &config);
    let folder = tempfile::tempdir().unwrap();
    let message = run.save(folder.path(), &spec, None).unwrap_err().to_string();
    assert_eq!(
        message,
        "no checkpoint was made of step 0: the weights of `network.net.0.bias` are not finite"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Every second step is skipped, and no two in a row; then two are, and a run that is resumed has another try.
fn only_steps_in_a_row_count<B: TestBackend>(device: &B::Device) {
    let (schedule, config) = (schedule(), TrainConfig { max_skipped: 2, ..TrainConfig::new(20) });
    let model = || Diffusion::new(mlp::<Autodiff<B>>(device), EpsPrediction);
    let firsts = [f32::NAN, 0.0, f32::NAN, 0.5, f32::NAN, 0.25, f32::NAN, f32::NAN, 0.75];
    let mut run = train(firsts.map(batch), model(), &schedule, &config);
    let skipped: Vec<bool> = run.by_ref().map(|step| step.unwrap().skipped.is_some()).collect();
    assert_eq!(skipped, [true, false, true, false, true, false, true, true]);
    assert!(run.gave_up());

    let spec = named("mlp", "eps", "log-linear");
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = run.save(folder.path(), &spec, None).unwrap();
    let mut again = train([batch(0.75)], model(), &schedule, &config).resume(&checkpoint, &spec).unwrap();
    assert_eq!((again.skipped(), again.gave_up()), (5, false));
    assert!(again.next().unwrap().unwrap().skipped.is_none());
}

fn nobody_looks_where_nobody_should<B: TestBackend>(device: &B::Device) {
    let (schedule, config) = (schedule(), TrainConfig { max_skipped: 0, ..TrainConfig::new(3) });
    let model = Diffusion::new(mlp::<Autodiff<B>>(device), EpsPrediction);
    let mut run = train([batch(0.0), batch(f32::NAN), batch(0.0)], model, &schedule, &config);
    let steps: Vec<_> = run.by_ref().map(Result::unwrap).collect();
    assert!(steps.iter().all(|step| step.skipped.is_none() && step.gradient_norm.is_none()));
    assert!(steps[0].loss().is_finite() && steps[2].loss().is_nan() && !run.gave_up());
}

/// Batches of 5, 5 and 2 weigh as one of 12: noise, levels and the mean are the same but for rounding.
fn accumulated_batches_are_one_large_batch<B: TestBackend>(device: &B::Device) {
    let schedule = schedule();
    let data = Swissroll::new(1.5, 15.0, 12);
    let trained = |batch_size: usize, accumulate: usize| {
        // Plain descent: Adam's first steps depend on the gradients' signs alone.
        let adamw = AdamWConfig { beta_1: 0.0, beta_2: 0.0, epsilon: 1.0, weight_decay: 0.0 };
        let config = TrainConfig { accumulate, adamw, ..TrainConfig::new(3) };
        let model = Diffusion::new(mlp::<Autodiff<B>>(device), EpsPrediction);
        let mut run = train(Batches::new(data, batch_size, 0), model, &schedule, &config);
        let steps: Vec<_> = run.by_ref().map(Result::unwrap).collect();
        let losses: Vec<f32> = steps.iter().map(|step| step.loss() as f32).collect();
        let norms: Vec<f32> = steps.iter().map(|step| step.gradient_norm.unwrap() as f32).collect();
        assert_eq!(steps[2].examples, 36);
        (losses, norms, parameters(&run.model()).concat())
    };
    let (whole, parts) = (trained(12, 1), trained(5, 3));
    for (what, whole, parts) in
        [("losses", whole.0, parts.0), ("norms", whole.1, parts.1), ("parameters", whole.2, parts.2)]
    {
        let data = |values: Vec<f32>| {
            let n = values.len();
            TensorData::new(values, [n])
        };
        assert_close(what, data(parts), data(whole), B::TOLERANCE);
    }
}

/// AdamW without memory and with a huge ε takes steps of `lr·g/ε`: the step is as long as the clipped gradient.
fn gradients_are_clipped_to_their_common_norm<B: TestBackend>(device: &B::Device) {
    let schedule = schedule();
    let adamw = AdamWConfig { beta_1: 0.0, beta_2: 0.0, epsilon: 1e4, weight_decay: 0.0 };
    let length = |clip_norm: Option<f64>| {
        let config = TrainConfig { clip_norm, lr: 1e3, adamw: adamw.clone(), ..TrainConfig::new(1) };
        let model = Diffusion::new(mlp::<Autodiff<B>>(device), EpsPrediction);
        let before = parameters(&model).concat();
        let mut run = train([batch(0.5)], model, &schedule, &config);
        let norm = run.next().unwrap().unwrap().gradient_norm.unwrap();
        let after = parameters(&run.model()).concat();
        let step = before.iter().zip(&after).map(|(b, a)| f64::from(b - a).powi(2)).sum::<f64>().sqrt();
        (norm, 10.0 * step)
    };
    let (norm, step) = length(None);
    assert!((step / norm - 1.0).abs() < 1e-3, "the step is {step} long, the gradient {norm}");
    let (same_norm, step) = length(Some(0.25 * norm));
    assert_eq!(same_norm, norm, "the norm that is told is that before clipping");
    assert!((step / (0.25 * norm) - 1.0).abs() < 1e-3, "the step is {step} long, expected {}", 0.25 * norm);
    assert_eq!(length(Some(2.0 * norm)), length(None), "a short gradient is left alone");
}

fn the_learning_rate_follows_its_schedule<B: TestBackend>(device: &B::Device) {
    use diffusion::train::{LrDecay, LrSchedule};
    let schedule = schedule();
    let lr_schedule = LrSchedule { warmup: 2, decay: LrDecay::Cosine { floor: 0.0 } };
    let ema = EmaConfig::Constant { decay: 0.5 };
    let config = TrainConfig { lr: 8.0e-3, lr_schedule, ema, ..TrainConfig::new(6) };
    let model = Diffusion::new(mlp::<Autodiff<B>>(device), EpsPrediction);
    let run = train(std::iter::repeat_with(|| batch(0.5)), model, &schedule, &config);
    let rates: Vec<f64> = run.map(|step| step.unwrap().lr).collect();
    // Half a cosine from step 2 to step 6.
    let cosine = |done: f64| 4.0e-3 * (1.0 + (std::f64::consts::PI * done).cos());
    assert_eq!(rates, [4.0e-3, 8.0e-3, cosine(0.25), cosine(0.5), cosine(0.75), cosine(1.0)]);
}
