//! Guidance: classifier-free, of any two denoisers, with and without a state; and the labels that training forgets for its
//! sake.

use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::guidance::{GuidancePoint, GuidedEstimate};
use diffusion::core::layer::{CondEmbedderLabelConfig, ConditionEmbedder, Init};
use diffusion::core::network::mlp::{ConditionalMlp, ConditionalMlpConfig, TimeInputMlpConfig};
use diffusion::core::network::{Labels, Network, NullCondition};
use diffusion::core::random::{Purpose, Stream};
use diffusion::core::{
    AnyGuidance, AnyPrediction, ClassifierFree, Denoiser, DenoiserOutput, Diffusion, GradientEstimation,
    Guidance, Guided, Noise, Sigmas, Tracer, VPrediction, VarianceExploding, sample_from,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::cell::RefCell;

use crate::support::parameters::assert_same_bits;

backend_tests!(
    scale_zero_is_the_conditional_model,
    guidance_combines_two_predictions,
    guidance_away_from_the_condition_itself_changes_nothing,
    both_halves_go_through_the_network_at_once,
    drop_condition_forgets_those_below_the_probability,
    one_model_is_followed_away_from_another,
    two_denoisers_guide_as_one_model_under_two_conditions,
    without_guidance_the_second_denoiser_is_not_asked,
    a_state_lasts_for_one_run,
    denoisers_on_different_paths_are_refused,
);

type Model<B> = Diffusion<B, ConditionalMlp<B>, VPrediction>;

fn model<B: Backend>(device: &B::Device) -> Model<B> {
    let labels = CondEmbedderLabelConfig::new(5);
    let config =
        ConditionalMlpConfig { dim: 2, hidden_dims: vec![16, 16], cond_dim: 4, labels, ..Default::default() };
    Diffusion::new(config.init(11, device), VPrediction)
}

fn input<B: Backend>(model: &Model<B>, device: &B::Device) -> (Tensor<B, 2>, Labels) {
    (model.rand_input(4, Noise::new(1), device), Labels(vec![0, 4, 2, 2]))
}

fn scale_zero_is_the_conditional_model<B: TestBackend>(device: &B::Device) {
    let model = model::<B>(device);
    let (x, labels) = input(&model, device);
    let bits = |x: Tensor<B, 2>| x.into_data().to_vec::<f32>().unwrap();
    let guided = model.given(labels.clone()).guided(0.0);
    let given = model.given(labels.clone());
    let (found, expected) = (guided.evaluate(x.clone(), 0.8), given.evaluate(x.clone(), 0.8));
    assert_same_bits("denoised", &bits(found.clone().denoised()), &bits(expected.clone().denoised()));
    assert_same_bits("velocity", &bits(found.velocity()), &bits(expected.velocity()));
    let found = model.predict_eps_cfg(x.clone(), 0.8, labels.clone(), 0.0);
    assert_same_bits("eps", &bits(found), &bits(model.predict_eps(x, 0.8, labels)));
}

fn guidance_combines_two_predictions<B: TestBackend>(device: &B::Device) {
    let model = model::<B>(device);
    let (x, labels) = input(&model, device);
    let nothing = Labels(vec![5; 4]);
    let against = Labels(vec![3, 3, 1, 0]);
    for scale in [-1.0, 0.5, 3.0] {
        let combined = |with: Tensor<B, 2>, without: Tensor<B, 2>| with.clone() + (with - without) * scale;
        let expect = |predict: &dyn Fn(Labels) -> Tensor<B, 2>, other: &Labels| {
            combined(predict(labels.clone()), predict(other.clone())).into_data()
        };
        let eps = |labels: Labels| model.predict_eps(x.clone(), 0.8, labels);
        let denoised = |labels: Labels| model.denoised(x.clone(), 0.8, labels);
        let velocity = |labels: Labels| model.velocity(x.clone(), 0.8, labels);

        let found = model.predict_eps_cfg(x.clone(), 0.8, labels.clone(), scale).into_data();
        assert_close("eps", found, expect(&eps, &nothing), B::TOLERANCE);
        let found = model.given(labels.clone()).guided(scale).evaluate(x.clone(), 0.8);
        assert_close(
            "denoised",
            found.clone().denoised().into_data(),
            expect(&denoised, &nothing),
            B::TOLERANCE,
        );
        assert_close("velocity", found.velocity().into_data(), expect(&velocity, &nothing), B::TOLERANCE);
        let found = model.given(labels.clone()).guided_by(against.clone(), scale).evaluate(x.clone(), 0.8);
        assert_close("denoised", found.denoised().into_data(), expect(&denoised, &against), B::TOLERANCE);
    }
}

fn guidance_away_from_the_condition_itself_changes_nothing<B: TestBackend>(device: &B::Device) {
    let model = model::<B>(device);
    let (x, labels) = input(&model, device);
    let found = model.given(labels.clone()).guided_by(labels.clone(), 100.0).evaluate(x.clone(), 0.8);
    let expected = model.given(labels).evaluate(x, 0.8);
    assert_close("denoised", found.denoised().into_data(), expected.denoised().into_data(), B::TOLERANCE);
}

/// A network that notes the labels of each call and answers with them.
struct Noting(RefCell<Vec<Labels>>);

impl<B: Backend> Network<B, 2> for Noting {
    type Condition = Labels;

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 1]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 2>,
        sigma: Tensor<B, 1>,
        labels: Labels,
        tracer: &mut T,
    ) -> Tensor<B, 2> {
        assert_eq!((x.dims(), sigma.dims()), ([labels.0.len(), 1], [labels.0.len()]));
        let answers = labels.tensor::<B>(100, &x.device()).float().unsqueeze_dim(1); // [batch, 1]
        self.0.borrow_mut().push(labels);
        tracer.layer(&"network", answers)
    }
}

impl NullCondition for Noting {
    type Condition = Labels;

    fn null_condition(&self, condition: &Labels) -> Labels {
        Labels(vec![99; condition.0.len()])
    }
}

fn both_halves_go_through_the_network_at_once<B: TestBackend>(device: &B::Device) {
    let model = Diffusion::<B, _, _>::new(Noting(RefCell::default()), diffusion::core::EpsPrediction);
    let x = || Tensor::<B, 2>::zeros([2, 1], device);
    let found = model.given(Labels(vec![3, 7])).guided(2.0).evaluate(x(), 1.0).velocity();
    assert_close("velocity", found.into_data(), [[-189.0f32], [-177.0]].into(), B::TOLERANCE);
    model.given(Labels(vec![3, 7])).guided(0.0).evaluate(x(), 1.0);
    let calls = model.network.0.into_inner();
    assert_eq!(calls, [Labels(vec![3, 7, 99, 99]), Labels(vec![3, 7])]);
}

fn drop_condition_forgets_those_below_the_probability<B: TestBackend>(device: &B::Device) {
    let draws = [0.0, 0.299_999, 0.3, 0.300_001, 0.999_999];
    let labels = || Labels(vec![1, 2, 3, 4, 0]);
    for (dropout, expected) in [(0.3, [5, 5, 3, 4, 0]), (0.0, [1, 2, 3, 4, 0]), (1.0, [5, 5, 5, 5, 5])] {
        let stream = &mut Stream::new(0, Purpose::PARAMETERS, 0, 0);
        let config = CondEmbedderLabelConfig { num_classes: 5, dropout };
        let embedder = config.init::<B>(4, Init::Torch, Init::Torch, stream, device);
        let mut asked = Vec::new();
        let mut uniform = |i: usize| {
            asked.push(i);
            draws[i]
        };
        assert_eq!(embedder.drop_condition(labels(), &mut uniform), Labels(expected.to_vec()));
        assert_eq!(asked, [0, 1, 2, 3, 4], "each example has its own draw");

        // A network hands the call on.
        let mut network = model::<B>(device).network;
        network.cond_embed = config.init(4, Init::Torch, Init::Torch, stream, device);
        assert_eq!(Network::drop_condition(&network, labels(), &mut |i| draws[i]), Labels(expected.to_vec()));
        let dit = crate::support::weights::dit_config().init_conditional::<B>(&config, 0, device);
        assert_eq!(Network::drop_condition(&dit, labels(), &mut |i| draws[i]), Labels(expected.to_vec()));
    }
}

/// A model of these modes and a smaller one: both estimates move by the scale times the difference, whether the outputs
/// mean the same or not.
fn one_model_is_followed_away_from_another<B: TestBackend>(device: &B::Device) {
    let network = |hidden: usize, seed| {
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![hidden], ..Default::default() }.init::<B>(seed, device)
    };
    let modes = [
        [AnyPrediction::Edm { sigma_data: 0.5 }, AnyPrediction::Eps],
        [AnyPrediction::V, AnyPrediction::V],
        [AnyPrediction::ScaledX0, AnyPrediction::X0],
        [AnyPrediction::Flow, AnyPrediction::Flow],
    ];
    for [with, without] in modes {
        let (large, small) = (Diffusion::new(network(16, 1), with), Diffusion::new(network(4, 2), without));
        let x = large.rand_input::<2>(3, Noise::new(1), device);
        let guided = Guided::new(&large, &small, ClassifierFree::new(1.5)).evaluate(x.clone(), 0.8);
        let expect =
            |with: Tensor<B, 2>, without: Tensor<B, 2>| (with.clone() + (with - without) * 1.5).into_data();
        let denoised = expect(large.denoised(x.clone(), 0.8, ()), small.denoised(x.clone(), 0.8, ()));
        let velocity = expect(large.velocity(x.clone(), 0.8, ()), small.velocity(x, 0.8, ()));
        let what = format!("{with:?} away from {without:?}");
        assert_close(&what, guided.clone().denoised().into_data(), denoised, B::TOLERANCE);
        assert_close(&what, guided.velocity().into_data(), velocity, B::TOLERANCE);
    }
}

fn two_denoisers_guide_as_one_model_under_two_conditions<B: TestBackend>(device: &B::Device) {
    let model = model::<B>(device);
    let (x, labels) = input(&model, device);
    let against = Labels(vec![3, 3, 1, 0]);
    let rule = ClassifierFree::new(2.0);
    let one = model.given(labels.clone()).guided_by(against.clone(), 2.0).evaluate(x.clone(), 0.8);
    let any = model.given(labels.clone()).guided_with(against.clone(), AnyGuidance::from(rule.clone()));
    let any = any.evaluate(x.clone(), 0.8).denoised().into_data();
    let two = Guided::new(model.given(labels), model.given(against), rule).evaluate(x, 0.8);
    let one = one.denoised().into_data();
    assert_eq!(any.bytes, one.bytes, "a rule that is chosen at run time is the one that it stands for");
    assert_close("two denoisers", two.denoised().into_data(), one, B::TOLERANCE);
}

/// Estimates the data as this number everywhere, or refuses to.
struct Constant(Option<f64>);

impl<B: Backend> Denoiser<B, 2> for Constant {
    type Path = VarianceExploding;

    fn path(&self) -> VarianceExploding {
        VarianceExploding
    }

    fn input_shape(&self, batch: usize) -> [usize; 2] {
        [batch, 1]
    }

    fn evaluate(&self, x: Tensor<B, 2>, sigma: f64) -> DenoiserOutput<B, 2> {
        let data = x.full_like(self.0.expect("this denoiser was asked"));
        DenoiserOutput::from_denoised(&VarianceExploding, x, data, sigma)
    }
}

fn without_guidance_the_second_denoiser_is_not_asked<B: TestBackend>(device: &B::Device) {
    let x = || Tensor::<B, 2>::ones([2, 1], device);
    for off in [AnyGuidance::None, ClassifierFree::new(0.0).into()] {
        let found = Guided::new(Constant(Some(3.0)), Constant(None), off).evaluate(x(), 1.0).denoised();
        assert_close("denoised", found.into_data(), [[3.0f32], [3.0]].into(), 0.0);
    }
}

/// Answers with the number of evaluations of the run so far.
struct Remembering;

impl Guidance for Remembering {
    type State<B: Backend, const D: usize> = usize;

    fn start<B: Backend, const D: usize>(&self) -> usize {
        0
    }

    fn is_active(&self, _at: &GuidancePoint) -> bool {
        true
    }

    fn guide<B: Backend, const D: usize>(
        &self,
        estimate: GuidedEstimate<B, D>,
        _at: &GuidancePoint,
        evaluations: &mut usize,
    ) -> GuidedEstimate<B, D> {
        *evaluations += 1;
        let answer = estimate.unguided().full_like(*evaluations as f64);
        estimate.with_guided(answer)
    }
}

/// The last step to 0 ends at the estimate itself.
fn a_state_lasts_for_one_run<B: TestBackend>(device: &B::Device) {
    let inner = Guided::new(Constant(Some(0.0)), Constant(Some(0.0)), Remembering);
    // A denoiser inside of another one keeps its state too.
    let outer = Guided::new(&inner, Constant(Some(0.0)), ClassifierFree::new(1.0));
    let sigmas = Sigmas::<VarianceExploding>::new(vec![4.0, 2.0, 1.0, 0.0]);
    let x = || Tensor::<B, 2>::zeros([1, 1], device);
    for run in 0..2 {
        let what = format!("run {run}");
        let end = sample_from(&inner, GradientEstimation::DDIM, &sigmas, x(), Noise::new(0)).last().unwrap();
        assert_close(&what, end.into_data(), [[3.0f32]].into(), B::TOLERANCE);
        let end = sample_from(&outer, GradientEstimation::DDIM, &sigmas, x(), Noise::new(0)).last().unwrap();
        assert_close(&what, end.into_data(), [[6.0f32]].into(), B::TOLERANCE);
        assert_close(&what, inner.evaluate(x(), 1.0).denoised().into_data(), [[1.0f32]].into(), B::TOLERANCE);
    }
}

fn denoisers_on_different_paths_are_refused<B: TestBackend>(device: &B::Device) {
    let network =
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![4], ..Default::default() }.init::<B>(0, device);
    let (flow, eps) =
        (Diffusion::new(network.clone(), AnyPrediction::Flow), Diffusion::new(network, AnyPrediction::Eps));
    let evaluated = std::panic::AssertUnwindSafe(|| {
        let x = flow.rand_input::<2>(1, Noise::new(0), device);
        Guided::new(&flow, &eps, ClassifierFree::new(1.0)).evaluate(x, 0.5)
    });
    let message = *std::panic::catch_unwind(evaluated).unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("the two denoisers of a guided one are on different paths"), "{message}");
}
