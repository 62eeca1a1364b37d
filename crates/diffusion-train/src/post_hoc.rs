//! Averages of any width, made of snapshots after the training.

use crate::checkpoint::error::{CheckpointError, io_error};
use crate::checkpoint::{ModelSpec, check_model, damaged};
use crate::ema::config::check_width;
use crate::ema::fit::Fit;
use crate::ema::power::Profile;
use crate::snapshot::Snapshot;
use burn::module::Module;
use burn::tensor::backend::Backend;
use diffusion_weights::{TensorFile, WeightsError, read_note, restore, write_each};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The largest error of a profile, relative to its norm, with which an average is still the one that was asked for.
const LARGEST: f64 = 0.1;
/// The narrowest and the widest average that is looked for, and how many between them.
const LOOKED_AT: (f64, f64, i32) = (0.001, 0.28, 300);
/// Under which name a file says what it is.
const NOTE: &str = "diffusion-burn-average";
const FORMAT: u32 = 1;

/// An average that was made of snapshots.
#[derive(Clone, Debug)]
pub struct PostHoc {
    /// Its file.
    pub file: AverageFile,
    /// The averages in snapshots that it was made of.
    pub stored: usize,
    /// How much the profile of what was made differs from a power function's: the norm of the difference, relative to
    /// that of the profile. The weights differ by much less.
    pub error: f64,
}

/// Makes the power-function average of `width` after the step `step` of a training, the last one by default, of the
/// snapshots in `folder` up to that step, and writes it into the file `out`; one that is there is replaced.
///
/// The profiles of the stored averages are combined so that they come as near as they can to the profile that was asked
/// for, and the weights with the same factors (Karras et al. 2024, arXiv:2312.02696, §3.1). Sums are taken in f64, one
/// tensor at a time.
///
/// # Errors
/// If there are no snapshots, or none of that step; if the width is one that they say too little about, with the range of
/// those that can be had; if a file is damaged, or the file system refuses.
///
/// ```
/// # use burn::backend::{Autodiff, Flex};
/// # use burn::tensor::TensorData;
/// # use diffusion_core::network::mlp::TimeInputMlpConfig;
/// # use diffusion_core::schedule::ScheduleConfig;
/// # use diffusion_core::{AnyPrediction, Diffusion};
/// use diffusion_train::{ModelSpec, SnapshotConfig, TrainConfig, post_hoc, train};
///
/// # let network = TimeInputMlpConfig { dim: 2, hidden_dims: vec![8], ..Default::default() };
/// # let schedule = ScheduleConfig::LogLinear { n: 100, sigma_min: 0.02, sigma_max: 10.0 };
/// # let model = || Diffusion::new(network.init::<Autodiff<Flex>>(0, &Default::default()), AnyPrediction::Eps);
/// # let batches = std::iter::repeat_with(|| (TensorData::from([[0.5f32, 1.0]]), ()));
/// let folder = tempfile::tempdir()?;
/// let spec = ModelSpec::new(&network, &AnyPrediction::Eps, &schedule);
/// let config = TrainConfig { snapshots: Some(SnapshotConfig::new(10)), ..TrainConfig::new(40) };
/// let mut run = train(batches, model(), schedule.init(), &config);
/// while run.next().transpose()?.is_some() {
///     run.save_snapshot(folder.path(), &spec)?;
/// }
/// let made = post_hoc(folder.path(), 0.08, None, folder.path().join("ema-0.08.safetensors"))?;
/// let average = made.file.load(run.model(), &spec)?;
/// # assert_eq!((made.file.step(), made.file.width()), (40, 0.08));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn post_hoc(
    folder: impl AsRef<Path>,
    width: f64,
    step: Option<u64>,
    out: impl AsRef<Path>,
) -> Result<PostHoc, CheckpointError> {
    let (folder, out) = (folder.as_ref(), out.as_ref());
    let mut snapshots = Snapshot::list(folder)?;
    let last = target(folder, &snapshots, step)?;
    let (step, examples, model) = (last.step(), last.examples(), last.model().clone());
    snapshots.retain(|snapshot| snapshot.examples() <= examples);
    let stored: Vec<Profile> = snapshots
        .iter()
        .flat_map(|snapshot| snapshot.widths().map(|width| Profile::new(width, snapshot.examples())))
        .collect();
    let is_width = check_width(width).is_ok();
    let fit = is_width.then(|| Fit::new(&stored, Profile::new(width, examples)));
    let Some(Fit { weights, error }) = fit.filter(|fit| fit.error <= LARGEST) else {
        let range = range(&stored, examples);
        return Err(CheckpointError::Width { folder: folder.to_path_buf(), width, step, range });
    };
    for snapshot in &snapshots {
        check_model(&model, snapshot.model(), snapshot.path())?;
    }
    let paths = snapshots.iter().flat_map(|snapshot| snapshot.files().map(move |file| (snapshot, file)));
    let mut used = Vec::new();
    for ((snapshot, path), weight) in paths.zip(weights).filter(|(_, weight)| *weight != 0.0) {
        snapshot.verify(&path)?;
        let file = TensorFile::open_safetensors(&path).map_err(|error| damaged(error, &path))?;
        used.push((file, weight));
    }
    let about = About { format: FORMAT, width, step, examples, model };
    combine(&used, &about, out)?;
    let file = AverageFile { path: out.to_path_buf(), about };
    Ok(PostHoc { file, stored: used.len(), error })
}

/// The snapshot of the step that is asked for, or the last.
fn target<'a>(
    folder: &Path,
    snapshots: &'a [Snapshot],
    step: Option<u64>,
) -> Result<&'a Snapshot, CheckpointError> {
    let found = match step {
        None => snapshots.last(),
        Some(step) => snapshots.iter().find(|snapshot| snapshot.step() == step),
    };
    let folder = folder.to_path_buf();
    match (found, step) {
        (Some(found), _) => Ok(found),
        (None, Some(step)) if !snapshots.is_empty() => {
            let steps = snapshots.iter().map(Snapshot::step).collect();
            Err(CheckpointError::NoSnapshot { folder, step, steps })
        }
        _ => Err(CheckpointError::NoSnapshots(folder)),
    }
}

/// The narrowest and the widest average that can be made of those stored.
fn range(stored: &[Profile], examples: u64) -> Option<(f64, f64)> {
    let (narrowest, widest, number) = LOOKED_AT;
    let width = |i: i32| narrowest * (widest / narrowest).powf(f64::from(i) / f64::from(number - 1));
    let is_had = |width: &f64| Fit::new(stored, Profile::new(*width, examples)).error <= LARGEST;
    let mut had = (0..number).map(width).filter(is_had);
    let first = had.next()?;
    Some((first, had.next_back().unwrap_or(first)))
}

/// Writes the sum of the tensors in `files`, each times its factor.
fn combine(files: &[(TensorFile, f64)], about: &About, out: &Path) -> Result<(), CheckpointError> {
    let shapes = |file: &TensorFile| -> BTreeMap<String, Vec<usize>> {
        file.names().map(|name| (name.to_string(), file.shape(name).unwrap_or_default().to_vec())).collect()
    };
    let expected = files.first().map(|(file, _)| shapes(file)).unwrap_or_default();
    if let Some((file, _)) = files.iter().find(|(file, _)| shapes(file) != expected) {
        let reason = "its tensors are not those of the other snapshots".to_string();
        return Err(CheckpointError::Damaged { path: file.path().to_path_buf(), reason });
    }
    let note = toml::to_string(about)
        .map_err(|error| CheckpointError::State { path: out.to_path_buf(), reason: error.to_string() })?;
    let mut values = |name: &str| -> Result<Vec<f32>, WeightsError> {
        let mut sum = vec![0.0; expected[name].iter().product()];
        for (file, factor) in files {
            for (sum, value) in sum.iter_mut().zip(file.read(name)?) {
                *sum += factor * f64::from(value);
            }
        }
        Ok(sum.into_iter().map(|sum: f64| sum as f32).collect())
    };
    write_each(out, &expected, (NOTE, &note), &mut values).map_err(|error| match error {
        WeightsError::Io { action, path, source } => CheckpointError::Io { action, path, source },
        other => damaged(other, out),
    })
}

/// A file with an average that [`post_hoc`] made.
#[derive(Clone, Debug)]
pub struct AverageFile {
    path: PathBuf,
    about: About,
}

/// What the file says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    format: u32,
    width: f64,
    step: u64,
    examples: u64,
    model: ModelSpec,
}

impl AverageFile {
    /// Reads what the file at `path` says of itself; its weights are read by [`load`](Self::load).
    ///
    /// # Errors
    /// If there is none, or another one.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref().to_path_buf();
        let note = read_note(&path, NOTE).map_err(io_error("read", &path))?;
        let about = match note.as_deref().map(toml::from_str::<About>) {
            Some(Ok(about)) if about.format == FORMAT => Ok(about),
            Some(Ok(about)) => Err(format!("its format is {}, expected {FORMAT}", about.format)),
            Some(Err(error)) => Err(error.message().to_string()),
            None => Err("it does not say so".to_string()),
        };
        match about {
            Ok(about) => Ok(Self { path, about }),
            Err(reason) => Err(CheckpointError::NotAnAverage { path, reason }),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The width of the average.
    pub fn width(&self) -> f64 {
        self.about.width
    }

    /// The step of the training at whose end it is.
    pub fn step(&self) -> u64 {
        self.about.step
    }

    /// The module with these weights, `module` being one of the same network with any others.
    ///
    /// # Errors
    /// As [`Checkpoint::load`](crate::Checkpoint::load).
    pub fn load<B: Backend, M: Module<B>>(&self, module: M, model: &ModelSpec) -> Result<M, CheckpointError> {
        check_model(model, &self.about.model, &self.path)?;
        let file = TensorFile::open_safetensors(&self.path).map_err(|error| damaged(error, &self.path))?;
        restore(module, &file).map_err(|error| damaged(error, &self.path))
    }
}
