//! The pipeline from a folder to pictures: its parts against diffusers' runs, and `generate` against the composition of its
//! parts by hand.

use crate::support::fixture::Fixture;
use crate::support::folders::{Folder, Latent, write, write_hashed};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::guidance::{AnyModifier, Apg, CfgPlusPlus, Interval, Rescale};
use diffusion::core::watch::{Stopped, Watch};
use diffusion::core::{AnySampler, ClassifierFree, Noise, Tokens};
use diffusion::data::{CaptionedLatents, Channels, ImageFolderConfig, LatentsConfig, read_image, write_png};
use diffusion::latent::generate::{GenerateError, Request, Start};
use diffusion::latent::inpaint::{mask_of_latents, without_painted};
use diffusion::latent::schedule::{FromPureNoise, Grid, Spacing};
use diffusion::latent::{
    Autoencoder, Known, Plan, PromptEncoder, StableDiffusion, StableDiffusionModel, TextCondition, repaint,
};
use diffusion::weights::TensorFile;
use diffusion_recipe::{EncodeRequest, ImageSize, encode};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use std::path::{Path, PathBuf};

backend_tests!(
    prompts_become_diffusers_pictures,
    sdxl_runs_as_in_diffusers,
    sdxl_is_told_the_size_of_a_picture,
    an_empty_negative_prompt_is_a_text,
    tiles_have_to_be_asked_for,
    nine_channels_run_as_in_diffusers,
    a_text_becomes_a_picture,
    guidance_is_changed_by_modifiers,
    a_picture_becomes_another,
    a_part_is_painted_anew,
    a_network_that_sees_pictures_is_told_them,
    what_cannot_be_is_an_error,
    a_run_can_be_stopped,
    the_mirrored_image_is_encoded,
    captions_are_encoded_as_prompts_are,
    encoded_latents_say_their_scale,
);

/// Of the largest number, of whole runs.
const RUN: f64 = 1e-4;
/// Of single passes in another batch.
const BATCH: f64 = 1e-5;
/// The same computation in the same order.
const SAME: f64 = 1e-6;
/// As `fixtures/latent.py` has them.
const PROMPTS: [&str; 2] = ["an astronaut riding a horse on mars", "the red fox!"];
const NEGATIVE: [&str; 2] = ["a cat", ""];
const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

fn open<B: Backend>(name: &str, device: &B::Device) -> StableDiffusion<B> {
    StableDiffusion::open(Folder::new(name).path(), device).unwrap()
}

/// The first pipeline with the U-Net of nine channels.
fn painter<B: Backend>(device: &B::Device) -> StableDiffusion<B> {
    let (folder, other, latent) = (Folder::new("sd1"), Folder::new("inpaint"), Latent::read());
    write(&folder.join("unet/config.json"), &std::fs::read(other.join("config.json")).unwrap());
    let parameters = latent.parameters("inpaint", "diffusion_pytorch_model.safetensors");
    write_hashed(&folder.join(UNET), parameters, |name| Some(name.to_string()));
    StableDiffusion::open(folder.path(), device).unwrap()
}

fn prompts_become_diffusers_pictures<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("latent");
    for name in ["sd1", "sd2"] {
        let pipe = open::<B>(name, device);
        assert_eq!((pipe.native_size(), pipe.sees_pictures()), ([16, 16], false));
        let model = pipe.at(16, 16).unwrap();
        let guided = model.given(pipe.text(&PROMPTS).into()).guided_by(pipe.text(&NEGATIVE).into(), 6.5);
        let plan = pipe.schedule().like_diffusers(7).unwrap();
        let x = plan.from_noise(fixture.tensor("run.in.noise", device));
        let pictures = pipe.decode(plan.run(&guided, x, Noise::new(0)));
        let found = (pictures / 2.0 + 0.5).clamp(0.0, 1.0);
        assert_close(name, found.into_data(), fixture.data(&format!("{name}.run.out.image")), RUN);
    }
}

fn sdxl_runs_as_in_diffusers<B: TestBackend>(device: &B::Device) {
    let (pipe, fixture) = (open::<B>("sdxl", device), Fixture::open("latent"));
    let model = pipe.at(16, 16).unwrap();
    let plan = pipe.schedule().like_diffusers(7).unwrap();
    let given = || TextCondition::from(pipe.text(&PROMPTS));
    for (label, against) in [("euler", pipe.text(&NEGATIVE).into()), ("euler_zeros", pipe.empty().repeat(2))]
    {
        let x = plan.from_noise(fixture.tensor("run.in.noise", device));
        let found = plan.run(&model.given(given()).guided_by(against, 4.0), x, Noise::new(0));
        assert_close(label, found.into_data(), fixture.data(&format!("sdxl.run.out.{label}")), RUN);
    }
    // Without a text of its own, guidance leads away from the same.
    let x = plan.from_noise(fixture.tensor("run.in.noise", device));
    let found = plan.run(&model.given(given()).guided(4.0), x, Noise::new(0));
    assert_close("empty", found.into_data(), fixture.data("sdxl.run.out.euler_zeros"), RUN);
}

/// Height and width are told in this order.
fn sdxl_is_told_the_size_of_a_picture<B: TestBackend>(device: &B::Device) {
    let (pipe, fixture) = (open::<B>("sdxl", device), Fixture::open("latent").case("sdxl.wide"));
    let model = pipe.at(16, 24).unwrap();
    let plan = pipe.schedule().like_diffusers(7).unwrap();
    let [given, against] = [PROMPTS[0], NEGATIVE[0]].map(|text| TextCondition::from(pipe.text(&[text])));
    let x = plan.from_noise(fixture.tensor("in.noise", device));
    let found = plan.run(&model.given(given).guided_by(against, 4.0), x, Noise::new(0));
    assert_close("16×24", found.into_data(), fixture.data("out.euler"), RUN);
}

/// Where SDXL has zeros for no prompt, a negative prompt without words is encoded all the same.
fn an_empty_negative_prompt_is_a_text<B: TestBackend>(device: &B::Device) {
    let pipe = open::<B>("sdxl", device);
    let model = pipe.at(16, 24).unwrap();
    let plan = pipe.schedule().like_diffusers(5).unwrap();
    let run = |against: TextCondition| {
        let guided = model.given(pipe.text(&[PROMPTS[1]]).into()).guided_by(against, 4.0);
        pipe.decode(plan.run(&guided, plan.from_noise(unit(&model, device)), Noise::new(3))).into_data()
    };
    let asked = |negative| Request { negative, ..request([16, 24]) };
    let [empty, none] =
        [Some(String::new()), None].map(|negative| generated(&pipe, &asked(negative), device));
    assert_close("empty", empty.clone(), run(pipe.text(&[""]).into()), SAME);
    assert_close("none", none.clone(), run(pipe.empty().clone()), SAME);
    assert!(apart(&empty, &none) > 1e-3);
}

/// The mask of the fixture's picture, in [−1, 1].
fn mask() -> TensorData {
    let is_painted = |i| (4..12).contains(&(i / 16)) && (6..16).contains(&(i % 16));
    let values = (0..256).map(|i| if is_painted(i) { 1.0f32 } else { -1.0 }).collect::<Vec<_>>();
    TensorData::new(values, [1, 16, 16])
}

fn mask_of<B: Backend>(device: &B::Device) -> Tensor<B, 4> {
    Tensor::<B, 3>::from_data(mask(), device).unsqueeze_dim::<4>(0) / 2.0 + 0.5
}

fn nine_channels_run_as_in_diffusers<B: TestBackend>(device: &B::Device) {
    let (pipe, fixture) = (painter::<B>(device), Fixture::open("latent"));
    assert!(pipe.sees_pictures());
    let model = pipe.at(16, 16).unwrap();
    let seen = pipe.encode(without_painted(fixture.tensor("img2img.in.image", device), mask_of(device)));
    let told = |text: &str| {
        TextCondition::from(pipe.text(&[text]))
            .painting(mask_of_latents(mask_of(device), [8, 8]), seen.clone())
    };
    let guided = model.given(told(PROMPTS[0])).guided_by(told(NEGATIVE[0]), 6.5);
    let plan = pipe.schedule().like_diffusers(10).unwrap();
    let x = plan.from_noise(fixture.tensor("img2img.in.noise", device));
    let found = plan.run(&guided, x, Noise::new(0));
    assert_close("nine channels", found.into_data(), fixture.data("inpaint.run.out.latents"), RUN);
}

/// What [`StableDiffusion::generate`] makes of a request.
fn generated<B: Backend>(pipe: &StableDiffusion<B>, request: &Request, device: &B::Device) -> TensorData {
    pipe.generate(request, Noise::new(3), device, &mut |_, _, _| Ok(())).unwrap().into_data()
}

/// The noise of [`generated`].
fn unit<B: Backend>(model: &StableDiffusionModel<B>, device: &B::Device) -> Tensor<B, 4> {
    use diffusion::core::Network;
    Noise::new(3).initial(model.network.input_shape(1), device)
}

/// A picture of 16 × 24 pixels, in another number of steps and with other guidance than the defaults.
fn request(size: [usize; 2]) -> Request {
    Request {
        negative: Some(NEGATIVE[0].to_string()),
        steps: 5,
        guidance: 5.0,
        ..Request::new(PROMPTS[1], size)
    }
}

fn a_text_becomes_a_picture<B: TestBackend>(device: &B::Device) {
    for name in ["sd1", "sdxl"] {
        let pipe = open::<B>(name, device);
        let model = pipe.at(16, 24).unwrap();
        let given = || model.given(pipe.text(&[PROMPTS[1]]).into());
        let plan = pipe.schedule().like_diffusers(5).unwrap();
        let from = |plan: &Plan| plan.from_noise(unit(&model, device));
        let decode = |latents| pipe.decode(latents).into_data();

        let guided = given().guided_by(pipe.text(&[NEGATIVE[0]]).into(), 4.0);
        let expected = decode(plan.run(&guided, from(&plan), Noise::new(3)));
        let asked = request([16, 24]);
        let found = generated(&pipe, &asked, device);
        assert_eq!(found.shape[..], [1, 3, 16, 24]);
        assert_close("negative", found.clone(), expected.clone(), SAME);

        // Away from no text, which is another picture.
        let latents = plan.run(&given().guided(4.0), from(&plan), Noise::new(3));
        let free = generated(&pipe, &Request { negative: None, ..asked.clone() }, device);
        assert_close("no negative", free.clone(), decode(latents), SAME);
        assert!(apart(&free, &expected) > 1e-3);

        let latents = plan.run(&given(), from(&plan), Noise::new(3));
        let alone = generated(&pipe, &Request { guidance: 1.0, ..asked.clone() }, device);
        assert_close("no guidance", alone, decode(latents), SAME);

        let grid = Grid { spacing: Spacing::Trailing, ..pipe.schedule().config().grid() };
        let heun = AnySampler::from_name("heun").unwrap();
        let changed =
            Plan { sigmas: pipe.schedule().grid(grid, 5).unwrap(), sampler: FromPureNoise(heun), ..plan };
        let expected = decode(changed.run(&guided, from(&changed), Noise::new(3)));
        let other = Request { sampler: Some(heun), spacing: Some(Spacing::Trailing), ..asked };
        let found = generated(&pipe, &other, device);
        assert_close("sampler and spacing", found, expected, SAME);
    }
}

/// By the types of any other model.
fn guidance_is_changed_by_modifiers<B: TestBackend>(device: &B::Device) {
    let pipe = open::<B>("sd1", device);
    let model = pipe.at(16, 24).unwrap();
    let plan = pipe.schedule().like_diffusers(5).unwrap();
    let (asked, mut seen) = (request([16, 24]), Vec::new());
    let stack: Vec<AnyModifier> = vec![
        Interval { low: 0.5, high: 5.0 }.into(),
        Apg { momentum: -0.5, ..Apg::default() }.into(),
        Rescale { phi: 0.7 }.into(),
    ];
    for (modifiers, guidance, scale) in [
        (vec![], 5.0, 4.0),
        (vec![Interval { low: 0.5, high: 5.0 }.into()], 5.0, 4.0),
        (vec![CfgPlusPlus {}.into()], 0.6, 0.6),
        (stack, 5.0, 4.0),
    ] {
        let rule = ClassifierFree::new(scale).with(modifiers.clone());
        let against = pipe.text(&[NEGATIVE[0]]).into();
        let guided = model.given(pipe.text(&[PROMPTS[1]]).into()).guided_with(against, rule);
        let latents = plan.run(&guided, plan.from_noise(unit(&model, device)), Noise::new(3));
        let found = generated(&pipe, &Request { guidance, modifiers, ..asked.clone() }, device);
        assert_close("guided", found.clone(), pipe.decode(latents).into_data(), SAME);
        assert!(seen.iter().all(|other| apart(&found, other) > 1e-4), "a modifier does nothing");
        seen.push(found);
    }
}

/// The largest difference.
fn apart(one: &TensorData, other: &TensorData) -> f64 {
    one.iter::<f64>().zip(other.iter::<f64>()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The fixture's picture to begin with.
fn start(fixture: &Fixture, mask: Option<TensorData>, strength: f64) -> Option<Start> {
    let image = fixture.data("img2img.in.image");
    let image = TensorData::new(image.iter::<f32>().collect::<Vec<_>>(), [3, 16, 16]);
    Some(Start { image, mask, strength })
}

/// Of a picture that is larger than a tile.
fn tiles_have_to_be_asked_for<B: TestBackend>(device: &B::Device) {
    let pipe = open::<B>("sd1", device);
    let size = [40, 24];
    assert!(size[0] > pipe.autoencoder().config.sample_size);
    let model = pipe.at(size[0], size[1]).unwrap();
    let plan = pipe.schedule().like_diffusers(5).unwrap();
    let guided =
        model.given(pipe.text(&[PROMPTS[1]]).into()).guided_by(pipe.text(&[NEGATIVE[0]]).into(), 4.0);
    let latents = plan.run(&guided, plan.from_noise(unit(&model, device)), Noise::new(3));
    let tiled = pipe.autoencoder().decode_in_tiles(latents.clone()).into_data();
    let whole = pipe.decode(latents).into_data();
    assert_close("whole", generated(&pipe, &request(size), device), whole.clone(), SAME);
    let in_tiles = Request { in_tiles: true, ..request(size) };
    assert_close("in tiles", generated(&pipe, &in_tiles, device), tiled.clone(), SAME);
    assert!(apart(&whole, &tiled) > 0.01);
}

fn a_picture_becomes_another<B: TestBackend>(device: &B::Device) {
    let (pipe, fixture) = (open::<B>("sd1", device), Fixture::open("latent"));
    let model = pipe.at(16, 16).unwrap();
    let guided =
        model.given(pipe.text(&[PROMPTS[1]]).into()).guided_by(pipe.text(&[NEGATIVE[0]]).into(), 4.0);
    let plan = pipe.schedule().like_diffusers(5).unwrap().last_part(0.6).unwrap();
    assert_eq!(plan.sigmas.steps(), 3);
    let latents = pipe.encode(fixture.tensor("img2img.in.image", device));
    let x = plan.from_data(latents, unit(&model, device));
    let expected = pipe.decode(plan.run(&guided, x, Noise::new(3))).into_data();
    let asked = Request { image: start(&fixture, None, 0.6), ..request([16, 16]) };
    assert_close("image to image", generated(&pipe, &asked, device), expected, SAME);
}

fn a_part_is_painted_anew<B: TestBackend>(device: &B::Device) {
    let (pipe, fixture) = (open::<B>("sd1", device), Fixture::open("latent"));
    let model = pipe.at(16, 16).unwrap();
    let guided =
        model.given(pipe.text(&[PROMPTS[1]]).into()).guided_by(pipe.text(&[NEGATIVE[0]]).into(), 4.0);
    let latents = pipe.encode(fixture.tensor("img2img.in.image", device));
    let (whole, noise) = (pipe.schedule().like_diffusers(5).unwrap(), unit(&model, device));
    for strength in [1.0, 0.6] {
        let plan = whole.last_part(strength).unwrap();
        let x = match strength {
            1.0 => plan.from_noise(noise.clone()),
            _ => plan.from_data(latents.clone(), noise.clone()),
        };
        let known = Known::new(latents.clone(), mask_of_latents(mask_of(device), [8, 8]), noise.clone());
        let last = repaint(&guided, &plan, x, Noise::new(3), known).last().unwrap();
        let expected = pipe.decode(last * plan.result).into_data();
        let asked = Request { image: start(&fixture, Some(mask()), strength), ..request([16, 16]) };
        assert_close(&format!("strength {strength}"), generated(&pipe, &asked, device), expected, SAME);
    }
}

fn a_network_that_sees_pictures_is_told_them<B: TestBackend>(device: &B::Device) {
    let (pipe, fixture) = (painter::<B>(device), Fixture::open("latent"));
    let model = pipe.at(16, 16).unwrap();
    let plan = pipe.schedule().like_diffusers(5).unwrap();
    let run = |small: Tensor<B, 4>, seen: Tensor<B, 4>| {
        let told = |text: &str| TextCondition::from(pipe.text(&[text])).painting(small.clone(), seen.clone());
        let guided = model.given(told(PROMPTS[1])).guided_by(told(NEGATIVE[0]), 4.0);
        let x = plan.from_noise(unit(&model, device));
        pipe.decode(plan.run(&guided, x, Noise::new(3))).into_data()
    };
    let seen = pipe.encode(without_painted(fixture.tensor("img2img.in.image", device), mask_of(device)));
    let expected = run(mask_of_latents(mask_of(device), [8, 8]), seen);
    let asked = Request { image: start(&fixture, Some(mask()), 1.0), ..request([16, 16]) };
    assert_close("a part", generated(&pipe, &asked, device), expected, SAME);
    // Without a picture all of a gray one is to be painted.
    let gray = pipe.encode(Tensor::zeros([1, 3, 16, 16], device));
    let expected = run(Tensor::ones([1, 1, 8, 8], device), gray);
    assert_close("nothing", generated(&pipe, &request([16, 16]), device), expected, SAME);
}

fn what_cannot_be_is_an_error<B: TestBackend>(device: &B::Device) {
    let (pipe, fixture) = (open::<B>("sd1", device), Fixture::open("latent"));
    for [height, width] in [[15, 16], [16, 17], [0, 16], [16, 0]] {
        assert_eq!(pipe.at(height, width).unwrap_err().setting, "size", "{height}x{width}");
    }
    let asked = request([16, 16]);
    let other_size = TensorData::new(vec![0.0f32; 64], [1, 8, 8]);
    for (setting, request) in [
        ("size", Request { size: [16, 17], ..asked.clone() }),
        ("steps", Request { steps: 0, ..asked.clone() }),
        ("steps", Request { steps: 1001, ..asked.clone() }),
        ("strength", Request { image: start(&fixture, None, 0.0), ..asked.clone() }),
        ("strength", Request { image: start(&fixture, None, 1.5), ..asked.clone() }),
        ("strength", Request { image: start(&fixture, Some(mask()), 1.5), ..asked.clone() }),
        ("strength", Request { image: start(&fixture, None, 0.1), ..asked.clone() }),
        ("image", Request { size: [16, 24], image: start(&fixture, None, 0.5), ..asked.clone() }),
        ("mask", Request { image: start(&fixture, Some(other_size), 0.5), ..asked.clone() }),
        ("guidance", Request { guidance: f64::NAN, ..asked.clone() }),
        ("guidance", Request { modifiers: vec![CfgPlusPlus {}.into()], ..asked.clone() }),
        ("modifiers[0].phi", Request { modifiers: vec![Rescale { phi: 2.0 }.into()], ..asked }),
    ] {
        let found = pipe.generate(&request, Noise::new(0), device, &mut |_, _, _| Ok(()));
        let Err(GenerateError::Invalid(invalid)) = found else { panic!("{setting}: {found:?}") };
        assert_eq!(invalid.setting, setting);
    }
}

fn a_run_can_be_stopped<B: TestBackend>(device: &B::Device) {
    let (pipe, mut told) = (open::<B>("sd1", device), Vec::new());
    let found = pipe.generate(&request([16, 16]), Noise::new(0), device, &mut |step, steps, latents| {
        told.push((step, steps, latents.dims()));
        if step == 2 { Err(Stopped) } else { Ok(()) }
    });
    assert!(matches!(found, Err(GenerateError::Stopped)), "{found:?}");
    assert_eq!(told, [(1, 5, [1, 4, 8, 8]), (2, 5, [1, 4, 8, 8])]);
}

fn encode_request(images: &Path, out: PathBuf) -> EncodeRequest {
    EncodeRequest {
        images: images.to_path_buf(),
        size: ImageSize { height: 16, width: 16 },
        out,
        batch_size: 4,
        in_tiles: false,
        captions: false,
        overwrite: false,
    }
}

/// The encoder's mean of the mirrored image is not the mirrored mean.
fn the_mirrored_image_is_encoded<B: TestBackend>(device: &B::Device) {
    let (folder, images) = (Folder::new("sd1"), tempfile::tempdir().unwrap());
    let fixture = Fixture::open("latent");
    let image = start(&fixture, None, 1.0).unwrap().image;
    let path = images.path().join("a.png");
    write_png(&path, &image, &[]).unwrap();
    let autoencoder = Autoencoder::<B>::open(folder.path(), device).unwrap();
    let out = folder.join("latents");
    let request = encode_request(images.path(), out.clone());
    let model = diffusion::latent::Folder::open(folder.path()).unwrap();
    let tell: &mut dyn FnMut(_) = &mut |note| panic!("{note}");
    let about = encode::<B>(&request, &model, device, &Watch::default(), tell).unwrap();
    assert_eq!((about.count, about.latent_shape), (1, [4, 8, 8]));

    let file = TensorFile::open_safetensors(out.join("latents-00000-of-00001.safetensors")).unwrap();
    let stored = |name: &str| TensorData::new(file.read(name).unwrap(), [1, 4, 8, 8]);
    let seen =
        read_image(&path, ImageFolderConfig { height: 16, width: 16, channels: Channels::Rgb }).unwrap();
    let seen = Tensor::<B, 3>::from_data(seen, device).unsqueeze_dim::<4>(0);
    let mean = |image: Tensor<B, 4>| autoencoder.encode_moments(image).mean;
    assert_close("mean", stored("latent_mean"), mean(seen.clone()).into_data(), SAME);
    assert_close("mirrored", stored("latent_mean_flip"), mean(seen.clone().flip([3])).into_data(), SAME);
    assert!(apart(&stored("latent_mean_flip"), &mean(seen).flip([3]).into_data()) > 0.01);
}

/// More different captions than are encoded at once, each by itself as a prompt.
fn captions_are_encoded_as_prompts_are<B: TestBackend>(device: &B::Device) {
    for name in ["sd2", "sdxl"] {
        let (folder, images) = (Folder::new(name), tempfile::tempdir().unwrap());
        let image = start(&Fixture::open("latent"), None, 1.0).unwrap().image;
        let caption = |i: usize| format!("the red fox {}", i % 18);
        for i in 0..20 {
            write_png(images.path().join(format!("{i:02}.png")), &image, &[]).unwrap();
            write(&images.path().join(format!("{i:02}.txt")), caption(i).as_bytes());
        }
        let request = EncodeRequest {
            size: ImageSize { height: 8, width: 8 },
            batch_size: 20,
            captions: true,
            ..encode_request(images.path(), folder.join("latents"))
        };
        let model = diffusion::latent::Folder::open(folder.path()).unwrap();
        let tell: &mut dyn FnMut(_) = &mut |note| panic!("{note}");
        let about = encode::<B>(&request, &model, device, &Watch::default(), tell).unwrap();
        let encoder = PromptEncoder::<B>::of(&model, device).unwrap();
        let text = about.text.unwrap();
        let file = request.out.join("latents-00000-of-00001.safetensors");
        let latents = CaptionedLatents::open(&file, LatentsConfig::default()).unwrap();
        let pooled = TensorFile::open_safetensors(&file).unwrap();
        assert_eq!(pooled.shape("text_tokens"), Some(&[18, text.tokens, text.width][..]));
        for i in [0, 1, 16, 17, 18, 19] {
            let expected = encoder.encode(&[caption(i).as_str()]);
            let data = |tokens: &Tokens| TensorData::new(tokens.values().to_vec(), tokens.shape());
            assert_close("tokens", data(&latents.text(i).unwrap()), data(&expected.tokens), BATCH);
            match expected.pooled {
                None => assert!(pooled.shape("text_pooled").is_none() && name == "sd2"),
                Some(expected) => {
                    let [_, _, width] = expected.shape();
                    let mut found = vec![0.0; width];
                    pooled.read_rows("text_pooled", i % 18..i % 18 + 1, &mut found).unwrap();
                    assert_close("pooled", TensorData::new(found, [1, 1, width]), data(&expected), BATCH);
                }
            }
        }
    }
}

/// In the form `latent·scale + shift`, which the data and smalldiffusion have.
fn encoded_latents_say_their_scale<B: TestBackend>(device: &B::Device) {
    let (folder, images) = (Folder::new("sdxl"), tempfile::tempdir().unwrap());
    folder.edit("vae/config.json", |text| {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["shift_factor"] = 3.0.into();
        value.to_string()
    });
    let image = start(&Fixture::open("latent"), None, 1.0).unwrap().image;
    write_png(images.path().join("a.png"), &image, &[]).unwrap();
    let autoencoder = Autoencoder::<B>::open(folder.path(), device).unwrap();
    let request = encode_request(images.path(), folder.join("latents"));
    let model = diffusion::latent::Folder::open(folder.path()).unwrap();
    let tell: &mut dyn FnMut(_) = &mut |note| panic!("{note}");
    let about = encode::<B>(&request, &model, device, &Watch::default(), tell).unwrap();
    let mean = Tensor::<B, 1>::from_floats([-1.0, 0.0, 2.0], device);
    let expected = autoencoder.scale(mean.clone()).into_data();
    assert_close("scale", (mean * about.scale + about.shift).into_data(), expected, SAME);
}
