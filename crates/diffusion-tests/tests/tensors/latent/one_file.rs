//! Pictures of checkpoints in one file, against those of the folders with the same networks.

use crate::support::folders::{Folder, Latent, write_hashed, write_tensors};
use crate::support::one_file::{FILE, open_clip, set, stored, with_one_file};
use burn::tensor::{TensorData, backend::Backend};
use diffusion::core::Noise;
use diffusion::latent::config::Settings;
use diffusion::latent::generate::Request;
use diffusion::latent::original::{Checkpoint, Family, Predicts, unet_name};
use diffusion::latent::{LatentError, StableDiffusion, UnetConfig};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use serde_json::json;
use std::path::Path;

backend_tests!(one_file_draws_what_its_folder_draws, one_file_of_xl_draws_what_its_folder_draws);

/// The same computation in the same order.
const SAME: f64 = 1e-6;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// The checkpoint with the tokenizer of another folder: what fills texts up follows from the file.
fn open<B: Backend>(
    (file, tokenizer): (&Path, &str),
    predicts: Option<Predicts>,
    device: &B::Device,
) -> StableDiffusion<B> {
    let folder = Folder::new(tokenizer);
    let checkpoint = Checkpoint::open(file).unwrap();
    StableDiffusion::from_checkpoint(&checkpoint, folder.join("tokenizer"), predicts, device, &mut |_| {})
        .unwrap()
}

fn picture<B: Backend>(pipe: &StableDiffusion<B>, device: &B::Device) -> TensorData {
    let request = Request { steps: 5, ..Request::new("the red fox!", [16, 24]) };
    pipe.generate(&request, Noise::new(3), device, &mut |_, _, _| Ok(())).unwrap().into_data()
}

fn one_file_draws_what_its_folder_draws<B: TestBackend>(device: &B::Device) {
    for (name, predicts, side) in [("sd1", None, 128), ("sd2", Some(Predicts::Velocity), 192)] {
        let (folder, file) = with_one_file(name);
        let whole = StableDiffusion::<B>::open(folder.path(), device).unwrap();
        assert_eq!(whole.native_size(), [side; 2], "{name}");
        let expected = picture(&whole, device);
        for tokenizer in ["sd1", "sd2"] {
            let found = open::<B>((&file, tokenizer), predicts, device);
            assert_eq!(found.native_size(), [side; 2], "{name} {tokenizer}");
            assert_close(&format!("{name} {tokenizer}"), picture(&found, device), expected.clone(), SAME);
        }
    }
    // Half as large, and another picture, where a Stable Diffusion 2 predicts noise.
    let (folder, file) = with_one_file("sd2");
    let found = open::<B>((&file, "sd1"), Some(Predicts::Noise), device);
    assert_eq!(found.native_size(), [128; 2]);
    set(
        &folder,
        "scheduler/scheduler_config.json",
        &[
            ("_class_name", json!("PNDMScheduler")),
            ("skip_prk_steps", json!(true)),
            ("prediction_type", json!("epsilon")),
        ],
    );
    let whole = StableDiffusion::<B>::open(folder.path(), device).unwrap();
    assert_close("noise", picture(&found, device), picture(&whole, device), SAME);
}

/// The folder with a U-Net that is told sizes by as many values as the published one.
fn xl_with_one_file() -> (Folder, std::path::PathBuf) {
    let (folder, latent) = (Folder::new("sdxl"), Latent::read());
    let pooled = 24;
    set(
        &folder,
        "unet/config.json",
        &[
            ("norm_num_groups", json!(32)),
            ("attention_head_dim", json!([1, 1])),
            ("sample_size", json!(128)),
            ("addition_time_embed_dim", json!(256)),
            ("projection_class_embeddings_input_dim", json!(pooled + 6 * 256)),
        ],
    );
    set(&folder, "vae/config.json", &[("norm_num_groups", json!(32)), ("scaling_factor", json!(0.13025))]);
    let mut unet = latent.parameters("sdxl", UNET).clone();
    unet.get_mut("add_embedding.linear_1.weight").unwrap()[1] = pooled + 6 * 256;
    write_hashed(&folder.join(UNET), &unet, |name| Some(name.to_string()));
    let config = Settings::read(folder.join("unet/config.json")).unwrap();
    let config = UnetConfig::from_settings(&config).unwrap();
    let mut tensors: Vec<_> = unet
        .iter()
        .map(|(name, shape)| {
            let (_, shape, values) = stored(name, shape);
            (format!("model.diffusion_model.{}", unet_name(&config, name).unwrap()), shape, values)
        })
        .collect();
    let vae = latent.parameters("sdxl", "vae/diffusion_pytorch_model.safetensors");
    for (original, name) in &latent.original["vae"] {
        let (_, shape, values) = stored(name, &vae[name]);
        tensors.push((original.clone(), shape, values));
    }
    for part in ["text_encoder", "text_encoder_2"] {
        set(&folder, &format!("{part}/config.json"), &[("num_attention_heads", json!(1))]);
        let parameters = latent.parameters("sdxl", &format!("{part}/model.safetensors"));
        let text: Vec<_> = parameters.iter().map(|(name, shape)| stored(name, shape)).collect();
        if part == "text_encoder" {
            let renamed = |(name, shape, values): (String, _, _)| {
                (format!("conditioner.embedders.0.transformer.{name}"), shape, values)
            };
            tensors.extend(text.into_iter().map(renamed));
            continue;
        }
        let start = "conditioner.embedders.1.model.";
        tensors.extend(open_clip(start, &text));
        // A matrix from the inputs to the outputs.
        let (_, shape, values) = text.iter().find(|(name, _, _)| name == "text_projection.weight").unwrap();
        let (outputs, inputs) = (shape[0], shape[1]);
        let values = (0..inputs * outputs).map(|at| values[at % outputs * inputs + at / outputs]).collect();
        tensors.push((format!("{start}text_projection"), vec![inputs, outputs], values));
    }
    let file = folder.join(FILE);
    write_tensors(&file, tensors);
    (folder, file)
}

fn one_file_of_xl_draws_what_its_folder_draws<B: TestBackend>(device: &B::Device) {
    let (folder, file) = xl_with_one_file();
    assert_eq!(Checkpoint::open(&file).unwrap().family().unwrap(), Family::StableDiffusionXl);
    let whole = StableDiffusion::<B>::open(folder.path(), device).unwrap();
    let found = open::<B>((&file, "sd1"), None, device);
    assert_eq!((found.native_size(), whole.native_size()), ([256; 2], [256; 2]));
    let size = [16, 16];
    let text = |pipe: &StableDiffusion<B>| pipe.text(&["the red fox!"]);
    assert!(text(&found) == text(&whole), "the texts differ");
    let draw = |pipe: &StableDiffusion<B>| {
        let request = Request { steps: 3, ..Request::new("the red fox!", size) };
        pipe.generate(&request, Noise::new(3), device, &mut |_, _, _| Ok(())).unwrap().into_data()
    };
    assert_close("picture", draw(&found), draw(&whole), SAME);
}

#[cfg(feature = "flex")]
#[test]
fn what_no_file_says_has_to_be_said() {
    use burn::backend::Flex;
    let (folder, file) = with_one_file("sd2");
    let checkpoint = Checkpoint::open(&file).unwrap();
    let open = |checkpoint: &Checkpoint, predicts| {
        let tokenizer = folder.join("tokenizer");
        StableDiffusion::<Flex>::from_checkpoint(
            checkpoint,
            tokenizer,
            predicts,
            &Default::default(),
            &mut |_| {},
        )
    };
    let error = open(&checkpoint, None).unwrap_err();
    assert!(matches!(error, LatentError::NoPrediction { .. }), "{error}");
    assert!(open(&checkpoint, Some(Predicts::Noise)).is_ok());

    // A file with a part of a pipeline says which it has, and which it has not.
    let mut tensors = Vec::new();
    let parameters = Latent::read();
    for (original, name) in &parameters.original["unet"] {
        let (_, shape, values) = stored(name, &parameters.parameters("sd1", UNET)[name]);
        tensors.push((original.clone(), shape, values));
    }
    write_tensors(&file, tensors);
    let error = open(&Checkpoint::open(&file).unwrap(), None).unwrap_err();
    let LatentError::NoPart { part, found, .. } = error else { panic!("{error}") };
    assert_eq!((&part[..], found), ("text encoder", vec!["a U-Net".to_string()]));
}

/// The file with other tensors.
#[cfg(feature = "flex")]
fn changed(file: &Path, change: impl Fn(&str, &[usize]) -> Option<Vec<usize>>) {
    let bytes = std::fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let stored = tensors.iter().filter_map(|(name, view)| {
        let shape = change(name, view.shape())?;
        let values = vec![0.5; shape.iter().product()];
        Some((name.to_string(), shape, values))
    });
    let junk = "model.diffusion_model.junk.weight";
    let stored = stored.chain([(junk.to_string(), vec![2], vec![1.0; 2])]).collect();
    write_tensors(file, stored);
}

/// All of them in one error, under the names of the file.
#[cfg(feature = "flex")]
#[test]
fn faults_of_all_parts_are_told_at_once() {
    use burn::backend::Flex;
    use diffusion::weights::{TensorProblem, WeightsError};
    const UNET: &str = "model.diffusion_model.";
    const VAE: &str = "first_stage_model.";
    for (name, text) in [
        (
            "sd1",
            [
                "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
                "cond_stage_model.transformer.text_model.final_layer_norm.bias",
            ],
        ),
        (
            "sd2",
            [
                "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight",
                "cond_stage_model.model.ln_final.bias",
            ],
        ),
    ] {
        let of = |start: &str, names: [&str; 4]| names.map(|name| format!("{start}{name}"));
        let lost = [
            of(
                UNET,
                [
                    "out.2.weight",
                    "input_blocks.0.0.weight",
                    "input_blocks.1.0.in_layers.2.weight",
                    "out.0.bias",
                ],
            ),
            of(
                VAE,
                [
                    "encoder.conv_in.weight",
                    "decoder.conv_out.weight",
                    "quant_conv.bias",
                    "encoder.down.0.block.0.conv1.weight",
                ],
            ),
        ]
        .concat();
        let lost: Vec<String> = lost.into_iter().chain(text.map(str::to_string)).collect();
        let wide = [format!("{UNET}time_embed.0.bias"), format!("{VAE}decoder.conv_in.bias")];
        let (folder, file) = with_one_file(name);
        changed(&file, |name, shape| {
            let wider = || shape.iter().map(|size| size + 1).collect();
            match () {
                () if lost.iter().any(|lost| lost == name) => None,
                () if wide.iter().any(|wide| wide == name) => Some(wider()),
                () => Some(shape.to_vec()),
            }
        });
        let error = StableDiffusion::<Flex>::from_checkpoint(
            &Checkpoint::open(&file).unwrap(),
            folder.join("tokenizer"),
            Some(Predicts::Noise),
            &Default::default(),
            &mut |_| {},
        )
        .unwrap_err();
        let LatentError::Weights(WeightsError::Tensors { problems, .. }) = error else { panic!("{error}") };
        let mut found: Vec<String> = problems
            .iter()
            .map(|problem| match problem {
                TensorProblem::Missing { name, .. } => format!("lost {name}"),
                TensorProblem::Shape { name, .. } => format!("wide {name}"),
                TensorProblem::Extra { name, .. } => format!("more {name}"),
                problem => panic!("{problem}"),
            })
            .collect();
        found.sort();
        let mut expected: Vec<String> = lost.iter().map(|name| format!("lost {name}")).collect();
        expected.extend(wide.iter().map(|name| format!("wide {name}")));
        expected.push(format!("more {UNET}junk.weight"));
        expected.sort();
        assert_eq!(found, expected, "{name}");
        let packed = problems.iter().find(|problem| problem.name().ends_with("in_proj_weight"));
        if let Some(TensorProblem::Missing { shape, .. }) = packed {
            assert_eq!(shape, &[96, 32]);
        }
        assert_eq!(packed.is_some(), name == "sd2");
    }
}
