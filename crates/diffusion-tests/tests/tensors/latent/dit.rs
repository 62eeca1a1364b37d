//! The diffusion transformer, against diffusers' `DiTTransformer2DModel` and `DiTPipeline`.

use crate::support::fixture::Fixture;
use crate::support::folders::{Folder, Latent, small, write_hashed, write_tensors};
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use diffusion::core::{Diffusion, Labels, Network, Noise, NullCondition};
use diffusion::latent::generate::{Request, Start};
use diffusion::latent::{
    AnyPipeline, ClassNames, DiTTransformer2DModel, DiffusionTransformer, LatentError, LatentSchedule,
    SizedDit, Timesteps,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    a_single_pass,
    every_norm_has_its_epsilon,
    a_guided_run,
    classes_become_diffusers_latents,
    a_class_becomes_a_picture,
    a_learned_variance_is_left_out
);

/// Of the largest number.
const TOLERANCE: f64 = 1e-5;

/// Of the largest number, of a whole run.
const RUN_TOLERANCE: f64 = 1e-4;

/// The same computation in the same order.
const SAME: f64 = 1e-6;
/// Of the largest number, of small values that are the difference of large ones.
const SMALL_TOLERANCE: f64 = 1e-4;

const CONFIG: &str = "transformer/config.json";
const WEIGHTS: &str = "transformer/diffusion_pytorch_model.safetensors";

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

/// Of one patch, whose place the bias takes away: sines and cosines of 0 for its column and for its row.
fn every_norm_has_its_epsilon<B: TestBackend>(device: &B::Device) {
    let (folder, latent) = (Folder::new("dit"), Latent::read());
    let mut tensors = small(latent.parameters("dit", WEIGHTS));
    let (_, _, bias) = tensors.iter_mut().find(|(name, ..)| name == "pos_embed.proj.bias").unwrap();
    bias.iter_mut().enumerate().filter(|(i, _)| i % 16 >= 8).for_each(|(_, value)| *value -= 1.0);
    write_tensors(&folder.join(WEIGHTS), tensors);
    let (model, fixture) = (open::<B>(&folder, device), Fixture::open("latent"));
    let (_, labels) = labels::<B>(&fixture.case("dit"), device);
    let found =
        model.forward(fixture.tensor("small.dit.in.x", device), fixture.tensor("dit.in.t", device), labels);
    // A place that is taken away leaves its rounding.
    assert_close("small", found.into_data(), fixture.data("small.dit.out.x"), SMALL_TOLERANCE);
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

/// The folder with names of its classes, each with another one.
fn named() -> Folder {
    let folder = Folder::new("dit");
    let names: Vec<_> = (0..10).map(|i| format!(r#""{i}": "class {i}, kind {i}""#)).collect();
    let named = format!(r#"{{"id2label": {{{}}},"#, names.join(", "));
    folder.edit("model_index.json", |text| text.replacen('{', &named, 1));
    folder
}

/// The run of `a_guided_run`, of classes by their names.
fn classes_become_diffusers_latents<B: TestBackend>(device: &B::Device) {
    let (folder, fixture) = (named(), Fixture::open("latent").case("dit.run"));
    let pipe = DiffusionTransformer::<B>::open(folder.path(), device).unwrap();
    assert_eq!(pipe.native_size(), [16, 16]);
    let (Labels(expected), _) = labels::<B>(&fixture, device);
    let found = expected.iter().map(|label| pipe.label(&format!("kind {label}")).unwrap()).collect();
    assert_eq!(found, expected);
    let (model, plan) = (pipe.at(16, 16).unwrap(), pipe.schedule().like_diffusers(8).unwrap());
    let x = plan.from_noise(fixture.tensor::<B, 4>("in.noise", device));
    let found = plan.run(&model.given(Labels(found)).guided(3.0), x, Noise::new(0));
    assert_close("run", found.into_data(), fixture.data("out.latents"), RUN_TOLERANCE);
}

/// The composition of the parts by hand, of a size that is not square, away from no class and from another.
fn a_class_becomes_a_picture<B: TestBackend>(device: &B::Device) {
    let folder = named();
    let pipe = DiffusionTransformer::<B>::open(folder.path(), device).unwrap();
    let model = pipe.at(16, 24).unwrap();
    let plan = pipe.schedule().like_diffusers(5).unwrap();
    let unit = || Noise::new(3).initial(model.network.input_shape(1), device);
    let run = |against: usize| {
        let guided = model.given(Labels(vec![4])).guided_by(Labels(vec![against]), 3.0);
        pipe.decode(plan.run(&guided, plan.from_noise(unit()), Noise::new(3))).into_data()
    };
    let asked = Request { steps: 5, guidance: 4.0, ..Request::new("class 4", [16, 24]) };
    let found = |request: &Request| {
        pipe.generate(request, Noise::new(3), device, &mut |_, _, _| Ok(())).unwrap().into_data()
    };
    assert_close("class", found(&asked), run(10), SAME);
    let against = Request { negative: Some("7".to_string()), ..asked.clone() };
    assert_close("negative", found(&against), run(7), SAME);

    // One preparation is for many pictures.
    let any = AnyPipeline::<B>::open(folder.path(), device).unwrap();
    let prepared = any.prepare(&asked, device).unwrap();
    assert_eq!(
        (prepared.class(), any.class_name(4), any.guidance()),
        (Some(4), Some("class 4, kind 4"), 4.0)
    );
    for _ in 0..2 {
        let drawn = prepared.draw(Noise::new(3), &mut |_, _, _| Ok(())).unwrap();
        assert_close("prepared", drawn.into_data(), run(10), SAME);
    }

    // A picture to begin with.
    let values = (0..3 * 16 * 24).map(|i| (i % 19) as f32 / 9.0 - 1.0).collect::<Vec<_>>();
    let image = TensorData::new(values, [3, 16, 24]);
    let latents = pipe.autoencoder().encode(Tensor::<B, 3>::from_data(image.clone(), device).unsqueeze());
    let part = plan.last_part(0.6).unwrap();
    let guided = model.given(Labels(vec![4])).guided(3.0);
    let expected = part.run(&guided, part.from_data(latents, unit()), Noise::new(3));
    let start = Start { image, mask: None, strength: 0.6 };
    let asked = Request { image: Some(start), ..asked };
    assert_close("image to image", found(&asked), pipe.decode(expected).into_data(), SAME);
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
        let mut parameters = latent.parameters("dit", WEIGHTS).clone();
        parameters.insert("pos_embed.pos_embed".to_string(), vec![1, 16, 32]);
        let keep = |name: &str| Some(name.to_string());
        write_hashed(&folder.join(WEIGHTS), &parameters, keep);
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
    fn what_is_no_class_is_refused_with_names_that_are_near() {
        let names = ClassNames::new([
            (0, "goldfish, Carassius auratus"),
            (1, "golden retriever"),
            (2, "red fox, Vulpes vulpes"),
            (3, "Arctic fox"),
            (4, "flat-coated retriever"),
            (5, "3"),
        ]);
        for (text, label) in [
            ("golden retriever", 1),
            (" Vulpes vulpes ", 2),
            ("red fox, Vulpes vulpes", 2),
            ("4", 4),
            // A name comes before a number.
            ("3", 5),
        ] {
            assert_eq!(names.find(text, 6), Ok(label), "{text}");
        }
        for (text, near) in [
            ("Golden retriver", "as `golden retriever`, `flat-coated retriever`"),
            ("arctic", "as `Arctic fox`"),
            ("fox", "as `red fox`, `Arctic fox`"),
            ("an astronaut riding a horse", "or by its name"),
            ("Gold Fish", "`goldfish`"),
            ("retriever", "`golden retriever`, `flat-coated retriever`"),
            ("6", "0 to 5, or by its name"),
            ("-1", "0 to 5, or by its name"),
        ] {
            let reason = names.find(text, 6).unwrap_err();
            assert!(reason.ends_with(near), "{text}: {reason}");
        }
        // A label that the model has not.
        assert!(names.find("red fox", 2).is_err());
        assert_eq!(
            (ClassNames::default().find("9", 10), ClassNames::default().find("x", 10).is_err()),
            (Ok(9), true)
        );
    }

    #[test]
    fn a_pipeline_refuses_what_does_not_fit() {
        use diffusion::latent::{GenerateError, StableDiffusion};
        let (folder, device) = (named(), Default::default());
        let pipe = DiffusionTransformer::<Flex>::open(folder.path(), &device).unwrap();
        // Two latents of two pixels are a patch's.
        for size in [[16, 18], [0, 16]] {
            assert_eq!(pipe.at(size[0], size[1]).unwrap_err().setting, "size");
        }
        let asked = Request { steps: 2, ..Request::new("class 4", [16, 16]) };
        for (setting, request) in [
            ("prompt", Request { prompt: "class 10".to_string(), ..asked.clone() }),
            ("prompt", Request { prompt: "10".to_string(), ..asked.clone() }),
            ("negative", Request { negative: Some("blurry".to_string()), ..asked.clone() }),
            ("steps", Request { steps: 0, ..asked.clone() }),
            ("guidance", Request { guidance: f64::NAN, ..asked }),
        ] {
            let found = pipe.generate(&request, Noise::new(0), &device, &mut |_, _, _| panic!("it computes"));
            let Err(GenerateError::Invalid(error)) = found else { panic!("{setting}: {found:?}") };
            assert_eq!(error.setting, setting);
        }
        // The kind of a folder is what is in it.
        let text = Folder::new("sd1");
        let found = AnyPipeline::<Flex>::open(text.path(), &device).unwrap();
        assert!(matches!(found, AnyPipeline::StableDiffusion(_)) && found.guidance() == 7.5);
        assert!(matches!(
            StableDiffusion::<Flex>::open(folder.path(), &device),
            Err(LatentError::NoPart { .. })
        ));
        let found = DiffusionTransformer::<Flex>::open(text.path(), &device);
        assert!(matches!(found, Err(LatentError::NoPart { .. })), "{found:?}");
    }

    #[test]
    fn changes_by_lora_are_for_the_transformer() {
        use crate::support::folders::write_tensors;
        use diffusion::latent::{LoraFile, StableDiffusion};
        let (folder, device) = (named(), Default::default());
        let lora = |name: &str| {
            let path = folder.join("lora.safetensors");
            let pair = |end: &str, shape: [usize; 2]| {
                let values = (0..shape[0] * shape[1]).map(|i| (i % 7) as f32 / 3.0 - 1.0).collect();
                (format!("{name}.{end}.weight"), shape.to_vec(), values)
            };
            write_tensors(&path, vec![pair("lora_A", [2, 32]), pair("lora_B", [32, 2])]);
            LoraFile::open(path).unwrap()
        };
        let pipe = || DiffusionTransformer::<Flex>::open(folder.path(), &device).unwrap();
        let asked = Request { steps: 2, ..Request::new("class 4", [16, 16]) };
        let draw = |pipe: &DiffusionTransformer<Flex>| {
            pipe.generate(&asked, Noise::new(0), &device, &mut |_, _, _| Ok(())).unwrap().into_data()
        };
        let file = lora("transformer.transformer_blocks.0.attn1.to_q");
        assert_ne!(draw(&pipe().with_lora(&file, 1.0).unwrap()), draw(&pipe()));
        // A model without that part does not pass it over.
        let text = StableDiffusion::<Flex>::open(Folder::new("sd1").path(), &device).unwrap();
        assert!(matches!(text.with_lora(&file, 1.0), Err(LatentError::Lora { .. })));
        let file = lora("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q");
        assert!(matches!(pipe().with_lora(&file, 1.0), Err(LatentError::Lora { .. })));
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
