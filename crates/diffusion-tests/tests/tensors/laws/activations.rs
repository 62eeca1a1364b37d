//! Activations and their gradients against closed forms: Burn differentiates some by approximations of its own.

use burn::backend::Autodiff;
use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::Network;
use diffusion::core::network::mlp::{TimeInputMlp, TimeInputMlpConfig};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::f64::consts::PI;

backend_tests!(the_perceptron_s_gelu_is_exact_and_so_is_its_gradient);

/// Φ(x) and φ(x) of the unit normal distribution, by Φ(x) = ½ + φ(x)·Σ x^(2k+1)/(1·3·5⋯(2k+1)).
fn normal(x: f64) -> (f64, f64) {
    let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
    let (mut term, mut sum) = (x, 0.0);
    for k in 1..200 {
        sum += term;
        term *= x * x / (2 * k + 1) as f64;
    }
    (0.5 + density * sum, density)
}

/// An MLP with one hidden unit, whose output is gelu(x₀) and 0.
fn gelu_alone<B: Backend>(device: &B::Device) -> TimeInputMlp<B> {
    let layer = |weight: &[f32], shape| Linear {
        weight: Param::from_tensor(Tensor::from_data(TensorData::new(weight.to_vec(), shape), device)),
        bias: None,
    };
    let mut network =
        TimeInputMlpConfig { dim: 2, hidden_dims: vec![1], ..Default::default() }.init(0, device);
    network.net = vec![layer(&[1.0, 0.0, 0.0, 0.0], [4, 1]), layer(&[1.0, 0.0], [1, 2])];
    network
}

/// gelu(x) = x·Φ(x), and its derivative Φ(x) + x·φ(x).
fn the_perceptron_s_gelu_is_exact_and_so_is_its_gradient<B: TestBackend>(device: &B::Device) {
    let inputs: Vec<f64> = (-40..=40).map(|i| f64::from(i) / 10.0).collect();
    let n = inputs.len();
    let column = |f: &dyn Fn(f64) -> f64| {
        TensorData::new(inputs.iter().flat_map(|&x| [f(x) as f32, 0.0]).collect::<Vec<_>>(), [n, 2])
    };
    let x = Tensor::<Autodiff<B>, 2>::from_data(column(&|x| x), device).require_grad();
    let output = gelu_alone::<Autodiff<B>>(device).forward(x.clone(), Tensor::ones([n], device), ());
    let gradient = x.grad(&output.clone().sum().backward()).unwrap();
    assert_close("gelu", output.into_data(), column(&|x| x * normal(x).0), B::TOLERANCE);
    let slope = |x| normal(x).0 + x * normal(x).1;
    assert_close("its gradient", gradient.into_data(), column(&slope), B::TOLERANCE);
}
