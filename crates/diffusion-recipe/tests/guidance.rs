//! Guidance of a run's samples: away from what is negative, towards several things at once, away from a weaker model.

#![allow(clippy::unwrap_used)]

use burn::backend::Flex;
use diffusion::core::guidance::{Autoguidance, CfgPlusPlus, Interval, Rescale};
use diffusion::core::{AnyGuidance, ClassifierFree, Tokens};
use diffusion::train::CheckpointError;
use diffusion_recipe::{Composed, RecipeError, Run, RunConfig, RunFolder, SampleRequest, train};
use std::path::Path;

/// A few steps on a tree whose samples depend on their labels.
fn tree(settings: &[&str]) -> RunConfig {
    let mut config = RunConfig::preset("tree").unwrap();
    let small = [
        "training.steps=6",
        "batch_size=16",
        "training.lr=0.01",
        "training.ema.decay=0.5",
        "network.hidden_dims=[8]",
        "sampling.count=5",
        "sampling.steps=4",
        "checkpoint_every=2",
        "checkpoint_keep=9",
    ];
    config.set_all(small.iter().chain(settings).copied()).unwrap();
    config
}

fn build(config: &RunConfig) -> Box<dyn Run> {
    config.build::<Flex>(&Default::default()).unwrap()
}

/// The run of `config` in `folder`, trained.
fn trained(config: &RunConfig, folder: &Path) -> (Box<dyn Run>, RunFolder) {
    let mut run = build(config);
    let place = RunFolder::create(folder, config, false).unwrap();
    let trained = train(&mut *run, &place, &mut ()).unwrap();
    assert!(trained.stopped.is_none());
    (run, place)
}

fn values(run: &dyn Run, request: &SampleRequest) -> Vec<f32> {
    run.sample(request, &mut |_| {}).unwrap().values
}

/// The largest difference, relative to the largest of `expected`.
fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    found.iter().zip(expected).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

fn invalid(run: &dyn Run, request: &SampleRequest) -> String {
    match run.sample(request, &mut |_| {}) {
        Err(RecipeError::Invalid(error)) => error.setting,
        other => panic!("{:?}", other.map(|samples| samples.values)),
    }
}

fn scaled(config: &RunConfig, scale: f64) -> SampleRequest {
    let mut request = SampleRequest::of(config);
    request.sampling.set_cfg_scale(scale);
    request
}

#[test]
fn samples_are_led_away_from_labels() {
    let folder = tempfile::tempdir().unwrap();
    let config = tree(&[]);
    let (run, _) = trained(&config, &folder.path().join("run"));
    let away = |labels: &[usize], scale: f64| {
        let request = SampleRequest {
            labels: Some(vec![3, 1]),
            negative_labels: Some(labels.to_vec()),
            ..scaled(&config, scale)
        };
        values(&*run, &request)
    };
    let plain = values(&*run, &SampleRequest { labels: Some(vec![3, 1]), ..SampleRequest::of(&config) });
    let from_none = values(&*run, &SampleRequest { labels: Some(vec![3, 1]), ..scaled(&config, 2.0) });
    assert!(distance(&from_none, &plain) > 1e-3, "guidance does nothing");
    assert!(distance(&away(&[3, 1], 2.0), &plain) < 1e-5, "away from itself");
    assert!(distance(&away(&[2], 2.0), &from_none) > 1e-4, "the negative label does nothing");
    // D − (D − D_negative) is what is sampled of the negative labels, which are repeated by themselves.
    let other = values(&*run, &SampleRequest { labels: Some(vec![0, 2, 1]), ..SampleRequest::of(&config) });
    assert!(distance(&away(&[0, 2, 1], -1.0), &other) < 1e-5);
}

#[test]
fn samples_are_told_several_labels() {
    let folder = tempfile::tempdir().unwrap();
    let config = tree(&[]);
    let (run, _) = trained(&config, &folder.path().join("run"));
    let composed = |composed: &[(f64, &[usize])], scale: f64| {
        let composed = composed.iter().map(|(weight, labels)| Composed::of_labels(*weight, labels.to_vec()));
        let composed = composed.collect();
        SampleRequest { labels: Some(vec![3, 1]), composed, ..scaled(&config, scale) }
    };
    // The same labels once more are a larger scale: 1 + s = 3·(1 + 1/2).
    let found = values(&*run, &composed(&[(0.5, &[3, 1])], 2.0));
    assert!(distance(&found, &values(&*run, &composed(&[], 3.5))) < 1e-5);
    // Without guidance too.
    let found = values(&*run, &composed(&[(0.5, &[3, 1])], 0.0));
    assert!(distance(&found, &values(&*run, &composed(&[], 0.5))) < 1e-5);
    // Others make a difference, and the order of two that weigh the same does not.
    let one = values(&*run, &composed(&[(0.5, &[0]), (-0.25, &[2])], 2.0));
    let other = values(&*run, &composed(&[(-0.25, &[2]), (0.5, &[0])], 2.0));
    assert!(distance(&one, &other) < 1e-5 && distance(&one, &found) > 1e-4);
    // However many are drawn at once.
    let request = SampleRequest {
        negative_labels: Some(vec![0, 1, 2]),
        batch_size: Some(2),
        ..composed(&[(0.5, &[0, 4, 2])], 2.0)
    };
    let all = SampleRequest { batch_size: None, ..request.clone() };
    assert!(distance(&values(&*run, &request), &values(&*run, &all)) < 1e-6);
}

#[test]
fn what_the_network_is_not_told_is_named() {
    let config = tree(&[]);
    let run = build(&config);
    let asked = scaled(&config, 2.0);
    let texts = || Some(Tokens::none([1, 2, 3]));
    let with = |change: &dyn Fn(&mut SampleRequest)| {
        let mut request = asked.clone();
        change(&mut request);
        invalid(&*run, &request)
    };
    assert_eq!(with(&|request| request.negative_labels = Some(vec![1, 99])), "negative_labels");
    assert_eq!(with(&|request| request.negative_labels = Some(vec![])), "negative_labels");
    assert_eq!(with(&|request| request.negative_texts = texts()), "negative_texts");
    let compose = |composed: Composed| {
        move |request: &mut SampleRequest| {
            request.composed = vec![Composed::of_labels(1.0, vec![0]), composed.clone()];
        }
    };
    assert_eq!(with(&compose(Composed::of_labels(1.0, vec![99]))), "composed[1].labels");
    assert_eq!(with(&compose(Composed::of_labels(f64::NAN, vec![1]))), "composed[1].weight");
    assert_eq!(
        with(&compose(Composed { texts: texts(), ..Composed::of_labels(1.0, vec![1]) })),
        "composed[1].texts"
    );
    assert_eq!(with(&compose(Composed { labels: None, ..Composed::of_labels(1.0, vec![1]) })), "composed[1]");
    // Without guidance nothing leads away from it.
    let negative = SampleRequest { negative_labels: Some(vec![1]), ..SampleRequest::of(&config) };
    assert_eq!(invalid(&*run, &negative), "sampling.guidance");
    let unconditional = RunConfig::preset("swissroll").unwrap();
    let told = SampleRequest { negative_labels: Some(vec![1]), ..SampleRequest::of(&unconditional) };
    assert_eq!(invalid(&*build(&unconditional), &told), "negative_labels");
}

/// `D − (D − D_weak)` is the weaker model itself, so that its samples are those of a run that is the weaker one.
#[test]
fn an_earlier_checkpoint_and_another_run_are_weaker_models() {
    let folder = tempfile::tempdir().unwrap();
    let [own, small] = ["own", "small"].map(|name| folder.path().join(name));
    let (mut run, place) = trained(&tree(&[]), &own);
    let (smaller, _) = trained(&tree(&["network.hidden_dims=[4]", "training.seed=5"]), &small);
    let checkpoint = place.weights(diffusion::train::Which::Step(2), Default::default()).unwrap().checkpoint;
    let mut earlier = build(&tree(&[]));
    earlier.load(&checkpoint, diffusion::train::Weights::Ema).unwrap();
    let request = SampleRequest::of(&tree(&[]));
    let [plain, early, other] = [&run, &earlier, &smaller].map(|run| values(&**run, &request));
    assert!(distance(&early, &plain) > 1e-3 && distance(&other, &plain) > 1e-3, "all models are alike");

    let by = |scale: f64, checkpoint, run: Option<&Path>| {
        let rule = Autoguidance { checkpoint, run: run.map(Into::into), ..Autoguidance::new(scale) };
        let mut config = tree(&[]);
        config.sampling.guidance = rule.into();
        config
    };
    let with_weights = |config: &RunConfig| {
        let mut run = build(config);
        run.load(&place.checkpoint(Default::default()).unwrap().0, diffusion::train::Weights::Ema).unwrap();
        run
    };
    let found = |config: &RunConfig| {
        let mut run = with_weights(config);
        run.open_weaker(&place).unwrap();
        values(&*run, &SampleRequest::of(config))
    };
    assert!(distance(&found(&by(-1.0, Some(2), None)), &early) < 1e-5);
    assert!(distance(&found(&by(-1.0, None, Some(&small))), &other) < 1e-5);
    assert!(distance(&found(&by(-1.0, Some(6), Some(&small))), &other) < 1e-5);
    // By itself it stays itself, whatever the scale; by another one it does not.
    assert!(distance(&found(&by(9.0, Some(6), None)), &plain) < 1e-5);
    assert!(distance(&found(&by(2.0, Some(2), None)), &plain) > 1e-3);
    // A run that is at hand serves as well.
    let mut guided = with_weights(&by(-1.0, Some(1), None));
    guided.guide_by(earlier).unwrap();
    assert!(distance(&values(&*guided, &SampleRequest::of(guided.config())), &early) < 1e-5);

    // Without it there is no autoguidance.
    let asked = SampleRequest { sampling: by(1.0, Some(2), None).sampling, ..request.clone() };
    assert_eq!(invalid(&*run, &asked), "sampling.guidance");
    let negative = SampleRequest { negative_labels: Some(vec![1]), ..asked };
    assert_eq!(invalid(&*run, &negative), "sampling.guidance");
    let mut lost = build(&by(1.0, Some(5), None));
    let error = lost.open_weaker(&place).unwrap_err();
    assert!(matches!(error, RecipeError::Checkpoint(CheckpointError::NoStep { .. })), "{error:?}");
    assert!(build(&by(1.0, None, Some(&folder.path().join("none")))).open_weaker(&place).is_err());
    let swissroll = build(&RunConfig::preset("swissroll").unwrap());
    match run.guide_by(swissroll) {
        Err(RecipeError::Invalid(error)) => assert_eq!(error.setting, "sampling.guidance.run"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_and_settings_hold_stacks() {
    let mut config = tree(&[]);
    config
        .set_all([
            "sampling.guidance.kind=classifier-free",
            "sampling.guidance.scale=0.6",
            r#"sampling.guidance.modifiers=[{kind="interval", low=0.1, high=3.0}, {kind="cfg-plus-plus"}]"#,
        ])
        .unwrap();
    let expected =
        ClassifierFree::new(0.6).with(vec![Interval { low: 0.1, high: 3.0 }.into(), CfgPlusPlus {}.into()]);
    assert_eq!(config.sampling.guidance, expected.into());
    let text = config.to_toml().unwrap();
    assert!(text.contains("[[sampling.guidance.modifiers]]"), "{text}");
    assert_eq!(RunConfig::from_toml(&text).unwrap(), config);
    // The strength changes, and nothing else.
    config.sampling.set_cfg_scale(0.3);
    assert_eq!(RunConfig::from_toml(&text.replace("scale = 0.6", "scale = 0.3")).unwrap(), config);
    config.sampling.set_cfg_scale(2.0);
    assert_eq!(config.validate().unwrap_err().setting, "sampling.guidance.scale");

    let bad = vec![Rescale { phi: 0.7 }.into(), Interval { low: 2.0, high: 1.0 }.into()];
    config.sampling.guidance = ClassifierFree::new(1.0).with(bad).into();
    assert_eq!(config.validate().unwrap_err().setting, "sampling.guidance.modifiers[1].high");
    // A model without labels has a weaker one all the same.
    let mut unconditional = RunConfig::preset("swissroll").unwrap();
    unconditional.sampling.guidance = Autoguidance { checkpoint: Some(5), ..Autoguidance::new(1.0) }.into();
    assert_eq!(unconditional.validate(), Ok(()));
    assert_eq!(RunConfig::from_toml(&unconditional.to_toml().unwrap()).unwrap(), unconditional);
    unconditional.sampling.guidance = AnyGuidance::from(ClassifierFree::new(1.0));
    assert_eq!(unconditional.validate().unwrap_err().setting, "sampling.guidance");
}
