//! The examination itself, on the backend that every build of the tests has.

use super::compare::{FORWARD_TOLERANCE, Report, verdict};
use super::examine::{Findings, Inputs, Layer, Recorded, examine, filled, layers, read_parameters, record};
use super::{condition, models};
use burn::backend::{Autodiff, Flex};
use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use diffusion::core::network::mlp::{TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::schedule::LogLinear;
use diffusion::core::{Diffusion, EpsPrediction};
use diffusion::train::TrainConfig;
use diffusion_recipe::{NetworkVisitor, RunNetwork};
use std::sync::{Mutex, MutexGuard, PoisonError};

type B = Autodiff<Flex>;

/// Another test's `backward` would free what is computed here, see "Several trainings in one process" in
/// `docs/reproducibility.md`.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mlp() -> TimeInputMlp<B> {
    let config = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8, 8, 8], ..Default::default() };
    filled(config.init(0, &Default::default()), 0)
}

fn findings(network: TimeInputMlp<B>, recorded: &[Recorded]) -> Findings {
    let model = Diffusion::new(network, EpsPrediction);
    examine(model, &inputs(), recorded, &LogLinear::default(), &[], &Default::default())
}

fn inputs() -> Inputs<()> {
    Inputs::new([4, 2], (), &EpsPrediction, &LogLinear::default(), &TrainConfig::new(1))
}

fn recorded() -> Vec<Recorded> {
    record(&mlp(), &inputs(), &Default::default())
}

fn wrong(report: &Report) -> Vec<&str> {
    report.wrong_layers().map(|row| row.name.as_str()).collect()
}

#[test]
fn a_layer_with_other_weights_is_found_and_no_other() {
    let _alone = alone();
    let recorded = recorded();
    let expected = findings(mlp(), &recorded);
    let mut network = mlp();
    let weight = network.net[1].weight.val().inner() * 1.002;
    network.net[1].weight = Param::from_tensor(Tensor::from_inner(weight).require_grad());
    let report = Report::new("mlp", &findings(network, &recorded), &expected);
    assert_eq!(wrong(&report), ["net.1"], "{report}");
    let text = verdict(&[report]).unwrap_err();
    assert!(text.starts_with("1 layer is wrong: net.1 (forward ") && text.contains("for net.0"), "{text}");
}

#[test]
fn the_same_backend_agrees_to_the_last_bit() {
    let _alone = alone();
    let recorded = recorded();
    let expected = findings(mlp(), &recorded);
    let report = Report::new("mlp", &findings(mlp(), &recorded), &expected);
    assert!(report.rows.iter().all(|row| row.forward == 0.0 && row.backward.as_ref().unwrap().0 == 0.0));
    assert_eq!((report.losses, report.parameters.0), (0.0, 0.0));
    assert_eq!(report.rows.iter().map(|row| &row.name[..]).collect::<Vec<_>>()[..2], ["net.0", "net.1"]);
    assert!(verdict(&[report]).unwrap().starts_with("every layer agrees"));
}

/// `data` with its first value changed.
fn changed(data: &TensorData, change: impl Fn(f32) -> f32) -> TensorData {
    let mut values: Vec<f32> = data.iter().collect();
    values[0] = change(values[0]);
    TensorData::new(values, data.shape.clone())
}

#[test]
fn whatever_is_off_is_found() {
    let _alone = alone();
    let recorded = recorded();
    let expected = findings(mlp(), &recorded);
    let report = |fault: &dyn Fn(&mut Findings)| {
        let mut found = expected.clone();
        fault(&mut found);
        Report::new("mlp", &found, &expected)
    };
    let all =
        |data: &TensorData| data.iter::<f32>().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let faults: [&dyn Fn(&mut Layer); 5] = [
        &|layer| layer.output = changed(&layer.output, |_| f32::NAN),
        &|layer| layer.output = changed(&layer.output, |value| value + 2e-4 * all(&recorded[2].output)),
        &|layer| layer.gradients[1].1 = changed(&layer.gradients[1].1, |_| f32::NAN),
        &|layer| layer.gradients[0].1 = changed(&layer.gradients[0].1, |value| value + 1.0),
        &|layer| layer.gradients.truncate(2),
    ];
    for (i, fault) in faults.iter().enumerate() {
        let report = report(&|found| fault(&mut found.layers[2]));
        assert_eq!(wrong(&report), ["net.2"], "fault {i}: {report}");
        assert!(verdict(&[report]).is_err());
    }
    let sampled = report(&|found| found.sampled[1] = changed(&found.sampled[1], |_| f32::INFINITY));
    assert_eq!(wrong(&sampled), ["net.1"]);
    let small = FORWARD_TOLERANCE as f32 * 0.5 * all(&recorded[1].output);
    let fine = report(&|found| found.sampled[1] = changed(&found.sampled[1], |value| value + small));
    assert_eq!(wrong(&fine), [""; 0]);
    let faults: [&dyn Fn(&mut Findings); 3] =
        [&|found| found.losses[9] = f64::NAN, &|found| found.losses[3] *= 1.01, &|found| {
            found.parameters[4].1 = changed(&found.parameters[4].1, |value| value + 0.1)
        }];
    for fault in faults {
        let report = report(fault);
        assert!(wrong(&report).is_empty() && report.training_is_wrong(), "{report}");
        assert!(
            verdict(&[report]).unwrap_err().starts_with("every layer agrees, but training does not: mlp")
        );
    }
}

/// The chain rule: the layers' own gradients, of parameters and of each other's outputs, add up to those of the whole
/// network, which they can only if everything is shown that several layers read.
#[test]
fn layers_by_themselves_have_the_networks_gradients() {
    let _alone = alone();
    for mut config in models() {
        // A network without dropout does not know the setting.
        let _ = config.set("network.dropout=0.0");
        for told in [false, true] {
            config.set(&format!("network.self_condition={told}")).unwrap();
            let (kind, classes) = (&config.preset, config.network.classes());
            config.network.visit::<Flex, _>(0, &Default::default(), ChainRule { kind, classes }).unwrap();
        }
    }
}

struct ChainRule<'a> {
    kind: &'a str,
    classes: Option<usize>,
}

impl NetworkVisitor<Flex> for ChainRule<'_> {
    type Output = ();

    fn visit<N: RunNetwork<Flex, D>, const D: usize>(self, network: N) {
        let (device, network) = (Default::default(), filled(network, 1));
        let (schedule, training) = (LogLinear::default(), TrainConfig::new(1));
        let (shape, condition) = (network.input_shape(2), condition(self.classes, 2));
        let inputs = Inputs::new(shape, condition, &EpsPrediction, &schedule, &training);
        let recorded = record(&network, &inputs, &device);
        let layers = layers(&network, &inputs, &recorded, &[], &device);

        let [x, incoming]: [Tensor<B, D>; 2] =
            [&inputs.x, &inputs.gradient].map(|data| Tensor::from_data(data.clone(), &device));
        let x = network.with_estimate(x.clone(), Some(x));
        let sigma = Tensor::from_data(inputs.sigma.clone(), &device);
        let output = network.forward(x, sigma, inputs.condition.clone());
        let gradients = (output * incoming).sum().backward();
        let mut all = read_parameters(&network, Some(&gradients));
        all.extend(recorded.iter().rev().skip(1).map(|layer| (layer.name.clone(), layer.gradient.clone())));
        for (of, expected) in all {
            let mut sum = vec![0.0; expected.num_elements()];
            let parts = layers.iter().flat_map(|layer| &layer.gradients).filter(|(name, _)| *name == of);
            for (_, part) in parts {
                sum.iter_mut().zip(part.iter::<f32>()).for_each(|(sum, part)| *sum += part);
            }
            let scale = expected.iter::<f32>().fold(1e-3, |largest: f32, value| largest.max(value.abs()));
            let far = sum.iter().zip(expected.iter::<f32>()).map(|(sum, expected)| (sum - expected).abs());
            let error = far.fold(0.0, f32::max) / scale;
            assert!(error < 1e-3, "{}: the gradient of {of} is off by {error}", self.kind);
        }
    }
}
