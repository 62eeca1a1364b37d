//! Checkpoints: what is saved comes back, and what is wrong with a folder is said, never panicked.

use crate::support::parameters::{assert_same_bits, parameters};
use crate::support::spec::named;
use burn::tensor::backend::Backend;
use diffusion::core::network::mlp::{TimeInputMlp, TimeInputMlpConfig};
use diffusion::core::{Diffusion, Scaled, VPrediction};
use diffusion::train::{Checkpoint, CheckpointError, CheckpointState, ModelSpec, Weights, Which};
use diffusion_tests::{TestBackend, backend_tests};
use std::fs;
use std::path::Path;

backend_tests!(
    both_weights_come_back_bit_for_bit,
    another_model_is_refused_with_both_names,
    every_tensor_that_does_not_fit_is_named,
    damaged_weights_give_errors,
);

type Model<B> = Diffusion<B, TimeInputMlp<B>, Scaled<VPrediction>>;

fn model<B: Backend>(seed: u64, hidden_dims: &[usize], device: &B::Device) -> Model<B> {
    let config = TimeInputMlpConfig { dim: 2, hidden_dims: hidden_dims.to_vec(), ..Default::default() };
    Diffusion::new(config.init(seed, device), Scaled(VPrediction))
}

fn spec() -> ModelSpec {
    named("mlp 2", "Scaled(VPrediction)", "Ddpm 1000")
}

fn state(step: u64) -> CheckpointState {
    CheckpointState::new(spec(), step, 64 * step, 7)
}

/// What the checkpoint says of itself, but for its files.
fn without_files(checkpoint: &Checkpoint) -> CheckpointState {
    CheckpointState { files: Default::default(), ..checkpoint.state().clone() }
}

/// A checkpoint of networks with the hidden widths [6, 4].
fn save<B: Backend>(folder: &Path, step: u64, device: &B::Device) -> Checkpoint {
    let (model, ema) = (model::<B>(1, &[6, 4], device), model::<B>(2, &[6, 4], device));
    Checkpoint::save(folder, state(step), &model, &ema).unwrap()
}

fn both_weights_come_back_bit_for_bit<B: TestBackend>(device: &B::Device) {
    let folder = tempfile::tempdir().unwrap();
    save::<B>(folder.path(), 3, device);
    save::<B>(folder.path(), 20, device);
    // One of the same step is replaced.
    save::<B>(folder.path(), 20, device);
    let checkpoint = Checkpoint::latest(folder.path()).unwrap();
    assert_eq!(without_files(&checkpoint), state(20));
    assert_eq!(checkpoint.path(), folder.path().join("step-00000020"));
    for (weights, seed) in [(Weights::Raw, 1), (Weights::Ema, 2)] {
        let found = checkpoint.load(model::<B>(9, &[6, 4], device), &spec(), weights).unwrap();
        let expected = parameters(&model::<B>(seed, &[6, 4], device));
        let found = parameters(&found);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_same_bits("weights", found, expected);
        }
    }
}

fn another_model_is_refused_with_both_names<B: TestBackend>(device: &B::Device) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = save::<B>(folder.path(), 1, device);
    for (asked, what, found, expected) in [
        (named("dit", "Scaled(VPrediction)", "Ddpm 1000"), "network", "mlp 2", "dit"),
        (named("mlp 2", "EpsPrediction", "Ddpm 1000"), "prediction", "Scaled(VPrediction)", "EpsPrediction"),
        (named("mlp 2", "Scaled(VPrediction)", "Ldm"), "schedule", "Ddpm 1000", "Ldm"),
    ] {
        let model = model::<B>(9, &[6, 4], device);
        let message = checkpoint.load(model, &asked, Weights::Raw).unwrap_err().to_string();
        let sentence = format!("holds weights for the {what} `{found}`, not for `{expected}`");
        assert!(message.ends_with(&sentence), "{message}");
    }
}

fn every_tensor_that_does_not_fit_is_named<B: TestBackend>(device: &B::Device) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = save::<B>(folder.path(), 1, device);
    let problems = |hidden: &[usize]| match checkpoint
        .load(model::<B>(9, hidden, device), &spec(), Weights::Ema)
        .unwrap_err()
    {
        CheckpointError::Tensors { problems, .. } => problems,
        error => panic!("another error: {error}"),
    };
    let net = |i: usize, name: &str| format!("tensor `network.net.{i}.{name}`");
    assert_eq!(
        problems(&[6, 5]),
        [
            format!("{} has shape [4], expected [5]", net(1, "bias")),
            format!("{} has shape [6, 4], expected [6, 5]", net(1, "weight")),
            format!("{} has shape [4, 2], expected [5, 2]", net(2, "weight")),
        ]
    );
    assert_eq!(
        problems(&[6, 4, 2]),
        [
            format!("{} of shape [2] is missing", net(3, "bias")),
            format!("{} of shape [2, 2] is missing", net(3, "weight")),
        ]
    );
    let left_over = problems(&[6]);
    for (tensor, shape) in [(net(2, "bias"), "[2]"), (net(2, "weight"), "[4, 2]")] {
        let superfluous = format!("{tensor} of shape {shape} is not in the network");
        assert!(left_over.contains(&superfluous), "{left_over:?}");
    }
}

fn damaged_weights_give_errors<B: TestBackend>(device: &B::Device) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = save::<B>(folder.path(), 1, device);
    let file = checkpoint.path().join("ema.safetensors");
    let whole = fs::read(&file).unwrap();
    let load = || checkpoint.load(model::<B>(9, &[6, 4], device), &spec(), Weights::Ema);
    assert!(load().is_ok());

    let mut damaged: Vec<Vec<u8>> = [0, 1, 7, 8, 9, 40, 200, whole.len() - 100, whole.len() - 1]
        .into_iter()
        .map(|length| whole[..length].to_vec())
        .collect();
    damaged.push([&whole[..], &[0; 4]].concat());
    // A header that is said to be longer than the file, one that is no JSON, and a file of another kind.
    damaged.push([&u64::MAX.to_le_bytes()[..], &whole[8..]].concat());
    damaged.push([&whole[..8], &vec![b'#'; whole.len() - 8][..]].concat());
    damaged.push(b"not a safetensors file at all".to_vec());
    for bytes in damaged {
        fs::write(&file, &bytes).unwrap();
        match load() {
            Err(CheckpointError::Damaged { path, .. }) => assert_eq!(path, file),
            Err(error) => panic!("{} of {} bytes: another error: {error}", bytes.len(), whole.len()),
            Ok(_) => panic!("{} of {} bytes were loaded", bytes.len(), whole.len()),
        }
    }

    fs::remove_file(&file).unwrap();
    assert!(matches!(load(), Err(CheckpointError::Io { action: "open", .. })));
}

/// The metadata and the folder need no backend; one that is always compiled in writes them.
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod folders {
    use super::*;

    #[cfg(feature = "flex")]
    type B = burn::backend::Flex;
    #[cfg(not(feature = "flex"))]
    type B = burn::backend::NdArray;

    #[test]
    fn corrupt_metadata_give_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = super::save::<B>(folder.path(), 1, &Default::default());
        let file = checkpoint.path().join("state.toml");
        let whole = fs::read_to_string(&file).unwrap();
        assert!(Checkpoint::open(checkpoint.path()).is_ok());

        for text in ["", "step = ", "= = =", "step = -1", &whole.replace("step = 1", "step = 7")] {
            fs::write(&file, text).unwrap();
            let error = Checkpoint::open(checkpoint.path()).unwrap_err();
            assert!(matches!(error, CheckpointError::State { .. }), "{text:?}: {error}");
            let error = Checkpoint::latest(folder.path()).unwrap_err();
            assert!(matches!(error, CheckpointError::NoneValid { .. }), "{text:?}: {error}");
        }
        for cut in 1..whole.len() {
            fs::write(&file, &whole[..cut]).unwrap();
            assert!(Checkpoint::open(checkpoint.path()).is_err(), "{cut} of {} bytes", whole.len());
        }
        fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
        assert!(Checkpoint::open(checkpoint.path()).is_err());

        // Metadata with a right checksum that say something else.
        for (from, to, expected) in [
            ("format = 3", "format = 2", "its format is 2, expected 3"),
            ("step = 1\n", "step = \"one\"\n", "invalid type: string \"one\", expected u64"),
            ("\nseed = 7", "\nseed = 7\nweather = \"fine\"", "unknown field `weather`"),
            ("\"ema.safetensors\"", "\"../ema.safetensors\"", "it names the file `../ema.safetensors`"),
            // Fields of an older version do not hide that it is one.
            (
                "format = 3",
                "format = 2\nheld_out = 0.5",
                "its format is 2, expected 3: it is of another version",
            ),
            (
                "format = 3",
                "format = 1\nsealed = true",
                "its format is 1, expected 3: it is of another version",
            ),
            ("format = 3", "format = 4\nnew = 1", "its format is 4, expected 3: it is of another version"),
        ] {
            let (body, _) = whole.rsplit_once("# crc32").unwrap();
            let body = body.replace(from, to);
            let checksum = crc32fast::hash(body.as_bytes());
            fs::write(&file, format!("{body}# crc32 of the above: {checksum:08x}\n")).unwrap();
            let message = Checkpoint::open(checkpoint.path()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_damaged_checkpoint_is_named_and_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        for step in [1, 2, 3] {
            super::save::<B>(folder.path(), step, &Default::default());
        }
        let damage = |step: u32, file: &str| {
            let path = folder.path().join(format!("step-{step:08}")).join(file);
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
            path
        };
        let weights = damage(3, "model.safetensors");
        let (found, damaged) = Checkpoint::find(folder.path(), Which::Latest).unwrap();
        assert_eq!(found.state().step, 2);
        let [CheckpointError::Damaged { path, reason }] = &damaged[..] else { panic!("{damaged:?}") };
        assert!(path == &weights && reason.starts_with("its checksum is"), "{path:?} {reason}");

        damage(2, "state.toml");
        let (found, damaged) = Checkpoint::find(folder.path(), Which::Latest).unwrap();
        assert_eq!((found.state().step, damaged.len()), (1, 2));
        fs::remove_file(found.path().join("ema.safetensors")).unwrap();
        let error = Checkpoint::latest(folder.path()).unwrap_err();
        assert!(
            matches!(&error, CheckpointError::NoneValid { damaged, .. } if damaged.len() == 3),
            "{error}"
        );
        let error = Checkpoint::find(folder.path(), Which::Step(3)).unwrap_err();
        assert!(
            matches!(&error, CheckpointError::NoneValid { damaged, .. } if damaged.len() == 1),
            "{error}"
        );
        let error = Checkpoint::find(folder.path(), Which::Step(5)).unwrap_err();
        assert!(matches!(&error, CheckpointError::NoStep { steps, .. } if *steps == [1, 2, 3]), "{error}");
    }

    /// The last ones and the best are kept; of two that are equally good the first is the best.
    #[test]
    fn the_best_checkpoint_is_kept_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let best = || Checkpoint::find(folder.path(), Which::Best).map(|found| found.0.state().step);
        let model = super::model::<B>(1, &[6, 4], &Default::default());
        super::save::<B>(folder.path(), 1, &Default::default());
        assert!(matches!(best(), Err(CheckpointError::NoneJudged(_))));
        for (step, loss) in [(2, 0.5), (3, 0.25), (4, 0.25), (5, f64::NAN), (6, 0.75)] {
            let state = CheckpointState { validation: Some(loss), ..state(step) };
            Checkpoint::save(folder.path(), state, &model, &model).unwrap();
            Checkpoint::prune(folder.path(), 2).unwrap();
        }
        assert_eq!(best().unwrap(), 3);
        assert_eq!(Checkpoint::best_loss(folder.path()).unwrap(), Some(0.25));
        let kept = [1, 2, 3, 4, 5, 6].map(|step| folder.path().join(format!("step-{step:08}")).exists());
        assert_eq!(kept, [false, false, true, false, true, true]);
    }

    /// Whatever was being written is removed; what was to be replaced comes back, unless its successor is there.
    #[test]
    fn tidying_undoes_what_a_crash_left_half_done() {
        let folder = tempfile::tempdir().unwrap();
        super::save::<B>(folder.path(), 1, &Default::default());
        super::save::<B>(folder.path(), 2, &Default::default());
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path(".step-00000003.partial")).unwrap();
        fs::rename(path("step-00000001"), path(".step-00000001.old")).unwrap();
        fs::create_dir(path(".step-00000002.old")).unwrap();
        fs::write(path("notes.txt"), "mine").unwrap();
        assert_eq!(Checkpoint::tidy(folder.path()).unwrap(), 1);
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["notes.txt", "step-00000001", "step-00000002"]);
        assert!(Checkpoint::find(folder.path(), Which::Step(1)).is_ok());
    }

    #[test]
    fn a_missing_folder_gives_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        assert!(matches!(Checkpoint::open(&missing), Err(CheckpointError::Io { action: "read", .. })));
        assert!(matches!(Checkpoint::latest(&missing), Err(CheckpointError::None(path)) if path == missing));
        assert!(matches!(Checkpoint::latest(folder.path()), Err(CheckpointError::None(_))));
        // A file where a folder should be.
        fs::write(&missing, "").unwrap();
        assert!(Checkpoint::open(&missing).is_err() && Checkpoint::latest(&missing).is_err());
        let model = super::model::<B>(1, &[6, 4], &Default::default());
        let error = Checkpoint::save(&missing, state(1), &model, &model).unwrap_err();
        assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
    }

    /// What a crash leaves behind is neither found nor in the way.
    #[test]
    fn a_leftover_of_a_crash_is_harmless() {
        let folder = tempfile::tempdir().unwrap();
        let leftover = folder.path().join(".step-00000005.partial");
        fs::create_dir(&leftover).unwrap();
        fs::write(leftover.join("model.safetensors"), "half a fi").unwrap();
        fs::write(leftover.join("something else"), "").unwrap();
        assert!(matches!(Checkpoint::latest(folder.path()), Err(CheckpointError::None(_))));

        super::save::<B>(folder.path(), 4, &Default::default());
        assert_eq!(Checkpoint::latest(folder.path()).unwrap().state().step, 4);
        let saved = super::save::<B>(folder.path(), 5, &Default::default());
        assert!(!leftover.exists() && !saved.path().join("something else").exists());
        let latest = Checkpoint::latest(folder.path()).unwrap();
        assert_eq!(without_files(&latest), state(5));
        let model = super::model::<B>(9, &[6, 4], &Default::default());
        assert!(latest.load(model, &spec(), Weights::Raw).is_ok());
    }
}
