//! Training for so many seconds, here and by smalldiffusion.

use super::{judge, rows::Row};
use crate::error::BenchError;
use burn::tensor::backend::Backend;
use diffusion_recipe::{Run, RunConfig, RunFolder};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// smalldiffusion's side.
const PEER: &str = include_str!("../../study.py");

/// Steps before the clock is looked at, and steps that it times.
const WARM_UP: u64 = 10;
const TIMED: u64 = 40;

/// A run that was trained.
pub struct Trained {
    /// The run, with its weights.
    pub run: Box<dyn Run>,
    /// What is known of it.
    pub row: Row,
}

/// Trains a configuration for about `seconds`: in as many steps as this machine makes in them, by the time that some steps of
/// a run that is thrown away take, so that the learning rate knows its end.
pub fn here<B: Backend>(
    config: &RunConfig,
    seconds: f64,
    seed: u64,
    folder: &Path,
    device: &B::Device,
) -> Result<Trained, BenchError> {
    let mut config = config.clone();
    config.training.seed = seed;
    config.validation = None;
    config.training.steps = WARM_UP + TIMED;
    let mut trial = config.build::<B>(device)?;
    trial.open_data()?;
    for _ in 0..WARM_UP {
        trial.step()?;
    }
    let begun = Instant::now();
    while trial.step()?.is_some() {}
    let each = begun.elapsed().as_secs_f64() / TIMED as f64;
    drop(trial);
    config.training.steps = ((seconds / each).round() as u64).max(1);
    eprintln!("{}: {} steps of {:.0} ms", config.preset, config.training.steps, 1e3 * each);
    let mut run = config.build::<B>(device)?;
    run.open_data()?;
    // With what the data have said, the names of classes.
    let folder = RunFolder::create(folder, run.config(), true)?;
    let begun = Instant::now();
    while run.step()?.is_some() {}
    let seconds = begun.elapsed().as_secs_f64();
    run.save(&folder.checkpoints(), None)?;
    let row = Row {
        steps: run.counts().steps,
        seconds,
        parameters: run.num_params(),
        batch_size: config.batch_size,
        ..Row::default()
    };
    Ok(Trained { run, row })
}

/// What smalldiffusion has trained.
pub struct PeerTrained {
    /// The file with its samples.
    pub samples: PathBuf,
    /// What is known of it.
    pub row: Row,
}

#[derive(Deserialize)]
struct Report {
    steps: u64,
    seconds: f64,
    parameters: usize,
    batch_size: usize,
}

/// Has smalldiffusion train one of its recipes for `seconds` and draw `count` samples.
pub fn by_peer(
    python: &Path,
    recipe: &str,
    seconds: f64,
    count: usize,
    (seed, threads): (u64, u32),
    folder: &Path,
) -> Result<PeerTrained, BenchError> {
    let write = |source| BenchError::Write { path: folder.to_path_buf(), source };
    fs::create_dir_all(folder).map_err(write)?;
    let samples = folder.join("samples.safetensors");
    let mut command = Command::new(python);
    command.args(["-c", PEER, recipe]);
    command.args([seconds.to_string(), count.to_string(), seed.to_string(), threads.to_string()]);
    command
        .arg(judge::data()?)
        .arg(&samples)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let start = |source| BenchError::Start { program: python.to_path_buf(), source };
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
    let Report { steps, seconds, parameters, batch_size } = serde_json::from_str(&line).map_err(nonsense)?;
    Ok(PeerTrained { samples, row: Row { steps, seconds, parameters, batch_size, ..Row::default() } })
}
