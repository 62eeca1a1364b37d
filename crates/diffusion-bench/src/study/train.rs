//! Training for so many seconds, here and by smalldiffusion.

use super::judge;
use super::recipe::{Here, PEER, is_same_training};
use super::rows::{self, RESULT, Trained};
use crate::error::BenchError;
use crate::facts::Facts;
use burn::tensor::backend::Backend;
use diffusion::train::{Found, Which};
use diffusion_recipe::{Run, RunConfig, RunFolder};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Steps before the clock is looked at, and steps that it times: as many as the share of the training's time allows, between
/// these.
const WARM_UP: u64 = 10;
const TIMED: RangeInclusive<u64> = 40..=400;
const SHARE: f64 = 0.05;

/// The file with what is known of a training.
const TRAINED: &str = "trained.json";

/// How long a step takes.
#[derive(Serialize, Deserialize)]
pub struct Timed<T> {
    /// The mean over some steps.
    pub seconds: f64,
    /// Where.
    machine: String,
    /// Of what.
    config: T,
}

impl<T: Serialize + DeserializeOwned> Timed<T> {
    /// That of the file `place`, if it was made on this machine and its training is the `same`.
    pub fn read(place: &Path, same: impl FnOnce(&T) -> bool) -> Result<Option<f64>, BenchError> {
        let timed: Option<Self> = rows::read(place)?;
        let known = timed.filter(|timed| timed.machine == machine() && same(&timed.config));
        Ok(known.map(|timed| timed.seconds))
    }

    /// Writes that of so many steps in so many seconds into the file `place`.
    fn write(name: &str, config: T, steps: u64, seconds: f64, place: &Path) -> Result<f64, BenchError> {
        let seconds = seconds / steps as f64;
        rows::write(place, &Self { seconds, machine: machine(), config })?;
        eprintln!("{name}: {steps} steps of {:.0} ms", 1e3 * seconds);
        Ok(seconds)
    }
}

/// What the time of a step depends on besides the training.
fn machine() -> String {
    let Facts { processor, processors, .. } = Facts::here();
    format!("{processors} of {processor}")
}

/// The seconds that a step of a training takes on this machine: those in the file `place`, if they are of this training, or
/// else as some steps of a run take that is thrown away, in a share of the training's `seconds`.
pub fn time<B: Backend>(
    config: &RunConfig,
    seconds: f64,
    place: &Path,
    device: &B::Device,
) -> Result<f64, BenchError> {
    if let Some(known) = Timed::read(place, |timed| is_same_training(config, timed))? {
        return Ok(known);
    }
    let mut short = config.clone();
    short.training.steps = WARM_UP + TIMED.end();
    let mut trial = short.build::<B>(device)?;
    trial.open_data()?;
    for _ in 0..WARM_UP {
        trial.step()?;
    }
    let (begun, mut timed) = (Instant::now(), 0);
    let enough = |timed| timed >= *TIMED.start() && begun.elapsed().as_secs_f64() >= SHARE * seconds;
    while !enough(timed) && trial.step()?.is_some() {
        timed += 1;
    }
    Timed::write(&config.preset, config.clone(), timed, begun.elapsed().as_secs_f64(), place)
}

/// Trains a configuration in so many steps, so that the learning rate knows its end.
pub fn here<B: Backend>(
    config: &RunConfig,
    steps: u64,
    seed: u64,
    folder: &Path,
    device: &B::Device,
) -> Result<Trained, BenchError> {
    let mut config = config.clone();
    config.training.seed = seed;
    config.training.steps = steps;
    config.validation = None;
    let mut run = config.build::<B>(device)?;
    run.open_data()?;
    // What was known of an earlier run is not true of this one.
    for name in [RESULT, TRAINED] {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(BenchError::Write { path, source });
            }
            _ => {}
        }
    }
    // With what the data have said, the names of classes.
    let home = RunFolder::create(folder, run.config(), true)?;
    let begun = Instant::now();
    while run.step()?.is_some() {}
    let seconds = begun.elapsed().as_secs_f64();
    run.save(&home.checkpoints(), None)?;
    let (steps, parameters) = (run.counts().steps, run.num_params());
    let trained = Trained { parameters, batch_size: config.batch_size, steps, seconds };
    rows::write(&folder.join(TRAINED), &trained)?;
    Ok(trained)
}

/// What is known of the training of the run in `folder`, if it is there, is whole, and was trained as `config` is.
pub fn earlier(config: &RunConfig, folder: &Path) -> Result<Option<Trained>, BenchError> {
    let Some(trained) = rows::read(&folder.join(TRAINED))? else { return Ok(None) };
    let (_, stored) = RunFolder::open(folder)?;
    Ok(is_same_training(config, &stored).then_some(trained))
}

/// A run in `folder`, with the weights that a recipe draws by, which draws as the recipe says.
pub fn open<B: Backend>(here: &Here, folder: &Path, device: &B::Device) -> Result<Box<dyn Run>, BenchError> {
    let (folder, mut config) = RunFolder::open(folder)?;
    config.sampling.clone_from(&here.config.sampling);
    let mut run = config.build::<B>(device)?;
    let Found { checkpoint, .. } = folder.weights(Which::Latest, here.weights.clone())?;
    run.load(&checkpoint, here.weights.clone())?;
    Ok(run)
}

/// smalldiffusion, which trains one of its recipes.
pub struct Peer<'a> {
    /// The Python that has it.
    pub python: &'a Path,
    /// Its recipe, as `study.py` calls it.
    pub recipe: &'a str,
    /// All that its training depends on, besides the seed and its length.
    pub settings: &'a str,
    /// Threads of PyTorch.
    pub threads: u32,
}

/// How long smalldiffusion trains.
#[derive(Clone, Copy)]
pub enum Limit {
    Seconds(f64),
    Steps(u64),
}

impl Peer<'_> {
    /// Writes how long a step takes into the file `place`, if it is not there, from training in a share of the `seconds`.
    pub fn time(&self, seconds: f64, place: &Path) -> Result<(), BenchError> {
        if Timed::read(place, |timed: &String| timed == self.settings)?.is_none() {
            let Trained { steps, seconds, .. } =
                self.run(Limit::Seconds(SHARE * seconds), (0, 0), Path::new(""))?;
            Timed::write(self.recipe, self.settings.to_string(), steps, seconds, place)?;
        }
        Ok(())
    }

    /// Has it train, and draw so many samples into a file in `folder`, with a seed.
    pub fn train(
        &self,
        limit: Limit,
        (count, seed): (usize, u64),
        folder: &Path,
    ) -> Result<(Trained, PathBuf), BenchError> {
        let write = |source| BenchError::Write { path: folder.to_path_buf(), source };
        fs::create_dir_all(folder).map_err(write)?;
        let samples = folder.join("samples.safetensors");
        Ok((self.run(limit, (count, seed), &samples)?, samples))
    }

    fn run(&self, limit: Limit, (count, seed): (usize, u64), samples: &Path) -> Result<Trained, BenchError> {
        let limit = match limit {
            Limit::Seconds(seconds) => format!("{seconds}s"),
            Limit::Steps(steps) => steps.to_string(),
        };
        let mut command = Command::new(self.python);
        command.args(["-c", PEER, self.recipe, &limit]);
        command.args([count.to_string(), seed.to_string(), self.threads.to_string()]);
        command.arg(judge::data()?).arg(samples);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = |source| BenchError::Start { program: self.python.to_path_buf(), source };
        let output = command.spawn().and_then(|child| child.wait_with_output()).map_err(start)?;
        let last = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.lines().next_back().unwrap_or_default().to_string()
        };
        if !output.status.success() {
            return Err(BenchError::Failed { worker: "smalldiffusion", reason: last(&output.stderr) });
        }
        let line = last(&output.stdout);
        let nonsense =
            |_| BenchError::Nonsense { worker: "smalldiffusion", request: "train", line: line.clone() };
        serde_json::from_str(&line).map_err(nonsense)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_step_is_that_of_its_training() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("timed/dit.json");
        let read = |training| Timed::read(&place, |known: &String| known == training).unwrap();
        assert_eq!(read("a"), None);
        Timed::write("dit", "a".to_string(), 4, 2.0, &place).unwrap();
        assert_eq!((read("a"), read("b")), (Some(0.5), None));
        // Another machine has other times.
        let text = fs::read_to_string(&place).unwrap();
        fs::write(&place, text.replace(&machine(), "none")).unwrap();
        assert_eq!(read("a"), None);
    }
}
