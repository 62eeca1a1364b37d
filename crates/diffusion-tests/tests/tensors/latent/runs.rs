//! Whole runs of the tiny pipelines, from the noise and the text of diffusers' runs.

use crate::support::fixture::Fixture;
use crate::support::folders::Folder;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use diffusion::core::{
    AnyPath, AnyPrediction, Diffusion, GradientEstimation, Network, Noise, NoiseRequest, Sigmas, Tokens,
    Tracer, sample_from,
};
use diffusion::latent::condition::to_host;
use diffusion::latent::inpaint::{mask_of_latents, without_painted};
use diffusion::latent::{
    Autoencoder, Known, LatentSchedule, SizedUnet, TextCondition, UNet2DConditionModel, repaint,
};
use diffusion_tests::{TestBackend, assert_close, backend_tests};

backend_tests!(
    runs_of_noise_prediction,
    runs_of_v_prediction,
    the_last_level_may_have_no_data,
    runs_with_noise_on_the_way,
    pictures_become_pictures,
    a_part_is_painted_anew,
    a_network_of_nine_channels_sees_the_rest,
    smalldiffusions_wrapper_loses_timesteps,
);

/// Of the largest number.
const TOLERANCE: f64 = 1e-4;
/// diffusers' guidance of 7.5.
const SCALE: f64 = 6.5;

type Model<B> = Diffusion<B, SizedUnet<B>, AnyPrediction>;

/// A folder's network as a model, with its schedule after `changes` of the scheduler's settings.
fn open<B: Backend>(
    name: &str,
    changes: &[(&str, &str)],
    device: &B::Device,
) -> (Model<B>, LatentSchedule, Fixture) {
    let folder = Folder::new(name);
    for (from, to) in changes {
        folder.edit("scheduler/scheduler_config.json", |text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
    }
    let schedule = LatentSchedule::open_for_text(folder.path()).unwrap();
    let unet = UNet2DConditionModel::open(folder.path(), device).unwrap();
    (model(unet, &schedule), schedule, Fixture::open("latent"))
}

fn model<B: Backend>(unet: UNet2DConditionModel<B>, schedule: &LatentSchedule) -> Model<B> {
    let empty = TextCondition::from(Tokens::new(vec![0.0; 16 * 32], [1, 16, 32]));
    Diffusion::new(
        SizedUnet::new(unet, [8, 8], 2, schedule.timesteps().clone(), empty),
        schedule.prediction(),
    )
}

/// What the first `count` examples of diffusers' runs are told, and what they are told that they are not.
fn prompts(fixture: &Fixture, name: &str, count: usize) -> [TextCondition; 2] {
    ["cond", "uncond"].map(|which| {
        let values: Vec<f32> = fixture.data(&format!("{name}.run.in.{which}")).iter::<f32>().collect();
        Tokens::new(values[..count * 16 * 32].to_vec(), [count, 16, 32]).into()
    })
}

const CLASS: &str = r#""DDIMScheduler""#;
const EULER: &str = r#""EulerDiscreteScheduler""#;
const LEADING: &str = r#""leading""#;
const TRAILING: &str = r#""trailing""#;
const LINSPACE: &str = r#""linspace""#;

/// Runs as the scheduler of the folder, after `changes` of its settings, does them.
fn check<B: TestBackend>(name: &str, label: &str, changes: &[(&str, &str)], device: &B::Device) {
    let (model, schedule, fixture) = open::<B>(name, changes, device);
    assert_eq!(schedule.replaced(), None, "{label}");
    let [given, against] = prompts(&fixture, name, 2);
    let guided = model.given(given).guided_by(against, SCALE);
    let plan = schedule.like_diffusers(if label.starts_with("ddim_") { 8 } else { 7 }).unwrap();
    let x = plan.from_noise(fixture.tensor("run.in.noise", device));
    let found = plan.run(&guided, x, Noise::new(0));
    let expected = fixture.data(&format!("{name}.run.out.{label}"));
    assert_close(&format!("{name} {label}"), found.into_data(), expected, TOLERANCE);
}

fn all<B: TestBackend>(name: &str, device: &B::Device) {
    const PNDM: (&str, &str) = (CLASS, r#""PNDMScheduler", "skip_prk_steps": true"#);
    const KARRAS: (&str, &str) = (CLASS, r#""EulerDiscreteScheduler", "use_karras_sigmas": true"#);
    const TO_ZERO: (&str, &str) = (r#""set_alpha_to_one": false"#, r#""set_alpha_to_one": true"#);
    let runs: [(&str, &[_]); 9] = [
        ("ddim", &[]),
        ("pndm", &[PNDM]),
        ("euler_leading", &[(CLASS, EULER)]),
        ("euler_trailing", &[(CLASS, EULER), (LEADING, TRAILING)]),
        ("euler_linspace", &[(CLASS, EULER), (LEADING, LINSPACE)]),
        ("heun", &[(CLASS, r#""HeunDiscreteScheduler""#), (LEADING, LINSPACE)]),
        ("dpm", &[(CLASS, r#""DPMSolverMultistepScheduler""#), (LEADING, LINSPACE)]),
        ("karras", &[KARRAS, (LEADING, LINSPACE)]),
        ("ddim_trailing_zero", &[TO_ZERO, (LEADING, TRAILING)]),
    ];
    for (label, changes) in runs {
        check::<B>(name, label, changes, device);
    }
}

fn runs_of_noise_prediction<B: TestBackend>(device: &B::Device) {
    all::<B>("sd1", device);
}

fn runs_of_v_prediction<B: TestBackend>(device: &B::Device) {
    all::<B>("sd2", device);
}

fn the_last_level_may_have_no_data<B: TestBackend>(device: &B::Device) {
    let rescaled = (r#""rescale_betas_zero_snr": false"#, r#""rescale_betas_zero_snr": true"#);
    check::<B>("sd2", "ddim_zero_snr", &[rescaled, (LEADING, TRAILING)], device);
}

/// DDPM and Euler's ancestral method, given the noise that diffusers' runs were given.
fn runs_with_noise_on_the_way<B: TestBackend>(device: &B::Device) {
    const DDPM: (&str, &str) = (CLASS, r#""DDPMScheduler""#);
    const ANCESTRAL: (&str, &str) = (CLASS, r#""EulerAncestralDiscreteScheduler""#);
    for (name, label, class) in [
        ("sd1", "ddpm", DDPM),
        ("sd1", "ancestral", ANCESTRAL),
        ("sd2", "ddpm", DDPM),
        ("sd2", "ancestral", ANCESTRAL),
    ] {
        for (spacing, to) in [("leading", LEADING), ("trailing", TRAILING), ("linspace", LINSPACE)] {
            let (mut model, schedule, fixture) = open::<B>(name, &[class, (LEADING, to)], device);
            assert_eq!(schedule.replaced(), None, "{label}");
            model.network = model.network.at([4, 4]);
            let [given, against] = prompts(&fixture, name, 1);
            let plan = schedule.like_diffusers(6).unwrap();
            let drawn: Tensor<B, 4> = fixture.tensor("noisy.in.drawn", device);
            let noise = |step: NoiseRequest| drawn.clone().narrow(0, step.index, 1);
            let x = plan.from_noise(fixture.tensor("noisy.in.noise", device));
            let found = plan.run(&model.given(given).guided_by(against, SCALE), x, noise);
            let expected = fixture.data(&format!("noisy.{name}.out.{label}_{spacing}"));
            assert_close(&format!("{name} {label} {spacing}"), found.into_data(), expected, TOLERANCE);
        }
    }
}

fn pictures_become_pictures<B: TestBackend>(device: &B::Device) {
    let (model, schedule, fixture) = open::<B>("sd1", &[], device);
    let [given, against] = prompts(&fixture, "sd1", 1);
    let guided = model.given(given).guided_by(against, SCALE);
    let plan = schedule.like_diffusers(10).unwrap().last_part(0.6).unwrap();
    let x = plan
        .from_data(fixture.tensor("img2img.out.start", device), fixture.tensor("img2img.in.noise", device));
    let found = plan.run(&guided, x, Noise::new(0));
    assert_close("img2img", found.into_data(), fixture.data("img2img.out.latents"), TOLERANCE);
}

fn a_part_is_painted_anew<B: TestBackend>(device: &B::Device) {
    let (model, schedule, fixture) = open::<B>("sd1", &[], device);
    let [given, against] = prompts(&fixture, "sd1", 1);
    let guided = model.given(given).guided_by(against, SCALE);
    let (latents, noise) = (
        fixture.tensor::<B, 4>("img2img.out.start", device),
        fixture.tensor::<B, 4>("img2img.in.noise", device),
    );
    for strength in [1.0, 0.6] {
        let plan = schedule.like_diffusers(10).unwrap().last_part(strength).unwrap();
        let x = match strength {
            1.0 => plan.from_noise(noise.clone()),
            _ => plan.from_data(latents.clone(), noise.clone()),
        };
        let known = Known::new(latents.clone(), fixture.tensor("repaint.in.mask", device), noise.clone());
        let last = repaint(&guided, &plan, x, Noise::new(0), known).last().unwrap();
        let label = format!("strength_{:.0}", 10.0 * strength);
        let expected = fixture.data(&format!("repaint.out.{label}"));
        assert_close(&label, (last * plan.result).into_data(), expected, TOLERANCE);
    }
}

/// A U-Net for inpainting sees the rest of the picture, so nothing is put back.
fn a_network_of_nine_channels_sees_the_rest<B: TestBackend>(device: &B::Device) {
    let (_, schedule, fixture) = open::<B>("sd1", &[], device);
    let unet = UNet2DConditionModel::<B>::open(Folder::new("inpaint").path(), device).unwrap();
    let (model, autoencoder) =
        (model(unet, &schedule), Autoencoder::<B>::open(Folder::new("sd1").path(), device).unwrap());
    let pixels = (0..16 * 16).map(|i| f32::from((4..12).contains(&(i / 16)) && (6..16).contains(&(i % 16))));
    let mask: Tensor<B, 4> =
        Tensor::from_data(TensorData::new(pixels.collect::<Vec<f32>>(), [1, 1, 16, 16]), device);
    let small = mask_of_latents(mask.clone(), [8, 8]);
    assert_close("mask", small.clone().into_data(), fixture.data("repaint.in.mask"), 0.0);
    let rest = autoencoder.encode(without_painted(fixture.tensor("img2img.in.image", device), mask));
    let painted = to_host(Tensor::cat(vec![small, rest], 1).reshape([1, 5, 64]));
    let [given, against] = prompts(&fixture, "sd1", 1)
        .map(|condition| TextCondition { painted: Some(painted.clone()), ..condition });
    let guided = model.given(given).guided_by(against, SCALE);
    let plan = schedule.like_diffusers(10).unwrap();
    let found = plan.run(&guided, plan.from_noise(fixture.tensor("img2img.in.noise", device)), Noise::new(0));
    assert_close("nine channels", found.into_data(), fixture.data("inpaint.run.out.latents"), TOLERANCE);
}

/// A network that is told given times, one of each noise level of a grid.
#[derive(Module, Debug)]
struct Told<B: Backend> {
    unet: UNet2DConditionModel<B>,
    #[module(skip)]
    times: Vec<(f64, f64)>,
}

impl<B: Backend> Network<B, 4> for Told<B> {
    type Condition = TextCondition;

    fn input_shape(&self, batch: usize) -> [usize; 4] {
        [batch, 4, 8, 8]
    }

    fn trace<T: Tracer<B>>(
        &self,
        x: Tensor<B, 4>,
        sigma: Tensor<B, 1>,
        condition: TextCondition,
        tracer: &mut T,
    ) -> Tensor<B, 4> {
        let asked = sigma.to_data().iter::<f64>().next().unwrap();
        let is_near = |&&(level, _): &&(f64, f64)| (level / asked - 1.0).abs() < 1e-5;
        let t = Tensor::full(sigma.dims(), self.times.iter().find(is_near).unwrap().1, &x.device());
        let context = condition.tokens.tensor(&x.device());
        tracer.layer(&"unet", self.unet.forward(x, t, context, None))
    }
}

/// Of 20 steps, three are asked of the network at the timestep below their own: √(σ² + 1) and back rounds. With those, ours is
/// its run; with the right ones it is not, by 0.34 percent of the largest number.
fn smalldiffusions_wrapper_loses_timesteps<B: TestBackend>(device: &B::Device) {
    let (model, schedule, fixture) = open::<B>("sd1", &[], device);
    let (sigmas, asked) =
        (fixture.numbers("smalldiffusion.in.sigmas"), fixture.numbers("smalldiffusion.out.t"));
    assert_eq!([asked[3], asked[5], asked[19]], [848.0, 748.0, 48.0]);
    let grid = Sigmas::on(AnyPath::VarianceExploding, sigmas.clone());
    let x = fixture.tensor::<B, 4>("run.in.noise", device).narrow(0, 0, 1) * sigmas[0];
    let [given, against] = prompts(&fixture, "sd1", 1);
    let told = Told { unet: model.network.unet.clone(), times: sigmas.into_iter().zip(asked).collect() };
    let told = Diffusion::new(told, schedule.prediction());
    for (label, sampler) in
        [("ddim", GradientEstimation::DDIM), ("accelerated", GradientEstimation::ACCELERATED)]
    {
        let guided = told.given(given.clone()).guided_by(against.clone(), 7.5);
        let found = sample_from(&guided, sampler, &grid, x.clone(), Noise::new(0)).last().unwrap();
        assert_close(
            label,
            found.into_data(),
            fixture.data(&format!("smalldiffusion.out.{label}")),
            TOLERANCE,
        );
    }
    let guided = model.given(given).guided_by(against, 7.5);
    let right = sample_from(&guided, GradientEstimation::DDIM, &grid, x, Noise::new(0)).last().unwrap();
    let theirs: Tensor<B, 4> = fixture.tensor("smalldiffusion.out.ddim", device);
    let largest = |x: Tensor<B, 4>| x.abs().max().into_data().iter::<f64>().next().unwrap();
    let apart = largest(right - theirs.clone()) / largest(theirs);
    assert!((3.3e-3..3.6e-3).contains(&apart), "{apart:e}");
}
