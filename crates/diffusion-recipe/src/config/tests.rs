//! Configurations that nobody meant: none of them may make the program panic.

use super::*;
use crate::preset::Preset;
use burn::backend::Flex;
use diffusion::core::{AnySampler, ClassifierFree, GradientEstimation, Schedule};
use diffusion::train::EmaConfig;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Inputs of each kind.
const INPUTS: u32 = 2_000;
/// Parameters of the networks that are made as well.
const SMALL: u128 = 50_000;

/// What numbers are replaced by.
const EXTREMES: [&str; 24] = [
    "0",
    "1",
    "2",
    "3",
    "32",
    "0.5",
    "-1",
    "-0.0",
    "1000",
    "1000000",
    "1000001",
    "4294967296",
    "1000000000000",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999999999",
    "1e-50",
    "1e38",
    "1e308",
    "nan",
    "inf",
    "-inf",
    "true",
    "[]",
];

/// What arbitrary text is made of, besides anything at all.
const FRAGMENTS: [&str; 16] = [
    "=",
    "[data]",
    "[network]",
    "[training.ema]",
    "[[sampling]]",
    "kind",
    "\"dit\"",
    "preset",
    "batch_size",
    "\n",
    "\"",
    "'''",
    "{ edm = { sigma_data = 1 } }",
    "# ä",
    "1979-05-27",
    "0x1F",
];

/// A change of a text.
#[derive(Clone, Debug)]
enum Edit {
    /// The byte at this place.
    Byte(usize, u8),
    /// This line is left out.
    Remove(usize),
    /// This line stands twice.
    Double(usize),
    /// This number is another.
    Number(usize, &'static str),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        any::<usize>().prop_map(Edit::Remove),
        any::<usize>().prop_map(Edit::Double),
        number(),
        number(),
        number(),
    ]
}

fn number() -> impl Strategy<Value = Edit> {
    (any::<usize>(), prop::sample::select(&EXTREMES[..])).prop_map(|(at, to)| Edit::Number(at, to))
}

impl Edit {
    fn apply(&self, text: &str) -> String {
        let mut lines: Vec<&str> = text.lines().collect();
        match *self {
            _ if text.is_empty() || lines.is_empty() => return text.to_string(),
            Self::Byte(at, byte) => {
                let mut bytes = text.as_bytes().to_vec();
                let at = at % bytes.len();
                bytes[at] = byte;
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            Self::Remove(at) => {
                lines.remove(at % lines.len());
            }
            Self::Double(at) => lines.insert(at % lines.len(), lines[at % lines.len()]),
            Self::Number(at, to) => return replace_number(text, at, to),
        }
        lines.join("\n")
    }
}

/// The text with one of its numbers replaced, counted round and round.
fn replace_number(text: &str, at: usize, to: &str) -> String {
    let is_part = |c: char| c.is_ascii_digit() || "._-+".contains(c);
    let starts: Vec<usize> = text
        .match_indices(|c: char| c.is_ascii_digit())
        .map(|(i, _)| i)
        .filter(|&i| text[..i].ends_with([' ', '[']))
        .collect();
    let Some(&start) = starts.get(at % starts.len().max(1)) else { return text.to_string() };
    let end = text[start..].find(|c| !is_part(c)).map_or(text.len(), |length| start + length);
    format!("{}{to}{}", &text[..start], &text[end..])
}

/// How far a text gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unread,
    Refused,
    Good,
}

/// Reads and checks a configuration; one that is found good has schedules, and a network if it is a small one.
fn fate(text: &str) -> Fate {
    let Ok(config) = RunConfig::parse(text) else { return Fate::Unread };
    if config.validate().is_err() {
        return Fate::Refused;
    }
    let steps = config.sampling.steps;
    let schedule = config.sampling.schedule.as_ref().unwrap_or(&config.schedule);
    assert_eq!(schedule.init().sigmas(steps).steps(), steps);
    let size = config.network.size();
    if size.params <= SMALL {
        let run = config.build::<Flex>(&Default::default()).unwrap();
        assert_eq!(run.num_params() as u128, size.params);
    }
    Fate::Good
}

/// The fates of inputs that are the same at every run.
fn fates<S: Strategy<Value = String>>(texts: S) -> [usize; 3] {
    let config = Config { cases: INPUTS, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let counts = std::cell::RefCell::new([0; 3]);
    runner
        .run(&texts, |text| {
            counts.borrow_mut()[fate(&text) as usize] += 1;
            Ok(())
        })
        .unwrap();
    counts.into_inner()
}

fn small_preset() -> impl Strategy<Value = String> {
    let presets = Preset::all().map(|preset| RunConfig::preset(preset.name).unwrap());
    let texts: Vec<String> = presets.map(|config| config.to_toml().unwrap()).collect();
    prop::sample::select(texts)
}

#[test]
fn every_preset_is_valid_and_survives_its_file() {
    for preset in Preset::all() {
        let config = RunConfig::preset(preset.name).unwrap();
        config.validate().unwrap();
        let text = config.to_toml().unwrap();
        assert_eq!(RunConfig::from_toml(&text).unwrap(), config, "{text}");
        assert_eq!(config.preset, preset.name);
        assert!(preset.description.ends_with('.'), "{preset:?} begins with no sentence");
    }
}

/// Batch, steps, learning rate, decay of the EMA; then the guidance of sampling.
#[test]
fn presets_after_smalldiffusion_s_examples_have_their_settings() {
    for (preset, training, scale) in [
        ("swissroll", (2048, 15_000, 1e-3, 0.999), 0.0),
        ("fashion-dit", (1024, 17_700, 1e-3, 0.99), 0.0),
        ("fashion-dit-cond", (1024, 17_700, 1e-3, 0.99), 0.0),
        ("fashion-unet", (1024, 17_700, 7e-4, 0.999), 0.0),
        ("cifar-unet", (256, 196_000, 2e-4, 0.9999), 0.0),
        ("imagenet-dit", (256, 400_000, 1e-4, 0.9999), 2.0),
    ] {
        let config = RunConfig::preset(preset).unwrap();
        let RunConfig { batch_size, training: train, sampling: sample, .. } = config;
        let EmaConfig::Warmup { decay, .. } = train.ema else { panic!("{preset}: {:?}", train.ema) };
        assert_eq!((batch_size, train.steps, train.lr, decay), training, "{preset}");
        let guidance = if scale == 0.0 { AnyGuidance::None } else { ClassifierFree::new(scale).into() };
        assert_eq!(sample.guidance, guidance, "{preset}");
    }
    let of = |preset: &str| RunConfig::preset(preset).unwrap().sampling.schedule;
    let cifar = ScheduleConfig::LogLinear { n: 1000, sigma_min: 0.01, sigma_max: 35.0 };
    assert_eq!(of("cifar-unet"), Some(cifar));
    assert_eq!(of("imagenet-dit"), Some(ScheduleConfig::Flow { n: 1000, t_min: 0.04, t_max: 1.0 }));
}

/// The sampler of a preset is the best in its evaluations where the denoiser is known (docs/method.md); of networks that
/// are trained for few steps, their own.
#[test]
fn presets_have_the_sampler_that_wins() {
    for preset in Preset::all() {
        let sampling = RunConfig::preset(preset.name).unwrap().sampling;
        if preset.name.starts_with("smalldiffusion") {
            // Its own, with the gamma of its examples.
            assert_eq!(sampling.sampler, GradientEstimation::new(1.6, 0.0).into(), "{preset:?}");
            continue;
        }
        let points = sampling.count == 2000;
        let name = match preset.name {
            name if name.contains("consistency") => "consistency",
            name if name.contains("mean-flow") => "mean-flow",
            name if points && !name.contains("flow") => "dpmpp-2m-sde",
            _ => "unipc",
        };
        assert_eq!(Some(sampling.sampler), AnySampler::from_name(name), "{preset:?}");
        let few = ["consistency", "mean-flow"].contains(&name);
        assert!(if few { sampling.steps <= 4 } else { sampling.steps == 20 }, "{preset:?}");
    }
}

#[test]
fn arbitrary_text_is_no_configuration() {
    let letters = prop::collection::vec(any::<char>(), 0..=32);
    let any_text = letters.prop_map(|letters| letters.into_iter().collect::<String>());
    let piece = prop_oneof![any_text, prop::sample::select(&FRAGMENTS[..]).prop_map(String::from)];
    let texts = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.join(" "));
    assert_eq!(fates(texts), [INPUTS as usize, 0, 0]);
}

#[test]
fn changed_configurations_are_read_or_refused() {
    let texts = (small_preset(), prop::collection::vec(edit(), 1..4))
        .prop_map(|(text, edits)| edits.iter().fold(text, |text, edit| edit.apply(&text)));
    let fates = fates(texts);
    assert!(fates.iter().all(|&count| count > INPUTS as usize / 20), "{fates:?}");
}

#[test]
fn extreme_numbers_are_read_or_refused() {
    let texts = (small_preset(), prop::collection::vec(number(), 1..3))
        .prop_map(|(text, edits)| edits.iter().fold(text, |text, edit| edit.apply(&text)));
    let fates = fates(texts);
    assert!(fates.iter().all(|&count| count > INPUTS as usize / 20), "{fates:?}");
}

/// Names may hold commas and be numbers; the longest name counts, and a name before a number.
#[test]
fn labels_are_read_by_name_and_by_number() {
    let mut config = RunConfig::preset("fashion-dit-cond").unwrap();
    config.classes = ["a", "a,b", "b", "2", "c, d, e"].map(str::to_owned).to_vec();
    for (text, expected) in [
        ("a", &[0][..]),
        ("a,b", &[1]),
        ("b,a", &[2, 0]),
        ("a,a,b,b", &[0, 1, 2]),
        ("2,3", &[3, 3]),
        ("c, d, e,0", &[4, 0]),
        ("9", &[9]),
    ] {
        assert_eq!(config.labels(text).as_deref(), Ok(expected), "{text}");
    }
    for (text, unknown) in [("a,c", "c"), ("a,,b", ""), ("10", "10"), ("c, d", "c"), ("-1", "-1")] {
        assert_eq!(config.labels(text), Err(unknown.to_owned()), "{text}");
    }
}

#[test]
fn a_grid_is_held_against_schedule_and_prediction() {
    let config = |changes: &[&str]| {
        let mut config = RunConfig::preset("swissroll").unwrap();
        config.set_all(changes.iter().copied()).unwrap();
        config
    };
    let karras = config(&["sampling.grid.spacing.kind=karras", "sampling.steps=7"]);
    assert_eq!(karras.validate(), Ok(()));
    let sigmas = karras.sampling.sigmas(&karras.schedule);
    assert_eq!((sigmas.steps(), sigmas[7]), (7, 0.0));
    let text = karras.to_toml().unwrap();
    assert_eq!(RunConfig::from_toml(&text).unwrap(), karras);
    for (changes, setting) in [
        (
            &["sampling.grid.spacing.kind=karras", "sampling.grid.spacing.rho=0"][..],
            "sampling.grid.spacing.rho",
        ),
        (&["sampling.grid.spacing.kind=karras", "sampling.grid.shift.factor=3"], "sampling.grid.shift"),
        (
            &["sampling.grid.spacing.kind=list", "sampling.grid.spacing.levels=[1.0, 2.0]"],
            "sampling.grid.spacing.levels",
        ),
    ] {
        assert_eq!(config(changes).validate().unwrap_err().setting, setting, "{changes:?}");
    }
    let mut named = config(&["sampling.grid.spacing.kind=vp", "sampling.grid.end=sigma-min"]);
    named.sampling.set_grid("exponential").unwrap();
    assert_eq!(named.sampling.sigmas(&named.schedule).last(), named.schedule.init().levels().first());
    assert_eq!(named.sampling.set_grid("straight").unwrap_err().setting, "sampling.grid.spacing");
}

/// From a level without data noise says nothing of the data, and an input that is not scaled is too large.
#[test]
fn pure_noise_needs_a_prediction_that_knows_the_data() {
    for (prediction, is_fine) in
        [("eps", false), ("scaled-eps", false), ("v", false), ("scaled-v", true), ("scaled-x0", true)]
    {
        let mut config = RunConfig::preset("swissroll").unwrap();
        let schedule = ScheduleConfig::Ddpm { n: 100, beta_start: 1e-3, beta_end: 0.1 };
        config.schedule = ScheduleConfig::ZeroTerminalSnr { of: Box::new(schedule) };
        config.set_all([format!("prediction={prediction}").as_str()]).unwrap();
        let found = config.validate().map_err(|invalid| invalid.setting);
        assert_eq!(found, if is_fine { Ok(()) } else { Err("prediction".to_string()) }, "{prediction}");
    }
}

/// A configuration can say every part of an objective, by a table or by single settings, and what is wrong with it is said
/// with its path.
#[test]
fn an_objective_is_a_table_of_parts() {
    let config = |settings: &[&str]| {
        let mut config = RunConfig::preset("smalldiffusion-dit-small").unwrap();
        config
            .set_all(["objective.kind=weighted"].into_iter().chain(settings.iter().copied()))
            .map(|()| config)
    };
    let rich = config(&[
        "objective.sigmas.kind=logit-normal",
        "objective.sigmas.shift=3.0",
        "objective.weight.kind=min-snr",
        "objective.loss.kind=pseudo-huber",
        "objective.stratified=true",
        "objective.adaptive.bins=16",
        "objective.learned_variance.channels=32",
        "objective.offset_noise.strength=0.1",
        "objective.pairing.kind=assignment",
    ])
    .unwrap();
    assert_eq!(rich.validate(), Ok(()));
    let text = rich.to_toml().unwrap();
    assert_eq!(RunConfig::from_toml(&text).unwrap(), rich);
    assert!(
        text.contains("[objective.sigmas]\nkind = \"logit-normal\"\nmean = 0.0\nstd = 1.0\nshift = 3.0\n"),
        "{text}"
    );
    assert!(config(&["objective.weight.gamma=5.0"]).is_err(), "a uniform weight has no gamma");
    for (setting, path) in [
        ("objective.offset_noise.strength=[0.1, 0.2]", "objective.offset_noise.strength"),
        ("objective.adaptive.floor=2.0", "objective.adaptive.floor"),
    ] {
        assert_eq!(config(&[setting]).unwrap().validate().unwrap_err().setting, path);
    }
    for (setting, path) in
        [("batch_size=8193", "batch_size"), ("validation.per_bin=8193", "validation.per_bin")]
    {
        let paired = config(&["objective.pairing.kind=sinkhorn", setting]).unwrap();
        assert_eq!(paired.validate().unwrap_err().setting, path);
    }
}

/// Every network of ours can be given its own estimate; files that say nothing of it are as they were.
#[test]
fn a_network_may_be_given_its_own_estimate() {
    let text_dit = "network={ kind = 'text-dit', text = { tokens = 3, width = 4 } }";
    for (preset, setting) in [
        ("swissroll", None),
        ("tree", None),
        ("fashion-dit-small", None),
        ("fashion-dit-small", Some("network.labels.num_classes=10")),
        ("fashion-unet-small", None),
        ("fashion-dit-small", Some(text_dit)),
    ] {
        let mut config = RunConfig::preset(preset).unwrap();
        config.set_all(setting).unwrap();
        let (plain, size) = (config.to_toml().unwrap(), config.network.size().params);
        assert!(!config.network.self_condition() && !plain.contains("self_condition"), "{plain}");
        config.set("network.self_condition=true").unwrap();
        assert!(config.network.self_condition() && config.network.size().params > size, "{preset}");
        assert_eq!(RunConfig::from_toml(&config.to_toml().unwrap()).unwrap(), config);
        config.set("network.self_condition=false").unwrap();
        assert_eq!(config.to_toml().unwrap(), plain);
    }
    let mut unet = RunConfig::preset("fashion-unet-small").unwrap();
    unet.set("network.self_condition=true").unwrap();
    unet.validate().unwrap();
    let run = unet.build::<Flex>(&Default::default()).unwrap();
    assert_eq!(run.num_params() as u128, unet.network.size().params);
}

/// As older versions wrote it.
#[test]
fn a_configuration_without_pictures_has_the_default() {
    let config = RunConfig::preset("swissroll").unwrap();
    let text = config.to_toml().unwrap();
    let (before, _) = text.split_once("[pictures]").unwrap();
    assert_eq!(RunConfig::from_toml(before).unwrap(), config);
}
