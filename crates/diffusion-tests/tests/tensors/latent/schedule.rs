//! Noise levels, timesteps and grids of diffusers' schedulers.

use crate::support::fixture::Fixture;
use crate::support::folders::{Folder, write};
use crate::support::mixture::plane;
use burn::tensor::Tensor;
use diffusion::core::sampler::Variant;
use diffusion::core::schedule::{Ldm, Schedule};
use diffusion::core::{
    AnyPath, AnyPrediction, AnySampler, Dpm2Ancestral, DpmSolver, DpmppSde, GradientEstimation, Noise, Pndm,
    Sigma, UniPc,
};
use diffusion::latent::schedule::{Curve, End, Grid, PURE_NOISE, Spacing, Start};
use diffusion::latent::{LatentError, LatentSchedule, Timesteps};
use diffusion_tests::{TestBackend, assert_close, backend_tests};
use serde_json::{Value, json};
use tempfile::TempDir;

backend_tests!(
    a_level_has_its_index,
    broken_timesteps_are_linear_in_the_logarithm,
    whole_runs_are_those_of_the_classes,
);

fn timesteps_of<B: TestBackend>(table: &Timesteps, sigmas: Vec<f64>, device: &B::Device) -> Vec<f64> {
    let sigma: Tensor<B, 1> = Sigma::Each(sigmas).tensor(0, device);
    table.of(sigma).into_data().iter::<f64>().collect()
}

fn a_level_has_its_index<B: TestBackend>(device: &B::Device) {
    let cosine = diffusion::core::schedule::Cosine::default();
    let linear = diffusion::core::schedule::Ddpm::default();
    for levels in [Ldm::default().levels(), cosine.levels(), linear.levels()] {
        let table = Timesteps::new(levels).unwrap();
        let found = timesteps_of::<B>(&table, levels.to_vec(), device);
        // A GPU's division of a number by itself may miss 1 by a last digit.
        let is_cpu = ["flex", "ndarray"].contains(&&*B::name(device));
        let slack = if is_cpu { 0.0 } else { 1e-6 };
        for (i, &level) in levels.iter().enumerate() {
            assert!((found[i] - i as f64).abs() <= slack, "{} is no {i}", found[i]);
            // By itself, and not as one of a batch, which may be computed in another way.
            if i % 37 == 0 || i == 999 {
                assert_eq!(timesteps_of::<B>(&table, vec![level], device), [found[i]]);
            }
        }
        let beyond = timesteps_of::<B>(&table, vec![levels[0] / 2.0, levels[999] * 2.0], device);
        assert_eq!(beyond, [0.0, 999.0]);
    }
}

fn broken_timesteps_are_linear_in_the_logarithm<B: TestBackend>(device: &B::Device) {
    let levels = Ldm::default();
    let levels = levels.levels();
    let expected: Vec<f64> = (0..600).map(|i| i as f64 * 1.6629).collect();
    let between = |t: f64| {
        let (low, part) = (levels[t as usize], t.fract());
        low.powf(1.0 - part) * levels[t as usize + 1].powf(part)
    };
    let sigmas = expected.iter().map(|&t| between(t)).collect();
    let found = timesteps_of::<B>(&Timesteps::new(levels).unwrap(), sigmas, device);
    let apart = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
    let worst = apart.fold(0.0, f64::max);
    assert!(worst < 1e-4, "{worst:e}");
}

/// A folder with a scheduler of these settings.
fn folder(settings: &Value) -> TempDir {
    let folder = TempDir::new().unwrap();
    write(&folder.path().join("scheduler/scheduler_config.json"), settings.to_string().as_bytes());
    folder
}

/// What the tiny pipelines' schedulers have in common.
fn stable(changes: Value) -> Value {
    let mut settings = json!({
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": false,
        "set_alpha_to_one": false, "steps_offset": 1,
    });
    settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    settings
}

fn open(settings: &Value) -> Result<LatentSchedule, LatentError> {
    LatentSchedule::open(folder(settings).path())
}

/// The setting that is refused.
fn refused(settings: &Value) -> String {
    match open(settings) {
        Err(LatentError::Setting { key, .. }) => key,
        Err(error) => panic!("{settings}: {error}"),
        Ok(_) => panic!("{settings} is taken"),
    }
}

#[test]
fn grids_of_euler_are_those_of_diffusers() {
    let fixture = Fixture::open("latent").case("sd1.run.out");
    for (label, changes) in [
        ("euler_leading", json!({"timestep_spacing": "leading"})),
        ("euler_trailing", json!({"timestep_spacing": "trailing"})),
        ("euler_linspace", json!({})),
        ("karras", json!({"use_karras_sigmas": true})),
    ] {
        let mut settings = stable(changes);
        settings["_class_name"] = json!("EulerDiscreteScheduler");
        let schedule = open(&settings).unwrap();
        let plan = schedule.like_diffusers(7).unwrap();
        let expected = fixture.numbers(&format!("{label}_sigmas"));
        assert_eq!(plan.sigmas.len(), expected.len());
        for (found, expected) in plan.sigmas.iter().zip(&expected) {
            // Theirs are of f32, whose smallest lose most.
            assert!((found - expected).abs() <= 3e-5 * expected, "{label}: {found}, expected {expected}");
        }
        let start = if label == "euler_leading" { Start::Preserving } else { Start::Sigma };
        assert_eq!((plan.start, plan.result, schedule.replaced()), (start, 1.0, None), "{label}");

        // The network is told what theirs is, in linspace but for the difference between two ways to interpolate.
        #[cfg(feature = "flex")]
        {
            let sigmas = plan.sigmas[..7].to_vec();
            let found =
                timesteps_of::<burn::backend::Flex>(schedule.timesteps(), sigmas, &Default::default());
            let tolerance = match label {
                "karras" => 0.02, // In which their table's ln σ, of f32, is off.
                "euler_linspace" => 1e-3,
                _ => 0.0,
            };
            for (found, expected) in found.iter().zip(fixture.numbers(&format!("{label}_t"))) {
                assert!((found - expected).abs() <= tolerance, "{label}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn every_class_has_its_own_defaults() {
    let of = |name: &str| open(&json!({"_class_name": name, "clip_sample": false})).unwrap();
    let (linear, heun) = ((1e-4, 0.02, "linear"), (0.00085, 0.012, "linear"));
    let zero = |grid: &[f64]| grid.last() == Some(&0.0);
    for (name, betas, spacing, ends_at_zero, start, replaced) in [
        ("DDIMScheduler", linear, "leading", true, Start::Preserving, false),
        ("DDPMScheduler", linear, "leading", true, Start::Preserving, false),
        ("PNDMScheduler", linear, "leading", false, Start::Preserving, true),
        ("LCMScheduler", (0.00085, 0.012, "scaled_linear"), "leading", true, Start::Preserving, true),
        ("EulerDiscreteScheduler", linear, "linspace", true, Start::Sigma, false),
        ("EulerAncestralDiscreteScheduler", linear, "linspace", true, Start::Sigma, false),
        ("LMSDiscreteScheduler", linear, "linspace", true, Start::Sigma, false),
        ("HeunDiscreteScheduler", heun, "linspace", true, Start::Sigma, false),
        ("DPMSolverMultistepScheduler", linear, "linspace", true, Start::Preserving, false),
        ("DPMSolverSDEScheduler", heun, "linspace", true, Start::Sigma, false),
        ("KDPM2AncestralDiscreteScheduler", heun, "linspace", true, Start::Sigma, false),
        ("KDPM2DiscreteScheduler", heun, "linspace", true, Start::Sigma, false),
        ("DEISMultistepScheduler", linear, "linspace", false, Start::Preserving, false),
        ("UniPCMultistepScheduler", linear, "linspace", true, Start::Preserving, false),
        ("DPMSolverSinglestepScheduler", linear, "linspace", true, Start::Preserving, true),
    ] {
        let schedule = of(name);
        let config = schedule.config();
        assert_eq!((config.beta_start, config.beta_end, &*config.beta_schedule), betas, "{name}");
        assert_eq!(config.timestep_spacing, spacing, "{name}");
        let plan = schedule.like_diffusers(10).unwrap();
        assert_eq!((zero(&plan.sigmas), plan.start), (ends_at_zero, start), "{name}");
        assert_eq!(schedule.replaced(), replaced.then_some(name));
    }
    let pndm = |skip: bool| {
        let schedule = open(&json!({"_class_name": "PNDMScheduler", "skip_prk_steps": skip})).unwrap();
        assert_eq!(schedule.like_diffusers(5).unwrap().sampler.0, AnySampler::from(Pndm {}));
        schedule.replaced().is_some()
    };
    assert!(pndm(false) && !pndm(true));
    for (setting, value) in [
        ("algorithm_type", json!("dpmsolver")),
        ("algorithm_type", json!("sde-dpmsolver")),
        ("solver_order", json!(3)),
        ("solver_type", json!("logrho")),
        ("final_sigmas_type", json!("sigma_min")),
        ("use_karras_sigmas", json!(true)),
    ] {
        let name = "DPMSolverMultistepScheduler";
        assert_eq!(open(&json!({"_class_name": name, setting: value})).unwrap().replaced(), Some(name));
    }
    for (name, setting, value) in [
        ("UniPCMultistepScheduler", "solver_order", json!(4)),
        ("UniPCMultistepScheduler", "predict_x0", json!(false)),
        ("UniPCMultistepScheduler", "disable_corrector", json!([0, 1])),
        ("UniPCMultistepScheduler", "use_karras_sigmas", json!(true)),
        ("DEISMultistepScheduler", "use_karras_sigmas", json!(true)),
        ("KDPM2DiscreteScheduler", "use_karras_sigmas", json!(true)),
    ] {
        assert_eq!(open(&json!({"_class_name": name, setting: value})).unwrap().replaced(), Some(name));
    }
    let ddpm = json!({"_class_name": "DDPMScheduler", "clip_sample": false, "variance_type": "fixed_large"});
    assert!(open(&ddpm).unwrap().replaced().is_some());
    // The result of a class that holds x/√(1+σ²) is that.
    let (ddim, pndm) =
        (of("DDIMScheduler").like_diffusers(5).unwrap(), of("PNDMScheduler").like_diffusers(5).unwrap());
    assert_eq!(ddim.result, 1.0);
    assert!((pndm.result - 1.0 / pndm.sigmas[5].hypot(1.0)).abs() < 1e-15 && pndm.result < 1.0);
}

/// Each was held against the class (`reference::samplers_sde`).
#[test]
fn solvers_are_those_of_their_settings() {
    let sampler = |settings: serde_json::Value| {
        let schedule = open(&settings).unwrap();
        assert_eq!(schedule.replaced(), None, "{settings}");
        schedule.like_diffusers(9).unwrap().sampler.0
    };
    let multistep = |order: usize, algorithm: &str, solver: &str| {
        sampler(json!({"_class_name": "DPMSolverMultistepScheduler", "solver_order": order,
            "algorithm_type": algorithm, "solver_type": solver}))
    };
    let first = DpmSolver { order: 1, ..DpmSolver::M2 };
    assert_eq!(multistep(1, "dpmsolver++", "midpoint"), first.into());
    let heun = DpmSolver { variant: Variant::Heun, ..DpmSolver::M2 };
    assert_eq!(multistep(2, "dpmsolver++", "heun"), heun.into());
    assert_eq!(multistep(2, "sde-dpmsolver++", "midpoint"), DpmSolver::M2_SDE.into());
    assert_eq!(multistep(2, "sde-dpmsolver++", "heun"), DpmSolver { eta: 1.0, ..heun }.into());
    let of = |name: &str| sampler(json!({"_class_name": name}));
    assert_eq!(of("DPMSolverSDEScheduler"), DpmppSde::default().into());
    assert_eq!(of("KDPM2AncestralDiscreteScheduler"), Dpm2Ancestral::default().into());
    let rounded = json!({"_class_name": "KDPM2AncestralDiscreteScheduler", "use_karras_sigmas": true});
    assert!(open(&rounded).unwrap().replaced().is_some());
}

/// A sampler without a name is told as a file states it.
#[test]
fn samplers_are_told_by_name_or_settings() {
    let told = |settings: Value| open(&settings).unwrap().sampler_name(20);
    let unipc = |order: usize| json!({"_class_name": "UniPCMultistepScheduler", "solver_order": order});
    assert_eq!(told(unipc(2)), "unipc");
    let third: AnySampler = serde_json::from_str(&told(unipc(3))).unwrap();
    assert_eq!(third, UniPc { order: 3, ..UniPc::default() }.into());
    for (name, expected) in [
        ("LMSDiscreteScheduler", "lms"),
        ("DEISMultistepScheduler", "deis"),
        ("KDPM2DiscreteScheduler", "dpm2"),
    ] {
        assert_eq!(told(json!({"_class_name": name})), expected);
    }
}

/// Whole runs of classes along their own grids, of which `fixtures/samplers_ode.py` draws the numbers in f64.
fn whole_runs_are_those_of_the_classes<B: TestBackend>(device: &B::Device) {
    let fixture = Fixture::open("samplers_ode").case("own");
    let [deis, kdpm2, lms, unipc] = [
        "DEISMultistepScheduler",
        "KDPM2DiscreteScheduler",
        "LMSDiscreteScheduler",
        "UniPCMultistepScheduler",
    ];
    let leading = json!({"timestep_spacing": "leading"});
    let whole = json!({"solver_order": 3, "lower_order_final": false});
    let bh1 = json!({"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"});
    let cases = [
        ("kdpm2", kdpm2, 7, json!({})),
        ("kdpm2_leading", kdpm2, 7, leading.clone()),
        ("lms", lms, 7, json!({})),
        ("lms_karras", lms, 7, json!({"use_karras_sigmas": true})),
        ("unipc", unipc, 7, json!({})),
        ("unipc_leading", unipc, 7, json!({"timestep_spacing": "leading", "steps_offset": 1})),
        ("unipc_3", unipc, 9, json!({"solver_order": 3})),
        ("unipc_bh1_3", unipc, 9, bh1),
        ("unipc_midpoint", unipc, 7, json!({"solver_type": "midpoint"})),
        ("unipc_to_lowest", unipc, 7, json!({"final_sigmas_type": "sigma_min", "lower_order_final": false})),
        ("deis", deis, 7, json!({})),
        ("deis_1", deis, 7, json!({"solver_order": 1})),
        ("deis_3", deis, 9, json!({"solver_order": 3})),
        ("deis_3_of_many", deis, 15, json!({"solver_order": 3})),
        ("deis_3_to_the_end", deis, 9, whole),
    ];
    assert_eq!(fixture.names("").len(), 1 + cases.len());
    for (label, class, steps, changes) in cases {
        let mut settings = stable(json!({"steps_offset": 0, "_class_name": class}));
        settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let schedule = open(&settings).unwrap();
        assert_eq!(schedule.replaced(), None, "{label}");
        let plan = schedule.like_diffusers(steps).unwrap();
        let x = plan.from_noise(fixture.tensor("start", device));
        let found: Tensor<B, 2> = plan.run(&plane(AnyPath::VarianceExploding), x, Noise::new(0));
        // The classes round their levels to f32.
        let expected = fixture.data(&format!("{label}.end"));
        assert_close(label, found.into_data(), expected, 2.0 * B::TOLERANCE.min(1e-6));
    }
}

/// diffusers' own timesteps, computed by it.
#[test]
fn timesteps_are_those_of_diffusers() {
    let levels = Ldm::default();
    for (name, spacing, steps, expected) in [
        ("PNDMScheduler", "leading", 4, vec![751, 501, 251, 1]),
        ("DDIMScheduler", "linspace", 7, vec![999, 832, 666, 500, 333, 166, 0]),
        // Seven steps do not divide 1000: the next timestep is not ⌊1000/7⌋ below, where diffusers' DDIM goes.
        ("DDIMScheduler", "trailing", 7, vec![999, 856, 713, 570, 428, 285, 142]),
        ("DDPMScheduler", "trailing", 6, vec![999, 832, 666, 499, 332, 166]),
        ("DPMSolverMultistepScheduler", "linspace", 4, vec![999, 749, 500, 250]),
        ("DPMSolverMultistepScheduler", "leading", 4, vec![801, 601, 401, 201]),
        ("UniPCMultistepScheduler", "leading", 7, vec![876, 751, 626, 501, 376, 251, 126]),
        ("DPMSolverMultistepScheduler", "trailing", 4, vec![999, 749, 499, 249]),
    ] {
        let schedule = open(&stable(json!({"_class_name": name, "timestep_spacing": spacing}))).unwrap();
        let plan = schedule.like_diffusers(steps).unwrap();
        let expected: Vec<f64> = expected.into_iter().map(|t| levels.levels()[t]).collect();
        assert_eq!(plan.sigmas[..steps], expected, "{name}, {spacing}");
    }
    assert!(open(&stable(json!({"_class_name": "DDIMScheduler"}))).unwrap().like_diffusers(0).is_err());
    for name in ["DDIMScheduler", "UniPCMultistepScheduler"] {
        let schedule = open(&stable(json!({"_class_name": name}))).unwrap();
        assert_eq!(schedule.like_diffusers(1000).unwrap().sigmas.steps(), 1000);
        assert_eq!(schedule.like_diffusers(1001).unwrap_err().setting, "steps");
        assert_eq!(schedule.like_diffusers(usize::MAX).unwrap_err().setting, "steps");
    }
}

#[test]
fn grids_can_be_chosen() {
    let schedule = open(&stable(json!({"_class_name": "DDIMScheduler"}))).unwrap();
    let levels = schedule.levels();
    let grid = |spacing, curve, end| schedule.grid(Grid { spacing, curve, end }, 5).unwrap();
    let trailing = grid(Spacing::Trailing, Curve::Levels, End::Lowest);
    assert_eq!(trailing, schedule.sigmas(5));
    let whole = grid(Spacing::Broken, Curve::Levels, End::Zero);
    assert_eq!((whole[0], whole[2], whole[5]), (levels[999], (levels[499] + levels[500]) / 2.0, 0.0));
    let karras = grid(Spacing::Linspace, Curve::Karras, End::Lowest);
    assert_eq!((karras[0], karras[4], karras[5]), (levels[999], levels[0], levels[0]));
    let exponential = grid(Spacing::Linspace, Curve::Exponential, End::Zero);
    assert!((exponential[2] - (levels[999] * levels[0]).sqrt()).abs() < 1e-12);
}

#[test]
fn predictions_are_those_of_the_file() {
    for (name, expected) in [
        ("epsilon", AnyPrediction::ScaledEps),
        ("v_prediction", AnyPrediction::ScaledV),
        ("sample", AnyPrediction::ScaledX0),
    ] {
        let schedule =
            open(&stable(json!({"_class_name": "DDIMScheduler", "prediction_type": name}))).unwrap();
        assert_eq!(schedule.prediction(), expected);
    }
}

#[test]
fn levels_are_those_of_the_file() {
    let schedule = |changes: Value| {
        let mut settings = json!({"_class_name": "PNDMScheduler"});
        settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        open(&settings).unwrap()
    };
    let scaled =
        schedule(json!({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}));
    assert_eq!(scaled.levels(), Ldm::default().levels());
    assert!((scaled.levels()[0] - 0.029167).abs() < 1e-6 && (scaled.levels()[999] - 14.614641).abs() < 1e-6);
    let cosine = schedule(json!({"beta_schedule": "squaredcos_cap_v2"}));
    assert_eq!(cosine.levels(), diffusion::core::schedule::Cosine::default().levels());
    let trained = schedule(json!({"trained_betas": [0.1, 0.2, 0.5], "num_train_timesteps": 3}));
    let expected = [1.0 / 0.9, 1.0 / 0.72, 1.0 / 0.36].map(|x: f64| (x - 1.0).sqrt());
    assert!(trained.levels().iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-14));

    let terminal = schedule(json!({
        "_class_name": "DDIMScheduler", "clip_sample": false, "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": true,
    }));
    let (usual, levels) = (schedule(json!({})), terminal.levels());
    assert!((levels[0] / usual.levels()[0] - 1.0).abs() < 1e-9);
    assert_eq!((levels.len(), levels[999]), (1000, PURE_NOISE));
    assert!(levels[998] > 1000.0 && levels[998] < 1e5, "{}", levels[998]);
}

#[test]
fn text_models_have_the_changes_of_their_pipeline() {
    let folder = folder(&json!({"_class_name": "DDIMScheduler"}));
    let LatentError::Setting { key, .. } = LatentSchedule::open(folder.path()).unwrap_err() else { panic!() };
    assert_eq!(key, "clip_sample");
    let schedule = LatentSchedule::open_for_text(folder.path()).unwrap();
    assert_eq!((schedule.config().steps_offset, schedule.config().clip_sample), (1, false));
    assert_eq!(schedule.like_diffusers(10).unwrap().sigmas[9], schedule.levels()[1]);
    // The part alone.
    let alone = LatentSchedule::open_for_text(folder.path().join("scheduler")).unwrap();
    assert_eq!(alone.levels(), schedule.levels());
}

#[test]
fn the_folders_of_diffusers_open() {
    for (name, prediction, sampler) in [
        ("sd1", AnyPrediction::ScaledEps, GradientEstimation::DDIM),
        ("sd2", AnyPrediction::ScaledV, GradientEstimation::DDIM),
        ("sdxl", AnyPrediction::ScaledEps, GradientEstimation::DDIM),
        ("dit", AnyPrediction::ScaledEps, GradientEstimation::DDIM),
    ] {
        let schedule = LatentSchedule::open(Folder::new(name).path()).unwrap();
        assert_eq!(schedule.prediction(), prediction, "{name}");
        let plan = schedule.like_diffusers(5).unwrap();
        assert_eq!((plan.sampler.0, schedule.replaced()), (sampler.into(), None), "{name}");
    }
}

#[test]
fn what_cannot_be_honored_is_named() {
    let ddim = |changes: Value| {
        let mut settings = stable(json!({"_class_name": "DDIMScheduler"}));
        settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        settings
    };
    for (changes, key) in [
        (json!({"thresholding": true}), "thresholding"),
        (json!({"clip_sample": true}), "clip_sample"),
        (json!({"prediction_type": "score"}), "prediction_type"),
        (json!({"timestep_spacing": "middling"}), "timestep_spacing"),
        (json!({"beta_schedule": "quadratic"}), "beta_schedule"),
        (json!({"beta_end": 1.5}), "beta_end"),
        (json!({"num_train_timesteps": 1}), "num_train_timesteps"),
        (json!({"num_train_timesteps": 10000000}), "num_train_timesteps"),
        (json!({"trained_betas": [0.1, 0.2]}), "trained_betas"),
        (json!({"rescale_betas_zero_snr": true}), "rescale_betas_zero_snr"),
        (json!({"use_beta_sigmas": true}), "use_beta_sigmas"),
        (json!({"use_flow_sigmas": true}), "use_flow_sigmas"),
        (json!({"interpolation_type": "log_linear"}), "interpolation_type"),
        (json!({"timestep_type": "continuous"}), "timestep_type"),
        (json!({"sigma_max": 700.0}), "sigma_max"),
        (json!({"final_sigmas_type": "half"}), "final_sigmas_type"),
    ] {
        assert_eq!(refused(&ddim(changes.clone())), key, "{changes}");
    }
    // On another path, or of levels that nothing states.
    for name in ["FlowMatchEulerDiscreteScheduler", "EDMEulerScheduler"] {
        assert_eq!(refused(&json!({"_class_name": name, "num_train_timesteps": 1000})), "_class_name");
    }
    let unknown = open(&stable(json!({"_class_name": "MyScheduler"}))).unwrap();
    assert_eq!((unknown.replaced(), unknown.levels().len()), (Some("MyScheduler"), 1000));
    let missing = LatentSchedule::open(TempDir::new().unwrap().path());
    assert!(matches!(missing, Err(LatentError::Io { .. })));
}

#[test]
fn a_run_from_data_is_the_last_part_of_a_plan() {
    let plan = open(&stable(json!({"_class_name": "DDIMScheduler"}))).unwrap().like_diffusers(10).unwrap();
    for (strength, steps) in [(1.0, 10), (0.6, 6), (0.69, 6), (0.1, 1)] {
        assert_eq!(plan.last_part(strength).unwrap().sigmas[..], plan.sigmas[10 - steps..], "{strength}");
    }
    for strength in [0.0, 0.09, -1.0, 1.1, f64::NAN] {
        assert_eq!(plan.last_part(strength).unwrap_err().setting, "strength", "{strength}");
    }
}
