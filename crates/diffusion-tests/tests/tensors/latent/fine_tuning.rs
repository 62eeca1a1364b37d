use crate::support::folders::Folder;
use burn::backend::Autodiff;
use burn::tensor::TensorData;
use diffusion::core::{Diffusion, Noise};
use diffusion::latent::StableDiffusion;
use diffusion::train::{TrainConfig, train};
use diffusion_tests::{TestBackend, backend_tests};

backend_tests!(a_text_model_is_trained_further);

/// The loop of diffusion-train takes the pretrained network, its schedule, and latents with their texts.
fn a_text_model_is_trained_further<B: TestBackend>(device: &B::Device) {
    let pipe = StableDiffusion::<Autodiff<B>>::open(Folder::new("sd1").path(), device).unwrap();
    let model = pipe.at(8, 8).unwrap();
    let model = Diffusion::new(model.network.with_dropout(0.2), model.parameterization);
    let text = pipe.text(&["a cat", "the red fox"]).tokens;
    let latents: TensorData = Noise::new(3).initial::<B, 4>([2, 4, 4, 4], device).into_data();
    let steps = 24;
    let batches = (0..steps).map(|_| (latents.clone(), text.clone()));
    let config = TrainConfig { lr: 1e-3, ..TrainConfig::new(steps) };
    let run = train(batches, model, pipe.schedule().clone(), &config);
    let losses: Vec<f64> = run.map(|step| step.unwrap().loss()).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..6]), mean(&losses[18..]));
    assert!(last < 0.8 * first, "the loss went from {first} to {last}");
}
