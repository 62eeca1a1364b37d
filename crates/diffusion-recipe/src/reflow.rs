//! Pairs of noise and sample of a trained flow, on which another is trained that goes straight.

use crate::config::{RunConfig, SamplingConfig};
use crate::error::RecipeError;
use crate::run::{Run, SampleRequest};
use crate::samples::Samples;
use diffusion::core::{AnyPath, Invalid, Parameterization, Sampler};
use diffusion::data::PairsName;
use diffusion::train::Checkpoint;
use diffusion::weights::{TensorFile, read_regular, write_atomically};
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What the file of [`Reflowed`] is called.
const ABOUT: &str = "pairs.toml";

/// Pairs of a shard.
const SHARD: usize = 4096;

/// Which pairs are to be drawn.
#[derive(Clone, Debug)]
pub struct ReflowRequest {
    /// How many, and by which sampler along which levels.
    pub sampling: SamplingConfig,
    /// The seed of the noise: pair i depends on it and on i alone.
    pub seed: u64,
    /// The labels, repeated as often as needed; all classes in turn where there are none.
    pub labels: Option<Vec<usize>>,
    /// The folder of pairs.
    pub out: PathBuf,
    /// How many are drawn at once, for the sake of memory: it changes no pair.
    pub batch_size: Option<usize>,
    /// Whether other pairs, which are there already, are replaced.
    pub overwrite: bool,
}

/// What a folder of pairs was made of; `pairs.toml` in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reflowed {
    /// How many pairs there are.
    pub count: usize,
    /// How many of them a file has, but for the last one.
    pub shard: usize,
    /// The seed of the noise.
    pub seed: u64,
    /// The step of the checkpoint, and the checksums of its files.
    pub model: String,
    /// The labels that were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<usize>>,
    /// How they were drawn.
    pub sampling: SamplingConfig,
}

/// Draws pairs of noise and sample from `run`, a trained flow with the weights of `checkpoint`, into a folder of shards as
/// [`Pairs`](diffusion::data::Pairs) reads them: the first step of reflow (Liu et al. 2022, arXiv:2209.03003). Train on them
/// by [`RunConfig::set_pairs`]. What was stopped goes on where the same is asked for again: shards that are complete stay.
///
/// # Errors
/// If the run is no flow, or one of texts or latents; if the sampler adds noise; if the folder has other pairs and they are not to be replaced, a sample
/// is not finite, or the file system refuses; or if the run is asked to stop.
pub fn reflow(
    run: &dyn Run,
    checkpoint: &Checkpoint,
    request: &ReflowRequest,
) -> Result<Reflowed, RecipeError> {
    reflow_in(SHARD, run, checkpoint, request)
}

/// The same with so many pairs in a file.
fn reflow_in(
    shard: usize,
    run: &dyn Run,
    checkpoint: &Checkpoint,
    request: &ReflowRequest,
) -> Result<Reflowed, RecipeError> {
    check(run.config(), &request.sampling)?;
    let ReflowRequest { sampling, seed, labels, out, batch_size, .. } = request;
    let state = checkpoint.state();
    let model = format!("step {}: {:?}", state.step, state.files);
    let (count, labels) = (sampling.count, labels.clone());
    let about = Reflowed { count, shard, seed: *seed, model, labels, sampling: sampling.clone() };
    begin(request, &about)?;
    let level = sampling.sigmas(&run.config().schedule)[0];
    let shards = count.div_ceil(shard);
    for number in 0..shards {
        let path = out.join(PairsName { number, of: shards }.to_string());
        let first = number * shard;
        let pairs = shard.min(count - first);
        if is_complete(&path, pairs) {
            continue;
        }
        let sampling = SamplingConfig { count: pairs, ..sampling.clone() };
        let (labels, batch_size) = (about.labels.clone(), *batch_size);
        let request = SampleRequest {
            sampling,
            seed: *seed,
            labels,
            batch_size,
            first,
            ..SampleRequest::of(run.config())
        };
        let samples = run.sample(&request, &mut |_| {})?;
        samples.check()?;
        write(&path, &samples, level)?;
    }
    Ok(about)
}

impl RunConfig {
    /// Trains on the pairs in `folder` instead, as [`reflow`] draws them, without mirror images and validation: pairs are as
    /// they are.
    pub fn set_pairs(&mut self, folder: impl AsRef<Path>) {
        self.data = diffusion::data::DataConfig::Pairs(diffusion::data::PairsConfig {
            path: folder.as_ref().to_path_buf(),
        });
        (self.flip, self.validation) = (false, None);
        // Pairs do not name classes.
        self.classes.clear();
    }
}

/// Refuses runs whose noise and samples are no pairs.
fn check(config: &RunConfig, sampling: &SamplingConfig) -> Result<(), Invalid> {
    let name = config.prediction.name();
    Invalid::unless(config.prediction.path() == AnyPath::Straight, "prediction", || {
        format!("is {name:?}, expected flow, whose ways can be made straight")
    })?;
    Invalid::unless(config.network.text().is_none(), "network", || {
        "is told texts, expected one that is told labels or nothing".into()
    })?;
    Invalid::unless(config.data.latents().is_none(), "data", || {
        "are latents, expected points or images".into()
    })?;
    Invalid::unless(!sampling.sampler.adds_noise(), "sampling.sampler", || {
        "adds noise, and a pair is the noise and the sample that follows from it alone; expected one without, e.g. heun".into()
    })
}

/// Makes the folder, or finds out that it is of the same pairs.
fn begin(request: &ReflowRequest, about: &Reflowed) -> Result<(), RecipeError> {
    let out = &request.out;
    fs::create_dir_all(out).map_err(RecipeError::io("make", out))?;
    let path = out.join(ABOUT);
    let found = match read_regular(&path, 1 << 24) {
        Ok(bytes) => Some(toml::from_str(&String::from_utf8_lossy(&bytes)).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(RecipeError::io("read", &path)(error)),
    };
    let entries = fs::read_dir(out).map_err(RecipeError::io("read", out))?;
    let shards: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| PairsName::of_file(path).is_some())
        .collect();
    if found.as_ref().is_some_and(|found| found.as_ref() == Some(about)) {
        return Ok(());
    }
    if (found.is_some() || !shards.is_empty()) && !request.overwrite {
        return Err(RecipeError::OtherPairs(out.clone()));
    }
    for shard in &shards {
        fs::remove_file(shard).map_err(RecipeError::io("remove", shard))?;
    }
    let text = toml::to_string(about).map_err(RecipeError::write_toml)?;
    write_atomically(&path, |file| file.write_all(text.as_bytes())).map_err(RecipeError::io("write", &path))
}

fn is_complete(path: &Path, count: usize) -> bool {
    let has = |file: &TensorFile, name| file.shape(name).is_some_and(|shape| shape.first() == Some(&count));
    TensorFile::open_safetensors(path).is_ok_and(|file| has(&file, "x0") && has(&file, "eps"))
}

/// Writes samples, and the noise that they began with, which is their start in units of the first noise level.
fn write(path: &Path, samples: &Samples, level: f64) -> Result<(), RecipeError> {
    let shape = [&[samples.count()], &samples.shape[..]].concat();
    let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let eps: Vec<f32> = samples.start.iter().map(|&x| (f64::from(x) / level) as f32).collect();
    let mut tensors = vec![
        ("x0", Dtype::F32, shape.clone(), bytes(&samples.values)),
        ("eps", Dtype::F32, shape, bytes(&eps)),
    ];
    if let Some(labels) = &samples.labels {
        let bytes = labels.iter().flat_map(|&label| (label as i64).to_le_bytes()).collect();
        tensors.push(("label", Dtype::I64, vec![labels.len()], bytes));
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        Ok((*name, TensorView::new(*dtype, shape.clone(), bytes).map_err(Error::other)?))
    });
    let bytes = views
        .collect::<Result<Vec<_>, Error>>()
        .and_then(|views| safetensors::serialize(views, None).map_err(Error::other));
    let written = bytes.and_then(|bytes| write_atomically(path, |file| file.write_all(&bytes)));
    written.map_err(RecipeError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use diffusion::core::Schedule;
    use diffusion::core::watch::Watch;
    use diffusion::data::{Dataset, Pairs};
    use diffusion::train::{Weights, Which};

    const SETTINGS: [&str; 6] = [
        "network.hidden_dims=[8]",
        "batch_size=4",
        "training.steps=4",
        "training.accumulate=2",
        "sampling.steps=3",
        "sampling.count=10",
    ];

    fn built(config: &RunConfig) -> Box<dyn Run> {
        config.build::<Flex>(&Default::default()).unwrap()
    }

    /// A flow that was trained for some steps, and its checkpoint; of labels where there are some.
    fn flow(folder: &Path, preset: &str, settings: &[&str]) -> (Box<dyn Run>, Checkpoint) {
        let mut config = RunConfig::preset(preset).unwrap();
        config.set_all(SETTINGS.into_iter().chain(settings.iter().copied())).unwrap();
        let mut run = built(&config);
        while run.step().unwrap().is_some() {}
        let checkpoint = run.save(&folder.join("checkpoints"), None).unwrap();
        let mut drawing = built(&config);
        drawing.load(&checkpoint, Weights::Ema).unwrap();
        (drawing, checkpoint)
    }

    fn request(run: &dyn Run, out: &Path) -> ReflowRequest {
        let sampling = run.config().sampling.clone();
        ReflowRequest { sampling, seed: 7, labels: None, out: out.into(), batch_size: None, overwrite: false }
    }

    fn bytes(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    }

    #[test]
    fn pairs_are_the_noise_and_the_samples_of_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let (run, checkpoint) = flow(folder.path(), "swissroll-flow", &[]);
        let out = folder.path().join("pairs");
        let request = request(&*run, &out);
        reflow_in(4, &*run, &checkpoint, &request).unwrap();
        let pairs = Pairs::open(&out, None, &Watch::default()).unwrap();
        assert_eq!((pairs.len(), pairs.shape()), (10, &[2][..]));
        let samples = run.sample(&SampleRequest { seed: 7, ..SampleRequest::of(run.config()) }, &mut |_| {});
        let samples = samples.unwrap();
        let level = run.config().schedule.init().levels().last().copied().unwrap() as f32;
        let mut row = [0.0; 2];
        for (i, (sample, start)) in samples.values.chunks(2).zip(samples.start.chunks(2)).enumerate() {
            pairs.read(i, &mut row).unwrap();
            assert_eq!(row, *sample, "sample {i}");
            pairs.read_noise(i, &mut row).unwrap();
            assert!(
                row.iter().zip(start).all(|(eps, start)| (eps * level - start).abs() < 1e-6),
                "noise {i}"
            );
        }

        // What was stopped goes on to the same bytes, and what is complete is not drawn again.
        let whole = bytes(&out);
        let [second, third] = [1, 2].map(|number| out.join(PairsName { number, of: 3 }.to_string()));
        fs::remove_file(&second).unwrap();
        fs::write(&third, &fs::read(&third).unwrap()[..40]).unwrap();
        reflow_in(4, &*run, &checkpoint, &request).unwrap();
        assert_eq!(bytes(&out), whole);
        let other = ReflowRequest { seed: 8, ..request.clone() };
        assert!(matches!(reflow_in(4, &*run, &checkpoint, &other), Err(RecipeError::OtherPairs(_))));
        assert_eq!(bytes(&out), whole);
        reflow_in(5, &*run, &checkpoint, &ReflowRequest { overwrite: true, ..other }).unwrap();
        assert_eq!(Pairs::open(&out, None, &Watch::default()).unwrap().len(), 10);
    }

    #[test]
    fn a_run_on_pairs_begins_with_its_flow_and_goes_on_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let labeled = [
            "prediction=flow",
            "schedule.kind=flow",
            "schedule.n=50",
            "schedule.t_min=0.01",
            "schedule.t_max=1.0",
            "sampling.sampler.kind=heun",
        ];
        for (preset, settings) in [("swissroll-flow", &[][..]), ("tree", &labeled[..])] {
            let place = folder.path().join(preset);
            let (flow, checkpoint) = flow(&place, preset, settings);
            let out = place.join("pairs");
            reflow_in(4, &*flow, &checkpoint, &request(&*flow, &out)).unwrap();
            let mut config = flow.config().clone();
            config.set_pairs(&out);
            let begun = || {
                let mut run = built(&config);
                run.load(&checkpoint, Weights::Ema).unwrap();
                run
            };
            let losses = |run: &mut dyn Run| -> Vec<u64> {
                std::iter::from_fn(|| run.step().unwrap()).map(|step| step.loss.to_bits()).collect()
            };
            let whole = losses(&mut *begun());
            let mut part = begun();
            let mut again: Vec<u64> = (0..2).map(|_| part.step().unwrap().unwrap().loss.to_bits()).collect();
            part.save(&place.join("half"), None).unwrap();
            let mut rest = built(&config);
            rest.resume(&Checkpoint::find(place.join("half"), Which::Latest).unwrap().0).unwrap();
            again.extend(losses(&mut *rest));
            assert_eq!((again, whole.len()), (whole, 4), "{preset}");
        }
    }

    #[test]
    fn a_run_that_is_no_flow_has_no_pairs() {
        let folder = tempfile::tempdir().unwrap();
        let (run, checkpoint) = flow(folder.path(), "swissroll", &["validation.every=100"]);
        let out = folder.path().join("pairs");
        match reflow(&*run, &checkpoint, &request(&*run, &out)) {
            Err(RecipeError::Invalid(invalid)) => assert_eq!(invalid.setting, "prediction"),
            other => panic!("{other:?}"),
        }
        let (run, checkpoint) = flow(&folder.path().join("flow"), "swissroll-flow", &[]);
        let mut noisy = request(&*run, &out);
        noisy.sampling.set_sampler("ddpm").unwrap();
        match reflow(&*run, &checkpoint, &noisy) {
            Err(RecipeError::Invalid(invalid)) => assert_eq!(invalid.setting, "sampling.sampler"),
            other => panic!("{other:?}"),
        }
        assert!(!out.exists());
    }
}
