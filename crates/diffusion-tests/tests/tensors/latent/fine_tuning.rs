use crate::support::folders::Folder;
use burn::backend::Autodiff;
use burn::tensor::{Tensor, TensorData};
use diffusion::core::watch::Watch;
use diffusion::core::{Diffusion, GradientEstimation, Noise, Schedule, sample_from};
use diffusion::data::write_png;
use diffusion::latent::{StableDiffusion, TextCondition};
use diffusion::train::{TrainConfig, train};
use diffusion_recipe::{EncodeRequest, ImageSize, RunConfig, SampleRequest, encode};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::path::{Path, PathBuf};

backend_tests!(a_text_model_is_trained_further, a_run_begins_with_the_pretrained_model);

/// The same computation in another order.
const SAME: f64 = 1e-5;

/// The loop of diffusion-train takes the pretrained network, its schedule, and latents with their texts.
fn a_text_model_is_trained_further<B: TestBackend>(device: &B::Device) {
    let pipe = StableDiffusion::<Autodiff<B>>::open(Folder::new("sd1").path(), device).unwrap();
    let model = pipe.at(8, 8).unwrap();
    let model = Diffusion::new(model.network.with_dropout(0.2), model.parameterization);
    let text = pipe.text(&["a cat", "the red fox"]).tokens;
    let latents: TensorData = Noise::new(3).initial::<B, 4>([2, 4, 4, 4], device).into_data();
    let steps = 12;
    let batches = (0..steps).map(|_| (latents.clone(), text.clone()));
    let config = TrainConfig { lr: 1e-3, ..TrainConfig::new(steps) };
    let run = train(batches, model, pipe.schedule().clone(), &config);
    let losses: Vec<f64> = run.map(|step| step.unwrap().loss()).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..3]), mean(&losses[9..]));
    assert!(last < 0.8 * first, "the loss went from {first} to {last}");
}

/// Two latents with captions, made by the model in `folder`.
fn latents<B: TestBackend>(folder: &Path, device: &B::Device) -> PathBuf {
    let images = folder.join("images");
    std::fs::create_dir(&images).unwrap();
    for (i, caption) in ["a cat", "the red fox"].into_iter().enumerate() {
        let image = TensorData::new(vec![i as f32 - 0.5; 3 * 64], [3, 8, 8]);
        write_png(images.join(format!("{i}.png")), &image, &[]).unwrap();
        std::fs::write(images.join(format!("{i}.txt")), caption).unwrap();
    }
    let out = folder.join("latents");
    let request = EncodeRequest {
        images,
        size: ImageSize { height: 8, width: 8 },
        out: out.clone(),
        batch_size: 2,
        in_tiles: false,
        captions: true,
        overwrite: false,
    };
    let model = diffusion::latent::Folder::open(folder).unwrap();
    let tell: &mut dyn FnMut(_) = &mut |note| panic!("{note}");
    encode::<B>(&request, &model, device, &Watch::default(), tell).unwrap();
    out
}

/// Before its first step a run is the pretrained model: low-rank changes and all weights, ε and v.
fn a_run_begins_with_the_pretrained_model<B: TestBackend>(device: &B::Device) {
    for (name, rank) in [("sd1", Some(2)), ("sd1", None), ("sd2", Some(2))] {
        let folder = Folder::new(name);
        let data = latents::<B>(folder.path(), device);
        let mut config = RunConfig::for_pretrained(&data, folder.path(), rank).unwrap();
        config.set_all(["sampling.count=2", "sampling.steps=3"]).unwrap();
        let pipe = StableDiffusion::<B>::open(folder.path(), device).unwrap();
        let model = pipe.at(8, 8).unwrap();
        let text = pipe.text(&["a cat", "the red fox"]);

        let mut run = config.build::<B>(device).unwrap();
        let texts = run.texts(2).unwrap().unwrap();
        assert_close(
            "captions",
            TensorData::new(texts.values().to_vec(), texts.shape()),
            TensorData::new(text.tokens.values().to_vec(), text.tokens.shape()),
            SAME,
        );
        let request = SampleRequest { texts: Some(texts), ..SampleRequest::of(&config) };
        let found = run.sample(&request, &mut |_| {}).unwrap();

        let (noise, sigmas) = (Noise::new(config.training.seed), pipe.schedule().sigmas(3));
        let x: Tensor<B, 4> = model.rand_input(2, noise, device) * sigmas[0];
        let guided = model.given(TextCondition::from(text)).guided(6.5);
        let expected = sample_from(&guided, GradientEstimation::DDIM, &sigmas, x, noise).last().unwrap();
        let shape = expected.dims();
        assert_close(name, TensorData::new(found.values, shape), expected.into_data(), SAME);

        // Without texts it is told those that stand for none.
        let request = SampleRequest { texts: None, ..request };
        let found = run.sample(&request, &mut |_| {}).unwrap();
        let x: Tensor<B, 4> = model.rand_input(2, noise, device) * sigmas[0];
        let untold = model.given(pipe.empty().repeat(2));
        let expected = sample_from(&untold, GradientEstimation::DDIM, &sigmas, x, noise).last().unwrap();
        assert_close("no text", TensorData::new(found.values, shape), expected.into_data(), SAME);
    }
}
