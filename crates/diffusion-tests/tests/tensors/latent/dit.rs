//! The diffusion transformer, against diffusers' `DiTTransformer2DModel` and `DiTPipeline`.

use crate::support::fixture::Fixture;
use crate::support::folders::{Folder, Latent, write_hashed};
use burn::tensor::{Int, Tensor, backend::Backend};
use diffusion::core::{Diffusion, Labels, Network, Noise, NullCondition};
use diffusion::latent::{
    ClassNames, DiTTransformer2DModel, LatentError, LatentSchedule, SizedDit, Timesteps,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(a_single_pass, a_guided_run, a_learned_variance_is_left_out);

/// Of the largest number.
const TOLERANCE: f64 = 1e-5;

/// Of the largest number, of a whole run.
const RUN_TOLERANCE: f64 = 1e-4;

const CONFIG: &str = "transformer/config.json";

fn labels<B: Backend>(fixture: &Fixture, device: &B::Device) -> (Labels, Tensor<B, 1, Int>) {
    let labels = Labels(fixture.numbers("in.labels").iter().map(|&label| label as usize).collect());
    let tensor = labels.tensor(11, device);
    (labels, tensor)
}

fn open<B: Backend>(folder: &Folder, device: &B::Device) -> DiTTransformer2DModel<B> {
    DiTTransformer2DModel::open(folder.path(), device).unwrap()
}

/// At three times, of two classes and of none; also on a larger grid, by zeros at the bottom and to the right.
fn a_single_pass<B: TestBackend>(device: &B::Device) {
    let (model, fixture) = (open::<B>(&Folder::new("dit"), device), Fixture::open("latent").case("dit"));
    let (_, labels) = labels::<B>(&fixture, device);
    let (x, t): (Tensor<B, 4>, Tensor<B, 1>) =
        (fixture.tensor("in.x", device), fixture.tensor("in.t", device));
    let found = model.forward(x.clone(), t.clone(), labels.clone());
    assert_close("8×8", found.into_data(), fixture.data("out.x"), TOLERANCE);
    let right = Tensor::zeros([3, 4, 8, 4], device);
    let below = Tensor::zeros([3, 4, 4, 12], device);
    let large = Tensor::cat(vec![Tensor::cat(vec![x, right], 3), below], 2);
    let found = model.forward(large, t, labels);
    assert_close("12×12", found.into_data(), fixture.data("out.large"), TOLERANCE);
}

/// diffusers' guidance is one more than the scale here.
fn a_guided_run<B: TestBackend>(device: &B::Device) {
    let (folder, fixture) = (Folder::new("dit"), Fixture::open("latent").case("dit.run"));
    let schedule = LatentSchedule::open(folder.path()).unwrap();
    let network = SizedDit::new(open::<B>(&folder, device), [8, 8], schedule.timesteps().clone());
    let (labels, _) = labels::<B>(&fixture, device);
    let model = Diffusion::new(network, schedule.prediction());
    let plan = schedule.like_diffusers(8).unwrap();
    let x = plan.from_noise(fixture.tensor::<B, 4>("in.noise", device));
    let found = plan.run(&model.given(labels).guided(3.0), x, Noise::new(0));
    assert_close("run", found.into_data(), fixture.data("out.latents"), RUN_TOLERANCE);
}

fn a_learned_variance_is_left_out<B: TestBackend>(device: &B::Device) {
    let (transformer, fixture) =
        (open::<B>(&Folder::new("dit"), device), Fixture::open("latent").case("dit"));
    let levels: Vec<f64> = (0..1000).map(|i| 0.01 * 1.01f64.powi(i)).collect();
    let network = SizedDit::new(transformer, [8, 8], Timesteps::new(&levels).unwrap());
    let (condition, _) = labels::<B>(&fixture, device);
    let sigmas: Vec<f32> = [0, 437, 999].map(|t: usize| levels[t] as f32).to_vec();
    let sigma = Tensor::from_floats(&sigmas[..], device);
    let found = network.forward(fixture.tensor("in.x", device), sigma, condition);
    let expected = fixture.tensor::<B, 4>("out.x", device).narrow(1, 0, 4);
    assert_close("ε", found.into_data(), expected.into_data(), TOLERANCE);
}

#[cfg(feature = "flex")]
mod opening {
    use super::*;
    use burn::backend::Flex;

    fn refused(change: impl FnOnce(String) -> String) -> String {
        let folder = Folder::new("dit");
        folder.edit(CONFIG, change);
        match DiTTransformer2DModel::<Flex>::open(folder.path(), &Default::default()) {
            Err(LatentError::Setting { key, .. }) => key,
            found => panic!("{found:?}"),
        }
    }

    #[test]
    fn the_old_class_is_a_diffusion_transformer_if_it_says_so() {
        let old = |text: String| text.replace("DiTTransformer2DModel", "Transformer2DModel");
        let folder = Folder::new("dit");
        folder.edit(CONFIG, old);
        open::<Flex>(&folder, &Default::default());
        assert_eq!(refused(|text| old(text).replace("\"norm_type\"", "\"norm_typ\"")), "norm_type");
    }

    #[test]
    fn positions_in_a_file_are_passed_over() {
        let (folder, latent) = (Folder::new("dit"), Latent::read());
        let file = "transformer/diffusion_pytorch_model.safetensors";
        let mut parameters = latent.parameters("dit", file).clone();
        parameters.insert("pos_embed.pos_embed".to_string(), vec![1, 16, 32]);
        let keep = |name: &str| Some(name.to_string());
        write_hashed(&folder.join(file), &parameters, keep);
        open::<Flex>(&folder, &Default::default());
    }

    #[test]
    fn a_setting_that_is_not_supported_is_named() {
        for (setting, other, key) in [
            ("\"ada_norm_zero\"", "\"ada_norm_single\"", "norm_type"),
            ("\"gelu-approximate\"", "\"geglu\"", "activation_fn"),
            (
                "\"norm_elementwise_affine\": false",
                "\"norm_elementwise_affine\": true",
                "norm_elementwise_affine",
            ),
            ("\"out_channels\": 8", "\"out_channels\": 6", "out_channels"),
            ("\"patch_size\": 2", "\"patch_size\": 3", "sample_size"),
            ("\"attention_head_dim\": 8", "\"attention_head_dim\": 0", "attention_head_dim"),
        ] {
            let found = refused(|text| {
                assert!(text.contains(setting), "{text}");
                text.replace(setting, other)
            });
            assert_eq!(found, key);
        }
    }

    #[test]
    fn classes_have_names() {
        let folder = Folder::new("dit");
        let unnamed = ClassNames::of(&diffusion::latent::Folder::open(folder.path()).unwrap()).unwrap();
        assert_eq!(unnamed, ClassNames::default());
        let named = r#"{"id2label": {"3": "class 3, also 3", "9": "class 9, also 9"},"#;
        folder.edit("model_index.json", |text| text.replacen('{', named, 1));
        let names = ClassNames::of(&diffusion::latent::Folder::open(folder.path()).unwrap()).unwrap();
        assert_eq!(
            (names.label("class 3"), names.label(" also 3"), names.label("class")),
            (Some(3), Some(3), None)
        );
        assert_eq!((names.name(9), names.name(10)), (Some("class 9, also 9"), None));
        folder.edit("model_index.json", |text| text.replace("\"class 3, also 3\"", "3"));
        let error = ClassNames::of(&diffusion::latent::Folder::open(folder.path()).unwrap()).unwrap_err();
        let LatentError::Setting { key, .. } = error else { panic!("{error}") };
        assert_eq!(key, "id2label");
    }

    #[test]
    fn some_examples_lose_their_class() {
        let transformer = open::<Flex>(&Folder::new("dit"), &Default::default());
        let network = SizedDit::new(transformer, [8, 8], Timesteps::new(&[1.0, 2.0]).unwrap());
        let labels = Labels(vec![1, 2, 3]);
        assert_eq!(network.null_condition(&labels), Labels(vec![10; 3]));
        let mut draws = |example| [0.4, 0.6, 0.49][example];
        assert_eq!(network.drop_condition(labels.clone(), &mut draws), labels);
        let found = network.with_dropout(0.5).drop_condition(labels, &mut draws);
        assert_eq!(found, Labels(vec![10, 2, 10]));
    }
}
