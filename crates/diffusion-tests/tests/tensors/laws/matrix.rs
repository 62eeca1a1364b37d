//! Every parameterization with every sampler and every guidance: what a network predicts changes no sample.

use crate::support::classes::{Class, Classes, Known, MEANS, Told, tensor};
use burn::tensor::Tensor;
use diffusion::core::guidance::{Apg, CfgPlusPlus, Interval, Rescale, ScaleCurve, ScaleSchedule};
use diffusion::core::{
    AnyGuidance, AnyPrediction, AnySampler, ClassifierFree, Denoiser, Diffusion, Guided, Noise,
    Parameterization, Path, Sampler, Sigmas, Straight, VarianceExploding, sample_from,
};
use diffusion_tests::{TestBackend, backend_tests};

backend_tests!(every_prediction_is_sampled_alike, flow_is_sampled_as_its_denoiser);

const KNOWN: [Class; 3] = [Class::One(MEANS[0]), Class::One(MEANS[1]), Class::One(MEANS[0])];

/// None, guidance alone, with what is linear in the outputs, and with all that is not.
fn guidances() -> [AnyGuidance; 4] {
    let curve = ScaleSchedule::new(ScaleCurve::Cosine {});
    let apg = Apg { eta: 0.3, momentum: -0.5, norm_threshold: Some(1.5) };
    let interval = Interval { low: 0.2, high: 3.0 };
    [
        AnyGuidance::None,
        ClassifierFree::new(1.5).into(),
        ClassifierFree::new(0.7).with(vec![CfgPlusPlus {}.into(), interval.into()]).into(),
        ClassifierFree::new(1.5)
            .with(vec![curve.into(), interval.into(), apg.into(), Rescale { phi: 0.7 }.into()])
            .into(),
    ]
}

/// The last state of a run.
fn end<B: TestBackend, M: Denoiser<B, 2>>(
    model: &M,
    sampler: AnySampler,
    sigmas: &Sigmas<M::Path>,
    device: &B::Device,
) -> Vec<f64> {
    let start = [[0.4, -1.1, 0.2], [-0.3, 0.9, 1.4], [1.2, 0.1, -0.6]];
    let x: Tensor<B, 2> = tensor(&start, device) * sigmas[0];
    let noise = sampler.noise_kind().of(Noise::new(3));
    sample_from(model, sampler, sigmas, x, noise).last().unwrap().into_data().iter().collect()
}

/// That of the network that predicts `mode`.
fn of_network<B: TestBackend>(
    mode: AnyPrediction,
    sampler: AnySampler,
    guidance: &AnyGuidance,
    levels: &[f64],
    device: &B::Device,
) -> Vec<f64> {
    let model = Diffusion::<B, _, _>::new(Told::new(mode), mode);
    let against = Known(vec![Class::Any; 3]);
    let guided = model.given(Known(KNOWN.to_vec())).guided_with(against, guidance.clone());
    end::<B, _>(&guided, sampler, &Sigmas::on(mode.path(), levels.to_vec()), device)
}

/// That of the denoisers themselves, which know the data and no network.
fn of_denoiser<B: TestBackend, P: Path + Default>(
    sampler: AnySampler,
    guidance: &AnyGuidance,
    levels: &[f64],
    device: &B::Device,
) -> Vec<f64> {
    let (told, untold) = (Classes::<P>::new(KNOWN.to_vec()), Classes::new(vec![Class::Any; 3]));
    let guided = Guided::new(told, untold, guidance.clone());
    end::<B, _>(&guided, sampler, &Sigmas::new(levels.to_vec()), device)
}

/// Of every sampler with every guidance.
fn all(mut compare: impl FnMut(AnySampler, &AnyGuidance, &str)) {
    for name in AnySampler::names_for_any_model() {
        // The one that averages outputs as they are: which is another method for every prediction.
        if name == "pndm" {
            continue;
        }
        let sampler = AnySampler::from_name(name).unwrap();
        for (i, guidance) in guidances().iter().enumerate() {
            compare(sampler, guidance, &format!("{name}, guidance {i}"));
        }
    }
}

#[track_caller]
fn assert_alike(found: &[f64], expected: &[f64], what: &str) {
    let size = expected.iter().fold(1.0, |size: f64, x| size.max(x.abs()));
    let pairs = found.iter().zip(expected);
    let error = pairs.fold(0.0, |error: f64, (a, b)| error.max((a - b).abs())) / size;
    assert!(error < 5e-5, "{what}: {error:e} apart, {found:?}, {expected:?}");
}

fn every_prediction_is_sampled_alike<B: TestBackend>(device: &B::Device) {
    let levels = [6.0, 1.5, 0.3, 0.0];
    all(|sampler, guidance, what| {
        let expected = of_network::<B>(AnyPrediction::Eps, sampler, guidance, &levels, device);
        for mode in [
            AnyPrediction::X0,
            AnyPrediction::V,
            AnyPrediction::Edm { sigma_data: 0.5 },
            AnyPrediction::ScaledEps,
            AnyPrediction::ScaledX0,
            AnyPrediction::ScaledV,
        ] {
            let found = of_network::<B>(mode, sampler, guidance, &levels, device);
            assert_alike(&found, &expected, &format!("{}, {what}", mode.name()));
        }
        let found = of_denoiser::<B, VarianceExploding>(sampler, guidance, &levels, device);
        assert_alike(&found, &expected, &format!("the denoiser, {what}"));
    });
}

fn flow_is_sampled_as_its_denoiser<B: TestBackend>(device: &B::Device) {
    let levels = [1.0, 0.7, 0.25, 0.0];
    all(|sampler, guidance, what| {
        let expected = of_denoiser::<B, Straight>(sampler, guidance, &levels, device);
        let found = of_network::<B>(AnyPrediction::Flow, sampler, guidance, &levels, device);
        assert_alike(&found, &expected, what);
    });
}
