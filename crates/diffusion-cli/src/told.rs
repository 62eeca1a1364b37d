//! What tells samples from others besides weights, labels and settings of a run: so that pictures of one folder are drawn by
//! the same.

use crate::args::{GuidanceArgs, SampleArgs, TaskArgs};
use crate::chosen::weights;
use crate::error::CliError;
use diffusion::core::AnyGuidance;
use diffusion::data::identity;
use diffusion::train::{Weights, Which};
use diffusion_recipe::{RunConfig, RunFolder};
use std::fs;
use std::path::{Path, PathBuf};

/// A hash of whatever is asked for by `args` besides labels and settings: texts, data to begin with, a decoder, a weaker
/// model; nothing where none of it is. `run` is the folder of the run of `config`.
pub fn told(args: &SampleArgs, run: &RunFolder, config: &RunConfig) -> Result<Option<String>, CliError> {
    let SampleArgs { prompt, text_encoder, decoder, sampling, task, .. } = args;
    let GuidanceArgs { negative, also, .. } = &sampling.guidance;
    let weaker = weaker(run, config)?;
    let is_none = prompt.is_empty() && decoder.is_none() && negative.is_none() && also.is_empty();
    if is_none && weaker.is_none() && task.init.is_empty() && task.interpolate.is_none() {
        return Ok(None);
    }
    let folders = [text_encoder, decoder].map(|folder| folder.as_deref().map(absolute));
    let asked =
        format!("{:?}", (prompt, folders, negative, also, weaker, made_of(task, config.sampling.count)));
    Ok(Some(hashed(asked.as_bytes())))
}

fn hashed(bytes: &[u8]) -> String {
    format!("{:016x}", identity::hash(bytes))
}

/// The same path, wherever the program begins.
fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// What a file holds, or its name where it is none.
fn content(path: &Path) -> String {
    fs::read(path).map_or_else(|_| path.display().to_string(), |bytes| hashed(&bytes))
}

/// What samples are made of. Those between two ends depend on how many there are.
fn made_of(task: &TaskArgs, count: usize) -> String {
    let TaskArgs { init, strength, inpaint, repaint, jump, vary, invert, fixed_point, interpolate } = task;
    let init: Vec<String> = init.iter().map(|path| content(path)).collect();
    let inpaint = inpaint.as_ref().map(|path| content(path));
    let ends = interpolate.as_ref().map(|ends| {
        let ends: Vec<String> = ends.iter().map(|end| content(Path::new(end))).collect();
        (ends, count)
    });
    format!("{:?}", (init, strength, inpaint, (repaint, jump), vary, invert, fixed_point, ends))
}

/// The weights of the model that guidance leads away from, where that is another one.
fn weaker(folder: &RunFolder, config: &RunConfig) -> Result<Option<String>, CliError> {
    let AnyGuidance::Autoguidance(rule) = &config.sampling.guidance else { return Ok(None) };
    let which = rule.checkpoint.map_or(Which::Latest, Which::Step);
    let checkpoint = match &rule.run {
        None => weights(folder, which, Weights::Ema)?,
        Some(path) => weights(&RunFolder::open(path)?.0, which, Weights::Ema)?,
    };
    let state = checkpoint.state();
    Ok(Some(format!("step {}: {:?}", state.step, state.files)))
}
