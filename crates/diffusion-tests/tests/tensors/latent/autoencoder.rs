use crate::support::fixture::Fixture;
use crate::support::folders::{Folder, Latent, small, write_hashed, write_tensors};
use burn::tensor::{Tensor, backend::Backend};
use diffusion::latent::{Autoencoder, LatentError};
use diffusion::weights::{TensorProblem, WeightsError};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    images_become_latents,
    latents_become_images,
    every_norm_has_its_epsilon,
    latents_have_the_models_own_scale,
    in_tiles
);

/// Of the largest number.
const TOLERANCE: f64 = 1e-5;

const WEIGHTS: &str = "vae/diffusion_pytorch_model.safetensors";

fn open<B: Backend>(device: &B::Device) -> (Autoencoder<B>, Fixture) {
    (Autoencoder::open(Folder::new("sd1").path(), device).unwrap(), Fixture::open("latent").case("vae"))
}

fn images_become_latents<B: TestBackend>(device: &B::Device) {
    let (model, fixture) = open::<B>(device);
    let moments = model.encode_moments(fixture.tensor("in.image", device));
    assert_close("mean", moments.mean.into_data(), fixture.data("out.mean"), TOLERANCE);
    assert_close("logvar", moments.logvar.into_data(), fixture.data("out.logvar"), TOLERANCE);
    // 17 × 23 pixels.
    let moments = model.encode_moments(fixture.tensor("in.odd", device));
    assert_close("mean of an odd size", moments.mean.into_data(), fixture.data("out.odd_mean"), TOLERANCE);
}

fn latents_become_images<B: TestBackend>(device: &B::Device) {
    let (model, fixture) = open::<B>(device);
    let z: Tensor<B, 4> = fixture.tensor("in.z", device);
    let images = model.decode_unscaled(z.clone());
    assert_close("images", images.into_data(), fixture.data("out.decoded"), TOLERANCE);
    let images = model.decode(z * 0.18215);
    assert_close("images of scaled latents", images.into_data(), fixture.data("out.decoded"), TOLERANCE);
}

fn every_norm_has_its_epsilon<B: TestBackend>(device: &B::Device) {
    let (folder, fixture) = (Folder::new("sd1"), Fixture::open("latent").case("small"));
    write_tensors(&folder.join(WEIGHTS), small(Latent::read().parameters("sd1", WEIGHTS)));
    let model = Autoencoder::<B>::open(folder.path(), device).unwrap();
    let moments = model.encode_moments(fixture.tensor("in.image", device));
    assert_close("mean", moments.mean.into_data(), fixture.data("out.mean"), TOLERANCE);
    let images = model.decode_unscaled(fixture.tensor("in.x", device));
    assert_close("images", images.into_data(), fixture.data("out.decoded"), TOLERANCE);
}

/// What is subtracted from latents is so before they are scaled, where smalldiffusion adds it behind.
fn latents_have_the_models_own_scale<B: TestBackend>(device: &B::Device) {
    let folder = Folder::new("sd1");
    folder.edit("vae/config.json", |text| {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        (value["scaling_factor"], value["shift_factor"]) = (0.5.into(), 3.0.into());
        value.to_string()
    });
    let (model, fixture) =
        (Autoencoder::<B>::open(folder.path(), device).unwrap(), Fixture::open("latent").case("vae"));
    let (mean, z): (Tensor<B, 4>, Tensor<B, 4>) =
        (fixture.tensor("out.mean", device), fixture.tensor("in.z", device));
    let latents = model.encode(fixture.tensor("in.image", device));
    assert_close("latents", latents.into_data(), (mean * 0.5 - 1.5).into_data(), TOLERANCE);
    let images = model.decode(z * 0.5 - 1.5);
    assert_close("images", images.into_data(), fixture.data("out.decoded"), TOLERANCE);
    // The one for larger pictures than the first.
    let sdxl = Autoencoder::<B>::open(Folder::new("sdxl").path(), device).unwrap();
    let scaled = sdxl.scale(Tensor::<B, 1>::ones([1], device));
    assert_close("SDXL", scaled.clone().into_data(), [0.13025f32][..].into(), TOLERANCE);
    assert_close("and back", sdxl.unscale(scaled).into_data(), [1.0f32][..].into(), TOLERANCE);
}

fn in_tiles<B: TestBackend>(device: &B::Device) {
    let (model, fixture) = open::<B>(device);
    let moments = model.encode_moments_in_tiles(fixture.tensor("in.large", device));
    assert_close("mean", moments.mean.into_data(), fixture.data("out.tiled_mean"), TOLERANCE);
    let wide: Tensor<B, 4> = fixture.tensor("in.wide", device);
    let images = model.decode_in_tiles(model.scale(wide));
    assert_close("images", images.into_data(), fixture.data("out.tiled_decoded"), TOLERANCE);
}

#[cfg(feature = "flex")]
mod loading {
    use super::*;
    use burn::backend::Flex;

    #[test]
    fn a_part_opens_alone_and_under_old_names() {
        let folder = Folder::new("sd1");
        let latent = Latent::read();
        let parameters = latent.parameters("sd1", WEIGHTS);
        let old = |name: &str| {
            let new = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")];
            Some(new.iter().fold(name.to_string(), |name, (new, old)| name.replace(new, old)))
        };
        write_hashed(&folder.join(WEIGHTS), parameters, old);
        let device = Default::default();
        let (model, fixture) = (
            Autoencoder::<Flex>::open(folder.join("vae"), &device).unwrap(),
            Fixture::open("latent").case("vae"),
        );
        let images = model.decode_unscaled(fixture.tensor("in.z", &device));
        assert_close("images", images.into_data(), fixture.data("out.decoded"), TOLERANCE);
    }

    #[test]
    fn all_that_does_not_fit_is_in_one_error() {
        let folder = Folder::new("sd1");
        let latent = Latent::read();
        let mut parameters = latent.parameters("sd1", WEIGHTS).clone();
        parameters.insert("decoder.conv_in.bias".to_string(), vec![7]);
        parameters.insert("surplus.weight".to_string(), vec![2, 2]);
        parameters.remove("quant_conv.bias");
        write_hashed(&folder.join(WEIGHTS), &parameters, |name| Some(name.to_string()));
        let error = Autoencoder::<Flex>::open(folder.path(), &Default::default()).unwrap_err();
        let LatentError::Weights(WeightsError::Tensors { problems, .. }) = error else { panic!("{error}") };
        let kinds: Vec<_> = problems
            .iter()
            .map(|problem| match problem {
                TensorProblem::Missing { name, .. } => format!("missing {name}"),
                TensorProblem::Extra { name, .. } => format!("extra {name}"),
                TensorProblem::Shape { name, .. } => format!("shape {name}"),
                problem => panic!("{problem}"),
            })
            .collect();
        assert_eq!(kinds, ["shape decoder.conv_in.bias", "missing quant_conv.bias", "extra surplus.weight"]);
    }

    #[test]
    fn a_setting_that_is_not_supported_is_named() {
        let folder = Folder::new("sd1");
        folder.edit("vae/config.json", |text| text.replace("UpDecoderBlock2D", "AttnUpDecoderBlock2D"));
        let error = Autoencoder::<Flex>::open(folder.path(), &Default::default()).unwrap_err();
        let LatentError::Setting { key, .. } = error else { panic!("{error}") };
        assert_eq!(key, "up_block_types");
    }
}
