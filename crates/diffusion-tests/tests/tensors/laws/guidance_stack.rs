//! What changes guidance, each change and all of them together, against formulas in f64 on the host.

use crate::support::classes::{Class, Classes, Known, MEANS, Told, rows, tensor};
use burn::tensor::{Tensor, backend::Backend};
use diffusion::core::guidance::{
    AnyModifier, Apg, CfgPlusPlus, Interval, Modifier, Rescale, ScaleCurve, ScaleSchedule,
};
use diffusion::core::{
    AnyPath, AnyPrediction, ClassifierFree, Denoiser, Diffusion, GradientEstimation, Guidance, Guided, Heun,
    Noise, Parameterization, Path, Sampler, SamplerStep, Sigmas, Straight, VarianceExploding, sample_from,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    an_interval_leaves_the_second_denoiser_out,
    a_step_is_guided_as_a_whole_or_not_at_all,
    what_changes_nothing_is_plain_guidance,
    classes_of_one_shape_are_guided_to_a_class,
    cfg_plus_plus_is_the_paper_s_update,
    apg_is_the_paper_s_update,
    rescaling_keeps_the_contrast,
    examples_without_contrast_stay_finite,
    scales_follow_their_curve,
    modifiers_follow_each_other,
    runs_share_no_momentum,
    an_example_does_not_depend_on_the_others,
    every_parameterization_is_guided_alike,
    one_condition_alone_is_not_composed,
    conditions_add_up,
    classes_of_one_shape_compose_to_a_class,
    all_conditions_go_through_the_network_at_once,
    a_model_is_given_at_least_one_condition,
);

const FIRST: Class = Class::One(MEANS[0]);
const SECOND: Class = Class::One(MEANS[1]);

/// Of three examples, each of another class.
fn told<P: Path + Default>() -> Classes<P> {
    Classes::new(vec![FIRST, SECOND, FIRST])
}

/// The same, told nothing of the class.
fn untold<P: Path + Default>() -> Classes<P> {
    Classes::new(vec![Class::Any; 3])
}

fn noise<B: Backend>(device: &B::Device) -> Tensor<B, 2> {
    tensor(&[[0.4, -1.1, 0.2], [-0.3, 0.9, 1.4], [1.2, 0.1, -0.6]], device)
}

fn exploding() -> Sigmas<VarianceExploding> {
    Sigmas::new(vec![6.0, 2.5, 1.0, 0.4, 0.0])
}

fn straight() -> Sigmas<Straight> {
    Sigmas::new(vec![1.0, 0.7, 0.4, 0.15, 0.0])
}

fn end<B: TestBackend, P: Path + Default, G: Guidance>(
    guidance: G,
    sampler: impl Sampler,
    sigmas: &Sigmas<P>,
    device: &B::Device,
) -> Tensor<B, 2> {
    let guided = Guided::new(told::<P>(), untold::<P>(), guidance);
    sample_from(&guided, sampler, sigmas, noise(device) * sigmas[0], Noise::new(0)).last().unwrap()
}

/// Euler's method in f64 with the estimate that `guide` makes of the place of an example and of what is found with and
/// without a class.
fn euler<P: Path + Default>(
    sigmas: &Sigmas<P>,
    x: &[[f64; 3]],
    mut guide: impl FnMut(usize, SamplerStep, [f64; 3], [f64; 3]) -> [f64; 3],
) -> Vec<[f64; 3]> {
    let (path, told, untold) = (P::default(), told::<P>(), untold::<P>());
    let mut x: Vec<_> = x.iter().map(|row| row.map(|value| value * sigmas[0])).collect();
    for (index, pair) in sigmas.windows(2).enumerate() {
        let step = SamplerStep { index, from: pair[0], to: pair[1] };
        let keep = step.to / step.from;
        let gain = path.alpha(step.to) - path.alpha(step.from) * keep;
        for (i, x) in x.iter_mut().enumerate() {
            let with = told.denoised(i, *x, step.from);
            let without = untold.denoised(i, *x, step.from);
            let guided = guide(i, step, with, without);
            *x = std::array::from_fn(|axis| keep * x[axis] + gain * guided[axis]);
        }
    }
    x
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn beyond(with: [f64; 3], without: [f64; 3], scale: f64) -> [f64; 3] {
    std::array::from_fn(|axis| with[axis] + scale * (with[axis] - without[axis]))
}

fn std(values: [f64; 3]) -> f64 {
    let mean = values.iter().sum::<f64>() / 3.0;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 3.0).sqrt()
}

fn assert_rows<B: TestBackend>(what: &str, found: Tensor<B, 2>, expected: &[[f64; 3]], device: &B::Device) {
    assert_close(what, found.into_data(), tensor::<B>(expected, device).into_data(), B::TOLERANCE);
}

fn bytes<B: Backend>(x: Tensor<B, 2>) -> Vec<u8> {
    x.into_data().bytes.to_vec()
}

/// The noise levels at which each of the two denoisers of a run was asked.
fn asked<B: TestBackend>(
    guidance: impl Guidance,
    sampler: impl Sampler,
    device: &B::Device,
) -> [Vec<f64>; 2] {
    let (sigmas, with, without) = (exploding(), told(), untold());
    let guided = Guided::new(&with, &without, guidance);
    sample_from(&guided, sampler, &sigmas, noise::<B>(device) * sigmas[0], Noise::new(0)).last();
    [with.asked(), without.asked()]
}

fn an_interval_leaves_the_second_denoiser_out<B: TestBackend>(device: &B::Device) {
    let within = |low, high| ClassifierFree::new(2.0).with(Interval { low, high });
    let all = vec![6.0, 2.5, 1.0, 0.4];
    for (low, high, expected) in
        [(0.0, 100.0, &all[..]), (1.0, 2.5, &all[1..2]), (0.5, 6.0, &all[..3]), (0.0, 0.39, &[])]
    {
        let found = asked::<B>(within(low, high), GradientEstimation::DDIM, device);
        assert_eq!(found, [all.clone(), expected.to_vec()], "{low} to {high}");
    }
    let plain = end::<B, _, _>(ClassifierFree::new(2.0), Heun::default(), &exploding(), device);
    let everywhere = end::<B, _, _>(within(0.0, 100.0), Heun::default(), &exploding(), device);
    assert_eq!(bytes(plain), bytes(everywhere));
    // A scale that a curve takes to 0 is none, too.
    let points = vec![[2.6, 0.0], [2.5, 1.0], [1.0, 1.0], [0.9, 0.0]];
    let scheduled = ClassifierFree::new(2.0).with(ScaleSchedule::new(ScaleCurve::Piecewise { points }));
    assert_eq!(asked::<B>(scheduled, GradientEstimation::DDIM, device)[1], [2.5, 1.0]);
}

/// Heun's method evaluates at both ends of a step.
fn a_step_is_guided_as_a_whole_or_not_at_all<B: TestBackend>(device: &B::Device) {
    let rule = ClassifierFree::new(2.0).with(Interval { low: 0.7, high: 2.5 });
    let [with, without] = asked::<B>(rule, Heun::default(), device);
    assert_eq!(with, [6.0, 2.5, 2.5, 1.0, 1.0, 0.4, 0.4]);
    assert_eq!(without, [2.5, 1.0, 1.0, 0.4]);
    // Churn evaluates above the step's start, which is within.
    let churn = Heun { s_churn: 2.0, ..Heun::default() };
    let rule = ClassifierFree::new(2.0).with(Interval { low: 0.7, high: 2.5 });
    let [_, without] = asked::<B>(rule, churn, device);
    assert!(without.len() == 4 && without[0] > 2.5, "{without:?}");
}

fn what_changes_nothing_is_plain_guidance<B: TestBackend>(device: &B::Device) {
    let plain = bytes(end::<B, _, _>(ClassifierFree::new(1.5), Heun::default(), &exploding(), device));
    let nothing: [AnyModifier; 4] = [
        Apg { eta: 1.0, ..Apg::default() }.into(),
        Rescale { phi: 0.0 }.into(),
        Interval { low: 0.0, high: 1e9 }.into(),
        ScaleSchedule::new(ScaleCurve::Piecewise { points: vec![[1.0, 1.0]] }).into(),
    ];
    for modifier in &nothing {
        let rule = ClassifierFree::new(1.5).with(vec![modifier.clone()]);
        let found = end::<B, _, _>(rule, Heun::default(), &exploding(), device);
        assert_eq!(bytes(found), plain, "{modifier:?}");
    }
    let rule = ClassifierFree::new(1.5).with(nothing.to_vec());
    assert_eq!(bytes(end::<B, _, _>(rule, Heun::default(), &exploding(), device)), plain);
    // A threshold that is never reached leaves all of it.
    let apg = Apg { eta: 1.0, norm_threshold: Some(1e6), ..Apg::default() };
    let found = end::<B, _, _>(ClassifierFree::new(1.5).with(apg), Heun::default(), &exploding(), device);
    let expected = end::<B, _, _>(ClassifierFree::new(1.5), Heun::default(), &exploding(), device);
    assert_close("threshold", found.into_data(), expected.into_data(), B::TOLERANCE);
    // A model that is its own weaker one is left as it is.
    let run = |denoiser: &dyn Denoiser<B, 2, Path = VarianceExploding>| {
        let (sigmas, x) = (exploding(), noise(device));
        let end = sample_from(denoiser, GradientEstimation::DDIM, &sigmas, x, Noise::new(0)).last();
        bytes(end.unwrap())
    };
    let own = Guided::new(told(), told(), ClassifierFree::new(50.0));
    assert_eq!(run(&own), run(&told()));
}

/// Away from one normal distribution towards another of the same variance is the way to a third one, whose mean lies beyond.
fn classes_of_one_shape_are_guided_to_a_class<B: TestBackend>(device: &B::Device) {
    fn on<B: TestBackend, P: Path + Default>(sigmas: &Sigmas<P>, device: &B::Device) {
        let [first, second] = MEANS;
        let of = |class: [f64; 3]| Classes::<P>::new(vec![Class::One(class); 3]);
        let run = |denoiser: &dyn Denoiser<B, 2, Path = P>| {
            let x = noise::<B>(device) * sigmas[0];
            sample_from(denoiser, Heun::default(), sigmas, x, Noise::new(0)).last().unwrap().into_data()
        };
        let guided = Guided::new(of(first), of(second), ClassifierFree::new(1.5));
        assert_close("guided", run(&guided), run(&of(beyond(first, second, 1.5))), B::TOLERANCE);
    }
    on::<B, _>(&exploding(), device);
    on::<B, _>(&straight(), device);
}

/// A step goes to the guided estimate, with the noise that is found without a class (Algorithm 2).
fn cfg_plus_plus_is_the_paper_s_update<B: TestBackend>(device: &B::Device) {
    fn on<B: TestBackend, P: Path + Default>(sigmas: &Sigmas<P>, device: &B::Device) {
        let (path, told, untold) = (P::default(), told::<P>(), untold::<P>());
        for lambda in [0.0, 0.6, 1.0] {
            let mut x = rows(noise::<B>(device) * sigmas[0]);
            for pair in sigmas.windows(2) {
                let [from, to] = [pair[0], pair[1]];
                for (i, x) in x.iter_mut().enumerate() {
                    let (with, without) = (told.denoised(i, *x, from), untold.denoised(i, *x, from));
                    *x = std::array::from_fn(|axis| {
                        let noise = (x[axis] - path.alpha(from) * without[axis]) / from;
                        let guided = without[axis] + lambda * (with[axis] - without[axis]);
                        path.alpha(to) * guided + to * noise
                    });
                }
            }
            let rule = ClassifierFree::new(lambda).with(CfgPlusPlus {});
            let found = end::<B, _, _>(rule, GradientEstimation::DDIM, sigmas, device);
            assert_rows(&format!("λ = {lambda} on {path:?}"), found, &x, device);
        }
    }
    on::<B, _>(&exploding(), device);
    on::<B, _>(&straight(), device);
}

/// With each of its parts alone and with all of them.
fn apg_is_the_paper_s_update<B: TestBackend>(device: &B::Device) {
    fn on<B: TestBackend, P: Path + Default>(sigmas: &Sigmas<P>, device: &B::Device) {
        let x = rows(noise::<B>(device));
        let some = Some(0.3);
        for (eta, momentum, norm_threshold) in
            [(0.0, 0.0, None), (0.4, 0.0, None), (1.0, -0.75, None), (1.0, 0.0, some), (0.2, -0.5, some)]
        {
            let apg = Apg { eta, momentum, norm_threshold };
            let mut average = [[0.0; 3]; 3];
            let expected = euler(sigmas, &x, |i, _, with, without| {
                average[i] =
                    std::array::from_fn(|axis| with[axis] - without[axis] + momentum * average[i][axis]);
                let mut difference = average[i];
                if let Some(most) = norm_threshold {
                    let factor = f64::min(1.0, most / dot(difference, difference).sqrt());
                    difference = difference.map(|value| value * factor);
                }
                let share = dot(difference, with) / dot(with, with);
                let parallel = with.map(|value| value * share);
                std::array::from_fn(|axis| {
                    let orthogonal = difference[axis] - parallel[axis];
                    with[axis] + 2.0 * (orthogonal + eta * parallel[axis])
                })
            });
            let found =
                end::<B, _, _>(ClassifierFree::new(2.0).with(apg), GradientEstimation::DDIM, sigmas, device);
            assert_rows(&format!("{apg:?}"), found, &expected, device);
        }
    }
    on::<B, _>(&exploding(), device);
    on::<B, _>(&straight(), device);
}

fn rescaling_keeps_the_contrast<B: TestBackend>(device: &B::Device) {
    fn on<B: TestBackend, P: Path + Default>(sigmas: &Sigmas<P>, device: &B::Device) {
        let x = rows(noise::<B>(device));
        for phi in [0.7, 1.0] {
            let expected = euler(sigmas, &x, |_, _, with, without| {
                let guided = beyond(with, without, 3.0);
                let ratio = std(with) / std(guided);
                guided.map(|value| phi * value * ratio + (1.0 - phi) * value)
            });
            let rule = ClassifierFree::new(3.0).with(Rescale { phi });
            let found = end::<B, _, _>(rule, GradientEstimation::DDIM, sigmas, device);
            assert_rows(&format!("φ = {phi}"), found, &expected, device);
        }
    }
    on::<B, _>(&exploding(), device);
    on::<B, _>(&straight(), device);
    let rule = ClassifierFree::new(3.0).with(Rescale { phi: 1.0 });
    let guided = Guided::new(told::<VarianceExploding>(), untold(), rule);
    let found = rows(guided.evaluate(noise::<B>(device), 0.8).denoised());
    let plain = rows(told::<VarianceExploding>().evaluate(noise::<B>(device), 0.8).denoised());
    for (found, plain) in found.into_iter().zip(plain) {
        assert!((std(found) / std(plain) - 1.0).abs() < 1e-4, "{found:?}, {plain:?}");
    }
}

/// Of one value, or of zeros, neither standard deviation nor direction exists.
fn examples_without_contrast_stay_finite<B: TestBackend>(device: &B::Device) {
    let of = |value: f64| Classes::<VarianceExploding>::new(vec![Class::Exactly([value; 3]); 3]);
    let rule = || ClassifierFree::new(2.0);
    let found = |with, without, modifier: AnyModifier| {
        let guided = Guided::new(of(with), of(without), rule().with(vec![modifier]));
        guided.evaluate(noise::<B>(device), 0.8).denoised()
    };
    let rescaled = found(1.0, 0.5, Rescale { phi: 0.7 }.into());
    assert_rows("rescale", rescaled, &[[2.0; 3]; 3], device);
    let projected = found(0.0, -0.5, Apg::default().into());
    assert_rows("apg", projected, &[[1.0; 3]; 3], device);
    let short = found(1.0, 1.0, Apg { norm_threshold: Some(1.0), ..Apg::default() }.into());
    assert_rows("threshold", short, &[[1.0; 3]; 3], device);
}

fn scales_follow_their_curve<B: TestBackend>(device: &B::Device) {
    let rule = || ClassifierFree::new(1.5).with(ScaleSchedule::new(ScaleCurve::Linear {}));
    let x = rows(noise::<B>(device));
    // t is σ on the straight path, and σ/(1 + σ) on the other one.
    let expected =
        euler(&straight(), &x, |_, step, with, without| beyond(with, without, 1.5 * 2.0 * (1.0 - step.from)));
    assert_rows(
        "straight",
        end::<B, _, _>(rule(), GradientEstimation::DDIM, &straight(), device),
        &expected,
        device,
    );
    let expected = euler(&exploding(), &x, |_, step, with, without| {
        beyond(with, without, 1.5 * 2.0 / (1.0 + step.from))
    });
    assert_rows(
        "exploding",
        end::<B, _, _>(rule(), GradientEstimation::DDIM, &exploding(), device),
        &expected,
        device,
    );
}

/// All that there is.
fn stack() -> Vec<AnyModifier> {
    vec![
        Interval { low: 0.1, high: 5.0 }.into(),
        ScaleSchedule::new(ScaleCurve::Cosine {}).into(),
        Apg { eta: 0.2, momentum: -0.5, norm_threshold: Some(0.8) }.into(),
        Rescale { phi: 0.7 }.into(),
    ]
}

/// In their order; by their types as by their names.
fn modifiers_follow_each_other<B: TestBackend>(device: &B::Device) {
    fn ends<B: TestBackend>(modifiers: impl Modifier, device: &B::Device) -> Vec<u8> {
        bytes(end::<B, _, _>(ClassifierFree::new(2.0).with(modifiers), Heun::default(), &exploding(), device))
    }
    let apg = Apg { eta: 0.2, momentum: -0.5, norm_threshold: Some(0.8) };
    let (interval, rescale) = (Interval { low: 0.1, high: 5.0 }, Rescale { phi: 0.7 });
    let curve = ScaleSchedule::new(ScaleCurve::Cosine {});
    let typed = ends::<B>((interval, (curve, (apg, rescale))), device);
    assert_eq!(ends::<B>(stack(), device), typed);
    let mut turned = stack();
    turned.reverse();
    assert_ne!(ends::<B>(turned, device), typed, "the order means nothing");

    // λ is what the curve makes of the scale, wherever the interval stands.
    let x = rows(noise::<B>(device));
    let expected = euler(&exploding(), &x, |_, step, with, without| match step.from <= 5.0 {
        true => {
            let factor = step.from / (step.from - step.to);
            beyond(with, without, 0.6 * 0.5 * factor - 1.0)
        }
        false => with,
    });
    let half = ScaleSchedule::new(ScaleCurve::Piecewise { points: vec![[1.0, 0.5]] });
    let renoising: Vec<AnyModifier> = vec![interval.into(), half.into(), CfgPlusPlus {}.into()];
    let rule = ClassifierFree::new(0.6).with(renoising);
    let found = end::<B, _, _>(rule, GradientEstimation::DDIM, &exploding(), device);
    assert_rows("λ", found, &expected, device);
}

fn runs_share_no_momentum<B: TestBackend>(device: &B::Device) {
    let apg = Apg { momentum: -0.75, ..Apg::default() };
    let guided = Guided::new(told::<VarianceExploding>(), untold(), ClassifierFree::new(2.0).with(apg));
    let sigmas = exploding();
    let begin = |factor: f64| {
        let x = noise::<B>(device) * sigmas[0] * factor;
        sample_from(&guided, GradientEstimation::DDIM, &sigmas, x, Noise::new(0))
    };
    let [alone, other] = [1.0, -2.0].map(|factor| bytes(begin(factor).last().unwrap()));
    assert_eq!(bytes(begin(1.0).last().unwrap()), alone);
    // In turns.
    let (mut one, mut two) = (begin(1.0), begin(-2.0));
    let mut ends = [Vec::new(), Vec::new()];
    while let (Some(first), Some(second)) = (one.next(), two.next()) {
        ends = [bytes(first), bytes(second)];
    }
    assert_eq!(ends, [alone.clone(), other]);
    // It does go on from step to step.
    let forgetful = ClassifierFree::new(2.0).with(Apg::default());
    let without = end::<B, _, _>(forgetful, GradientEstimation::DDIM, &sigmas, device);
    assert_ne!(bytes(without), alone);
}

fn an_example_does_not_depend_on_the_others<B: TestBackend>(device: &B::Device) {
    let sigmas = exploding();
    let together = rows(end::<B, _, _>(
        ClassifierFree::new(2.0).with(stack()),
        GradientEstimation::DDIM,
        &sigmas,
        device,
    ));
    for i in 0..3 {
        let class = [FIRST, SECOND, FIRST][i];
        let (with, without) = (Classes::new(vec![class]), Classes::new(vec![Class::Any]));
        let guided = Guided::new(with, without, ClassifierFree::new(2.0).with(stack()));
        let x = noise::<B>(device).narrow(0, i, 1) * sigmas[0];
        let alone = sample_from(&guided, GradientEstimation::DDIM, &sigmas, x, Noise::new(0)).last().unwrap();
        assert_rows(&format!("example {i}"), alone, &together[i..=i], device);
    }
}

/// Networks that know the answer, and say it as their mode of prediction wants it.
fn every_parameterization_is_guided_alike<B: TestBackend>(device: &B::Device) {
    let modes = [
        AnyPrediction::Eps,
        AnyPrediction::X0,
        AnyPrediction::V,
        AnyPrediction::ScaledEps,
        AnyPrediction::ScaledX0,
        AnyPrediction::ScaledV,
        AnyPrediction::Edm { sigma_data: 0.5 },
        AnyPrediction::Flow,
    ];
    let kinds = stack().into_iter().map(|modifier| vec![modifier]);
    let stacks = kinds.chain([vec![], stack(), vec![CfgPlusPlus {}.into()]]);
    for modifiers in stacks {
        let scale = if modifiers == [CfgPlusPlus {}.into()] { 0.6 } else { 2.0 };
        let rule = ClassifierFree::new(scale).with(modifiers);
        for mode in modes {
            let levels = match mode {
                AnyPrediction::Flow => straight().to_vec(),
                _ => exploding().to_vec(),
            };
            let path = mode.path();
            let sigmas = Sigmas::<AnyPath>::on(path, levels);
            let model = Diffusion::<B, _, _>::new(Told::new(mode), mode);
            let x = noise::<B>(device) * sigmas[0];
            let told = model.given(Known(vec![FIRST, SECOND, FIRST]));
            let guided = told.guided_with(Known(vec![Class::Any; 3]), rule.clone());
            let ours = sample_from(&guided, Heun::default(), &sigmas, x.clone(), Noise::new(0));
            let expected = match path {
                AnyPath::Straight => end::<B, _, _>(rule.clone(), Heun::default(), &straight(), device),
                AnyPath::VarianceExploding => {
                    end::<B, _, _>(rule.clone(), Heun::default(), &exploding(), device)
                }
            };
            let what = format!("{mode:?} under {rule:?}");
            assert_close(&what, ours.last().unwrap().into_data(), expected.into_data(), 1e-5);
        }
    }
}

type Model<B> = Diffusion<B, Told, AnyPrediction>;

fn model<B: Backend>() -> Model<B> {
    Diffusion::new(Told::new(AnyPrediction::V), AnyPrediction::V)
}

/// This of all three examples.
fn all(class: Class) -> Known {
    Known(vec![class; 3])
}

fn one_condition_alone_is_not_composed<B: TestBackend>(device: &B::Device) {
    let (model, x) = (model::<B>(), noise::<B>(device));
    for rule in [ClassifierFree::new(1.5).with(vec![]), ClassifierFree::new(1.5).with(stack())] {
        let single = model.given(all(FIRST)).guided_with(all(SECOND), rule.clone());
        let composed = model.given_all([(1.0, all(FIRST))]).guided_with(all(SECOND), rule);
        let [single, composed] =
            [single, composed].map(|guided| bytes(guided.evaluate(x.clone(), 0.8).denoised()));
        assert_eq!(single, composed);
    }
}

/// `D_u + Σ (1 + s)·wᵢ·(Dᵢ − D_u)`, also where the weights add up to 1 or to 0.
fn conditions_add_up<B: TestBackend>(device: &B::Device) {
    let (model, third) = (model::<B>(), Class::One([0.2, 0.4, -0.9]));
    let x = rows(noise::<B>(device));
    for (weights, scale) in
        [([1.0, 1.0, 1.0], 6.5), ([1.0, -0.5, -0.5], 2.0), ([0.1, 0.2, 0.7], 0.0), ([1.0, 0.5, -2.0], 0.0)]
    {
        let classes = [FIRST, SECOND, third];
        let told = weights.into_iter().zip(classes.map(all));
        let composed = model.given_all(told).guided_by(all(Class::Any), scale);
        let found = composed.evaluate(tensor::<B>(&x, device), 0.8).denoised();
        let expected: Vec<[f64; 3]> = x
            .iter()
            .map(|x| {
                let of = |class| Classes::<VarianceExploding>::new(vec![class]).denoised(0, *x, 0.8);
                let (without, with) = (of(Class::Any), classes.map(of));
                std::array::from_fn(|axis| {
                    let parts = weights.iter().zip(with).map(|(w, with)| w * (with[axis] - without[axis]));
                    without[axis] + (1.0 + scale) * parts.sum::<f64>()
                })
            })
            .collect();
        assert_rows(&format!("{weights:?}"), found, &expected, device);
    }
}

/// The whole run is that of a normal distribution whose mean is composed.
fn classes_of_one_shape_compose_to_a_class<B: TestBackend>(device: &B::Device) {
    let (model, third) = (model::<B>(), [0.2, 0.4, -0.9]);
    let sigmas = exploding().into_any();
    let run = |denoiser: &dyn Denoiser<B, 2, Path = AnyPath>| {
        let x = noise::<B>(device) * sigmas[0];
        sample_from(denoiser, Heun::default(), &sigmas, x, Noise::new(0)).last().unwrap().into_data()
    };
    let told = [(1.0, all(FIRST)), (0.5, all(SECOND))];
    let composed = model.given_all(told).guided_by(all(Class::One(third)), 0.6);
    let mean = std::array::from_fn(|axis| {
        let [first, second] = MEANS.map(|mean| mean[axis] - third[axis]);
        third[axis] + 1.6 * (first + 0.5 * second)
    });
    let expected = run(&model.given(all(Class::One(mean))));
    assert_close("composed", run(&composed), expected, B::TOLERANCE);
}

/// That which guidance leads away from only where it is needed.
fn all_conditions_go_through_the_network_at_once<B: TestBackend>(device: &B::Device) {
    for (weights, scale, expected) in [
        (vec![1.0], 1.0, 6),
        (vec![1.0], 0.0, 3),
        (vec![1.0, 0.5], 1.0, 9),
        (vec![1.0, 0.5], 0.0, 9),
        (vec![0.7, 0.2, 0.1], 0.0, 9),
        (vec![0.7, 0.2, 0.1], 1.0, 12),
    ] {
        let model = model::<B>();
        let told = weights.iter().map(|weight| (*weight, all(FIRST)));
        let composed = model.given_all(told).guided_by(all(Class::Any), scale);
        composed.evaluate(noise::<B>(device), 0.8);
        assert_eq!(*model.network.batches.borrow(), [expected], "{weights:?}, scale {scale}");
    }
}

fn a_model_is_given_at_least_one_condition<B: TestBackend>(_device: &B::Device) {
    let model = model::<B>();
    let nothing = std::panic::AssertUnwindSafe(|| drop(model.given_all::<Known>([])));
    assert!(std::panic::catch_unwind(nothing).is_err());
}
