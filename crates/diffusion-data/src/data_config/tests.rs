//! Configurations are read, checked and opened, and a test set stays out of training.

use std::fs;

use serde::Serialize;
use tempfile::TempDir;

use super::*;
use crate::{AnyLabel, Dataset};

fn parse(toml: &str) -> DataConfig {
    toml::from_str(toml).unwrap()
}

fn input(shape: &[usize], num_classes: Option<usize>) -> ModelInput {
    ModelInput { shape: shape.to_vec(), num_classes, text: None, class_names: Vec::new() }
}

const SWISSROLL: &str = "kind = \"swissroll\"\ntmin = 1.5\ntmax = 15.0\nn = 100\n";
const TREE: &str = "kind = \"tree\"\nbranching_factor = 4\ndepth = 3\nnum_samples_per_path = 30\n";

/// As they have stood in the `config.toml` of runs from the beginning.
const ALL: [&str; 7] = [
    SWISSROLL,
    TREE,
    "kind = \"datasaurus\"\npath = \"DatasaurusDozen.tsv\"\nname = \"dino\"\n",
    "kind = \"mnist\"\npath = \"fashion-mnist\"\n",
    "kind = \"cifar\"\npath = \"cifar-10-batches-bin\"\n",
    "kind = \"images\"\npath = \"pictures\"\n",
    "kind = \"latents\"\npath = \"latents\"\nscale = 0.18215\nshift = 0.0\n",
];

/// MNIST's files with `train` and `test` images of 2 × 1 pixels, whose brightness tells the image and the split.
fn mnist(train: u8, test: u8) -> (TempDir, DataConfig) {
    let folder = tempfile::tempdir().unwrap();
    for (part, n, first) in [("train", train, 0), ("t10k", test, 200)] {
        let images = (0..n).flat_map(|i| [first + i, 255]);
        let header = [0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, 2, 0, 0, 0, 1];
        let images: Vec<u8> = header.into_iter().chain(images).collect();
        let labels: Vec<u8> = [0, 0, 8, 1, 0, 0, 0, n].into_iter().chain((0..n).map(|i| i % 10)).collect();
        fs::write(folder.path().join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.path().join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
    let mut config = parse(ALL[3]);
    assert!(config.set_path(folder.path()));
    (folder, config)
}

/// The first pixel of each image, and its label.
fn images(data: &AnyDataset) -> Vec<(u8, AnyLabel)> {
    let mut into = [0.0; 2];
    let image = |i| {
        let label = data.read(i, &mut into).unwrap();
        (crate::pixels::to_u8(into[0]), label)
    };
    (0..data.len()).map(image).collect()
}

#[test]
fn every_kind_is_written_as_it_is_read() {
    for text in ALL {
        let config = parse(text);
        assert_eq!(toml::to_string(&config).unwrap(), text);
        assert!(config.validate().is_ok(), "{text}");
        let has_path = text.contains("\npath = ");
        assert_eq!(config.path().is_some(), has_path, "{text}");
        assert_eq!(config.clone().set_path("elsewhere"), has_path, "{text}");
        assert_eq!(
            config.latents(),
            text.contains("latents").then_some(crate::ScaledLatents { scale: 0.18215, shift: 0.0 }),
            "{text}"
        );
    }
}

#[test]
fn unknown_kinds_and_settings_are_errors() {
    #[derive(Debug, Serialize, Deserialize)]
    struct File {
        data: DataConfig,
    }
    for text in ALL {
        assert!(toml::from_str::<DataConfig>(&format!("{text}size = 3\n")).is_err(), "{text}");
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(toml::from_str::<DataConfig>(rest).is_err(), "{text}");
        assert!(toml::from_str::<DataConfig>(&rest.replacen(" = ", "_ = ", 1)).is_err(), "{first}");
        assert!(toml::from_str::<File>(&format!("[data]\n{text}")).is_ok(), "{text}");
    }
    assert!(toml::from_str::<DataConfig>("kind = \"imagenet\"\n").is_err());
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    for (text, from, to, expected) in [
        (SWISSROLL, "n = 100", "n = 0", "n"),
        (SWISSROLL, "n = 100", "n = 100000001", "n"),
        (SWISSROLL, "tmin = 1.5", "tmin = nan", "tmin"),
        (SWISSROLL, "tmax = 15.0", "tmax = 0.0", "tmax"),
        (SWISSROLL, "tmax = 15.0", "tmax = inf", "tmax"),
        (TREE, "branching_factor = 4", "branching_factor = 0", "branching_factor"),
        (TREE, "depth = 3", "depth = 0", "depth"),
        (TREE, "depth = 3", "depth = 65", "depth"),
        (TREE, "depth = 3", "depth = 40", "depth"),
        (TREE, "path = 30", "path = 0", "num_samples_per_path"),
        (TREE, "path = 30", "path = 2000000", "num_samples_per_path"),
        (ALL[6], "scale = 0.18215", "scale = 0.0", "scale"),
        (ALL[6], "scale = 0.18215", "scale = 1e40", "scale"),
        (ALL[6], "shift = 0.0", "shift = nan", "shift"),
    ] {
        let config = parse(&text.replace(from, to));
        for error in [config.validate(), config.open(&input(&[2], None), 0, 0, &Watch::default()).map(drop)] {
            let error = error.expect_err(to);
            assert!(
                matches!(&error.problem, Problem::Invalid { setting, .. } if setting == expected),
                "{to}: {error}"
            );
        }
    }
}

#[test]
fn validation_examples_are_split_from_the_training_set() {
    let (_folder, config) = mnist(40, 10);
    let input = input(&[1, 2, 1], Some(10));
    let opened = config.open(&input, 3, 7, &Watch::default()).unwrap();
    let validation = opened.validation.expect("three of forty can be spared");
    assert_eq!((opened.training.len(), validation.len()), (37, 3));
    assert_eq!((validation.num_classes(), validation.class_names()), (Some(10), None));
    let mut all = [images(&opened.training), images(&validation)].concat();
    all.sort_by_key(|image| image.0);
    assert_eq!(all, Vec::from_iter((0..40).map(|i| (i, AnyLabel::Class(usize::from(i % 10))))));

    let test = config.open_test(&input, &Watch::default()).unwrap().expect("this data set has a test set");
    assert_eq!(images(&test), Vec::from_iter((0..10).map(|i| (200 + i, AnyLabel::Class(i.into())))));
    let again = config.open(&input, 3, 7, &Watch::default()).unwrap().validation.unwrap();
    assert_eq!(images(&again), images(&validation));
    let other = config.open(&input, 3, 8, &Watch::default()).unwrap().validation.unwrap();
    assert_ne!(images(&other), images(&validation));
}

/// As it is for a run that goes on with 20 images more.
#[test]
fn a_split_stays_when_the_data_grow() {
    let (_few, before) = mnist(40, 10);
    let (_many, after) = mnist(60, 10);
    let input = input(&[1, 2, 1], Some(10));
    let opened = before.open(&input, 3, 7, &Watch::default()).unwrap();
    let validation = images(&opened.validation.unwrap());
    let grown = after.open_split(&input, opened.split, &Watch::default()).unwrap();
    assert_eq!((grown.all.len(), grown.split), (60, opened.split));
    let kept = images(&grown.validation.unwrap());
    assert!(kept.starts_with(&validation), "{kept:?}, {validation:?}");
    assert!(images(&grown.training).starts_with(&images(&opened.training)[..30]));

    let none = after.open_split(&input, None, &Watch::default()).unwrap();
    assert_eq!((none.training.len(), none.validation.is_none()), (60, true));
    let all = Some(ValidationSplit { seed: 0, limit: u64::MAX });
    let error = after.open_split(&input, all, &Watch::default()).unwrap_err();
    assert!(matches!(error.problem, Problem::Format { .. }), "{error}");
}

#[test]
fn a_run_does_not_need_the_test_set() {
    let (folder, config) = mnist(40, 10);
    fs::remove_file(folder.path().join("t10k-images-idx3-ubyte")).unwrap();
    let input = input(&[1, 2, 1], Some(10));
    assert!(config.open(&input, 3, 7, &Watch::default()).unwrap().validation.is_some());
    let error = config.open_test(&input, &Watch::default()).expect_err("its images are gone");
    assert!(matches!(error.problem, Problem::Missing { .. }), "{error}");
}

#[test]
fn at_most_a_tenth_is_for_validation_and_none_of_points() {
    let (_folder, config) = mnist(40, 10);
    let len = |validation| {
        let opened = config.open(&input(&[1, 2, 1], None), validation, 0, &Watch::default()).unwrap();
        (opened.training.len(), opened.validation.map(|part| part.len()))
    };
    assert_eq!([len(0), len(4), len(1000)], [(40, None), (36, Some(4)), (36, Some(4))]);
    let (_folder, few) = mnist(9, 1);
    assert!(few.open(&input(&[1, 2, 1], None), 5, 0, &Watch::default()).unwrap().validation.is_none());

    let opened = parse(TREE).open(&input(&[2], Some(64)), 100, 0, &Watch::default()).unwrap();
    assert_eq!((opened.training.len(), opened.validation.is_none()), (1920, true));
    assert!(parse(TREE).open_test(&input(&[2], Some(64)), &Watch::default()).unwrap().is_none());
}

#[test]
fn an_unconditional_network_sees_no_labels() {
    let (_folder, config) = mnist(40, 10);
    let unconditional = input(&[1, 2, 1], None);
    let opened = config.open(&unconditional, 3, 0, &Watch::default()).unwrap();
    let test = config.open_test(&unconditional, &Watch::default()).unwrap().unwrap();
    for part in [opened.training, opened.validation.unwrap(), test] {
        assert_eq!(part.num_classes(), None);
        assert!(images(&part).iter().all(|image| image.1 == AnyLabel::None));
    }
}

#[test]
fn what_does_not_suit_the_network_is_an_error() {
    let (_folder, config) = mnist(40, 10);
    for open in [
        |config: &DataConfig, input: &ModelInput| config.open(input, 0, 0, &Watch::default()).map(drop),
        |config: &DataConfig, input: &ModelInput| config.open_test(input, &Watch::default()).map(drop),
    ] {
        let error = open(&config, &input(&[1, 1, 2], Some(10))).expect_err("it has another shape");
        assert!(matches!(&error.problem, Problem::Shape { found, .. } if **found == [1, 2, 1]), "{error}");
        assert_eq!(error.path.as_deref(), config.path());
        assert!(error.hint().is_some());
        let error = open(&config, &input(&[1, 2, 1], Some(9))).expect_err("it has ten classes");
        assert!(matches!(error.problem, Problem::Classes { found: 10, expected: 9 }), "{error}");
        assert!(open(&config, &input(&[1, 2, 1], Some(11))).is_ok());
    }
    let error =
        parse(SWISSROLL).open(&input(&[2], Some(3)), 0, 0, &Watch::default()).expect_err("it has no labels");
    assert!(matches!(&error.problem, Problem::Invalid { setting, .. } if setting == "kind"), "{error}");
    let error = parse(SWISSROLL)
        .open(&input(&[3], None), 0, 0, &Watch::default())
        .expect_err("its points are of the plane");
    assert!(matches!(error.problem, Problem::Shape { .. }) && error.path.is_none(), "{error}");
}

/// A shard of 20 latents whose text is that of their number modulo 2.
fn captioned() -> (TempDir, DataConfig) {
    use crate::shard::{f32s, safetensors};
    use safetensors::Dtype;
    let folder = tempfile::tempdir().unwrap();
    let bytes = safetensors(&[
        ("latent_mean", Dtype::F32, &[20, 1, 1, 2], f32s((0..40).map(|i| i as f32))),
        ("label", Dtype::U8, &[20], (0..20).map(|i| i % 4).collect()),
        ("text", Dtype::U8, &[20], (0..20).map(|i| i % 2).collect()),
        ("text_tokens", Dtype::F32, &[2, 3, 1], f32s([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])),
    ]);
    fs::write(folder.path().join("a.safetensors"), bytes).unwrap();
    let mut config = parse(ALL[6]);
    config.set_path(folder.path());
    (folder, config)
}

#[test]
fn texts_are_told_to_a_network_that_takes_them() {
    let (folder, config) = captioned();
    let told = |text| ModelInput { text, ..input(&[1, 1, 2], None) };
    let open = |input: &ModelInput| config.open(input, 2, 0, &Watch::default());
    let opened = open(&told(Some([3, 1]))).unwrap();
    for part in [&opened.all, &opened.training, opened.validation.as_ref().unwrap()] {
        assert_eq!((part.text_shape(), part.num_classes()), (Some([3, 1]), None));
    }
    let AnyLabel::Text(text) = opened.all.read(7, &mut [0.0; 2]).unwrap() else { panic!("it has a text") };
    assert_eq!((text.shape(), text.values()), ([1, 3, 1], &[2.0; 3][..]));

    // To others they are not told.
    assert_eq!(open(&told(None)).unwrap().all.read(7, &mut [0.0; 2]).unwrap(), AnyLabel::None);
    let labeled = open(&input(&[1, 1, 2], Some(4))).unwrap().all;
    assert_eq!((labeled.text_shape(), labeled.read(7, &mut [0.0; 2]).unwrap()), (None, AnyLabel::Class(3)));

    for other in [[3, 2], [1, 3]] {
        let error = open(&told(Some(other))).expect_err("the texts have another shape");
        assert!(matches!(&error.problem, Problem::Shape { found, .. } if **found == [3, 1]), "{error}");
        assert_eq!(error.path.as_deref(), Some(folder.path()));
        assert!(error.hint().is_some());
    }
    for text in [Some([3, 1]), None] {
        let roll = parse(SWISSROLL).open(&ModelInput { text, ..input(&[2], None) }, 0, 0, &Watch::default());
        let is_told = |error: &DataError| matches!(&error.problem, Problem::Invalid { setting, .. } if setting == "kind");
        assert_eq!(roll.err().map(|error| is_told(&error)), text.map(|_| true));
    }
    let plain = tempfile::tempdir().unwrap();
    let bytes = crate::shard::safetensors(&[(
        "latent_mean",
        safetensors::Dtype::F32,
        &[1, 1, 1, 2],
        crate::shard::f32s([0.0; 2]),
    )]);
    fs::write(plain.path().join("a.safetensors"), bytes).unwrap();
    let mut config = config.clone();
    config.set_path(plain.path());
    let error = config.open(&told(Some([3, 1])), 0, 0, &Watch::default()).expect_err("they have no texts");
    assert!(matches!(&error.problem, Problem::Invalid { setting, .. } if setting == "kind"), "{error}");
}

#[test]
fn images_are_made_as_the_network_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    for (class, brightness) in [("bee", 51), ("cat", 102)] {
        fs::create_dir(folder.path().join(class)).unwrap();
        let image = image::GrayImage::from_pixel(9, 8, image::Luma([brightness]));
        image.save(folder.path().join(class).join("a.png")).unwrap();
    }
    let mut config = parse(ALL[5]);
    config.set_path(folder.path());
    for shape in [[1, 4, 4], [3, 4, 2], [1, 1, 5]] {
        let data = config.open(&input(&shape, Some(2)), 0, 0, &Watch::default()).unwrap().training;
        assert_eq!((data.len(), data.shape()), (2, &shape[..]));
        assert_eq!(data.class_names(), Some(&["bee", "cat"].map(str::to_owned)[..]));
    }
    let known = |names: &[&str], num_classes| {
        let class_names = names.iter().map(|&name| name.to_owned()).collect();
        let input = ModelInput { class_names, ..input(&[1, 4, 4], num_classes) };
        config.open(&input, 0, 0, &Watch::default())
    };
    let opened = known(&["bee", "cat"], Some(2)).unwrap();
    assert_eq!(opened.class_names, ["bee", "cat"]);
    let error = known(&["ant", "bee"], Some(2)).expect_err("the classes are others");
    let Problem::OtherClasses { appeared, vanished } = &error.problem else { panic!("{error}") };
    assert_eq!((&appeared[..], &vanished[..]), (&["cat".to_owned()][..], &["ant".to_owned()][..]));
    // The names come first: to have other classes is the cause of having more.
    let error = known(&["bee"], Some(1)).expect_err("there is one class more");
    assert!(
        matches!(&error.problem, Problem::OtherClasses { appeared, .. } if *appeared == ["cat"]),
        "{error}"
    );
    assert!(matches!(known(&["cat", "bee"], Some(2)).unwrap_err().problem, Problem::OtherClasses { .. }));
    assert!(known(&["ant"], None).is_ok());
    for shape in [&[2, 4, 4][..], &[2], &[1, 0, 4]] {
        let error =
            config.open(&input(shape, None), 0, 0, &Watch::default()).expect_err("images are not like that");
        assert!(matches!(error.problem, Problem::Invalid { .. }), "{error}");
    }
}
